\set s random(1, 3000)
\set day random(1, 40)
BEGIN;
SELECT s_symbol, s_name, s_company, s_52_high, s_52_low FROM security WHERE s_id = :s;
SELECT dm_date, dm_close, dm_high, dm_low, dm_vol FROM daily_market
	WHERE dm_s_id = :s AND dm_date >= '2023-10-01'::date + :day::int ORDER BY dm_date LIMIT 20;
SELECT lt_price, lt_open, lt_vol FROM last_trade WHERE lt_s_id = :s;
SELECT n_dts, n_headline, n_text FROM news WHERE n_s_id = :s ORDER BY n_dts DESC LIMIT 2;
COMMIT;
