-- The market has carried out a trade that was submitted: the oldest that no other client is at.
BEGIN;
SELECT coalesce(max(t_id), 0) AS t FROM
	(SELECT t_id FROM trade WHERE t_status = 'SBMT' ORDER BY t_id LIMIT 1 FOR UPDATE SKIP LOCKED) oldest \gset
\if :t > 0
SELECT t_a_id AS a, t_s_id AS s, t_qty AS qty, lt_price AS price, a_b_id AS b, t_qty * lt_price AS amount
	FROM trade JOIN last_trade ON lt_s_id = t_s_id JOIN account ON a_id = t_a_id WHERE t_id = :t \gset
INSERT INTO holding VALUES (:t, :a, :s, now(), :price, :qty);
UPDATE trade SET t_status = 'CMPT', t_price = :price, t_comm = :qty * 0.02, t_dts = now() WHERE t_id = :t;
INSERT INTO trade_history VALUES (:t, now(), 'CMPT');
UPDATE broker SET b_num_trades = b_num_trades + 1, b_comm_total = b_comm_total + :qty * 0.02 WHERE b_id = :b;
INSERT INTO cash_transaction VALUES (:t, now(), :amount, 'Market buy of ' || :qty::text || ' shares');
UPDATE account SET a_balance = a_balance - :amount WHERE a_id = :a;
\endif
COMMIT;
