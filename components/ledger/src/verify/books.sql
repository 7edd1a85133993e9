-- Every invariant over all the books, in one snapshot. No row is good.
SELECT 'transaction balances', e.transaction_id::text || ' ' || a.currency
  FROM ledger.entries e LEFT JOIN ledger.accounts a USING (account_id) GROUP BY e.transaction_id, a.currency
HAVING a.currency IS NULL OR sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0
UNION ALL
SELECT 'transaction is complete', coalesce(t.transaction_id, e.transaction_id)::text
  FROM ledger.transactions t FULL JOIN
       (SELECT transaction_id, count(*) AS n FROM ledger.entries GROUP BY transaction_id) e USING (transaction_id)
 WHERE t.entry_count IS DISTINCT FROM coalesce(e.n, 0)
UNION ALL
SELECT 'a hold names what it holds', coalesce(t.transaction_id, h.hold_id)::text
  FROM (SELECT transaction_id FROM ledger.transactions WHERE kind = 'hold') t
  FULL JOIN ledger.holds h ON h.hold_id = t.transaction_id
 WHERE t.transaction_id IS NULL OR h.hold_id IS NULL
UNION ALL
SELECT 'balance is the fold of entries', a.code || ' ' || a.currency
  FROM ledger.accounts a FULL JOIN ledger.balances b USING (account_id)
  LEFT JOIN (SELECT e.account_id, sum(CASE WHEN e.side = o.normal_side THEN e.amount_minor ELSE -e.amount_minor END) AS fold
               FROM ledger.entries e JOIN ledger.accounts o USING (account_id) GROUP BY e.account_id) f USING (account_id)
  LEFT JOIN (SELECT account_id, sum(posted_minor) AS posted, sum(held_minor) AS held FROM ledger.raisings GROUP BY account_id) r
      USING (account_id)
  LEFT JOIN (SELECT h.account_id, sum(c.remaining_minor) AS held FROM ledger.holds h
               LEFT JOIN ledger.caps c ON c.original_id = h.hold_id GROUP BY h.account_id) h USING (account_id)
 WHERE (a.floor_minor IS NOT NULL OR b.account_id IS NOT NULL)
   AND (b.account_id IS NULL OR b.posted_minor - b.held_minor < a.floor_minor
        OR coalesce(f.fold, 0) IS DISTINCT FROM b.posted_minor + coalesce(r.posted, 0)
        OR coalesce(h.held, 0) IS DISTINCT FROM b.held_minor + coalesce(r.held, 0))
UNION ALL
SELECT 'cap is the original less its links', c.original_id::text || ' ' || c.currency
  FROM ledger.caps c LEFT JOIN (
       SELECT t.original_id, a.currency, sum(e.amount_minor) AS taken
         FROM ledger.transactions t JOIN ledger.entries e USING (transaction_id)
         JOIN ledger.accounts a USING (account_id)
        WHERE t.original_id IS NOT NULL AND t.kind <> 'reversal' AND e.side = 'debit' AND NOT EXISTS (
              SELECT FROM ledger.transactions r WHERE r.original_id = t.transaction_id AND r.kind = 'reversal')
        GROUP BY t.original_id, a.currency) links USING (original_id, currency)
 WHERE c.remaining_minor <> CASE WHEN c.reversed_by IS NULL THEN c.original_minor - coalesce(links.taken, 0) ELSE 0 END
   AND NOT EXISTS (SELECT FROM ledger.holds h WHERE h.hold_id = c.original_id)
UNION ALL
SELECT 'what is held is the hold less its captures', h.hold_id::text
  FROM ledger.holds h JOIN ledger.accounts a USING (account_id) LEFT JOIN ledger.caps c ON c.original_id = h.hold_id
  LEFT JOIN (
       SELECT t.original_id, e.account_id, e.side, sum(e.amount_minor) AS taken
         FROM ledger.transactions t JOIN ledger.entries e USING (transaction_id)
        WHERE t.kind = 'capture' GROUP BY t.original_id, e.account_id, e.side) x
    ON x.original_id = h.hold_id AND x.account_id = h.account_id AND x.side <> a.normal_side
 WHERE coalesce(x.taken, 0) > h.amount_minor OR c.remaining_minor IS DISTINCT FROM
       CASE WHEN c.reversed_by IS NULL THEN h.amount_minor - coalesce(x.taken, 0) ELSE 0 END
