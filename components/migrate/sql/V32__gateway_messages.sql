-- What networks were sent and what they said, masked, for disputes. Nobody changes a row; the
-- owner alone drops old ones. docs/gateway.md says what is hidden.

SET LOCAL lock_timeout = '5s';

-- What a network says of a success besides its id, time and amount, where it does.
ALTER TABLE gateway.attempts
    ADD COLUMN payer_minor bigint,
    ADD COLUMN settled_minor bigint,
    ADD COLUMN network_settlement_date date;

CREATE TABLE gateway.messages (
    -- An attempt, a refund, a payout, an agreement. Its id and the message's begin with their time,
    -- so that one index finds what is about one thing, oldest first, and what is old.
    subject_id      uuid NOT NULL,
    message_id      uuid NOT NULL,
    about           text NOT NULL CHECK (about IN ('Payment', 'Refund', 'Payout', 'Agreement', 'Surplus')),
    channel         text NOT NULL,
    state           text NOT NULL CHECK (state IN ('Verified', 'Unverified', 'NoAnswer', 'NotSent', 'Notified')),
    -- Method, path and query of what was sent; none of a notification.
    target          text,
    request         text CHECK (octet_length(request) <= 16500),
    -- HMAC-SHA256 of all bytes, before they were masked, by a key of the tenant's data key.
    request_digest  bytea CHECK (octet_length(request_digest) = 32),
    sent_at         timestamptz,
    answer          text CHECK (octet_length(answer) <= 16500),
    answer_digest   bytea CHECK (octet_length(answer_digest) = 32),
    answer_headers  text,
    http_status     smallint,
    -- When it came, or was given up.
    answered_at     timestamptz NOT NULL,
    why             text,
    PRIMARY KEY (subject_id, message_id),
    CONSTRAINT exchange_was_sent CHECK ((state = 'Notified') = (request IS NULL)),
    CONSTRAINT answer_is_there CHECK ((state IN ('NoAnswer', 'NotSent')) = (answer IS NULL))
);
GRANT SELECT, INSERT ON gateway.messages TO gateway;

CREATE FUNCTION gateway.messages_stay() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        IF OLD.answered_at < now() - interval '180 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'gateway.messages is append-only, and a row stays for 180 days'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER messages_stay BEFORE DELETE ON gateway.messages
    FOR EACH ROW EXECUTE FUNCTION gateway.messages_stay();
CREATE TRIGGER messages_never_change BEFORE UPDATE OR TRUNCATE ON gateway.messages
    FOR EACH STATEMENT EXECUTE FUNCTION gateway.messages_stay();

-- For the owner: drops up to so many rows that are older than a moment and about what began before
-- it, but for agreements that may still hold; how many it were.
CREATE FUNCTION gateway.drop_messages(p_before timestamptz, p_rows_max int) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH moment AS (SELECT least(p_before, now() - interval '181 days') AS before),
        bound AS (SELECT m.before,
            rpad(lpad(to_hex((extract(epoch FROM m.before) * 1000)::bigint), 12, '0'), 32, '0')::uuid AS id FROM moment m),
        old AS (SELECT m.subject_id, m.message_id FROM gateway.messages m, bound b
            WHERE m.subject_id < b.id AND m.message_id < b.id AND m.answered_at < b.before
                AND NOT EXISTS (SELECT FROM gateway.agreements a
                    WHERE a.agreement_id = m.subject_id AND a.status NOT IN ('Ended', 'Failed'))
            ORDER BY m.subject_id LIMIT p_rows_max),
        dropped AS (DELETE FROM gateway.messages m USING old
            WHERE (m.subject_id, m.message_id) = (old.subject_id, old.message_id) RETURNING 1)
    SELECT count(*) FROM dropped
$$;
