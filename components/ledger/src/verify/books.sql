-- Every invariant over all the books, in one snapshot. No row is good.
SELECT 'transaction balances', e.transaction_id::text || ' ' || a.currency
  FROM entries e LEFT JOIN ledger.accounts a USING (account_id) GROUP BY e.transaction_id, a.currency
HAVING a.currency IS NULL OR sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0;
SELECT 'transaction is complete', coalesce(t.transaction_id, e.transaction_id)::text
  FROM transactions t FULL JOIN
       (SELECT transaction_id, count(*) AS n FROM entries GROUP BY transaction_id) e USING (transaction_id)
 WHERE t.entry_count IS DISTINCT FROM coalesce(e.n, 0);
SELECT 'a hold names what it holds', coalesce(t.transaction_id, h.hold_id)::text
  FROM (SELECT transaction_id FROM transactions WHERE kind = 'hold') t
  FULL JOIN holds h ON h.hold_id = t.transaction_id
 WHERE t.transaction_id IS NULL OR h.hold_id IS NULL;
SELECT 'balance is the fold of entries', a.code || ' ' || a.currency
  FROM ledger.accounts a FULL JOIN ledger.balances b USING (account_id)
  LEFT JOIN (SELECT e.account_id, sum(CASE WHEN e.side = o.normal_side THEN e.amount_minor ELSE -e.amount_minor END) AS fold
               FROM entries e JOIN ledger.accounts o USING (account_id) GROUP BY e.account_id) f USING (account_id)
  LEFT JOIN (SELECT account_id, sum(posted_minor) AS posted, sum(held_minor) AS held FROM ledger.raisings GROUP BY account_id) r
      USING (account_id)
  LEFT JOIN (SELECT h.account_id, sum(c.remaining_minor) AS held FROM holds h
               LEFT JOIN ledger.caps c ON c.original_id = h.hold_id GROUP BY h.account_id) h USING (account_id)
 WHERE (a.floor_minor IS NOT NULL OR b.account_id IS NOT NULL)
   AND (b.account_id IS NULL OR b.posted_minor - b.held_minor < a.floor_minor
        OR coalesce(f.fold, 0) IS DISTINCT FROM b.posted_minor + coalesce(r.posted, 0)
        OR coalesce(h.held, 0) IS DISTINCT FROM b.held_minor + coalesce(r.held, 0));
SELECT 'cap is the original less its links', c.original_id::text || ' ' || c.currency
  FROM ledger.caps c LEFT JOIN (
       SELECT t.original_id, a.currency, sum(e.amount_minor) AS taken
         FROM transactions t JOIN entries e USING (transaction_id)
         JOIN ledger.accounts a USING (account_id)
        WHERE t.original_id IS NOT NULL AND t.kind <> 'reversal' AND e.side = 'debit' AND NOT EXISTS (
              SELECT FROM transactions r WHERE r.original_id = t.transaction_id AND r.kind = 'reversal')
        GROUP BY t.original_id, a.currency) links USING (original_id, currency)
 WHERE c.remaining_minor <> CASE WHEN c.reversed_by IS NULL THEN c.original_minor - coalesce(links.taken, 0) ELSE 0 END
   AND NOT EXISTS (SELECT FROM holds h WHERE h.hold_id = c.original_id);
SELECT 'what is held is the hold less its captures', h.hold_id::text
  FROM holds h JOIN ledger.accounts a USING (account_id) LEFT JOIN ledger.caps c ON c.original_id = h.hold_id
  LEFT JOIN (
       SELECT t.original_id, e.account_id, e.side, sum(e.amount_minor) AS taken
         FROM transactions t JOIN entries e USING (transaction_id)
        WHERE t.kind = 'capture' GROUP BY t.original_id, e.account_id, e.side) x
    ON x.original_id = h.hold_id AND x.account_id = h.account_id AND x.side <> a.normal_side
 WHERE coalesce(x.taken, 0) > h.amount_minor OR c.remaining_minor IS DISTINCT FROM
       CASE WHEN c.reversed_by IS NULL THEN h.amount_minor - coalesce(x.taken, 0) ELSE 0 END;
SELECT 'reversed once', t.original_id::text FROM transactions t
 WHERE t.kind IN ('reversal', 'void', 'expire') GROUP BY t.original_id HAVING count(*) > 1;
SELECT 'what was reversed or ended stays so', t.transaction_id::text
  FROM transactions t JOIN ledger.caps c ON c.original_id = t.original_id
 WHERE t.kind IN ('reversal', 'void', 'expire') AND c.reversed_by IS DISTINCT FROM t.transaction_id;
SELECT 'a hold is captured or ended, and nothing else is', t.transaction_id::text
  FROM transactions t JOIN transactions o ON o.transaction_id = t.original_id
 WHERE (o.kind = 'hold') <> (t.kind IN ('capture', 'void', 'expire'));
