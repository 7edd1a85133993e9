-- The order of the books. A batch draws its number after its last read, so what
-- it was decided on has a lower one. Positions follow that order among the
-- batches that one snapshot sees committed: without gaps, once, for ever. A batch
-- that commits later gets a later position, whatever its number: nothing that has
-- a position was decided on it. What cuts the books in two cuts at a position.

CREATE TABLE ledger.positions (
    position     bigint PRIMARY KEY CHECK (position > 0),
    -- It rises when older books are brought back, as positions after them were
    -- given already: (epoch, position) is never given twice.
    epoch        integer NOT NULL CHECK (epoch > 0),
    batch_number bigint NOT NULL UNIQUE,
    -- Never earlier than the one before, whatever the clock says.
    given_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row for each batch that has none yet.
CREATE TABLE ledger.unsealed_batches (
    batch_number bigint PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION ledger.batch_waits() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.unsealed_batches (batch_number) VALUES (NEW.batch_number);
    RETURN NULL;
END $$;
CREATE TRIGGER waits AFTER INSERT ON ledger.batches FOR EACH ROW EXECUTE FUNCTION ledger.batch_waits();
-- The trigger has waited for every batch before it: none slips through between the two.
INSERT INTO ledger.unsealed_batches (batch_number) SELECT b.batch_number FROM ledger.batches b;

CREATE FUNCTION ledger.positions_follow() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT a.position INTO wrong
      FROM added a LEFT JOIN ledger.positions p ON p.position = a.position - 1
      LEFT JOIN ledger.batches b ON b.batch_number = a.batch_number
     WHERE (a.position > 1 AND (p.position IS NULL OR p.epoch > a.epoch)) OR b.batch_number IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'position % does not follow another one, or is no batch''s', wrong
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT ON ledger.positions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.positions_follow();
SELECT payplane.append_only('ledger.positions');
SELECT payplane.no_truncate('ledger.unsealed_batches');

-- Gives positions to up to so many committed batches that have none, and says to
-- how many. One at a time: whoever comes second finds nothing to do. A
-- transaction that is left open elsewhere holds nobody up.
CREATE FUNCTION ledger.give_positions(p_max int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    given bigint := 0;
BEGIN
    PERFORM ledger.commit_durably();
    IF EXISTS (SELECT FROM ledger.unsealed_batches) AND pg_try_advisory_xact_lock(7813575003) THEN
        WITH ready AS MATERIALIZED (
            SELECT u.batch_number, row_number() OVER (ORDER BY u.batch_number) AS n
              FROM ledger.unsealed_batches u ORDER BY n LIMIT least(p_max, 10000)),
        taken AS (
            DELETE FROM ledger.unsealed_batches u USING ready r WHERE r.batch_number = u.batch_number)
        INSERT INTO ledger.positions (position, epoch, batch_number, given_at)
        SELECT r.n + last.position, (SELECT c.books_epoch FROM ledger.control c), r.batch_number, greatest(clock_timestamp(), last.given_at)
          FROM ready r, (SELECT coalesce(max(p.position), 0) AS position, max(p.given_at) AS given_at FROM (
               SELECT p.position, p.given_at FROM ledger.positions p ORDER BY p.position DESC LIMIT 1) p) last ORDER BY r.n;
        GET DIAGNOSTICS given = ROW_COUNT;
    END IF;
    RETURN given;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.give_positions TO ledger;
GRANT SELECT ON ledger.positions, ledger.unsealed_batches TO ledger;
