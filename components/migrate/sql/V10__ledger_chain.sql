-- A hash over the books at each position: SHA-256 of the one before it and of
-- what the batch at this position holds (components/ledger/src/seal). Whoever
-- has seen a hash outside the database can tell whether anything up to it was
-- changed since. The ledger computes it and says it outside, signed with a key
-- that no database knows.

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
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.chain
    FOR EACH ROW EXECUTE FUNCTION payplane.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.chain
    FOR EACH STATEMENT EXECUTE FUNCTION payplane.refuse_change();

-- Continues the chain, and says by how many. Whoever comes second, and computed
-- from an end that is not the end any more, adds nothing.
CREATE FUNCTION ledger.extend_chain(p_last bigint, p_last_hash bytea, p_hashes bytea[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tip record;
    added bigint := 0;
BEGIN
    PERFORM ledger.commit_durably();
    IF (cardinality(p_hashes) BETWEEN 1 AND 10000 AND p_last >= 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'a chain with such arguments is refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF pg_try_advisory_xact_lock(7813575004) THEN
        SELECT c.position, c.hash INTO tip FROM ledger.chain c ORDER BY c.position DESC LIMIT 1;
        IF coalesce(tip.position, 0) = p_last AND tip.hash IS NOT DISTINCT FROM p_last_hash THEN
            INSERT INTO ledger.chain (position, hash)
            SELECT p_last + h.n, h.hash FROM unnest(p_hashes) WITH ORDINALITY h (hash, n);
            GET DIAGNOSTICS added = ROW_COUNT;
        END IF;
    END IF;
    RETURN added;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.extend_chain TO ledger;
GRANT SELECT ON ledger.chain, ledger.batches TO ledger;