SELECT 'one decision per identity', coalesce(i.decision, t.transaction_id)::text
  FROM ledger.identities i FULL JOIN
       (SELECT transaction_id, caller, key_date, key FROM transactions UNION ALL
        SELECT refusal_id, caller, key_date, key FROM ledger.refusals) t
    ON i.decision = t.transaction_id AND i.caller = t.caller AND i.key_date = t.key_date
       AND i.key_digest = substr(sha256(convert_to(t.key, 'UTF8')), 1, 16)
 WHERE t.transaction_id IS NULL
    -- Identities of key dates that are not taken any more may have left.
    OR (i.decision IS NULL AND t.key_date >= (SELECT coalesce(max(d.upto), '-infinity') FROM ledger.departures d WHERE d.what = 'identities'));
SELECT 'an identity that has left was decided once', min(t.transaction_id::text)
  FROM (SELECT transaction_id, caller, key_date, key FROM transactions UNION ALL
        SELECT refusal_id, caller, key_date, key FROM ledger.refusals) t
 WHERE t.key_date < (SELECT max(d.upto) FROM ledger.departures d WHERE d.what = 'identities')
 GROUP BY t.caller, t.key_date, t.key HAVING count(*) > 1;
SELECT 'trial balance', a.currency FROM entries e JOIN ledger.accounts a USING (account_id)
 GROUP BY a.currency
HAVING sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0;
SELECT 'a batch counts what it booked', coalesce(b.batch_number, t.batch_number)::text
  FROM ledger.batches b FULL JOIN
       (SELECT batch_number, count(*) AS n FROM transactions GROUP BY batch_number) t USING (batch_number)
 WHERE b.booked IS DISTINCT FROM coalesce(t.n, 0);
SELECT 'what was decided is of a batch', l.subject
  FROM (SELECT a.code || ' ' || a.currency AS subject, a.batch_number FROM ledger.accounts a UNION ALL
        SELECT r.refusal_id::text, r.batch_number FROM ledger.refusals r UNION ALL
        SELECT 'state ' || s.account_id, s.batch_number FROM ledger.account_states s UNION ALL
        SELECT 'config epoch ' || e.config_epoch, e.batch_number FROM ledger.config_epochs e UNION ALL
        SELECT 'departure ' || d.upto, d.batch_number FROM ledger.departures d UNION ALL
        SELECT 'settlement ' || s.transaction_id, s.batch_number FROM ledger.settlements s UNION ALL
        SELECT 'day ' || d.day, d.batch_number FROM ledger.day_closings d) l
  LEFT JOIN ledger.batches b USING (batch_number) WHERE b.batch_number IS NULL;
SELECT 'a settlement date is told of a transaction that had none', s.transaction_id::text
  FROM ledger.settlements s LEFT JOIN transactions t USING (transaction_id)
 WHERE (t.caller = s.caller AND t.settlement_date IS NULL) IS NOT TRUE;
SELECT 'a reference is of a transaction', 'none' FROM external_references WHERE transaction_id IS NULL;
SELECT 'a cap is of its original', coalesce(c.original_id, o.transaction_id)::text || ' ' || coalesce(c.currency, o.currency)
  FROM ledger.caps c FULL JOIN (
       SELECT t.transaction_id, a.currency, sum(e.amount_minor) AS moved
         FROM transactions t JOIN entries e USING (transaction_id) JOIN ledger.accounts a USING (account_id)
        WHERE t.kind <> 'reversal' AND e.side = 'debit' GROUP BY t.transaction_id, a.currency
       UNION ALL SELECT h.hold_id, a.currency, h.amount_minor FROM holds h JOIN ledger.accounts a USING (account_id)) o
    ON o.transaction_id = c.original_id AND o.currency = c.currency
 WHERE c.original_minor IS DISTINCT FROM o.moved;
SELECT 'a cap is ended by the reversal of its original', c.original_id::text
  FROM ledger.caps c LEFT JOIN transactions r
    ON r.transaction_id = c.reversed_by AND r.original_id = c.original_id AND r.kind IN ('reversal', 'void', 'expire')
 WHERE c.reversed_by IS NOT NULL AND r.transaction_id IS NULL;
SELECT 'an entry agrees with its transaction', e.transaction_id::text
  FROM entries e JOIN transactions t ON t.transaction_id = e.transaction_id JOIN ledger.accounts a ON a.account_id = e.account_id
  LEFT JOIN holds h ON t.kind = 'capture' AND h.hold_id = t.original_id
 WHERE e.batch_number <> t.batch_number OR e.due_date IS DISTINCT FROM CASE WHEN a.floor_minor IS NOT NULL THEN t.due_date END
    OR e.was_held <> (e.side <> a.normal_side AND coalesce(h.account_id = e.account_id, false));
SELECT 'a hold is of its batch', h.hold_id::text
  FROM holds h JOIN transactions t ON t.transaction_id = h.hold_id WHERE h.batch_number <> t.batch_number;
