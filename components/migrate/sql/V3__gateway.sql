-- The gateway's tables: who may call, what they ordered, what the networks said.
-- docs/gateway.md tells the life of a payment; components/gateway/src/state.rs
-- holds the states and transitions that these checks repeat.

CREATE SCHEMA gateway;
GRANT USAGE ON SCHEMA gateway TO gateway;

CREATE TABLE gateway.merchants (
    merchant_id  text PRIMARY KEY,
    display_name text NOT NULL,
    -- What is paid on day T is due n working days later: T+n.
    settlement_days smallint NOT NULL DEFAULT 1 CHECK (settlement_days BETWEEN 0 AND 30),
    created_at   timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON gateway.merchants TO gateway;

CREATE TABLE gateway.apps (
    app_id       text PRIMARY KEY,
    display_name text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON gateway.apps TO gateway;

CREATE TABLE gateway.app_keys (
    app_id     text NOT NULL REFERENCES gateway.apps,
    key_id     text NOT NULL,
    -- The uncompressed point of an ECDSA P-256 public key.
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 65),
    PRIMARY KEY (app_id, key_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.app_keys TO gateway;

-- A nonce may be used for one signed request. The row is written in the
-- transaction that does what the request asks, where there is one.
CREATE TABLE gateway.nonces (
    app_id         text NOT NULL,
    nonce          text NOT NULL,
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    -- From here on the signature's time window refuses the request anyway.
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (app_id, nonce)
);
CREATE INDEX nonces_expired ON gateway.nonces (expires_at);
GRANT SELECT, INSERT, DELETE ON gateway.nonces TO gateway;

CREATE TABLE gateway.orders (
    order_id              uuid PRIMARY KEY,
    app_id                text NOT NULL,
    order_date            date NOT NULL,
    order_number          text NOT NULL,
    request_hash          bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    merchant_id           text NOT NULL,
    method                text NOT NULL,
    amount_minor          bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency              text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    description           text,
    -- The tenant's date when the order was stored: the ledger's key date.
    stored_date           date NOT NULL,
    -- When the merchant's share is due, and the config epoch whose calendar says so.
    settlement_date       date NOT NULL,
    calendar_version      bigint NOT NULL,
    status                text NOT NULL DEFAULT 'Processing'
                          CHECK (status IN ('Processing', 'Succeeded', 'Failed')),
    channel               text,
    fee_minor             bigint CHECK (fee_minor BETWEEN 0 AND amount_minor),
    config_hash           text,
    config_epoch          bigint,
    ledger_transaction_id uuid,
    failure_code          text,
    -- What refunds that have not failed ask for, and what came of it.
    refund_reserved_minor bigint NOT NULL DEFAULT 0,
    refunded_minor        bigint NOT NULL DEFAULT 0,
    created_at            timestamptz NOT NULL,
    completed_at          timestamptz,
    -- When a resolver may take the order up, and how often one has.
    next_check_at         timestamptz,
    checks                integer NOT NULL DEFAULT 0,
    UNIQUE (app_id, order_date, order_number),
    CONSTRAINT success_is_booked CHECK ((status = 'Succeeded') = (ledger_transaction_id IS NOT NULL)),
    CONSTRAINT success_says_how CHECK (status <> 'Succeeded' OR
        (channel IS NOT NULL AND fee_minor IS NOT NULL AND config_hash IS NOT NULL AND config_epoch IS NOT NULL)),
    CONSTRAINT failure_has_code CHECK ((status = 'Failed') = (failure_code IS NOT NULL)),
    CONSTRAINT final_has_time CHECK ((status = 'Processing') = (completed_at IS NULL)),
    CONSTRAINT open_is_checked CHECK ((status = 'Processing') = (next_check_at IS NOT NULL)),
    CONSTRAINT refunds_within_payment CHECK
        (0 <= refunded_minor AND refunded_minor <= refund_reserved_minor AND refund_reserved_minor <= amount_minor),
    CONSTRAINT refunds_of_success CHECK (status = 'Succeeded' OR refund_reserved_minor = 0)
);
CREATE INDEX orders_due ON gateway.orders (next_check_at) WHERE status = 'Processing';
GRANT SELECT, INSERT, UPDATE ON gateway.orders TO gateway;

CREATE TABLE gateway.attempts (
    -- Without dashes it is the number that the network knows.
    attempt_id   uuid PRIMARY KEY,
    order_id     uuid NOT NULL REFERENCES gateway.orders,
    ordinal      smallint NOT NULL CHECK (ordinal BETWEEN 1 AND 16),
    channel      text NOT NULL,
    -- Why this channel: the candidates and what spoke against each.
    decision     jsonb NOT NULL,
    -- The fee and the config that it was decided on.
    fee_minor    bigint NOT NULL,
    config_hash  text NOT NULL,
    config_epoch bigint NOT NULL,
    status       text NOT NULL DEFAULT 'Sending' CHECK (status IN
        ('Sending', 'Processing', 'Unknown', 'Succeeded', 'Declined', 'Closed', 'NotSent', 'NotReceived')),
    -- The time that the request's signature bears.
    signed_at    timestamptz NOT NULL,
    network_id   text,
    network_time timestamptz,
    code         text,
    ended_at     timestamptz,
    UNIQUE (order_id, ordinal),
    CONSTRAINT success_has_receipt CHECK (status <> 'Succeeded' OR
        (network_id IS NOT NULL AND network_time IS NOT NULL))
);
-- At most one attempt of an order is not final, or succeeded.
CREATE UNIQUE INDEX attempts_one_alive ON gateway.attempts (order_id)
    WHERE status IN ('Sending', 'Processing', 'Unknown', 'Succeeded');
CREATE INDEX attempts_open ON gateway.attempts (channel)
    WHERE status IN ('Sending', 'Processing', 'Unknown');
GRANT SELECT, INSERT, UPDATE ON gateway.attempts TO gateway;

CREATE TABLE gateway.refunds (
    -- Without dashes it is the number that the network knows.
    refund_id               uuid PRIMARY KEY,
    order_id                uuid NOT NULL REFERENCES gateway.orders,
    refund_number           text NOT NULL,
    request_hash            bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    amount_minor            bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    reason                  text,
    channel                 text NOT NULL,
    stored_date             date NOT NULL,
    -- The config epoch that its next posting is decided on.
    config_epoch            bigint NOT NULL,
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
    UNIQUE (order_id, refund_number),
    -- The network is asked only for what the books have debited.
    CONSTRAINT sent_is_booked CHECK (status IN ('Requested', 'Failed') OR ledger_transaction_id IS NOT NULL),
    CONSTRAINT failed_is_reversed CHECK (status <> 'Failed' OR
        (ledger_transaction_id IS NULL) = (reversal_transaction_id IS NULL)),
    CONSTRAINT failure_has_code CHECK ((status IN ('Reversing', 'Failed')) = (failure_code IS NOT NULL)),
    CONSTRAINT final_has_time CHECK ((status IN ('Succeeded', 'Failed')) = (completed_at IS NOT NULL)),
    CONSTRAINT open_is_checked CHECK ((status IN ('Succeeded', 'Failed')) = (next_check_at IS NULL))
);
CREATE INDEX refunds_due ON gateway.refunds (next_check_at) WHERE next_check_at IS NOT NULL;
GRANT SELECT, INSERT, UPDATE ON gateway.refunds TO gateway;

-- What is final stays: money has moved, or has been promised not to.
CREATE FUNCTION gateway.final_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is final: % cannot become %', TG_TABLE_NAME, OLD.status, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.orders FOR EACH ROW
    WHEN (OLD.status <> 'Processing' AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.attempts FOR EACH ROW
    WHEN (OLD.status IN ('Succeeded', 'Declined', 'Closed', 'NotSent', 'NotReceived')
          AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.refunds FOR EACH ROW
    WHEN (OLD.status IN ('Succeeded', 'Failed') AND NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION gateway.final_stays();

-- Events, written with the change that they tell of. V17 has their delivery.
CREATE TABLE gateway.outbox (
    event_id   uuid PRIMARY KEY,
    app_id     text NOT NULL,
    kind       text NOT NULL,
    subject_id uuid NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_of_app ON gateway.outbox (app_id, event_id);
GRANT SELECT, INSERT ON gateway.outbox TO gateway;

-- The operator's probes: the date under which the ledger knows each.
CREATE TABLE gateway.probes (
    fingerprint text PRIMARY KEY,
    stored_date date NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON gateway.probes TO gateway;
