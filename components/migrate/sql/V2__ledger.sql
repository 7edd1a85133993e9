-- The ledger's tables, and the rules that stand behind its functions: entries
-- balance, what is written stays, an identity decides once, a floor and a cap
-- hold. docs/ledger.md draws the schema and tells where each rule is enforced.

CREATE SCHEMA ledger;
REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO ledger;

CREATE TYPE ledger.side AS ENUM ('debit', 'credit');

CREATE TABLE ledger.accounts (
    account_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text COLLATE "C" NOT NULL CHECK (code ~ '^[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)*$' AND length(code) <= 200),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    normal_side ledger.side NOT NULL,
    -- The least balance on the normal side; none where the account has no floor.
    floor_minor bigint,
    state       text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'frozen_debit', 'frozen_credit', 'frozen', 'closed')),
    -- The operator's probe moves money here; outside statements and trial balance.
    reserved    boolean NOT NULL GENERATED ALWAYS AS (starts_with(code, 'reserved:')) STORED,
    -- What its owner calls it elsewhere: names and texts.
    metadata    jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 8192),
    batch_number bigint NOT NULL,
    opened_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (code, currency),
    UNIQUE (account_id, floor_minor),
    CHECK (starts_with(code, 'reserved:') = (currency = 'XTS'))
);
CREATE INDEX ON ledger.accounts (batch_number);

-- The decision balance of an account with a floor. Others have none: their
-- balance is the sum of their entries, and posting to them locks nothing. What is
-- available is what was posted less what is held.
CREATE TABLE ledger.balances (
    account_id   bigint PRIMARY KEY,
    floor_minor  bigint NOT NULL,
    posted_minor bigint NOT NULL,
    held_minor   bigint NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    CONSTRAINT floor_holds CHECK (posted_minor - held_minor >= floor_minor),
    FOREIGN KEY (account_id, floor_minor) REFERENCES ledger.accounts (account_id, floor_minor)
) WITH (fillfactor = 50);

