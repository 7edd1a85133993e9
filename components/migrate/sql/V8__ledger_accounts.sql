-- Opening accounts, raising the config epoch, and the books' own check.

-- Opens accounts, or refuses the whole request. Openers take turns, so that what
-- was looked at is what is written.
CREATE FUNCTION ledger.open_accounts(p_codes text[], p_currencies text[], p_sides text[], p_floors boolean[])
RETURNS TABLE (opened int, reason text, subject text, message text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    wrong text;
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
    PERFORM ledger.record_batch(0);
    INSERT INTO ledger.accounts (code, currency, normal_side, floor_minor)
    SELECT w.code, w.currency, w.side::ledger.side, CASE WHEN w.floored THEN 0 END
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
    before bigint;
BEGIN
    accounts := ARRAY(SELECT b.account_id FROM ledger.balances b
                       WHERE b.account_id IN (SELECT r.account_id FROM ledger.raisings r LIMIT least(p_max, 20000))
                       ORDER BY b.account_id FOR UPDATE SKIP LOCKED);
    SELECT count(*) INTO before FROM ledger.raisings r WHERE r.account_id = ANY (accounts);
    UPDATE ledger.balances b SET posted_minor = w.posted_minor
      FROM unnest(accounts, ledger.fold(accounts)) AS w (account_id, posted_minor) WHERE b.account_id = w.account_id;
    RETURN before;
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

-- Walks every invariant over all the books, in one snapshot. No row is good.
CREATE FUNCTION ledger.check_books() RETURNS TABLE (invariant text, subject text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'transaction balances', e.transaction_id::text || ' ' || a.currency
      FROM ledger.entries e LEFT JOIN ledger.accounts a USING (account_id) GROUP BY e.transaction_id, a.currency
    HAVING a.currency IS NULL OR sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0
    UNION ALL
    SELECT 'transaction is complete', coalesce(t.transaction_id, e.transaction_id)::text
      FROM ledger.transactions t FULL JOIN
           (SELECT transaction_id, count(*) AS n FROM ledger.entries GROUP BY transaction_id) e USING (transaction_id)
     WHERE t.entry_count IS DISTINCT FROM e.n
    UNION ALL
    SELECT 'balance is the fold of entries', a.code || ' ' || a.currency
      FROM ledger.accounts a FULL JOIN ledger.balances b USING (account_id)
      LEFT JOIN LATERAL (SELECT coalesce(sum(CASE WHEN e.side = a.normal_side THEN e.amount_minor
                                                  ELSE -e.amount_minor END), 0) AS fold
                           FROM ledger.entries e WHERE e.account_id = a.account_id) f ON b.account_id IS NOT NULL
      LEFT JOIN LATERAL (SELECT coalesce(sum(w.amount_minor), 0) AS unfolded
                           FROM ledger.raisings w WHERE w.account_id = b.account_id) r ON true
     WHERE (a.floor_minor IS NOT NULL OR b.account_id IS NOT NULL)
       AND (f.fold IS DISTINCT FROM b.posted_minor + r.unfolded OR b.posted_minor < a.floor_minor)
    UNION ALL
    SELECT 'cap is the original less its links', c.original_id::text || ' ' || c.currency
      FROM ledger.caps c LEFT JOIN LATERAL (
           SELECT coalesce(sum(e.amount_minor), 0) AS taken
             FROM ledger.transactions t JOIN ledger.entries e USING (transaction_id)
             JOIN ledger.accounts a USING (account_id)
            WHERE t.original_id = c.original_id AND t.kind <> 'reversal' AND e.side = 'debit'
              AND a.currency = c.currency AND NOT EXISTS (
                  SELECT FROM ledger.transactions r WHERE r.original_id = t.transaction_id AND r.kind = 'reversal')
           ) links ON true
     WHERE c.remaining_minor <> CASE WHEN c.reversed_by IS NULL THEN c.original_minor - links.taken ELSE 0 END
    UNION ALL
    SELECT 'reversed once', t.original_id::text FROM ledger.transactions t
     WHERE t.kind = 'reversal' GROUP BY t.original_id HAVING count(*) > 1
    UNION ALL
    SELECT 'one decision per identity', coalesce(i.decision, t.transaction_id)::text
      FROM ledger.identities i FULL JOIN
           (SELECT transaction_id, caller, key_date, key FROM ledger.transactions UNION ALL
            SELECT refusal_id, caller, key_date, key FROM ledger.refusals) t
        ON i.decision = t.transaction_id AND i.caller = t.caller AND i.key_date = t.key_date
           AND i.key_digest = ledger.key_digest(t.key)
     WHERE i.decision IS NULL OR t.transaction_id IS NULL
    UNION ALL
    SELECT 'trial balance', a.currency FROM ledger.entries e JOIN ledger.accounts a USING (account_id)
     GROUP BY a.currency
    HAVING sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END) <> 0;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.post, ledger.open_accounts, ledger.fold_raisings, ledger.raise_config_epoch TO ledger;
