\set c 1 + permute(random_zipfian(1, 5000, 1.05) - 1, 5000)
\set day random(1, 60)
SELECT sum(s_outstanding * dm_close) AS old, sum(s_outstanding * lt_price) AS new FROM watch_item
	JOIN security ON s_id = w_s_id JOIN last_trade ON lt_s_id = w_s_id
	JOIN daily_market ON dm_s_id = w_s_id AND dm_date = '2023-10-01'::date + :day::int
	WHERE w_c_id = :c;
