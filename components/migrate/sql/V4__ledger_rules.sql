-- What stands behind the functions against our own mistakes: triggers that look
-- at all rows of a statement at once, and refuse the statement. They are on the
-- tables and on each partition, which somebody could write directly.

-- Entries come whole: all that their transaction counts, in one statement with
-- it, and they balance in every currency. With lines unique and counted nothing
-- can be added later, not even by two sessions at once.
CREATE FUNCTION ledger.entries_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT g.transaction_id, t.entry_count, sum(g.n) AS n, max(g.line) AS line, min(g.currency) FILTER (WHERE g.total <> 0) AS currency
      INTO wrong
      FROM (SELECT e.transaction_id, a.currency, count(*) AS n, max(e.line) AS line,
                   CASE WHEN min(e.batch_number) = max(e.batch_number) THEN min(e.batch_number) END AS batch, bool_or(e.was_held) AS was_held,
                   sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) AS total
              FROM added e LEFT JOIN ledger.accounts a USING (account_id)
             GROUP BY e.transaction_id, a.currency) g
      LEFT JOIN ledger.transactions t USING (transaction_id)
     GROUP BY g.transaction_id, t.entry_count
    HAVING sum(g.n) IS DISTINCT FROM t.entry_count OR max(g.line) > t.entry_count
        OR bool_or(g.currency IS NULL) OR bool_or(g.total <> 0)
        OR bool_and(g.batch = t.batch_number AND (t.kind = 'capture' OR NOT g.was_held)) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% entries of transaction % are not the % that it counts, or do not balance (%)',
            wrong.n, wrong.transaction_id, wrong.entry_count, wrong.currency
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- A transaction comes with its entries, or with what it holds, was decided under
-- its identity, and is of a day that is not closed.
CREATE FUNCTION ledger.transactions_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    IF EXISTS (SELECT FROM added t WHERE t.accounting_date <= (SELECT c.closed_through FROM ledger.control c)) THEN
        RAISE EXCEPTION 'a closed day takes no transaction' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (SELECT FROM added t WHERE t.kind = 'hold'
                  AND (SELECT h.hold_id FROM ledger.holds h WHERE h.hold_id = t.transaction_id) IS NULL) THEN
        RAISE EXCEPTION 'a hold names what it holds' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT t.transaction_id, i.decision, e.line INTO wrong
      FROM added t
      LEFT JOIN ledger.identities i ON i.key_date = t.key_date AND i.caller = t.caller
            AND i.key_digest = substr(sha256(convert_to(t.key, 'UTF8')), 1, 16)
      LEFT JOIN ledger.entries e ON e.transaction_id = t.transaction_id AND e.line = t.entry_count
     WHERE i.decision IS DISTINCT FROM t.transaction_id OR (e.line IS NULL AND t.entry_count > 0)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction % was not decided under its identity, or lacks entries', wrong.transaction_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.refusals_are_decided() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT r.refusal_id INTO wrong
      FROM added r
      LEFT JOIN ledger.identities i ON i.key_date = r.key_date AND i.caller = r.caller
            AND i.key_digest = substr(sha256(convert_to(r.key, 'UTF8')), 1, 16)
     WHERE i.decision IS DISTINCT FROM r.refusal_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'refusal % was not decided under its identity', wrong
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['entries', 'entries_all'] LOOP
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION ledger.entries_are_whole()', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['transactions', 'transactions_all'] LOOP
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION ledger.transactions_are_whole()', name);
    END LOOP;
    EXECUTE 'CREATE TRIGGER decided AFTER INSERT ON ledger.refusals REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refusals_are_decided()';
END $$;
