\set c 1 + permute(random_zipfian(1, 5000, 1.05) - 1, 5000)
BEGIN;
SELECT c_name, c_tier, c_address, c_email FROM customer WHERE c_id = :c;
SELECT a_id, a_balance, coalesce(sum(h_qty * lt_price), 0) AS assets FROM account
	LEFT JOIN holding ON h_a_id = a_id LEFT JOIN last_trade ON lt_s_id = h_s_id
	WHERE a_c_id = :c GROUP BY a_id, a_balance ORDER BY assets;
SELECT t_id, t_s_id, t_qty, th_status, th_dts FROM
	(SELECT t_id, t_s_id, t_qty FROM trade WHERE t_a_id = 2 * :c ORDER BY t_dts DESC LIMIT 10) t
	JOIN trade_history ON th_t_id = t_id ORDER BY th_dts DESC LIMIT 30;
COMMIT;
