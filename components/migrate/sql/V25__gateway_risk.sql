-- Risk policies: what they count, and the journal of what they matched. docs/gateway.md
-- has the rules.

-- Whoever reads this table for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
-- Of merchants from before it is not known: they are as old as their row.
ALTER TABLE gateway.merchants ADD COLUMN approved_at timestamptz;
-- A trigger, as pods of the release before this one approve, too, during an update.
CREATE FUNCTION gateway.note_approval() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.approved_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER approval_noted BEFORE UPDATE ON gateway.merchants FOR EACH ROW
    WHEN (OLD.status = 'Applied' AND NEW.status = 'Active') EXECUTE FUNCTION gateway.note_approval();

-- What went by in a window of time, of whomever a policy is about. It is locked by the
-- transaction that begins an attempt, from its verdict to its commit.
CREATE TABLE gateway.risk_windows (
    -- A keyed hash of the policy, its window and whom it is about.
    window_key bytea PRIMARY KEY CHECK (octet_length(window_key) = 32),
    -- It is of no use after that.
    last_day   date NOT NULL,
    -- [[start, payments, sum], ..], the window cut into slices.
    slices     jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(slices) = 'array' AND jsonb_array_length(slices) <= 32)
-- A busy row is written many times a second: room for its versions beside it.
) WITH (fillfactor = 50);
CREATE INDEX risk_windows_old ON gateway.risk_windows (last_day);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.risk_windows TO gateway;

-- Each policy that an order matched, written in the transaction that decided. Nobody's
-- name stands here, and no line is ever changed.
CREATE TABLE gateway.risk_journal (
    journal_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    order_id       uuid NOT NULL REFERENCES gateway.orders,
    policy         text NOT NULL,
    -- The config that the policy stood in.
    config_epoch   bigint NOT NULL,
    config_hash    text NOT NULL,
    mode           text NOT NULL CHECK (mode IN ('Enforce', 'Shadow')),
    verdict        text NOT NULL CHECK (verdict IN ('Block')),
    -- What was seen, and what it was held against.
    facts          jsonb NOT NULL,
    UNIQUE (order_id, policy)
);
GRANT SELECT, INSERT ON gateway.risk_journal TO gateway;

CREATE FUNCTION gateway.risk_journal_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'gateway.risk_journal is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER journal_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON gateway.risk_journal
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.risk_journal_stays();
