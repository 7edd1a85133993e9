-- Of the transactions from $1 to $2, those whose entries, references or own fields are
-- not what was asked for: the text that `Posting::hash` digests, from what is stored.
-- No row is good.
SELECT 'a transaction is what was asked for', t.transaction_id::text
  FROM (SELECT * FROM transactions WHERE transaction_id BETWEEN $1 AND $2) t
  LEFT JOIN LATERAL (
       SELECT o.key_date, o.key FROM transactions o WHERE o.transaction_id = t.original_id OFFSET 0) o ON true
  LEFT JOIN (SELECT hold_id, expires_at FROM holds WHERE hold_id BETWEEN $1 AND $2) h ON h.hold_id = t.transaction_id
  LEFT JOIN (
       SELECT e.transaction_id, string_agg(concat_ws(' ', coalesce(e.side, CASE a.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END::ledger.side),
                                                     a.code, e.amount_minor, a.currency) || E'\n', '' ORDER BY e.line) AS text
         FROM (SELECT transaction_id, line, account_id, side, amount_minor FROM entries WHERE transaction_id BETWEEN $1 AND $2 UNION ALL
               SELECT hold_id, 1, account_id, NULL, amount_minor FROM holds WHERE hold_id BETWEEN $1 AND $2) e
         LEFT JOIN ledger.accounts a USING (account_id) GROUP BY e.transaction_id) e
    ON e.transaction_id = t.transaction_id
  LEFT JOIN (
       SELECT r.transaction_id, string_agg(r.type || '=' || r.value || E'\n', '' ORDER BY r.type, r.value) AS text
         FROM external_references r WHERE r.transaction_id BETWEEN $1 AND $2 GROUP BY r.transaction_id) r
    ON r.transaction_id = t.transaction_id
 WHERE t.request_hash <> sha256(convert_to(concat(
       E'2\n', t.kind, E'\n', e.text, r.text,
       'effective ', (extract(epoch FROM t.effective_time) * 1000000)::bigint, E'\n',
       'settlement ' || (to_json(t.settlement_date) #>> '{}') || E'\n',
       'due ' || (to_json(t.due_date) #>> '{}') || ' ' || t.calendar_version || E'\n',
       CASE WHEN t.day_demanded THEN 'accounting ' || (to_json(t.accounting_date) #>> '{}') || E'\n' END,
       'expires ' || (extract(epoch FROM h.expires_at) * 1000000)::bigint || E'\n',
       'original ' || (to_json(o.key_date) #>> '{}') || ' ' || o.key || E'\n'), 'UTF8'));
SELECT 'a reference is of a transaction, and printable', coalesce(r.transaction_id::text, '?')
  FROM (SELECT * FROM external_references WHERE transaction_id BETWEEN $1 AND $2) r
  LEFT JOIN (SELECT transaction_id FROM transactions WHERE transaction_id BETWEEN $1 AND $2) t USING (transaction_id)
 WHERE t.transaction_id IS NULL OR r.value !~ '^[ -~]{1,128}$'
