-- Payouts: from what a merchant has to an account, over a channel that pays out. They live
-- as refunds do; docs/gateway.md has their life.

CREATE TABLE gateway.payouts (
    -- Without dashes it is the number that the network knows.
    payout_id               uuid PRIMARY KEY,
    app_id                  text NOT NULL,
    order_date              date NOT NULL,
    payout_number           text NOT NULL,
    request_hash            bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    merchant_id             text NOT NULL,
    amount_minor            bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency                text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    channel                 text NOT NULL,
    -- Account and name, sealed with the data key, until the request is signed: after that the
    -- payout is asked for by its number alone. What is kept is enough to recognize it by.
    payee_sealed            bytea,
    payee_masked            text NOT NULL,
    description             text,
    -- The tenant's date when it was stored: the ledger's key date.
    stored_date             date NOT NULL,
    status                  text NOT NULL DEFAULT 'Requested' CHECK (status IN
        ('Requested', 'Sending', 'Reversing', 'Succeeded', 'Failed')),
    ledger_transaction_id   uuid,
    reversal_transaction_id uuid,
    -- Whose turn made it Sending: that one sends, however often it has to ask.
    send_id                 uuid,
    signed_at               timestamptz,
    network_id              text,
    failure_code            text,
    created_at              timestamptz NOT NULL,
    completed_at            timestamptz,
    next_check_at           timestamptz,
    checks                  integer NOT NULL DEFAULT 0,
    UNIQUE (app_id, order_date, payout_number),
    -- The network is asked only for what the books have debited, and only by who signed it.
    CONSTRAINT sent_is_booked CHECK (status IN ('Requested', 'Failed') OR ledger_transaction_id IS NOT NULL),
    CONSTRAINT sent_is_signed CHECK (status NOT IN ('Sending', 'Succeeded')
        OR (send_id IS NOT NULL AND signed_at IS NOT NULL)),
    CONSTRAINT failed_is_reversed CHECK (status <> 'Failed' OR
        (ledger_transaction_id IS NULL) = (reversal_transaction_id IS NULL)),
    CONSTRAINT only_failed_is_reversed CHECK (status = 'Failed' OR reversal_transaction_id IS NULL),
    CONSTRAINT success_has_receipt CHECK (status <> 'Succeeded' OR network_id IS NOT NULL),
    CONSTRAINT failure_has_code CHECK ((status IN ('Reversing', 'Failed')) = (failure_code IS NOT NULL)),
    CONSTRAINT final_has_time CHECK ((status IN ('Succeeded', 'Failed')) = (completed_at IS NOT NULL)),
    CONSTRAINT open_is_checked CHECK ((status IN ('Succeeded', 'Failed')) = (next_check_at IS NULL)),
    CONSTRAINT payee_until_sent CHECK ((status = 'Requested') = (payee_sealed IS NOT NULL))
);
CREATE INDEX payouts_due ON gateway.payouts (next_check_at) WHERE next_check_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON gateway.payouts TO gateway;

CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.payouts FOR EACH ROW
    WHEN (OLD.status IN ('Succeeded', 'Failed') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();

-- Whoever leads a payout on forgets whom it is for.
CREATE FUNCTION gateway.forget_payee() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.payee_sealed := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_payee BEFORE UPDATE ON gateway.payouts FOR EACH ROW
    WHEN (NEW.status <> 'Requested') EXECUTE FUNCTION gateway.forget_payee();