UNION ALL
SELECT 'reversed once', t.original_id::text FROM ledger.transactions t
 WHERE t.kind IN ('reversal', 'void', 'expire') GROUP BY t.original_id HAVING count(*) > 1
UNION ALL
SELECT 'what was reversed or ended stays so', t.transaction_id::text
  FROM ledger.transactions t JOIN ledger.caps c ON c.original_id = t.original_id
 WHERE t.kind IN ('reversal', 'void', 'expire') AND c.reversed_by IS DISTINCT FROM t.transaction_id
UNION ALL
SELECT 'a hold is captured or ended, and nothing else is', t.transaction_id::text
  FROM ledger.transactions t JOIN ledger.transactions o ON o.transaction_id = t.original_id
 WHERE (o.kind = 'hold') <> (t.kind IN ('capture', 'void', 'expire'))
UNION ALL
SELECT 'one decision per identity', coalesce(i.decision, t.transaction_id)::text
  FROM ledger.identities i FULL JOIN
       (SELECT transaction_id, caller, key_date, key FROM ledger.transactions UNION ALL
        SELECT refusal_id, caller, key_date, key FROM ledger.refusals) t
    ON i.decision = t.transaction_id AND i.caller = t.caller AND i.key_date = t.key_date
       AND i.key_digest = substr(sha256(convert_to(t.key, 'UTF8')), 1, 16)
 WHERE i.decision IS NULL OR t.transaction_id IS NULL
UNION ALL
SELECT 'trial balance', a.currency FROM ledger.entries e JOIN ledger.accounts a USING (account_id)
 GROUP BY a.currency
HAVING sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0
UNION ALL
SELECT 'a batch counts what it booked', coalesce(b.batch_number, t.batch_number)::text
  FROM ledger.batches b FULL JOIN
       (SELECT batch_number, count(*) AS n FROM ledger.transactions GROUP BY batch_number) t USING (batch_number)
 WHERE b.booked IS DISTINCT FROM coalesce(t.n, 0)
UNION ALL
SELECT 'an account or a refusal is of a batch', l.subject
  FROM (SELECT a.code || ' ' || a.currency AS subject, a.batch_number FROM ledger.accounts a UNION ALL
        SELECT r.refusal_id::text, r.batch_number FROM ledger.refusals r) l
  LEFT JOIN ledger.batches b USING (batch_number) WHERE b.batch_number IS NULL
UNION ALL
SELECT 'a cap is of its original', coalesce(c.original_id, o.transaction_id)::text || ' ' || coalesce(c.currency, o.currency)
  FROM ledger.caps c FULL JOIN (
       SELECT t.transaction_id, a.currency, sum(e.amount_minor) AS moved
         FROM ledger.transactions t JOIN ledger.entries e USING (transaction_id) JOIN ledger.accounts a USING (account_id)
        WHERE t.kind <> 'reversal' AND e.side = 'debit' GROUP BY t.transaction_id, a.currency
       UNION ALL SELECT h.hold_id, a.currency, h.amount_minor FROM ledger.holds h JOIN ledger.accounts a USING (account_id)) o
    ON o.transaction_id = c.original_id AND o.currency = c.currency
 WHERE c.original_minor IS DISTINCT FROM o.moved
UNION ALL
SELECT 'a cap is ended by the reversal of its original', c.original_id::text
  FROM ledger.caps c LEFT JOIN ledger.transactions r
    ON r.transaction_id = c.reversed_by AND r.original_id = c.original_id AND r.kind IN ('reversal', 'void', 'expire')
 WHERE c.reversed_by IS NOT NULL AND r.transaction_id IS NULL
