-- Partitions: a month of key dates, or of ids by the time that is in them. The
-- ledger prepares the next month; a posting that finds none makes it, so none ever
-- fails for want of one. No lock here stops a posting: a new table is attached
-- under a lock that only others who attach wait for, and there is no partition for
-- the rest that it would have to be held against.

ALTER TABLE ledger.control
    -- Whatever is dated before it has a partition, unless that has left.
    ADD COLUMN prepared_upto date NOT NULL DEFAULT '-infinity',
    -- No key date before it is taken any more: identities of such dates leave.
    ADD COLUMN keys_from     date NOT NULL DEFAULT '-infinity';
CREATE TRIGGER what_left_stays_away BEFORE UPDATE ON ledger.control FOR EACH ROW
    WHEN (NEW.keys_from < OLD.keys_from OR NEW.prepared_upto < OLD.prepared_upto) EXECUTE FUNCTION payplane.refuse_change();

-- The least id of a day, in UTC.
CREATE FUNCTION ledger.first_id(p_day date) RETURNS uuid LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (lpad(to_hex((extract(epoch FROM p_day::timestamp) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
$$;

-- A partition of this table for all from one day to before another, guarded as the
-- table is; from the beginning where the day is null. The indexes, and the triggers
-- for each row, come with it when it is attached.
CREATE FUNCTION ledger.make_partition(p_table text, p_from date, p_upto date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := p_table || coalesce('_' || to_char(p_from, 'YYYYMM'), '_first');
    days boolean := p_table = 'identities';
    whole text;
BEGIN
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, p_table);
    PERFORM payplane.no_truncate(format('ledger.%I', name)::regclass);
    SELECT t.tgfoid::regproc INTO whole FROM pg_trigger t
     WHERE t.tgrelid = format('ledger.%I', p_table)::regclass AND t.tgname = 'whole';
    IF whole IS NOT NULL THEN
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION %s()', name, whole);
    END IF;
    EXECUTE format('ALTER TABLE ledger.%I ATTACH PARTITION ledger.%I FOR VALUES FROM (%s) TO (%L)', p_table, name,
        coalesce(quote_literal(CASE WHEN days THEN p_from::text ELSE ledger.first_id(p_from)::text END), 'MINVALUE'),
        CASE WHEN days THEN p_upto::text ELSE ledger.first_id(p_upto)::text END);
END $$;

-- Makes what is missing up to the end of the month after this day's; says how many
-- months that were. One at a time.
CREATE FUNCTION ledger.prepare(p_day date) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
DECLARE
    -- At the end of a month the one after the next: ids and key dates may be ahead.
    wanted date := date_trunc('month', (p_day + 3)::timestamp) + interval '2 months';
    upto date;
    next date;
    name text;
    made int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7813575006);
    SELECT c.prepared_upto INTO STRICT upto FROM ledger.control c;
    WHILE upto < wanted LOOP
        -- One partition spans what was before the books, or years in which nobody asked.
        next := CASE WHEN upto >= wanted - interval '24 months' THEN upto + interval '1 month' ELSE wanted - interval '1 month' END;
        FOREACH name IN ARRAY ARRAY['identities', 'transactions', 'entries', 'external_references', 'holds', 'hold_ends'] LOOP
            PERFORM ledger.make_partition(name, nullif(upto, '-infinity'), next);
        END LOOP;
        upto := next;
        made := made + 1;
    END LOOP;
    IF made > 0 THEN
        UPDATE ledger.control SET prepared_upto = upto;
    END IF;
    RETURN made;
END $$;

-- The same for today, for whoever looks after the books. Mostly there is nothing to do.
CREATE FUNCTION ledger.rotate() RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    made int;
BEGIN
    PERFORM ledger.commit_durably();
    SELECT ledger.prepare((now() AT TIME ZONE c.time_zone)::date) INTO STRICT made FROM payplane.control c;
    RETURN made;
END $$;

DO $$
BEGIN
    PERFORM ledger.prepare((now() AT TIME ZONE 'UTC')::date);
END $$;

-- Partitions of identities whose dates are not taken any more and that are attached
-- still; one whose detaching was interrupted has to be finished before any other.
CREATE FUNCTION ledger.departed_partitions() RETURNS TABLE (name name, upto date, pending boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' AS $$
    SELECT p.name, p.upto, p.pending
      FROM (SELECT c.relname AS name, i.inhdetachpending AS pending,
                   substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::date AS upto
              FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'ledger.identities'::regclass) p
     WHERE p.upto <= (SELECT l.keys_from FROM ledger.control l);
$$;

-- Drops a partition that has left; one that is attached would hold up every posting.
CREATE FUNCTION ledger.drop_departed(p_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    newest date;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r'
                      AND c.relname = p_name AND c.relname LIKE 'identities\_%' AND NOT c.relispartition) THEN
        RAISE EXCEPTION '% is no partition that was detached', p_name USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('SELECT max(key_date) FROM ledger.%I', p_name) INTO newest;
    IF newest >= (SELECT c.keys_from FROM ledger.control c) THEN
        RAISE EXCEPTION '% has identities of %, which is still taken', p_name, newest
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('DROP TABLE ledger.%I', p_name);
END $$;

-- For the owner: once it returns, no key date before this day is taken, ever again,
-- and nothing decided before is under way. It answers the statements by which the
-- partitions of such dates leave for good; each is for a transaction of its own
-- (`\gexec` in psql) and stops no posting, also where the one before it failed.
-- Asking again answers what is left of them.
CREATE FUNCTION ledger.retire_keys(p_upto date) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET lock_timeout = '10s' AS $$
DECLARE
    today date;
    hold uuid;
    lines text[];
BEGIN
    SELECT (now() AT TIME ZONE c.time_zone)::date INTO STRICT today FROM payplane.control c;
    -- A day more than the window: what began before midnight may be under way.
    IF (p_upto <= today - 401) IS NOT TRUE THEN
        RAISE EXCEPTION 'key dates from % on are still taken', today - 400 USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Only its identity finds a hold, to capture or to end it. None is opened in these dates any more.
    SELECT c.original_id INTO hold FROM ledger.caps c JOIN ledger.holds h ON h.hold_id = c.original_id
      JOIN ledger.transactions t ON t.transaction_id = h.hold_id WHERE t.key_date < p_upto AND c.remaining_minor > 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'hold % is open: capture it or end it before its identity leaves', hold
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM ledger.take_fence(true);
    IF p_upto > (SELECT c.keys_from FROM ledger.control c) THEN
        INSERT INTO ledger.departures (what, upto, batch_number) VALUES ('identities', p_upto, ledger.record_batch(0));
        UPDATE ledger.control SET keys_from = p_upto;
    END IF;
    lines := ARRAY(
        SELECT s.sql FROM ledger.departed_partitions() p, LATERAL (VALUES
               (1, format('ALTER TABLE ledger.identities DETACH PARTITION ledger.%I %s', p.name,
                          CASE WHEN p.pending THEN 'FINALIZE' ELSE 'CONCURRENTLY' END)),
               (2, format('SELECT ledger.drop_departed(%L)', p.name))) s (n, sql)
         ORDER BY p.pending DESC, p.upto, s.n)
        || ARRAY(
        SELECT format('SELECT ledger.drop_departed(%L)', c.relname) FROM pg_class c
         WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'identities\_%' AND NOT c.relispartition);
    IF cardinality(lines) > 0 THEN
        -- Detaching waits for whoever reads, and nobody waits for it.
        RETURN QUERY SELECT unnest('SET lock_timeout = 0'::text || lines || 'RESET lock_timeout'::text);
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.rotate TO ledger;
