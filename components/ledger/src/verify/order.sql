-- The order of the books, over all that have positions. No row is good.
SELECT 'a batch has a position or waits for one', coalesce(b.batch_number, p.batch_number, u.batch_number)::text
  FROM ledger.batches b FULL JOIN ledger.positions p USING (batch_number)
  FULL JOIN ledger.unsealed_batches u USING (batch_number)
 WHERE b.batch_number IS NULL OR (p.position IS NULL) = (u.batch_number IS NULL);
SELECT 'positions have no gap', max(p.position)::text FROM ledger.positions p HAVING count(*) <> max(p.position);
SELECT 'a link stands behind its original', t.transaction_id::text
  FROM transactions t JOIN ledger.positions own USING (batch_number)
  JOIN transactions o ON o.transaction_id = t.original_id
  LEFT JOIN ledger.positions first ON first.batch_number = o.batch_number
 WHERE (first.position <= own.position) IS NOT TRUE;
SELECT 'a floor holds at every position', f.code || ' ' || f.currency || ' at ' || f.position
  FROM (SELECT a.code, a.currency, a.floor_minor, p.position,
               sum(sum(c.change)) OVER (PARTITION BY a.account_id ORDER BY p.position) AS available
          FROM (SELECT t.batch_number, e.account_id, CASE WHEN e.side = a.normal_side THEN e.amount_minor
                       -- What a capture takes was not available before.
                       WHEN h.account_id = e.account_id THEN 0 ELSE -e.amount_minor END AS change
                  FROM entries e JOIN ledger.accounts a USING (account_id) JOIN transactions t USING (transaction_id)
                  LEFT JOIN holds h ON t.kind = 'capture' AND h.hold_id = t.original_id
                 WHERE a.floor_minor IS NOT NULL
                UNION ALL
                SELECT t.batch_number, h.account_id, -h.amount_minor
                  FROM holds h JOIN transactions t ON t.transaction_id = h.hold_id
                UNION ALL
                SELECT t.batch_number, h.account_id, h.amount_minor - coalesce((
                       SELECT sum(e.amount_minor) FROM transactions x JOIN entries e USING (transaction_id)
                        WHERE x.original_id = h.hold_id AND x.kind = 'capture' AND e.account_id = h.account_id
                          AND e.side <> a.normal_side), 0)
                  FROM holds h JOIN ledger.accounts a USING (account_id) JOIN transactions t ON t.original_id = h.hold_id AND t.kind IN ('void', 'expire')) c
          JOIN ledger.accounts a USING (account_id) JOIN ledger.positions p ON p.batch_number = c.batch_number
         GROUP BY a.account_id, a.code, a.currency, a.floor_minor, p.position) f
 WHERE f.available < f.floor_minor;
SELECT 'a closed day takes nothing more', t.transaction_id::text
  FROM (SELECT t.accounting_date, (SELECT d.batch_number FROM ledger.day_closings d
                                    WHERE d.state = 'closed' AND d.day >= t.accounting_date ORDER BY d.day LIMIT 1) AS closed_by
          FROM (SELECT DISTINCT accounting_date FROM transactions) t) d
  JOIN transactions t USING (accounting_date)
 WHERE t.batch_number > d.closed_by;
SELECT 'the days that are closed are those that were', c.closing_through || ' ' || c.closed_through
  FROM ledger.control c, (
       SELECT coalesce(max(d.day), '-infinity') AS closing,
              coalesce(max(d.day) FILTER (WHERE d.state = 'closed'), '-infinity') AS closed FROM ledger.day_closings d) d
 WHERE c.closing_through <> d.closing OR c.closed_through <> d.closed;
SELECT 'an account is in the state that it was put in', a.code || ' ' || a.currency
  FROM ledger.accounts a LEFT JOIN LATERAL (
       SELECT s.state FROM ledger.account_states s WHERE s.account_id = a.account_id ORDER BY s.batch_number DESC LIMIT 1) s ON true
 WHERE a.state <> coalesce(s.state, 'open');
SELECT 'the config epoch is the last that was raised', c.config_epoch_min::text
  FROM ledger.control c WHERE c.config_epoch_min <> (SELECT coalesce(max(e.config_epoch), 0) FROM ledger.config_epochs e);
SELECT 'an account takes nothing in a state that forbids it', e.transaction_id::text
  FROM (SELECT s.account_id, s.state, s.batch_number,
               lead(s.batch_number) OVER (PARTITION BY s.account_id ORDER BY s.batch_number) AS next_batch FROM ledger.account_states s) s
  JOIN (SELECT e.transaction_id, e.account_id, e.batch_number, e.side::text FROM entries e UNION ALL
        SELECT h.hold_id, h.account_id, h.batch_number, CASE a.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END
          FROM holds h JOIN ledger.accounts a USING (account_id)) e USING (account_id)
 WHERE s.state IN ('closed', 'frozen', 'frozen_' || e.side) AND e.batch_number > s.batch_number
   AND (e.batch_number < s.next_batch) IS NOT FALSE;
SELECT 'a settlement date is told after its transaction', t.transaction_id::text
  FROM ledger.settlements s JOIN transactions t USING (transaction_id) WHERE s.batch_number <= t.batch_number;
SELECT 'a transaction was decided on a config epoch in force', t.transaction_id::text
  FROM (SELECT b.batch_number, (SELECT e.config_epoch FROM ledger.config_epochs e
                                    WHERE e.batch_number < b.batch_number ORDER BY e.batch_number DESC LIMIT 1) AS epoch
          FROM ledger.batches b) b
  JOIN transactions t USING (batch_number) WHERE t.config_epoch < b.epoch;
SELECT 'the epoch of the books never falls', e.position::text
  FROM (SELECT p.position, p.epoch, lag(p.epoch) OVER (ORDER BY p.position) AS before FROM ledger.positions p) e
 WHERE e.epoch < e.before;
SELECT 'the epoch of the books never falls', c.books_epoch::text
  FROM ledger.control c WHERE c.books_epoch < (SELECT max(p.epoch) FROM ledger.positions p);
SELECT 'identities leave when nobody can use their dates', d.upto::text
  FROM ledger.departures d JOIN ledger.batches b USING (batch_number), payplane.control c
 WHERE d.what = 'identities' AND d.upto > (b.answered_at AT TIME ZONE c.time_zone)::date - 400;
SELECT 'no key date is taken of which identities have left', c.keys_from::text
  FROM ledger.control c
 WHERE c.keys_from < (SELECT max(d.upto) FROM ledger.departures d WHERE d.what = 'identities')
