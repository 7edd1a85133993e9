-- Networks that a payer pays at: by a QR code, in an app. The order waits for the
-- payer until it expires; docs/gateway.md has its life.

ALTER TABLE gateway.orders
    -- It is not paid any more from here on. The default is for the release before this one.
    ADD COLUMN expires_at timestamptz NOT NULL DEFAULT now() + interval '15 minutes',
    -- What the payer does to pay, as the app is told it.
    ADD COLUMN action jsonb CHECK (pg_column_size(action) <= 16384);
ALTER TABLE gateway.attempts
    ADD COLUMN action jsonb CHECK (pg_column_size(action) <= 16384);
