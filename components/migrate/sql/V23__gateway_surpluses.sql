-- Surpluses: money that a network took and no order stands for. It is booked as
-- suspense and given back; docs/gateway.md has its life.

-- Whoever reads these tables for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.attempts
    -- What the network took, where that is not what it was asked for.
    ADD COLUMN paid_minor bigint,
    DROP CONSTRAINT attempts_status_check,
    -- Not valid: rows of before hold to the narrower one.
    ADD CONSTRAINT attempts_status_check CHECK (status IN ('Sending', 'Processing', 'Unknown', 'Succeeded',
        'Declined', 'Closed', 'NotSent', 'NotReceived', 'OtherAmount')) NOT VALID;
DROP TRIGGER final_stays ON gateway.attempts;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.attempts FOR EACH ROW
    WHEN (OLD.status IN ('Succeeded', 'Declined', 'Closed', 'NotSent', 'NotReceived', 'OtherAmount')
          AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();

CREATE TABLE gateway.surpluses (
    -- The attempt that was paid. No reference to the order: who takes orders up holds locks the
    -- other way round.
    attempt_id    uuid PRIMARY KEY REFERENCES gateway.attempts,
    order_id      uuid NOT NULL,
    channel       text NOT NULL,
    reason        text NOT NULL CHECK (reason IN ('PaidAfterEnd', 'PaidTwice', 'OtherAmount')),
    amount_minor  bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- The ledger's key date: the order's.
    stored_date   date NOT NULL,
    network_id    text NOT NULL,
    network_time  timestamptz NOT NULL,
    status        text NOT NULL CHECK (status IN
                  ('Told', 'Confirmed', 'Booked', 'Sending', 'Repaid', 'Refunded', 'Held')),
    suspense_transaction_id uuid,
    -- Without dashes it is the number that the network knows the refund by: the same one on
    -- every try, so that two never come through.
    refund_id     uuid NOT NULL UNIQUE,
    tries         integer NOT NULL DEFAULT 0,
    signed_at     timestamptz,
    -- There once the network has said that it knows the refund; it may be empty.
    refund_network_id text,
    refund_transaction_id uuid,
    -- Why it is left to a person.
    held_because  text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    next_check_at timestamptz DEFAULT now(),
    checks        integer NOT NULL DEFAULT 0,
    CONSTRAINT refund_is_of_booked CHECK (status NOT IN ('Booked', 'Sending', 'Repaid', 'Refunded')
        OR suspense_transaction_id IS NOT NULL),
    CONSTRAINT sent_is_signed CHECK (status NOT IN ('Sending', 'Repaid', 'Refunded')
        OR signed_at IS NOT NULL),
    CONSTRAINT refunded_is_booked CHECK ((status = 'Refunded') = (refund_transaction_id IS NOT NULL)),
    CONSTRAINT held_says_why CHECK ((status = 'Held') = (held_because IS NOT NULL)),
    CONSTRAINT open_is_checked CHECK ((status IN ('Refunded', 'Held')) = (next_check_at IS NULL))
);
CREATE INDEX surpluses_due ON gateway.surpluses (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX surpluses_held ON gateway.surpluses (attempt_id) WHERE status = 'Held';
GRANT SELECT, INSERT, UPDATE ON gateway.surpluses TO gateway;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.surpluses FOR EACH ROW
    WHEN (OLD.status = 'Refunded') EXECUTE FUNCTION gateway.final_stays();
