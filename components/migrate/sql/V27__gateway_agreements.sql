-- Agreements of account holders that they be debited; docs/gateway.md has their life.

CREATE TABLE gateway.agreements (
    -- Without dashes it is the number that the bank knows.
    agreement_id     uuid PRIMARY KEY,
    app_id           text NOT NULL,
    agreement_date   date NOT NULL,
    agreement_number text NOT NULL,
    request_hash     bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    merchant_id      text NOT NULL,
    method           text NOT NULL,
    channel          text NOT NULL,
    -- The account itself is kept nowhere: its end, to recognize it by, and what it is counted by.
    account_masked   text NOT NULL,
    payer            text NOT NULL,
    status           text NOT NULL DEFAULT 'Processing' CHECK (status IN
        ('Processing', 'AwaitingCode', 'Active', 'Ending', 'Ended', 'Failed')),
    -- The time that the request's signature bears.
    signed_at        timestamptz NOT NULL,
    network_id       text,
    -- By which payments name the account to the bank, sealed with the data key.
    token_sealed     bytea,
    failure_code     text,
    created_at       timestamptz NOT NULL,
    ended_at         timestamptz,
    next_check_at    timestamptz,
    checks           integer NOT NULL DEFAULT 0,
    UNIQUE (app_id, agreement_date, agreement_number),
    CONSTRAINT active_has_token CHECK ((status = 'Active') = (token_sealed IS NOT NULL)),
    CONSTRAINT failure_has_code CHECK ((status = 'Failed') = (failure_code IS NOT NULL)),
    CONSTRAINT final_has_time CHECK ((status IN ('Ended', 'Failed')) = (ended_at IS NOT NULL)),
    CONSTRAINT open_is_checked CHECK
        ((status IN ('Processing', 'AwaitingCode', 'Ending')) = (next_check_at IS NOT NULL))
);
-- How often an account was asked about lately.
CREATE INDEX agreements_by_payer ON gateway.agreements (payer, created_at);
CREATE INDEX agreements_due ON gateway.agreements (next_check_at) WHERE next_check_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON gateway.agreements TO gateway;

CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.agreements FOR EACH ROW
    WHEN (OLD.status IN ('Ended', 'Failed') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();
-- What was to end never holds again, whoever writes.
CREATE FUNCTION gateway.end_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'agreement % is to end: it cannot become %', OLD.agreement_id, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER end_stays BEFORE UPDATE ON gateway.agreements FOR EACH ROW
    WHEN (OLD.status = 'Ending' AND NEW.status NOT IN ('Ending', 'Ended'))
    EXECUTE FUNCTION gateway.end_stays();

-- Whoever reads this table for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
-- By which agreement an attempt is made. Those that are being sent are found by their channel
-- (`attempts_open`): an index of their own would read the whole table.
ALTER TABLE gateway.attempts ADD COLUMN agreement_id uuid;
