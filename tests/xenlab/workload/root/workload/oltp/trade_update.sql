\set a random(1, 10000)
\set day random(0, 170)
BEGIN;
UPDATE trade SET t_exec_name = CASE WHEN t_exec_name LIKE '% X %' THEN replace(t_exec_name, ' X ', ' ')
		ELSE replace(t_exec_name, ' ', ' X ') END
	WHERE t_id IN (SELECT t_id FROM trade WHERE t_a_id = :a
		AND t_dts >= '2023-06-01'::timestamp + :day * interval '1 day' ORDER BY t_dts LIMIT 20);
SELECT th_t_id, th_dts, th_status FROM trade_history WHERE th_t_id IN
	(SELECT t_id FROM trade WHERE t_a_id = :a ORDER BY t_dts LIMIT 20) ORDER BY th_t_id, th_dts;
COMMIT;
