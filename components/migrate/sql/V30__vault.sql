-- The vault: what a network knows accounts by, sealed, under a login of its own that reaches
-- nothing else; no other login reaches it. docs/gateway.md says what is kept, and how long.

CREATE SCHEMA vault;
REVOKE ALL ON SCHEMA vault FROM PUBLIC;
GRANT USAGE ON SCHEMA vault TO payplane_vault;
DO $$
BEGIN
    IF (SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database
        WHERE datname = pg_catalog.current_database()) THEN
        EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO payplane_vault', pg_catalog.current_database());
    END IF;
END $$;

CREATE TABLE vault.secrets (
    -- The payee of a payout or of a refund that is transferred; the token of an agreement.
    kind     text NOT NULL CHECK (kind IN ('Payee', 'Token')),
    owner_id uuid NOT NULL,
    -- With a data key, for this owner alone: elsewhere it does not open.
    sealed   bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 29 AND 4096),
    -- Names that key, and tells nothing of it.
    key_id   text NOT NULL CHECK (key_id ~ '^[0-9a-f]{16}$'),
    kept_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, owner_id)
);
-- What a former key still seals, in order.
CREATE INDEX secrets_by_key ON vault.secrets (key_id, kind, owner_id);
GRANT SELECT, INSERT, UPDATE (sealed, key_id, kept_at), DELETE ON vault.secrets TO payplane_vault;

-- A row of the gateway's has its secret in the vault, or in its own column where a release
-- before this one wrote it.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.payouts DROP CONSTRAINT payee_until_sent,
    ADD CONSTRAINT payee_until_sent CHECK (status = 'Requested' OR payee_sealed IS NULL) NOT VALID;
ALTER TABLE gateway.refunds DROP CONSTRAINT payee_until_sent,
    ADD CONSTRAINT payee_until_sent CHECK
        ((status = 'Requested' AND payee_masked IS NOT NULL) OR payee_sealed IS NULL) NOT VALID;
ALTER TABLE gateway.agreements DROP CONSTRAINT active_has_token,
    ADD CONSTRAINT active_has_token CHECK (status = 'Active' OR token_sealed IS NULL) NOT VALID;

-- That release would take a payout whose payee is in the vault for one without: it does not get
-- at it before it is sent.
CREATE TRIGGER a_known_alone BEFORE UPDATE ON gateway.payouts FOR EACH ROW
    WHEN (OLD.status = 'Requested' AND OLD.payee_sealed IS NULL)
    EXECUTE FUNCTION gateway.known_alone('vault');
CREATE TRIGGER a_known_alone_vault BEFORE UPDATE ON gateway.refunds FOR EACH ROW
    WHEN (OLD.status = 'Requested' AND OLD.payee_masked IS NOT NULL AND OLD.payee_sealed IS NULL)
    EXECUTE FUNCTION gateway.known_alone('vault');
