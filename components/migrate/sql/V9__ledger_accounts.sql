-- Opening accounts, folding what they gained, their states, and the fence.

-- Opens accounts, or refuses the whole request. Openers take turns, so that what
-- was looked at is what is written.
CREATE FUNCTION ledger.open_accounts(p_codes text[], p_currencies text[], p_sides text[], p_floors boolean[],
    p_metadata jsonb[]) RETURNS TABLE (opened int, reason text, subject text, message text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    wrong text;
    batch bigint;
BEGIN
    IF (cardinality(p_codes) BETWEEN 1 AND 100 AND cardinality(p_currencies) = cardinality(p_codes)
        AND cardinality(p_sides) = cardinality(p_codes) AND cardinality(p_floors) = cardinality(p_codes)
        AND array_position(p_floors, NULL) IS NULL AND cardinality(p_metadata) = cardinality(p_codes)) IS NOT TRUE
        OR EXISTS (SELECT FROM unnest(p_metadata) m (texts), jsonb_each(m.texts) t WHERE jsonb_typeof(t.value) <> 'string') THEN
        RAISE EXCEPTION 'accounts with such arguments are refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.take_fence(false);
    -- Gateways ask again for what is there: then nobody waits for a turn.
    IF NOT EXISTS (
        SELECT FROM unnest(p_codes, p_currencies, p_sides, p_floors, p_metadata) AS w (code, currency, side, floored, metadata)
          LEFT JOIN ledger.accounts a USING (code, currency)
         WHERE a.account_id IS NULL OR a.normal_side <> w.side::ledger.side
            OR (a.floor_minor IS NOT NULL) <> w.floored OR w.metadata NOT IN ('{}', a.metadata)) THEN
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
      FROM unnest(p_codes, p_currencies, p_sides, p_floors, p_metadata) AS w (code, currency, side, floored, metadata)
      JOIN ledger.accounts a USING (code, currency)
     WHERE a.normal_side <> w.side::ledger.side OR (a.floor_minor IS NOT NULL) <> w.floored OR w.metadata NOT IN ('{}', a.metadata);
    IF wrong IS NOT NULL THEN
        PERFORM ledger.record_batch(0);
        RETURN QUERY SELECT 0, 'INVALID', wrong, format('account %s is there with another side, floor or metadata', wrong);
        RETURN;
    END IF;
    batch := ledger.record_batch(0);
    INSERT INTO ledger.accounts (code, currency, normal_side, floor_minor, metadata, batch_number)
    SELECT w.code, w.currency, w.side::ledger.side, CASE WHEN w.floored THEN 0 END, w.metadata, batch
      FROM unnest(p_codes, p_currencies, p_sides, p_floors, p_metadata) WITH ORDINALITY
           AS w (code, currency, side, floored, metadata, n)
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
CREATE FUNCTION ledger.fold_raisings(p_accounts bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    accounts bigint[];
    gone bigint;
BEGIN
    accounts := ARRAY(SELECT b.account_id FROM ledger.balances b
                       WHERE b.account_id = ANY (p_accounts[:1000]) ORDER BY b.account_id FOR UPDATE SKIP LOCKED);
    SELECT count(*) INTO gone FROM ledger.raisings r WHERE r.account_id = ANY (accounts);
    PERFORM ledger.write_balances(accounts, f.posted, f.held) FROM ledger.fold(accounts) f;
    RETURN gone;
END $$;

-- What was changed behind the fence, to be sealed with the books.
CREATE TABLE ledger.account_states (
    account_id   bigint NOT NULL,
    state        text NOT NULL,
    caller       text NOT NULL,
    batch_number bigint NOT NULL,
    decided_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, batch_number)
);
CREATE INDEX ON ledger.account_states (batch_number);
CREATE TABLE ledger.config_epochs (
    config_epoch bigint PRIMARY KEY,
    batch_number bigint NOT NULL UNIQUE,
    raised_at    timestamptz NOT NULL DEFAULT now()
);
-- What of the books has left, all before that day: see V15.
CREATE TABLE ledger.departures (
    what         text NOT NULL CHECK (what IN ('identities', 'transactions')),
    upto         date NOT NULL,
    batch_number bigint NOT NULL,
    decided_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (what, upto)
);
CREATE INDEX ON ledger.departures (batch_number);
SELECT payplane.append_only('ledger.account_states', 'ledger.config_epochs', 'ledger.departures');

-- Once it returns, no posting decided on an older config can commit. It never
-- goes down: asking for less answers with what is in force.
CREATE FUNCTION ledger.raise_config_epoch(p_config_epoch bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    in_force bigint;
    batch bigint;
BEGIN
    PERFORM ledger.take_fence(true);
    SELECT c.config_epoch_min INTO STRICT in_force FROM ledger.control c;
    batch := ledger.record_batch(0);
    IF p_config_epoch > in_force THEN
        in_force := p_config_epoch;
        UPDATE ledger.control SET config_epoch_min = in_force;
        INSERT INTO ledger.config_epochs (config_epoch, batch_number) VALUES (in_force, batch);
    END IF;
    RETURN in_force;
END $$;

-- Freezes an account on a side or both, opens it again, or closes it for ever; or
-- says why not. Once it returns, nothing decided under the old state can commit.
CREATE FUNCTION ledger.set_account_state(p_code text, p_currency text, p_state text, p_caller text,
    OUT reason text, OUT subject text, OUT message text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    account ledger.accounts;
    alone boolean;
    batch bigint;
BEGIN
    IF (p_state IN ('open', 'frozen_debit', 'frozen_credit', 'frozen', 'closed') AND p_caller ~ '^[a-z0-9-]{1,63}$') IS NOT TRUE THEN
        RAISE EXCEPTION 'a state with such arguments is refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Whoever asks for what is so already stops no posting.
    alone := NOT EXISTS (SELECT FROM ledger.accounts a WHERE a.code = p_code AND a.currency = p_currency AND a.state = p_state);
    PERFORM ledger.take_fence(alone);
    SELECT a.* INTO account FROM ledger.accounts a WHERE a.code = p_code AND a.currency = p_currency;
    IF NOT alone AND account.state <> p_state THEN
        RAISE EXCEPTION 'somebody changed the state meanwhile' USING ERRCODE = 'lock_not_available';
    ELSIF account.account_id IS NULL THEN
        reason := 'UNKNOWN_ACCOUNT';
        message := format('account %s is not open in %s', p_code, p_currency);
    ELSIF account.reserved THEN
        reason := 'INVALID';
        message := 'the probe''s accounts stay open';
    ELSIF account.state = 'closed' AND p_state <> 'closed' THEN
        reason := 'ACCOUNT_NOT_OPEN';
        message := 'an account that is closed stays closed';
    ELSIF p_state = 'closed' AND account.state <> 'closed' AND ledger.has_money(account.account_id) THEN
        reason := 'INVALID';
        message := 'an account is closed when there is nothing on it, and nothing held';
    END IF;
    batch := ledger.record_batch(0);
    IF reason IS NOT NULL THEN
        subject := p_code;
    ELSIF account.state <> p_state THEN
        UPDATE ledger.accounts a SET state = p_state WHERE a.account_id = account.account_id;
        INSERT INTO ledger.account_states (account_id, state, caller, batch_number) VALUES (account.account_id, p_state, p_caller, batch);
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.post, ledger.open_accounts, ledger.fold_raisings, ledger.raise_config_epoch, ledger.set_account_state TO ledger;
GRANT SELECT ON ledger.account_states, ledger.config_epochs, ledger.departures TO ledger;
