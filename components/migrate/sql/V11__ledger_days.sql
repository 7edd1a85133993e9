-- Accounting days. A day is open, then closing, then closed, and every day before
-- it with it; no way leads back. What is booked when its day is closed goes to the
-- earliest day that is not, and keeps its effective time. Whoever closes a day
-- takes the fence alone: what was under way has committed, with a lower batch
-- number, and all that comes later knows.

CREATE TABLE ledger.day_closings (
    day          date NOT NULL,
    state        text NOT NULL CHECK (state IN ('closing', 'closed')),
    batch_number bigint NOT NULL,
    decided_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, state)
);
CREATE INDEX ON ledger.day_closings (batch_number);
SELECT payplane.append_only('ledger.day_closings');

-- What moved on a day, as checkpoints (V13) know it. Most of what is booked after a
-- position, and up to the next one here, is of its day; what of it is of another day
-- is told account by account. Derived, as checkpoints are.
CREATE TABLE ledger.day_starts (
    day      date PRIMARY KEY,
    position bigint NOT NULL UNIQUE
);
CREATE TABLE ledger.day_moves (
    account_id   bigint NOT NULL,
    day          date NOT NULL,
    -- It moved up to there, and behind the one before.
    position     bigint NOT NULL,
    debit_minor  numeric NOT NULL,
    credit_minor numeric NOT NULL,
    PRIMARY KEY (account_id, day, position)
);
CREATE INDEX ON ledger.day_moves (account_id, position);
SELECT payplane.append_only('ledger.day_starts', 'ledger.day_moves');

-- Refuses postings that demand a day which takes them no more. A day that is
-- closing takes only what was effective before its cut-off.
CREATE FUNCTION ledger.check_days(p_items ledger.item[], p_closing_through date, p_closed_through date)
RETURNS SETOF ledger.answer LANGUAGE sql STABLE AS $$
    SELECT ROW (i.n, 'refused', NULL, NULL, 'CLOSED_DAY', 'accounting_date',
               CASE WHEN i.demanded_date <= p_closed_through THEN format('%s is closed', i.demanded_date)
                    ELSE format('%s is closing, and this was effective after its cut-off', i.demanded_date) END,
               NULL)::ledger.answer
      FROM unnest(p_items) i
     WHERE i.demanded_date <= p_closed_through
        OR (i.demanded_date <= p_closing_through AND i.accounting_date > i.demanded_date);
$$;

-- Closes a day, or says why not. Once it returns, nothing decided before is under
-- way: the day's statement is final when the batch that closed it has a position.
CREATE FUNCTION ledger.close_day(p_day date, p_state text, OUT closing date, OUT closed date, OUT refusal text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    today date;
    batch bigint;
BEGIN
    IF (p_state IN ('closing', 'closed') AND p_day BETWEEN '1970-01-01' AND '9999-12-31') IS NOT TRUE THEN
        RAISE EXCEPTION 'a closing with such arguments is refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.take_fence(true);
    SELECT l.closing_through, l.closed_through, (now() AT TIME ZONE c.time_zone)::date
      INTO STRICT closing, closed, today FROM ledger.control l, payplane.control c;
    batch := ledger.record_batch(0);
    IF p_day > today THEN
        refusal := 'it has not begun';
    ELSIF p_state = 'closed' AND p_day > closing THEN
        refusal := 'it is open: it has to be closing first';
    ELSIF p_day > (CASE p_state WHEN 'closing' THEN closing ELSE closed END) THEN
        INSERT INTO ledger.day_closings (day, state, batch_number) VALUES (p_day, p_state, batch);
        UPDATE ledger.control l
           SET closing_through = greatest(l.closing_through, p_day),
               closed_through = CASE p_state WHEN 'closed' THEN p_day ELSE l.closed_through END
        RETURNING l.closing_through, l.closed_through INTO STRICT closing, closed;
    END IF;
    closing := nullif(closing, '-infinity');
    closed := nullif(closed, '-infinity');
END $$;

-- On which date the network settles what was booked without one, told later and once.
CREATE TABLE ledger.settlements (
    transaction_id  uuid PRIMARY KEY,
    settlement_date date NOT NULL,
    caller          text NOT NULL,
    batch_number    bigint NOT NULL,
    told_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON ledger.settlements (batch_number);
CREATE FUNCTION ledger.settlements_are_told_once() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT s.transaction_id INTO wrong FROM added s
     WHERE (SELECT t.caller = s.caller AND t.settlement_date IS NULL
              FROM ledger.all_transactions t WHERE t.transaction_id = s.transaction_id) IS NOT TRUE LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is no transaction of its caller without a settlement date', wrong
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER whole AFTER INSERT ON ledger.settlements REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.settlements_are_told_once();
SELECT payplane.append_only('ledger.settlements');

-- Tells the settlement dates of the caller's transactions, and for each whether it was
-- refused and why. Telling the date that is known changes nothing.
CREATE FUNCTION ledger.set_settlement_dates(p_caller text, p_key_dates date[], p_keys text[], p_dates date[],
    OUT reasons text[], OUT messages text[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    ids uuid[];
    batch bigint;
BEGIN
    IF (p_caller ~ '^[a-z0-9-]{1,63}$' AND cardinality(p_dates) BETWEEN 1 AND 100 AND cardinality(p_key_dates) = cardinality(p_dates)
        AND cardinality(p_keys) = cardinality(p_dates)) IS NOT TRUE
        OR EXISTS (SELECT FROM unnest(p_dates) d WHERE (d BETWEEN '1970-01-01' AND '9999-12-31') IS NOT TRUE) THEN
        RAISE EXCEPTION 'settlement dates with such arguments are refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM ledger.take_fence(false);
    ids := ARRAY(SELECT (SELECT t.transaction_id FROM ledger.identities k JOIN ledger.all_transactions t ON t.transaction_id = k.decision
                          WHERE k.key_date = w.key_date AND k.caller = p_caller AND k.key_digest = ledger.key_digest(w.key))
                   FROM unnest(p_key_dates, p_keys) WITH ORDINALITY AS w (key_date, key, n) ORDER BY w.n);
    batch := ledger.record_batch(0);
    INSERT INTO ledger.settlements (transaction_id, settlement_date, caller, batch_number)
    SELECT DISTINCT ON (w.id) w.id, w.date, p_caller, batch FROM unnest(ids, p_dates) WITH ORDINALITY AS w (id, date, n)
     WHERE (SELECT t.settlement_date IS NULL FROM ledger.all_transactions t WHERE t.transaction_id = w.id) ORDER BY w.id, w.n
        ON CONFLICT DO NOTHING;
    SELECT array_agg(CASE WHEN w.id IS NULL THEN 'UNKNOWN_ORIGINAL' WHEN k.date <> w.date THEN 'INVALID' END ORDER BY w.n),
           array_agg(CASE WHEN w.id IS NULL THEN 'the transaction is not in the books'
                          WHEN k.date <> w.date THEN format('it is settled on %s', k.date) END ORDER BY w.n)
      INTO reasons, messages
      FROM unnest(ids, p_dates) WITH ORDINALITY AS w (id, date, n), LATERAL (
           SELECT coalesce((SELECT s.settlement_date FROM ledger.settlements s WHERE s.transaction_id = w.id),
                           (SELECT t.settlement_date FROM ledger.all_transactions t WHERE t.transaction_id = w.id)) AS date) k;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.close_day, ledger.set_settlement_dates TO ledger;
GRANT SELECT ON ledger.settlements, ledger.day_closings, ledger.day_starts, ledger.day_moves TO ledger;
