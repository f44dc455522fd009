-- Twenty prices change, and what was waiting for such a price is submitted.
\set s random(1, 2980)
\set up random(-50, 50)
BEGIN;
UPDATE last_trade SET lt_price = greatest(1, lt_open + :up / 100.0), lt_vol = lt_vol + 100, lt_dts = now()
	WHERE lt_s_id BETWEEN :s AND :s + 19;
WITH triggered AS (DELETE FROM trade_request USING last_trade
		WHERE lt_s_id = tr_s_id AND tr_s_id BETWEEN :s AND :s + 19 AND lt_price <= tr_bid RETURNING tr_t_id),
	submitted AS (UPDATE trade SET t_status = 'SBMT', t_dts = now() FROM triggered WHERE t_id = tr_t_id RETURNING t_id)
	INSERT INTO trade_history SELECT t_id, now(), 'SBMT' FROM submitted;
COMMIT;
