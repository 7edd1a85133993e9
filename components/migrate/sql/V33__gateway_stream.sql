-- The order of events. An event draws a number when it is written, so what it follows from has a
-- lower one. Positions follow that order among the events that one snapshot sees committed: without
-- gaps, once, for ever. An event that commits later gets a later position, whatever its number:
-- nothing that has a position followed from it. The stream begins with this release: what was told
-- before has no position, as to give millions of them one would stop payments for as long.

SET LOCAL lock_timeout = '5s';

CREATE TABLE gateway.event_positions (
    position bigint PRIMARY KEY CHECK (position > 0),
    -- The books' (V14): it rises when an older database is brought back, as positions after it were
    -- given already: (epoch, position) is never given twice.
    epoch    integer NOT NULL CHECK (epoch > 0),
    event_id uuid NOT NULL,
    app_id   text NOT NULL
);
CREATE INDEX event_positions_of_app ON gateway.event_positions (app_id, position);
SELECT payplane.append_only('gateway.event_positions');
GRANT SELECT ON gateway.event_positions TO gateway;

-- One row for each event that has none yet.
CREATE TABLE gateway.unplaced_events (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    app_id   text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
SELECT payplane.no_truncate('gateway.unplaced_events');
GRANT SELECT ON gateway.unplaced_events TO gateway;

CREATE FUNCTION gateway.events_wait() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO gateway.unplaced_events (event_id, app_id) SELECT a.event_id, a.app_id FROM added a;
    RETURN NULL;
END $$;
CREATE TRIGGER wait AFTER INSERT ON gateway.outbox REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.events_wait();

-- Gives positions to up to so many committed events with higher numbers than p_floor that have none:
-- how many it were (null where another one is at it), up to which number, by which transaction, and
-- the oldest that was open before. One at a time. A transaction that is left open elsewhere holds
-- nobody up. Whoever drew a number up to up_to had his transaction's id by then, a lower one: once
-- all of these have ended, and what they wrote is taken, nothing can come below up_to any more.
-- That is the next floor: rows below it are dead, and a snapshot that is held keeps them.
CREATE FUNCTION gateway.give_event_positions(p_max int, p_floor bigint,
    OUT given bigint, OUT up_to bigint, OUT transaction bigint, OUT oldest bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
    last bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7813575033) THEN
        RETURN;
    END IF;
    -- What was read must not be given again after a crash.
    IF current_setting('synchronous_commit') = 'off' THEN
        SET LOCAL synchronous_commit = on;
    END IF;
    oldest := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    up_to := (SELECT max(f.number) FROM (SELECT u.number FROM gateway.unplaced_events u
        WHERE u.number > p_floor ORDER BY u.number LIMIT least(p_max, 10000)) f);
    given := 0;
    IF up_to IS NULL THEN
        up_to := p_floor;
        transaction := 0;
        RETURN;
    END IF;
    transaction := pg_current_xact_id()::text::bigint;
    last := coalesce((SELECT p.position FROM gateway.event_positions p ORDER BY p.position DESC LIMIT 1), 0);
    WITH taken AS (DELETE FROM gateway.unplaced_events u WHERE u.number > p_floor AND u.number <= up_to
        RETURNING u.number, u.event_id, u.app_id)
    INSERT INTO gateway.event_positions (position, epoch, event_id, app_id)
    SELECT last + row_number() OVER (ORDER BY t.number), (SELECT c.books_epoch FROM ledger.control c), t.event_id, t.app_id
      FROM taken t ORDER BY t.number;
    GET DIAGNOSTICS given = ROW_COUNT;
END $$;
GRANT EXECUTE ON FUNCTION gateway.give_event_positions TO gateway;