-- What happened to floored accounts that nobody has folded into their balance
-- yet: it raises what is available, or leaves it, as when held money is captured.
-- Such a posting waits for no row; whoever lowers the account folds under the
-- balance's lock what is committed by then, and decides on the sum.
CREATE TABLE ledger.raisings (
    account_id   bigint NOT NULL,
    posted_minor bigint NOT NULL,
    held_minor   bigint NOT NULL CHECK (held_minor <= 0),
    CHECK (posted_minor >= held_minor AND (posted_minor <> 0 OR held_minor <> 0))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ON ledger.raisings (account_id);

-- One row for every call of ledger.post, replays and refusals too: an answer is
-- always preceded by a commit that wrote. The number is drawn after the call's
-- last read and before its inserts, so what it was decided on stands before it.
CREATE TABLE ledger.batches (
    batch_number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    answered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    booked       smallint NOT NULL CHECK (booked BETWEEN 0 AND 1024)
);

-- Who said it and when they first stored it. `decision` is the transaction or
-- the refusal that answers this identity for ever. Partitions come in V15.
CREATE TABLE ledger.identities (
    key_date     date NOT NULL,
    caller       text COLLATE "C" NOT NULL,
    key_digest   bytea NOT NULL CHECK (octet_length(key_digest) = 16),
    decision     uuid NOT NULL,
    -- A day's lie together, and the digest tells them apart before anything else does.
    PRIMARY KEY (key_date, key_digest, caller)
) PARTITION BY RANGE (key_date);

CREATE TABLE ledger.refusals (
    refusal_id   uuid PRIMARY KEY,
    caller       text NOT NULL,
    key_date     date NOT NULL,
    key          text NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('INSUFFICIENT', 'UNKNOWN_ACCOUNT', 'ACCOUNT_NOT_OPEN',
                 'CURRENCY', 'OVER_ORIGINAL', 'UNKNOWN_ORIGINAL', 'INVALID', 'ALREADY_REVERSED', 'CLOSED_DAY',
                 'HOLD_ENDED')),
    subject      text NOT NULL,
    message      text NOT NULL,
    config_epoch bigint NOT NULL,
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    batch_number bigint NOT NULL,
    refused_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON ledger.refusals (batch_number);

CREATE TABLE ledger.transactions (
    -- A UUID v7: the partitions are ranges of time.
    transaction_id  uuid PRIMARY KEY,
    caller          text NOT NULL,
    key_date        date NOT NULL,
    key             text NOT NULL,
    kind            text NOT NULL CHECK (kind ~ '^[a-z][a-z0-9-]*$' AND length(kind) <= 32),
    entry_count     smallint NOT NULL,
    effective_time  timestamptz NOT NULL,
    accounting_date date NOT NULL,
    -- The caller asked for this very day.
    day_demanded    boolean NOT NULL DEFAULT false,
    settlement_date date,
    config_epoch    bigint NOT NULL CHECK (config_epoch >= 0),
    original_id     uuid,
    -- Of all that was asked for, entries and references too: what is sealed is this.
    request_hash    bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    batch_number    bigint NOT NULL,
    posted_at       timestamptz NOT NULL DEFAULT now(),
    -- When what it moved on accounts with a floor is due, and the config epoch whose calendar says so.
    due_date         date,
    calendar_version bigint CHECK (calendar_version >= 0),
    CONSTRAINT due_by_a_calendar CHECK ((due_date IS NULL) = (calendar_version IS NULL)),
    CONSTRAINT entries_counted
        CHECK (CASE WHEN kind IN ('hold', 'void', 'expire') THEN entry_count = 0 ELSE entry_count BETWEEN 2 AND 64 END),
    CONSTRAINT linked CHECK (CASE WHEN kind IN ('refund', 'reversal', 'capture', 'void', 'expire') THEN original_id IS NOT NULL
                                  WHEN kind = 'hold' THEN original_id IS NULL ELSE true END),
    CHECK (original_id <> transaction_id)
) PARTITION BY RANGE (transaction_id);
CREATE INDEX ON ledger.transactions (original_id) WHERE original_id IS NOT NULL;
CREATE INDEX ON ledger.transactions (batch_number);

CREATE TABLE ledger.entries (
    transaction_id uuid NOT NULL,
    account_id     bigint NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    -- Its transaction's, for whoever reads an account.
    batch_number   bigint NOT NULL,
    side           ledger.side NOT NULL,
    line           smallint NOT NULL CHECK (line BETWEEN 1 AND 64),
    -- A capture lowers the account of its hold by what is held there.
    was_held       boolean NOT NULL DEFAULT false,
    -- Its transaction's, on an account with a floor: for whoever asks what is due there.
    due_date       date,
    PRIMARY KEY (transaction_id, line)
) PARTITION BY RANGE (transaction_id);
CREATE INDEX ON ledger.entries (account_id, batch_number);
CREATE INDEX ON ledger.entries (account_id, due_date) INCLUDE (batch_number, side, amount_minor) WHERE due_date IS NOT NULL;

CREATE TABLE ledger.external_references (
    transaction_id uuid NOT NULL,
    type           text COLLATE "C" NOT NULL CHECK (type ~ '^[a-z][a-z0-9-]*$' AND length(type) <= 32),
    value          text COLLATE "C" NOT NULL CHECK (length(value) BETWEEN 1 AND 128),
    PRIMARY KEY (transaction_id, type, value)
) PARTITION BY RANGE (transaction_id);
-- By digest: values come in no order, and this index is a quarter of one of them.
CREATE INDEX ON ledger.external_references (hashtextextended(value, 0));

-- What may still be taken from an original, per currency. Made with it; a link
-- lowers it, a link that was reversed gives its part back, a reversal needs it
-- whole and ends it. Of a hold: what is held still.
CREATE TABLE ledger.caps (
    original_id     uuid NOT NULL,
    currency        text NOT NULL,
    original_minor  bigint NOT NULL CHECK (original_minor > 0),
    remaining_minor bigint NOT NULL,
    reversed_by     uuid,
    PRIMARY KEY (original_id, currency),
    CONSTRAINT cap_holds CHECK (remaining_minor BETWEEN 0 AND original_minor),
    CONSTRAINT reversed_is_spent CHECK (reversed_by IS NULL OR remaining_minor = 0)
) WITH (fillfactor = 80);

-- The fence: whoever changes it, or an account's state, takes the advisory lock
-- that every posting shares, and a posting reads both in a later statement.
CREATE TABLE ledger.control (
    singleton        boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    config_epoch_min bigint NOT NULL CHECK (config_epoch_min >= 0),
    -- The last accounting day of each state, for every posting to read.
    closing_through  date NOT NULL DEFAULT '-infinity',
    closed_through   date NOT NULL DEFAULT '-infinity',
    -- Beside each position (V10); it rises when older books are brought back (V14).
    books_epoch      integer NOT NULL DEFAULT 1 CHECK (books_epoch > 0),
    CHECK (closed_through <= closing_through)
);
INSERT INTO ledger.control (config_epoch_min) VALUES (0);

-- Append-only: the rows of partitions by row triggers, which also catch a
-- partition that is written directly, and TRUNCATE on each table of its own.
SELECT payplane.append_only('ledger.batches', 'ledger.identities', 'ledger.refusals', 'ledger.transactions', 'ledger.entries',
    'ledger.external_references');
SELECT payplane.no_truncate('ledger.raisings');
SELECT payplane.no_delete('ledger.accounts', 'ledger.balances', 'ledger.caps', 'ledger.control');

-- What an account is never changes; its state does, behind the fence.
CREATE FUNCTION ledger.account_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.account_id, NEW.code, NEW.currency, NEW.normal_side, NEW.floor_minor, NEW.metadata, NEW.batch_number,
        NEW.opened_at)
        IS DISTINCT FROM (OLD.account_id, OLD.code, OLD.currency, OLD.normal_side, OLD.floor_minor, OLD.metadata, OLD.batch_number,
        OLD.opened_at)
    THEN
        RAISE EXCEPTION 'account % stays as it was opened', OLD.code
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stays BEFORE UPDATE ON ledger.accounts
    FOR EACH ROW EXECUTE FUNCTION ledger.account_stays();

CREATE FUNCTION ledger.control_rises() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.config_epoch_min < OLD.config_epoch_min THEN
        RAISE EXCEPTION 'the config epoch never goes down' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF NEW.closing_through < OLD.closing_through OR NEW.closed_through < OLD.closed_through THEN
        RAISE EXCEPTION 'a day that is closed stays closed' USING ERRCODE = 'integrity_constraint_violation';
    ELSIF NEW.books_epoch < OLD.books_epoch THEN
        RAISE EXCEPTION 'the epoch of the books never goes down' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rises BEFORE UPDATE ON ledger.control
    FOR EACH ROW EXECUTE FUNCTION ledger.control_rises();

GRANT SELECT ON ledger.accounts, ledger.balances, ledger.raisings, ledger.identities, ledger.refusals, ledger.transactions,
    ledger.entries, ledger.external_references, ledger.caps, ledger.control TO ledger;
