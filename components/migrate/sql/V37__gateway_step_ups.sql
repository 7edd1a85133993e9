-- Payments whose payer a risk policy wants to hear from first: a one-time code, which the bank's
-- own sender brings him. docs/step-up.md has the rules.

SET LOCAL lock_timeout = '5s';

-- Whoever writes a row holds its order's.
CREATE TABLE gateway.step_ups (
    order_id        uuid PRIMARY KEY REFERENCES gateway.orders,
    status          text NOT NULL DEFAULT 'Asked' CHECK (status IN
        ('Asked', 'Sending', 'AwaitingCode', 'Confirmed', 'Allowed', 'Failed')),
    -- What becomes of the payment where no code can be sent: of all policies that asked, the strictest.
    on_error        text NOT NULL CHECK (on_error IN ('Allow', 'Hold', 'Block')),
    -- By which the payment is made.
    agreement_id    uuid,
    -- Who is asked, by a key of the tenant's data key: nobody is sent codes without end.
    payer_key       bytea CHECK (octet_length(payer_key) = 32),
    -- Of the latest code, by a key of the tenant's data key; written before it is sent. The code itself
    -- is kept nowhere.
    code_digest     bytea CHECK (octet_length(code_digest) = 32),
    code_expires_at timestamptz,
    -- Codes that were made, and codes that were brought and wrong.
    sends           smallint NOT NULL DEFAULT 0 CHECK (sends BETWEEN 0 AND 16),
    tries           smallint NOT NULL DEFAULT 0 CHECK (tries BETWEEN 0 AND 5),
    -- Why the latest code did not reach the payer.
    why             text CHECK (length(why) <= 64),
    -- The request that moved it last: one whose answer was lost knows its own.
    moved_by        uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    CONSTRAINT code_was_made CHECK ((sends = 0) = (code_digest IS NULL) AND (sends = 0) = (code_expires_at IS NULL)),
    CONSTRAINT proof_is_by_code CHECK (status NOT IN ('AwaitingCode', 'Confirmed') OR sends > 0),
    CONSTRAINT goes_on_where_allowed CHECK (status <> 'Allowed' OR on_error = 'Allow'),
    CONSTRAINT end_has_time CHECK ((status IN ('Confirmed', 'Allowed', 'Failed')) = (ended_at IS NOT NULL))
);
GRANT SELECT, INSERT (order_id, on_error, agreement_id),
    UPDATE (status, payer_key, code_digest, code_expires_at, sends, tries, why, moved_by, ended_at) ON gateway.step_ups TO gateway;

CREATE INDEX step_ups_of_payer ON gateway.step_ups (payer_key, created_at) WHERE payer_key IS NOT NULL;

CREATE FUNCTION gateway.step_up_moves() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the step-up of order % cannot go from % (% codes, % wrong) to % (% codes, % wrong)',
        OLD.order_id, OLD.status, OLD.sends, OLD.tries, NEW.status, NEW.sends, NEW.tries
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER step_up_moves BEFORE UPDATE ON gateway.step_ups FOR EACH ROW
    WHEN (NEW.sends < OLD.sends OR NEW.tries < OLD.tries OR (NEW.status <> OLD.status
        AND (OLD.status, NEW.status) NOT IN (
            ('Asked', 'Sending'), ('Asked', 'Allowed'), ('Asked', 'Failed'),
            ('Sending', 'AwaitingCode'), ('Sending', 'Confirmed'), ('Sending', 'Allowed'), ('Sending', 'Failed'),
            ('AwaitingCode', 'Confirmed'), ('AwaitingCode', 'Failed'))))
    EXECUTE FUNCTION gateway.step_up_moves();

-- What is there blocked a payment: nothing is to be read.
ALTER TABLE gateway.risk_journal DROP CONSTRAINT risk_journal_verdict_check,
    ADD CONSTRAINT risk_journal_verdict_check CHECK (verdict IN ('Block', 'StepUp')) NOT VALID;
-- Who pays an order that waits for its code.
ALTER TABLE vault.secrets DROP CONSTRAINT secrets_kind_check,
    ADD CONSTRAINT secrets_kind_check CHECK (kind IN ('Payee', 'Token', 'Payer')) NOT VALID;
