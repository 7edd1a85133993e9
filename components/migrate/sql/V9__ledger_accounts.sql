-- Opening accounts, folding what they gained, and the fence.

-- Opens accounts, or refuses the whole request. Openers take turns, so that what
-- was looked at is what is written.
CREATE FUNCTION ledger.open_accounts(p_codes text[], p_currencies text[], p_sides text[], p_floors boolean[])
RETURNS TABLE (opened int, reason text, subject text, message text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    wrong text;
    batch bigint;
BEGIN
    IF (cardinality(p_codes) BETWEEN 1 AND 100 AND cardinality(p_currencies) = cardinality(p_codes)
        AND cardinality(p_sides) = cardinality(p_codes) AND cardinality(p_floors) = cardinality(p_codes)
        AND array_position(p_floors, NULL) IS NULL) IS NOT TRUE THEN
        RAISE EXCEPTION 'accounts with such arguments are refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.take_fence(false);
    -- Gateways ask again for what is there: then nobody waits for a turn.
    IF NOT EXISTS (
        SELECT FROM unnest(p_codes, p_currencies, p_sides, p_floors) AS w (code, currency, side, floored)
          LEFT JOIN ledger.accounts a USING (code, currency)
         WHERE a.account_id IS NULL OR a.normal_side <> w.side::ledger.side
            OR (a.floor_minor IS NOT NULL) <> w.floored) THEN
        PERFORM ledger.record_batch(0);
        opened := 0;
        RETURN NEXT;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(7813575002);
    SELECT min(w.currency) INTO wrong FROM unnest(p_codes, p_currencies) AS w (code, currency), payplane.control c
     WHERE NOT CASE WHEN starts_with(w.code, 'reserved:') THEN w.currency = 'XTS'
                    ELSE w.currency = ANY (c.currencies) END;
    IF wrong IS NOT NULL THEN
        PERFORM ledger.record_batch(0);
        RETURN QUERY SELECT 0, 'CURRENCY', wrong, format('the books are not kept in %s there', wrong);
        RETURN;
    END IF;
    SELECT min(w.code) INTO wrong
      FROM unnest(p_codes, p_currencies, p_sides, p_floors) AS w (code, currency, side, floored)
      JOIN ledger.accounts a USING (code, currency)
     WHERE a.normal_side <> w.side::ledger.side OR (a.floor_minor IS NOT NULL) <> w.floored;
    IF wrong IS NOT NULL THEN
        PERFORM ledger.record_batch(0);
        RETURN QUERY SELECT 0, 'INVALID', wrong, format('account %s is there with another side or floor', wrong);
        RETURN;
    END IF;
    batch := ledger.record_batch(0);
    INSERT INTO ledger.accounts (code, currency, normal_side, floor_minor, batch_number)
    SELECT w.code, w.currency, w.side::ledger.side, CASE WHEN w.floored THEN 0 END, batch
      FROM unnest(p_codes, p_currencies, p_sides, p_floors) WITH ORDINALITY AS w (code, currency, side, floored, n)
     WHERE NOT EXISTS (SELECT FROM ledger.accounts a WHERE a.code = w.code AND a.currency = w.currency)
     ORDER BY w.n;
    GET DIAGNOSTICS opened = ROW_COUNT;
    INSERT INTO ledger.balances (account_id, floor_minor, posted_minor)
    SELECT a.account_id, a.floor_minor, 0 FROM ledger.accounts a
     WHERE a.code = ANY (p_codes) AND a.floor_minor IS NOT NULL
       AND NOT EXISTS (SELECT FROM ledger.balances b WHERE b.account_id = a.account_id);
    RETURN NEXT;
END $$;

-- Folds what accounts gained that nobody lowers, so that the queue stays short;
-- says how many rows went. Accounts that somebody holds are left to him.
CREATE FUNCTION ledger.fold_raisings(p_max int) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    accounts bigint[];
    gone bigint;
BEGIN
    accounts := ARRAY(SELECT b.account_id FROM ledger.balances b
                       WHERE b.account_id IN (SELECT r.account_id FROM ledger.raisings r LIMIT least(p_max, 20000))
                       ORDER BY b.account_id FOR UPDATE SKIP LOCKED);
    SELECT count(*) INTO gone FROM ledger.raisings r WHERE r.account_id = ANY (accounts);
    PERFORM ledger.write_balances(accounts, f.posted, f.held) FROM ledger.fold(accounts) f;
    RETURN gone;
END $$;

-- Once it returns, no posting decided on an older config can commit. It never
-- goes down: asking for less answers with what is in force.
CREATE FUNCTION ledger.raise_config_epoch(p_config_epoch bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    in_force bigint;
BEGIN
    PERFORM ledger.take_fence(true);
    PERFORM ledger.record_batch(0);
    UPDATE ledger.control c SET config_epoch_min = greatest(c.config_epoch_min, p_config_epoch)
      RETURNING c.config_epoch_min INTO STRICT in_force;
    RETURN in_force;
END $$;

-- For the owner's hands only; no service calls it.
CREATE FUNCTION ledger.set_account_state(p_code text, p_currency text, p_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.take_fence(true);
    UPDATE ledger.accounts a SET state = p_state WHERE a.code = p_code AND a.currency = p_currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % is not kept in %', p_code, p_currency USING ERRCODE = 'no_data_found';
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.post, ledger.open_accounts, ledger.fold_raisings, ledger.raise_config_epoch TO ledger;
