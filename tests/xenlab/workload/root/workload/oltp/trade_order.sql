-- 60 % are for the market's price and submitted at once; the others wait for theirs.
\set a 1 + permute(random_zipfian(1, 10000, 1.05) - 1, 10000)
\set s random(1, 3000)
\set qty 100 * random(1, 8)
\set kind random(1, 100)
BEGIN;
SELECT a_name, a_b_id, a_balance, c_name, c_tier, b_name FROM account JOIN customer ON c_id = a_c_id
	JOIN broker ON b_id = a_b_id WHERE a_id = :a \gset
SELECT s_name, lt_price AS price FROM security JOIN last_trade ON lt_s_id = s_id WHERE s_id = :s \gset
SELECT sum(h_qty) FROM holding WHERE h_a_id = :a AND h_s_id = :s;
\if :kind <= 60
INSERT INTO trade (t_dts, t_status, t_type, t_s_id, t_qty, t_bid, t_a_id, t_exec_name, t_charge)
	VALUES (now(), 'SBMT', 'TMB', :s, :qty, :price, :a, :c_tier::text, 5) RETURNING t_id AS t \gset
INSERT INTO trade_history VALUES (:t, now(), 'SBMT');
\else
INSERT INTO trade (t_dts, t_status, t_type, t_s_id, t_qty, t_bid, t_a_id, t_exec_name, t_charge)
	VALUES (now(), 'PNDG', 'TLB', :s, :qty, :price * 0.995, :a, :c_tier::text, 5) RETURNING t_id AS t \gset
INSERT INTO trade_history VALUES (:t, now(), 'PNDG');
INSERT INTO trade_request VALUES (:t, :s, :a_b_id, :qty, :price * 0.995);
\endif
\if :kind = 1
ROLLBACK;
\else
COMMIT;
\endif
