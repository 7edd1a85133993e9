-- The order of the books, over all that have positions. No row is good.
SELECT 'a batch has a position or waits for one', coalesce(b.batch_number, p.batch_number, u.batch_number)::text
  FROM ledger.batches b FULL JOIN ledger.positions p USING (batch_number)
  FULL JOIN ledger.unsealed_batches u USING (batch_number)
 WHERE b.batch_number IS NULL OR (p.position IS NULL) = (u.batch_number IS NULL)
UNION ALL
SELECT 'positions have no gap', max(p.position)::text FROM ledger.positions p HAVING count(*) <> max(p.position)
UNION ALL
SELECT 'a link stands behind its original', t.transaction_id::text
  FROM ledger.transactions t JOIN ledger.positions own USING (batch_number)
  JOIN ledger.transactions o ON o.transaction_id = t.original_id
  LEFT JOIN ledger.positions first ON first.batch_number = o.batch_number
 WHERE (first.position <= own.position) IS NOT TRUE
UNION ALL
SELECT 'a floor holds at every position', f.code || ' ' || f.currency || ' at ' || f.position
  FROM (SELECT a.code, a.currency, a.floor_minor, p.position,
               sum(sum(CASE WHEN e.side = a.normal_side THEN e.amount_minor ELSE -e.amount_minor END))
                   OVER (PARTITION BY a.account_id ORDER BY p.position) AS balance
          FROM ledger.entries e JOIN ledger.accounts a USING (account_id)
          JOIN ledger.transactions t USING (transaction_id) JOIN ledger.positions p ON p.batch_number = t.batch_number
         WHERE a.floor_minor IS NOT NULL
         GROUP BY a.account_id, a.code, a.currency, a.floor_minor, p.position) f
 WHERE f.balance < f.floor_minor
UNION ALL
SELECT 'a closed day takes nothing more', t.transaction_id::text
  FROM (SELECT d.day, d.batch_number, coalesce(lag(d.day) OVER (ORDER BY d.day), '-infinity') AS before
          FROM ledger.day_closings d WHERE d.state = 'closed') d
  JOIN ledger.transactions t ON t.accounting_date > d.before AND t.accounting_date <= d.day
 WHERE t.batch_number > d.batch_number
UNION ALL
SELECT 'the days that are closed are those that were', c.closing_through || ' ' || c.closed_through
  FROM ledger.control c, (
       SELECT coalesce(max(d.day), '-infinity') AS closing,
              coalesce(max(d.day) FILTER (WHERE d.state = 'closed'), '-infinity') AS closed FROM ledger.day_closings d) d
 WHERE c.closing_through <> d.closing OR c.closed_through <> d.closed
