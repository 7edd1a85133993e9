-- Orders that fill a customer's wallet: what is paid is his, none of it its merchant's.
-- docs/gateway.md has the rules.

SET LOCAL lock_timeout = '5s';

ALTER TABLE gateway.orders
    -- Whose wallet it fills.
    ADD COLUMN top_up_customer text,
    -- Nothing of a top-up becomes due. A release that knows none reads no order without this date, so
    -- it books none of them as its merchant's.
    ALTER COLUMN settlement_date DROP NOT NULL,
    -- What is there fills no wallet: nothing is to be read.
    ADD CONSTRAINT top_up_says_whose CHECK
        (top_up_customer ~ '^[A-Za-z0-9._-]+$' AND length(top_up_customer) <= 64) NOT VALID,
    ADD CONSTRAINT top_up_is_never_due CHECK ((settlement_date IS NULL) = (top_up_customer IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT top_up_is_free CHECK (top_up_customer IS NULL OR coalesce(fee_minor, 0) = 0) NOT VALID;

-- Nor does such a release get at one. It waits for one that knows it, behind all that is due: nothing
-- else is kept waiting, after a roll-back.
CREATE FUNCTION gateway.top_up_waits() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    knows text := coalesce(current_setting('payplane.knows', true), '');
BEGIN
    IF 'top-ups' = ANY (string_to_array(knows, ',')) THEN
        RETURN NEW;
    END IF;
    IF OLD.status = 'Processing' THEN
        PERFORM set_config('payplane.knows', 'top-ups', true);
        UPDATE gateway.orders SET next_check_at = now() + interval '10 minutes' WHERE order_id = OLD.order_id;
        PERFORM set_config('payplane.knows', knows, true);
    END IF;
    RETURN NULL;
END $$;
-- Triggers fire in the order of their names.
CREATE TRIGGER a_known_alone BEFORE UPDATE ON gateway.orders FOR EACH ROW
    WHEN (OLD.top_up_customer IS NOT NULL) EXECUTE FUNCTION gateway.top_up_waits();

-- Which apps have filled a wallet: they may read what it has.
CREATE TABLE gateway.filled_wallets (
    app_id   text NOT NULL,
    customer text NOT NULL,
    PRIMARY KEY (app_id, customer)
);
GRANT SELECT, INSERT ON gateway.filled_wallets TO gateway;
CREATE FUNCTION gateway.note_filled() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO gateway.filled_wallets VALUES (NEW.app_id, NEW.top_up_customer) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER filled AFTER UPDATE ON gateway.orders FOR EACH ROW
    WHEN (NEW.top_up_customer IS NOT NULL AND NEW.status = 'Succeeded' AND OLD.status = 'Processing')
    EXECUTE FUNCTION gateway.note_filled();
