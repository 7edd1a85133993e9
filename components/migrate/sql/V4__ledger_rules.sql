-- What stands behind the functions against our own mistakes: triggers that look
-- at all rows of a statement at once, and refuse the statement. They are on the
-- tables and on each partition (V15), which somebody could write directly.

-- Entries come whole: all that their transaction counts, in one statement with
-- it, they balance in every currency, and no account is shut on that side. With lines unique and counted nothing
-- can be added later, not even by two sessions at once. Their transactions are looked
-- up all at once, in the partitions that the ids lie in.
CREATE FUNCTION ledger.entries_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong record;
    ids uuid[] := ARRAY(SELECT DISTINCT e.transaction_id FROM added e ORDER BY e.transaction_id);
    -- Of the transactions that are there, in the order of ids.
    known record;
BEGIN
    SELECT count(*) AS n, array_agg(t.entry_count ORDER BY t.transaction_id) AS counts, array_agg(t.batch_number ORDER BY t.transaction_id) AS batches,
           array_agg(t.kind = 'capture' ORDER BY t.transaction_id) AS captures
      INTO known FROM ledger.transactions t
     WHERE t.transaction_id = ANY (ids) AND t.transaction_id BETWEEN ids[1] AND ids[cardinality(ids)];
    IF known.n <> cardinality(ids) THEN
        RAISE EXCEPTION 'entries are not the whole of a transaction' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT g.transaction_id, known.counts[g.place] AS entry_count, sum(g.n) AS n, min(g.currency) FILTER (WHERE g.total <> 0) AS currency,
           bool_or(g.shut) AS shut
      INTO wrong
      FROM (SELECT e.transaction_id, a.currency, count(*) AS n, max(e.line) AS line, dense_rank() OVER (ORDER BY e.transaction_id) AS place,
                   CASE WHEN min(e.batch_number) = max(e.batch_number) THEN min(e.batch_number) END AS batch, bool_or(e.was_held) AS was_held,
                   sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) AS total,
                   bool_or(a.state <> 'open' AND a.state IN ('closed', 'frozen', 'frozen_' || e.side)) AS shut
              FROM added e LEFT JOIN ledger.accounts a USING (account_id)
             GROUP BY e.transaction_id, a.currency) g
     GROUP BY g.transaction_id, g.place
    HAVING sum(g.n) IS DISTINCT FROM known.counts[g.place] OR max(g.line) > known.counts[g.place]
        OR bool_or(g.currency IS NULL) OR bool_or(g.total <> 0) OR bool_or(g.shut)
        OR bool_or((g.batch = known.batches[g.place] AND (known.captures[g.place] OR NOT g.was_held)) IS NOT TRUE)
     LIMIT 1;
    IF wrong.shut THEN
        RAISE EXCEPTION 'transaction % moves on an account that is frozen or closed', wrong.transaction_id
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF wrong.transaction_id IS NOT NULL THEN
        RAISE EXCEPTION '% entries of transaction % are not the % that it counts, or do not balance (%)',
            wrong.n, wrong.transaction_id, wrong.entry_count, wrong.currency
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- A transaction comes with its entries, or with what it holds, was decided under
-- its identity and on a config epoch in force, and is of a day that is not closed.
CREATE FUNCTION ledger.transactions_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong record;
    batch record;
    in_force record;
    ids uuid[];
BEGIN
    SELECT min(t.accounting_date) AS earliest, min(t.config_epoch) AS epoch, bool_or(t.kind = 'hold') AS holds INTO batch FROM added t;
    SELECT c.closed_through, c.config_epoch_min INTO STRICT in_force FROM ledger.control c;
    IF batch.earliest <= in_force.closed_through THEN
        RAISE EXCEPTION 'a closed day takes no transaction' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF batch.epoch < in_force.config_epoch_min THEN
        RAISE EXCEPTION 'nothing is booked on a config epoch that is in force no more' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF batch.holds THEN
        IF EXISTS (SELECT FROM added t WHERE t.kind = 'hold'
                      AND (SELECT h.hold_id FROM ledger.holds h WHERE h.hold_id = t.transaction_id) IS NULL) THEN
            RAISE EXCEPTION 'a hold names what it holds' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    -- Of which the first line is there, all are: see above.
    ids := ARRAY(SELECT t.transaction_id FROM added t WHERE t.entry_count > 0 ORDER BY t.transaction_id);
    IF cardinality(ids) <> (SELECT count(*) FROM ledger.entries e WHERE e.transaction_id = ANY (ids) AND e.line = 1
                               AND e.transaction_id BETWEEN ids[1] AND ids[cardinality(ids)]) THEN
        RAISE EXCEPTION 'a transaction lacks entries' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT t.transaction_id INTO wrong
      FROM added t
      LEFT JOIN ledger.identities i ON i.key_date = t.key_date AND i.caller = t.caller
            AND i.key_digest = substr(sha256(convert_to(t.key, 'UTF8')), 1, 16)
     WHERE i.decision IS DISTINCT FROM t.transaction_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction % was not decided under its identity', wrong.transaction_id
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
    -- Of most batches none: see ledger.post.
    IF NOT EXISTS (SELECT FROM added) THEN
        RETURN NULL;
    END IF;
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

CREATE TRIGGER whole AFTER INSERT ON ledger.entries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.entries_are_whole();
CREATE TRIGGER whole AFTER INSERT ON ledger.transactions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.transactions_are_whole();
CREATE TRIGGER decided AFTER INSERT ON ledger.refusals REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refusals_are_decided();
