-- Refunds that are transferred to an account, as their network gives nothing back (any
-- more): they go out as payouts do. docs/gateway.md has the rule.

SET LOCAL lock_timeout = '5s';

ALTER TABLE gateway.refunds
    -- Account and name, sealed with the data key, until the request is signed. What is kept
    -- is enough to recognize it by; it is there where the refund is transferred.
    ADD COLUMN payee_sealed bytea,
    ADD COLUMN payee_masked text,
    -- What is there has no payee: nothing is to be read.
    ADD CONSTRAINT payee_until_sent CHECK
        ((status = 'Requested' AND payee_masked IS NOT NULL) = (payee_sealed IS NOT NULL)) NOT VALID;

CREATE TRIGGER forget_payee BEFORE UPDATE ON gateway.refunds FOR EACH ROW
    WHEN (NEW.status <> 'Requested' AND NEW.payee_masked IS NOT NULL)
    EXECUTE FUNCTION gateway.forget_payee();

-- A release that knows nothing of transfers would ask the bank to give a payment back that it
-- never had: it does not get at them. They wait for one that does.
CREATE TRIGGER a_known_alone BEFORE UPDATE ON gateway.refunds FOR EACH ROW
    WHEN (OLD.payee_masked IS NOT NULL) EXECUTE FUNCTION gateway.known_alone('transfers');