SELECT 'the end of a hold sets free what was held still', coalesce(t.transaction_id, x.transaction_id)::text
  FROM (SELECT t.* FROM transactions t WHERE t.kind IN ('void', 'expire')) t
  FULL JOIN hold_ends x ON x.transaction_id = t.transaction_id
  LEFT JOIN holds h ON h.hold_id = t.original_id
  LEFT JOIN (SELECT c.original_id, sum(e.amount_minor) AS taken FROM transactions c JOIN entries e USING (transaction_id)
              WHERE c.kind = 'capture' AND e.was_held GROUP BY c.original_id) c ON c.original_id = t.original_id
 WHERE (x.hold_id, x.account_id, x.batch_number, x.freed_minor)
       IS DISTINCT FROM (t.original_id, h.account_id, t.batch_number, h.amount_minor - coalesce(c.taken, 0));
SELECT 'a checkpoint is what moved up to it', coalesce(c.account_id, m.account_id) || ' at ' || coalesce(c.position, m.upto, 0)
  FROM (SELECT c.account_id, c.position, c.moves, c.low_batch, c.high_batch, c.debit_minor - lag(c.debit_minor, 1, 0::numeric) OVER w AS debit,
               c.credit_minor - lag(c.credit_minor, 1, 0::numeric) OVER w AS credit, c.held_minor - lag(c.held_minor, 1, 0::numeric) OVER w AS held
          FROM ledger.checkpoints c WINDOW w AS (PARTITION BY c.account_id ORDER BY c.position)) c
  FULL JOIN (
       SELECT m.account_id, k.upto, count(*) AS moves, min(m.batch_number) AS low_batch, max(m.batch_number) AS high_batch,
              sum(m.debit) AS debit, sum(m.credit) AS credit, sum(m.held) AS held
         FROM (SELECT e.account_id, e.batch_number, CASE e.side WHEN 'debit' THEN e.amount_minor ELSE 0 END AS debit,
                      CASE e.side WHEN 'credit' THEN e.amount_minor ELSE 0 END AS credit, CASE WHEN e.was_held THEN -e.amount_minor ELSE 0 END AS held
                 FROM entries e
               UNION ALL SELECT h.account_id, h.batch_number, 0, 0, h.amount_minor FROM holds h
               UNION ALL SELECT x.account_id, x.batch_number, 0, 0, -x.freed_minor FROM hold_ends x) m
         JOIN ledger.positions p USING (batch_number), LATERAL (
              SELECT min(c.position) AS upto FROM ledger.checkpoints c WHERE c.account_id = m.account_id AND c.position >= p.position) k
        WHERE k.upto IS NOT NULL OR p.position <= (SELECT r.whole_position FROM ledger.rollup r)
        GROUP BY m.account_id, k.upto) m ON m.account_id = c.account_id AND m.upto = c.position
 WHERE (c.debit, c.credit, c.held, c.moves, c.low_batch, c.high_batch)
       IS DISTINCT FROM (m.debit, m.credit, m.held, m.moves, m.low_batch, m.high_batch);
SELECT 'what is of another day than most is known', coalesce(x.account_id, m.account_id) || ' on ' || coalesce(x.day, m.day)
  FROM (SELECT x.account_id, x.day, main.day AS main_day, sum(x.debit_minor) AS debit, sum(x.credit_minor) AS credit
          FROM ledger.day_moves x, LATERAL (SELECT max(s.day) AS day FROM ledger.day_starts s WHERE s.position < x.position) main
         GROUP BY x.account_id, x.day, main.day) x
  FULL JOIN (
       SELECT e.account_id, t.accounting_date AS day, b.day AS main_day, coalesce(sum(e.amount_minor) FILTER (WHERE e.side = 'debit'), 0) AS debit,
              coalesce(sum(e.amount_minor) FILTER (WHERE e.side = 'credit'), 0) AS credit
         FROM (SELECT p.batch_number, (SELECT s.day FROM ledger.day_starts s WHERE s.position < p.position ORDER BY s.position DESC LIMIT 1) AS day
                 FROM ledger.positions p WHERE p.position <= (SELECT r.whole_position FROM ledger.rollup r)) b
         JOIN transactions t USING (batch_number) JOIN entries e USING (transaction_id)
        WHERE t.accounting_date IS DISTINCT FROM b.day GROUP BY e.account_id, t.accounting_date, b.day) m USING (account_id, day, main_day)
 WHERE (x.debit, x.credit) IS DISTINCT FROM (m.debit, m.credit);
SELECT 'the lowest number beyond the last checkpoints of all is known', r.low_batch::text
  FROM ledger.rollup r, (SELECT min(p.batch_number) AS low_batch FROM ledger.rollup r, ledger.positions p
                          WHERE p.position > r.whole_position AND p.position <= r.position) p
 WHERE r.low_batch IS DISTINCT FROM p.low_batch
