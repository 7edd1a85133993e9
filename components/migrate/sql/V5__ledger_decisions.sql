-- What a batch of postings is decided on. The order in which anything is waited
-- for is the same everywhere: the fence, new identities by digest, originals,
-- floored accounts, each sorted; what is decided is read in a later statement.

-- Whatever writes the books reads after its locks in a later statement, hence
-- from a later snapshot: that needs READ COMMITTED. The commit is synchronous
-- whatever the session asked for.
CREATE FUNCTION ledger.commit_durably() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the ledger is written in READ COMMITTED only' USING ERRCODE = 'feature_not_supported';
    END IF;
    IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- Takes the fence, shared or alone. Whatever is decided is read after it.
CREATE FUNCTION ledger.take_fence(alone boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ledger.commit_durably();
    IF alone THEN
        PERFORM pg_advisory_xact_lock(7813575001);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(7813575001);
    END IF;
END $$;

-- Writes the row that every answer waits for. Called after the last read.
CREATE FUNCTION ledger.record_batch(p_booked int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    drawn bigint;
BEGIN
    INSERT INTO ledger.batches (booked) VALUES (p_booked) RETURNING batch_number INTO drawn;
    RETURN drawn;
END $$;

-- STABLE, as convert_to is: so it is inlined.
CREATE FUNCTION ledger.key_digest(p_key text) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT substr(sha256(convert_to(p_key, 'UTF8')), 1, 16);
$$;

-- The items of a batch, in columns. `entries` and `references` name their item by its place.
CREATE TYPE ledger.item AS (n int, caller text, key_date date, key text, request_hash bytea,
    transaction_id uuid, kind text, effective_time timestamptz, accounting_date date, settlement_date date, demanded_date date,
    original_key_date date, original_key text, config_epoch bigint, expires_at timestamptz, due_date date, calendar_version bigint);
CREATE TYPE ledger.entry AS (item int, line int, account_id bigint, code text, currency text,
    side ledger.side, amount_minor bigint, change_minor bigint, held_minor bigint, suspect boolean);
CREATE TYPE ledger.answer AS (
    item             int,
    outcome          text,      -- booked, replayed, refused; busy and lowers: nothing was decided
    transaction_id   uuid,
    accounting_date  date,
    reason           text,      -- why refused
    subject          text,
    message          text,
    config_epoch_min bigint
);

-- The service checks requests and names the field; this is against our own
-- mistakes and against a stolen login, and so only says no. Each item has entries
-- (one without would use its identity up for nothing), a hold one, its end none.
CREATE FUNCTION ledger.check_arguments(p_items ledger.item[], p_entry_items int[],
    p_accounts text[], p_currencies text[]) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    soon timestamptz := clock_timestamp() + interval '1 day';
    -- The least ids of yesterday and of tomorrow: a UUIDv7 begins with its millisecond.
    earliest uuid := rpad(lpad(to_hex((extract(epoch FROM soon - interval '2 days') * 1000)::bigint), 12, '0'), 32, '0')::uuid;
    latest uuid := rpad(lpad(to_hex((extract(epoch FROM soon) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
    wrong int;
BEGIN
    SELECT i.n INTO wrong
      FROM unnest(p_items) i
     WHERE (i.caller ~ '^[a-z0-9-]+$' AND length(i.caller) <= 63
        -- A bound in the expression, {1,128}, would take 15 us each instead of half of one.
        AND i.key ~ '^[A-Za-z0-9._:-]+$' AND length(i.key) <= 128 AND i.key_date IS NOT NULL
        AND octet_length(i.request_hash) = 32 AND i.kind IS NOT NULL AND i.config_epoch >= 0
        AND (i.original_key IS NULL) = (i.original_key_date IS NULL)
        AND substr(i.transaction_id::text, 15, 1) = '7' AND i.transaction_id BETWEEN earliest AND latest
        AND i.effective_time BETWEEN '1970-01-01Z' AND soon
        AND (i.settlement_date IS NULL OR i.settlement_date BETWEEN '1970-01-01' AND '9999-12-31')
        AND i.accounting_date BETWEEN i.effective_time::date - 2 AND i.effective_time::date + 2
        AND (i.demanded_date IS NULL OR i.demanded_date BETWEEN i.accounting_date - 31 AND soon::date + 1)
        AND (i.due_date IS NULL) = (i.calendar_version IS NULL)
        AND (i.due_date IS NULL OR (i.due_date BETWEEN '1970-01-01' AND '9999-12-31' AND i.calendar_version >= 0
                                    AND i.kind NOT IN ('hold', 'void', 'expire')))
        AND (i.expires_at IS NULL OR (i.kind = 'hold' AND i.expires_at BETWEEN '1970-01-01Z' AND '9999-12-31Z'))) IS NOT TRUE
     LIMIT 1;
    IF FOUND OR (cardinality(p_items) BETWEEN 1 AND 1024) IS NOT TRUE
        OR EXISTS (SELECT FROM unnest(p_items) i FULL JOIN (
                          SELECT e.item, count(*) AS n FROM unnest(p_entry_items) e (item) GROUP BY e.item) e ON e.item = i.n
                    WHERE (i.n IS NOT NULL AND CASE WHEN i.kind IN ('void', 'expire') THEN e.n IS NULL
                           WHEN i.kind = 'hold' THEN e.n = 1 ELSE e.n > 0 END) IS NOT TRUE)
        OR EXISTS (SELECT FROM unnest(p_accounts, p_currencies) a (code, currency)
                    WHERE (length(a.code) <= 200 AND length(a.currency) <= 3) IS NOT TRUE) THEN
        RAISE EXCEPTION 'a posting with such arguments is refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- Takes the identities of the items that may be decided, and says which of them
-- are new. It waits for whoever is deciding the same one; then that one has an answer.
CREATE FUNCTION ledger.take_keys(p_items ledger.item[], p_open boolean[]) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    fresh boolean[] := array_fill(false, ARRAY[cardinality(p_items)]);
    taken int;
BEGIN
    FOR taken IN
        WITH ours AS (
            INSERT INTO ledger.identities (key_date, caller, key_digest, decision)
            SELECT i.key_date, i.caller, d.digest, i.transaction_id
              FROM unnest(p_items) i, LATERAL (SELECT ledger.key_digest(i.key) OFFSET 0) d (digest)
             WHERE p_open[i.n] ORDER BY i.key_date, i.caller, d.digest
            ON CONFLICT DO NOTHING RETURNING decision)
        SELECT i.n FROM unnest(p_items) i JOIN ours ON ours.decision = i.transaction_id LOOP
        fresh[taken] := true;
    END LOOP;
    RETURN fresh;
END $$;

-- The answers that identities have already. One that is in the batch twice has
-- none, and the batch is refused: the service never sends such a batch.
CREATE FUNCTION ledger.stored_answers(p_items ledger.item[], p_fresh boolean[]) RETURNS SETOF ledger.answer
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT i.n, i.request_hash AS asked, coalesce(t.request_hash, r.request_hash) AS request_hash, t.transaction_id, t.accounting_date,
               r.reason, r.subject, r.message
          FROM unnest(p_items) i
          JOIN ledger.identities k ON k.key_date = i.key_date AND k.caller = i.caller
               AND k.key_digest = ledger.key_digest(i.key)
          LEFT JOIN ledger.transactions t ON t.transaction_id = k.decision
          LEFT JOIN ledger.refusals r ON r.refusal_id = k.decision
         WHERE NOT p_fresh[i.n] LOOP
        IF known.request_hash <> known.asked THEN
            RETURN NEXT ROW (known.n, 'refused', NULL, NULL, 'IDENTITY_CONFLICT', 'identity',
                'the identity is known with other content', NULL)::ledger.answer;
        ELSIF known.transaction_id IS NOT NULL THEN
            RETURN NEXT ROW (known.n, 'replayed', known.transaction_id, known.accounting_date,
                NULL, NULL, NULL, NULL)::ledger.answer;
        ELSIF known.reason IS NOT NULL THEN
            RETURN NEXT ROW (known.n, 'refused', NULL, NULL, known.reason, known.subject, known.message,
                NULL)::ledger.answer;
        ELSE
            RAISE EXCEPTION 'an identity is in the batch twice' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
END $$;
