\set a 1 + permute(random_zipfian(1, 10000, 1.05) - 1, 10000)
BEGIN;
SELECT t_id, t_dts, t_status, t_type, s_symbol, s_name, t_qty, t_exec_name, t_charge FROM trade
	JOIN security ON s_id = t_s_id WHERE t_a_id = :a ORDER BY t_dts DESC LIMIT 50;
SELECT c_name, b_name FROM account JOIN customer ON c_id = a_c_id JOIN broker ON b_id = a_b_id WHERE a_id = :a;
COMMIT;
