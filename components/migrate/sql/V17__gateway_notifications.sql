-- Notifications: what happens to an app's orders is told at the address that it
-- registered. The delivery is written with the event, in the transaction of the
-- change, so none is forgotten; docs/gateway.md has its life.

CREATE TABLE gateway.endpoints (
    app_id      text PRIMARY KEY REFERENCES gateway.apps,
    url         text NOT NULL CHECK (char_length(url) BETWEEN 1 AND 1024),
    -- PEM of the CAs that it is believed by; none: the public ones.
    ca_pem      text CHECK (char_length(ca_pem) BETWEEN 1 AND 16384),
    -- Tries that failed one after the other, and until when it rests for it.
    failures    integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    rests_until timestamptz NOT NULL DEFAULT '-infinity'
);
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.endpoints TO gateway;

CREATE TABLE gateway.deliveries (
    event_id    uuid PRIMARY KEY REFERENCES gateway.outbox,
    -- The endpoint's: no reference, as every payment of the app would lock one row for it.
    app_id      text NOT NULL,
    status      text NOT NULL DEFAULT 'Pending' CHECK (status IN ('Pending', 'Delivered', 'Dead')),
    tries       integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    -- When it was made, or asked for again, and how many tries there were before.
    since       timestamptz NOT NULL DEFAULT now(),
    tries_before integer NOT NULL DEFAULT 0 CHECK (tries_before BETWEEN 0 AND tries),
    next_try_at timestamptz DEFAULT now(),
    ended_at    timestamptz,
    CONSTRAINT pending_is_tried CHECK ((status = 'Pending') = (next_try_at IS NOT NULL)),
    CONSTRAINT ended_has_time CHECK ((status = 'Pending') = (ended_at IS NULL))
);
CREATE INDEX deliveries_due ON gateway.deliveries (app_id, next_try_at) WHERE status = 'Pending';
CREATE INDEX deliveries_old ON gateway.deliveries (since) WHERE status = 'Pending';
CREATE INDEX deliveries_dead ON gateway.deliveries (app_id, event_id) WHERE status = 'Dead';
GRANT SELECT, INSERT, UPDATE ON gateway.deliveries TO gateway;

-- What came of each try that ended. One that a crash cut off leaves a gap in the numbers.
CREATE TABLE gateway.delivery_tries (
    event_id uuid NOT NULL REFERENCES gateway.deliveries,
    number   integer NOT NULL CHECK (number > 0),
    sent_at  timestamptz NOT NULL,
    took_ms  integer NOT NULL CHECK (took_ms >= 0),
    -- The HTTP status that was answered, or why there was none.
    answer   integer CHECK (answer BETWEEN 100 AND 999),
    failure  text CHECK (char_length(failure) <= 512),
    PRIMARY KEY (event_id, number),
    CHECK ((answer IS NULL) <> (failure IS NULL))
);
GRANT SELECT, INSERT ON gateway.delivery_tries TO gateway;
