-- What the batches at the positions $1 to $2 hold: one line for each record, a
-- JSON array, in the order of its bytes; and of all lines of a batch the SHA-256.
-- Entries and references are in their transaction's request hash. Times are
-- microseconds since 1970.
WITH transactions AS NOT MATERIALIZED (SELECT * FROM ledger.transactions UNION ALL SELECT * FROM ledger_archive.transactions),
cut AS MATERIALIZED (
    SELECT p.position, p.epoch, p.batch_number FROM ledger.positions p WHERE p.position BETWEEN $1 AND $2)
SELECT l.position, sha256(convert_to(string_agg(l.line, E'\n' ORDER BY l.line COLLATE "C"), 'UTF8'))
  FROM (
    SELECT c.position, json_build_array('batch', c.position, c.epoch, b.batch_number, b.booked,
               (extract(epoch FROM b.answered_at) * 1000000)::bigint)::text AS line
      FROM cut c JOIN ledger.batches b USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('account', a.account_id, a.code, a.currency, a.normal_side, a.floor_minor, a.metadata,
               (extract(epoch FROM a.opened_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.accounts a USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('transaction', t.transaction_id, t.caller, t.key_date,
               t.key, t.kind, t.entry_count, (extract(epoch FROM t.effective_time) * 1000000)::bigint,
               t.accounting_date, t.settlement_date, t.config_epoch,
               t.original_id, encode(t.request_hash, 'hex'), (extract(epoch FROM t.posted_at) * 1000000)::bigint)::text
      FROM cut c JOIN transactions t USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('day', d.day, d.state, (extract(epoch FROM d.decided_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.day_closings d USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('settlement', s.transaction_id, s.settlement_date, s.caller, (extract(epoch FROM s.told_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.settlements s USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('state', s.account_id, s.state, s.caller, (extract(epoch FROM s.decided_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.account_states s USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('config', e.config_epoch, (extract(epoch FROM e.raised_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.config_epochs e USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('departure', d.what, d.upto, (extract(epoch FROM d.decided_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.departures d USING (batch_number)
    UNION ALL
    SELECT c.position, json_build_array('refusal', r.refusal_id, r.caller, r.key_date, r.key,
               r.reason, r.subject, r.message, r.config_epoch, encode(r.request_hash, 'hex'),
               (extract(epoch FROM r.refused_at) * 1000000)::bigint)::text
      FROM cut c JOIN ledger.refusals r USING (batch_number)) l
 GROUP BY l.position ORDER BY l.position
