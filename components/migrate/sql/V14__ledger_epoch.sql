-- After a restore to an older point positions go on from an earlier one, so some
-- of them were given, and published, before. The epoch beside them rises, so that
-- (epoch, position) is never given twice and heads say of which books they are.

-- For whoever restored the books, before anything is booked: p_above is the
-- highest epoch that was ever published. Answers the epoch in force, of which all
-- later positions are; asking again changes nothing.
CREATE FUNCTION ledger.raise_books_epoch(p_above int) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    in_force int;
BEGIN
    IF p_above IS NULL OR p_above < 1 OR p_above > 1000000000 THEN
        RAISE EXCEPTION 'p_above is the highest epoch that was published: 1 to 1000000000'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.take_fence(true);
    -- As long as somebody gives positions of the former epoch.
    PERFORM pg_advisory_xact_lock(7813575003);
    SELECT c.books_epoch INTO STRICT in_force FROM ledger.control c;
    IF in_force <= p_above THEN
        in_force := p_above + 1;
        -- The batch has the new epoch published, also where nothing else is booked.
        PERFORM ledger.record_batch(0);
        UPDATE ledger.control SET books_epoch = in_force;
    END IF;
    RETURN in_force;
END $$;
REVOKE ALL ON FUNCTION ledger.raise_books_epoch FROM PUBLIC;
