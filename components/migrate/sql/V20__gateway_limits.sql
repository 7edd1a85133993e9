-- Limits per day and month. What a limit lets through is counted in the transaction that
-- begins the attempt, and given back in the one that ends it without an effect;
-- docs/gateway.md has the rules.

CREATE TABLE gateway.limit_counters (
    counter_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Which limit, of what, in which day or month of the tenant's calendar.
    counter      text NOT NULL UNIQUE CHECK (char_length(counter) BETWEEN 1 AND 256),
    -- It is of no use after that.
    last_day     date NOT NULL,
    -- Of attempts that succeeded, or still may.
    amount_minor bigint NOT NULL DEFAULT 0 CHECK (amount_minor >= 0),
    payments     bigint NOT NULL DEFAULT 0 CHECK (payments >= 0)
-- A busy row is written hundreds of times a second: room for its versions beside it.
) WITH (fillfactor = 50);
CREATE INDEX limit_counters_old ON gateway.limit_counters (last_day);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.limit_counters TO gateway;

-- Whoever reads these tables for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
-- The counters that an attempt is counted in.
ALTER TABLE gateway.attempts ADD COLUMN counted bigint[];
-- Why an order came to no attempt: the candidates, and the limits that were reached.
ALTER TABLE gateway.orders ADD COLUMN routing jsonb;

-- An attempt that ends without an effect, or in one that is given back, is counted no more, whoever ends it, in the same
-- transaction, once: what is final stays. Unknown and Processing ones stay counted. The
-- counters are locked in one order, as by those who begin attempts.
CREATE FUNCTION gateway.give_back() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ended WHERE counted IS NOT NULL
            AND status IN ('Declined', 'Closed', 'NotSent', 'NotReceived', 'OtherAmount')) THEN
        RETURN NULL;
    END IF;
    WITH back AS (SELECT c.id, sum(o.amount_minor)::bigint AS minor, count(*) AS ones
            FROM ended e JOIN was w USING (attempt_id) JOIN gateway.orders o ON o.order_id = e.order_id
                CROSS JOIN LATERAL unnest(e.counted) AS c(id)
            WHERE e.status IN ('Declined', 'Closed', 'NotSent', 'NotReceived', 'OtherAmount') AND w.status <> e.status
            GROUP BY c.id),
         held AS (SELECT counter_id FROM gateway.limit_counters
            WHERE counter_id IN (SELECT id FROM back) ORDER BY counter_id FOR UPDATE)
    -- Never below zero, whoever touched them: no limit may keep an outcome from being stored.
    UPDATE gateway.limit_counters l SET amount_minor = greatest(0, amount_minor - back.minor),
            payments = greatest(0, payments - back.ones)
        FROM back JOIN held ON held.counter_id = back.id WHERE l.counter_id = back.id;
    RETURN NULL;
END $$;
CREATE TRIGGER give_back AFTER UPDATE ON gateway.attempts
    REFERENCING OLD TABLE AS was NEW TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.give_back();
