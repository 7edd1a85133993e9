-- A hash over the books at each position: SHA-256 of the one before it and of
-- what the batch at this position holds. Whoever has seen a hash outside the
-- database can tell whether anything up to it was changed since. The ledger says
-- it outside, signed with a key that no database knows.

CREATE TABLE ledger.chain (
    position bigint PRIMARY KEY,
    hash     bytea NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE FUNCTION ledger.chain_follows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT a.position INTO wrong
      FROM added a LEFT JOIN ledger.chain c ON c.position = a.position - 1
      LEFT JOIN ledger.positions p ON p.position = a.position
     WHERE (a.position > 1 AND c.position IS NULL) OR p.position IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the hash at % does not follow another one, or is of no position', wrong
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT ON ledger.chain REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.chain_follows();
SELECT payplane.append_only('ledger.chain');

-- What the batches at these positions hold: one line for each record, a JSON
-- array, in the order of its bytes, and of all lines of a batch the SHA-256.
-- Entries and references are in their transaction's request hash; times are
-- microseconds since 1970. `verify` brings the same question along.
CREATE FUNCTION ledger.contents(p_first bigint, p_last bigint) RETURNS TABLE (place bigint, content bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_seqscan = off SET work_mem = '64MB' AS $$
    WITH cut AS MATERIALIZED (
        SELECT p.position, p.epoch, p.batch_number FROM ledger.positions p WHERE p.position BETWEEN p_first AND p_last)
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
          FROM cut c JOIN ledger.transactions t USING (batch_number)
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
     GROUP BY l.position ORDER BY l.position;
$$;

-- Continues the chain over up to so many positions; one at a time, and whoever
-- comes second finds nothing to do. Says where the chain then ends, and whether
-- it still has the hash that the caller saw last. What is said has waited for the
-- required standby, also where somebody else wrote it.
CREATE FUNCTION ledger.seal(p_max int, p_seen bigint, p_seen_hash bytea, OUT books text, OUT epoch int,
    OUT place bigint, OUT hash bytea, OUT given bigint, OUT lag_ms bigint, OUT contains boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before bigint;
    next record;
    hashes bytea[] := '{}';
BEGIN
    PERFORM ledger.commit_durably();
    SELECT c.position, c.hash INTO before, hash FROM ledger.chain c ORDER BY c.position DESC LIMIT 1;
    place := coalesce(before, 0);
    SELECT coalesce(max(p.position), 0) INTO given FROM ledger.positions p;
    contains := EXISTS (SELECT FROM ledger.chain c WHERE c.position = p_seen AND c.hash = p_seen_hash);
    IF given > place AND (contains OR p_seen = 0) AND pg_try_advisory_xact_lock(7813575004) THEN
        -- Read again: another one may have sealed before the lock was taken.
        SELECT c.position, c.hash INTO before, hash FROM ledger.chain c ORDER BY c.position DESC LIMIT 1;
        before := coalesce(before, 0);
        place := before;
        FOR next IN SELECT c.* FROM ledger.contents(before + 1, least(given, before + least(p_max, 1024))) c LOOP
            place := place + 1;
            IF next.place <> place THEN
                RAISE EXCEPTION 'a batch that has position % is not in the books', place USING ERRCODE = 'data_corrupted';
            END IF;
            hash := sha256(coalesce(hash, decode(repeat('00', 32), 'hex')) || next.content);
            hashes := hashes || hash;
        END LOOP;
        INSERT INTO ledger.chain (position, hash)
        SELECT before + h.n, h.hash FROM unnest(hashes) WITH ORDINALITY h (hash, n);
    END IF;
    IF place > p_seen THEN
        PERFORM pg_logical_emit_message(true, 'payplane', 'seal');
    END IF;
    SELECT c.books_id::text, coalesce(p.epoch, l.books_epoch) INTO STRICT books, epoch
      FROM payplane.control c CROSS JOIN ledger.control l LEFT JOIN ledger.positions p ON p.position = place;
    SELECT coalesce((extract(epoch FROM clock_timestamp() - b.answered_at) * 1000)::bigint, 0) INTO lag_ms
      FROM ledger.batches b WHERE b.batch_number = coalesce(
           (SELECT p.batch_number FROM ledger.positions p WHERE p.position = place + 1),
           (SELECT min(u.batch_number) FROM ledger.unsealed_batches u));
    lag_ms := coalesce(lag_ms, 0);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.seal TO ledger;
GRANT SELECT ON ledger.chain, ledger.batches TO ledger;
