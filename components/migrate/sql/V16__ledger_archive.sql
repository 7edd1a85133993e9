-- Old transactions leave the tables that postings look at, a month's partition at a
-- time, for schema ledger_archive. Nothing is lost by it: whoever reads, and
-- `verify`, looks at both. Only identities leave for good.

-- The partitions of which all is before this day.
CREATE FUNCTION ledger.old_partitions(p_upto date) RETURNS TABLE (parent text, partition regclass, bounds text, rule text, sure boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.name, c.oid, pg_get_expr(c.relpartbound, c.oid), pg_get_partition_constraintdef(c.oid), k.convalidated
      FROM unnest(ARRAY['transactions', 'entries', 'external_references', 'holds', 'hold_ends']) WITH ORDINALITY t (name, n)
      JOIN pg_inherits i ON i.inhparent = format('ledger.%I', t.name)::regclass
      JOIN pg_class c ON c.oid = i.inhrelid
      LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.conname = 'archived_span'
     WHERE substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::uuid <= ledger.first_id(p_upto)
     ORDER BY t.n, c.relname;
$$;

-- Whatever a posting may still ask for stays: what its identity answers, what it is
-- linked to, an open hold. All of that is found by identities only, so a month after
-- the identities of this day have left nothing asks for what was booked before it.
CREATE FUNCTION ledger.check_archivable(p_upto date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (p_upto <= (SELECT c.keys_from FROM ledger.control c) - 31) IS NOT TRUE THEN
        RAISE EXCEPTION 'identities of key dates up to a month after % have to leave first', p_upto
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM ledger.departed_partitions()) THEN
        RAISE EXCEPTION 'identities that left are attached still: carry out what ledger.retire_keys answers'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM ledger.unsealed_batches u JOIN ledger.batches b USING (batch_number) WHERE b.answered_at < p_upto + 31)
        OR EXISTS (SELECT FROM ledger.positions p WHERE p.given_at < p_upto + 31
                      AND p.position > (SELECT coalesce(max(c.position), 0) FROM ledger.chain c)) THEN
        RAISE EXCEPTION 'what was booked before % is not sealed yet', p_upto USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END $$;

-- For the owner: answers the statements that archive what was booked before this
-- day, each for a transaction of its own (`\gexec` in psql). The first ones let the
-- last one know what lies in a table, so that it need not look while others wait.
CREATE FUNCTION ledger.archive(p_upto date) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.check_archivable(p_upto);
    -- As long as all accounts are getting their checkpoints, every month is read.
    RETURN QUERY SELECT 'SELECT pg_advisory_lock(7813575007)';
    RETURN QUERY SELECT 'SET lock_timeout = ''100ms''';
    RETURN QUERY SELECT s.sql FROM ledger.old_partitions(p_upto) o, LATERAL (VALUES
           (1, format('ALTER TABLE %s ADD CONSTRAINT archived_span CHECK (%s) NOT VALID', o.partition, o.rule)),
           (2, format('ALTER TABLE %s VALIDATE CONSTRAINT archived_span', o.partition))) s (n, sql)
     WHERE o.sure IS NOT TRUE AND (s.n = 2 OR o.sure IS NULL) ORDER BY o.partition, s.n;
    RETURN QUERY SELECT format('SELECT ledger.move_to_archive(%L)', p_upto);
    RETURN QUERY SELECT 'RESET lock_timeout';
    RETURN QUERY SELECT 'SELECT pg_advisory_unlock(7813575007)';
END $$;

-- Moves them, all at once: no reader sees a part. Postings wait at the fence, for
-- moments; a reader or a dump that is at work for longer is not waited for.
CREATE FUNCTION ledger.move_to_archive(p_upto date) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    old record;
    moved int := 0;
BEGIN
    PERFORM ledger.check_archivable(p_upto);
    IF EXISTS (SELECT FROM ledger.old_partitions(p_upto) o WHERE o.sure IS NOT TRUE) THEN
        RAISE EXCEPTION 'the statements that ledger.archive answers come first' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM ledger.take_fence(true);
    FOR old IN SELECT o.*, c.relname FROM ledger.old_partitions(p_upto) o JOIN pg_class c ON c.oid = o.partition LOOP
        EXECUTE format('ALTER TABLE ledger.%I DETACH PARTITION %s', old.parent, old.partition);
        EXECUTE format('ALTER TABLE %s SET SCHEMA ledger_archive', old.partition);
        EXECUTE format('ALTER TABLE ledger_archive.%I ATTACH PARTITION ledger_archive.%I %s', old.parent, old.relname, old.bounds);
        EXECUTE format('ALTER TABLE ledger_archive.%I DROP CONSTRAINT archived_span', old.relname);
        moved := moved + 1;
    END LOOP;
    IF moved > 0 THEN
        INSERT INTO ledger.departures (what, upto, batch_number) VALUES ('transactions', p_upto, ledger.record_batch(0));
    END IF;
    RETURN moved;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
