-- Networks that a payer pays at: by a QR code, in an app. The order waits for the
-- payer until it expires; docs/gateway.md has its life.

-- Whoever reads these tables for long does not keep payments waiting behind us.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.orders
    -- It is not paid any more from here on. The default is for the release before this one.
    ADD COLUMN expires_at timestamptz NOT NULL DEFAULT now() + interval '15 minutes',
    -- What the payer does to pay, as the app is told it. No check: it would read every row.
    ADD COLUMN action jsonb;
ALTER TABLE gateway.attempts ADD COLUMN action jsonb;
