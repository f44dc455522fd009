\set a random(1, 10000)
\set day random(0, 170)
BEGIN;
SELECT t_id, t_bid, t_exec_name, t_price, ct_amount, ct_name FROM trade LEFT JOIN cash_transaction ON ct_t_id = t_id
	WHERE t_a_id = :a AND t_dts >= '2023-06-01'::timestamp + :day * interval '1 day' ORDER BY t_dts LIMIT 20;
SELECT th_t_id, th_dts, th_status FROM trade_history WHERE th_t_id IN
	(SELECT t_id FROM trade WHERE t_a_id = :a AND t_dts >= '2023-06-01'::timestamp + :day * interval '1 day'
		ORDER BY t_dts LIMIT 20) ORDER BY th_t_id, th_dts;
COMMIT;
