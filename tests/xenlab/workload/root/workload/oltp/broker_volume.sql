\set b random(1, 30)
\set sector random(0, 11)
SELECT b_name, sum(tr_qty * tr_bid) AS volume FROM trade_request
	JOIN broker ON b_id = tr_b_id JOIN security ON s_id = tr_s_id
	WHERE tr_b_id BETWEEN :b AND :b + 20 AND s_sector = :sector GROUP BY b_name ORDER BY volume DESC;
