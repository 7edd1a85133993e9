-- What an account had at a position. Its balance there is the last checkpoint at or
-- before it and what moved since. An account that is busy gets a checkpoint each
-- time that the ledger looks (`roll`); once in a while every account that moved gets
-- one, so nobody who reads adds up more than one or two thousand movements.
-- Checkpoints are derived: they can be made again, and `verify` compares them.

CREATE TABLE ledger.checkpoints (
    account_id   bigint NOT NULL,
    position     bigint NOT NULL,
    debit_minor  numeric NOT NULL,
    credit_minor numeric NOT NULL,
    held_minor   numeric NOT NULL,
    -- Of what moved since the checkpoint before: how often, and the batches' numbers.
    -- A batch that commits late has a lower number than others before its position.
    moves        bigint NOT NULL CHECK (moves > 0),
    low_batch    bigint NOT NULL,
    high_batch   bigint NOT NULL CHECK (high_batch >= low_batch),
    PRIMARY KEY (account_id, position)
);

-- Up to `position` the ledger has looked; up to `whole_position` every account that
-- moved has a checkpoint behind its last movement. `low_batch` is the least number
-- between the two. Up to `whole_upto` all are getting theirs just now.
CREATE TABLE ledger.rollup (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position       bigint NOT NULL DEFAULT 0,
    rolled_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    whole_position bigint NOT NULL DEFAULT 0 CHECK (whole_position <= position),
    whole_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    whole_upto     bigint CHECK (whole_upto BETWEEN whole_position AND position),
    low_batch      bigint,
    -- How many were booked since `whole_position`, or `whole_upto`.
    transactions   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO ledger.rollup DEFAULT VALUES;

-- Whatever batches moved, account by account, and of which day.
CREATE TYPE ledger.movement AS (account_id bigint, day date, batch_number bigint, debit_minor bigint, credit_minor bigint, held_minor bigint);
CREATE FUNCTION ledger.movements(p_batches bigint[]) RETURNS SETOF ledger.movement
LANGUAGE sql STABLE ROWS 10000 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
    WITH cut AS MATERIALIZED (
        SELECT t.transaction_id, t.kind, t.batch_number, t.accounting_date FROM unnest(p_batches) b (n), LATERAL (
               SELECT t.transaction_id, t.kind, t.batch_number, t.accounting_date FROM ledger.all_transactions t WHERE t.batch_number = b.n OFFSET 0) t)
    SELECT e.account_id, c.accounting_date, e.batch_number, CASE e.side WHEN 'debit' THEN e.amount_minor ELSE 0 END,
           CASE e.side WHEN 'credit' THEN e.amount_minor ELSE 0 END, CASE WHEN e.was_held THEN -e.amount_minor ELSE 0 END
      FROM cut c, LATERAL (SELECT * FROM ledger.all_entries e WHERE e.transaction_id = c.transaction_id OFFSET 0) e
    UNION ALL
    SELECT h.account_id, c.accounting_date, h.batch_number, 0, 0, h.amount_minor
      FROM cut c, LATERAL (SELECT * FROM ledger.all_holds h WHERE h.hold_id = c.transaction_id OFFSET 0) h WHERE c.kind = 'hold'
    UNION ALL
    SELECT h.account_id, c.accounting_date, h.batch_number, 0, 0, -h.freed_minor
      FROM cut c, LATERAL (SELECT * FROM ledger.all_hold_ends h WHERE h.transaction_id = c.transaction_id OFFSET 0) h
     WHERE c.kind IN ('void', 'expire');
$$;

-- The batches at these positions that booked anything.
CREATE FUNCTION ledger.batches_between(p_after bigint, p_upto bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN ARRAY(SELECT p.batch_number FROM ledger.positions p JOIN ledger.batches b USING (batch_number)
                  WHERE p.position > p_after AND p.position <= p_upto AND b.booked > 0);
END $$;

-- The least batch number beyond a checkpoint that is its account's last one. What
-- is not committed yet is not seen here, and neither are its movements.
CREATE FUNCTION ledger.low_batch_after(p_checkpoint bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rolled ledger.rollup;
    low bigint;
BEGIN
    SELECT r.* INTO STRICT rolled FROM ledger.rollup r;
    -- Before the last whole one there is nothing more of this account.
    -- OFFSET: few are behind it, and the lowest of all numbers is far from them.
    SELECT min(p.batch_number) INTO low FROM (
        SELECT p.batch_number FROM ledger.positions p
         WHERE p.position > CASE WHEN p_checkpoint > rolled.whole_position THEN p_checkpoint ELSE rolled.position END OFFSET 0) p;
    RETURN least(low, (SELECT min(u.batch_number) FROM ledger.unsealed_batches u),
                 CASE WHEN p_checkpoint <= rolled.whole_position THEN rolled.low_batch END);
END $$;

-- What an account had at a position, how often it moved since the checkpoint before
-- that, and, where no checkpoint is behind it, what moved beyond the position.
CREATE FUNCTION ledger.account_at(p_account bigint, p_position bigint, OUT debit_minor numeric, OUT credit_minor numeric,
    OUT held_minor numeric, OUT rest_debit_minor numeric, OUT rest_credit_minor numeric, OUT rest_held_minor numeric,
    OUT moves bigint, OUT low_batch bigint, OUT high_batch bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    before ledger.checkpoints;
    low bigint;
    high bigint;
BEGIN
    SELECT c.* INTO before FROM ledger.checkpoints c
     WHERE c.account_id = p_account AND c.position <= p_position ORDER BY c.position DESC LIMIT 1;
    SELECT c.low_batch, c.high_batch INTO low, high FROM ledger.checkpoints c
     WHERE c.account_id = p_account AND c.position > p_position ORDER BY c.position LIMIT 1;
    IF low IS NULL THEN
        low := ledger.low_batch_after(coalesce(before.position, 0));
        high := 9223372036854775807;
    END IF;
    SELECT coalesce(before.debit_minor, 0) + coalesce(sum(m.debit) FILTER (WHERE m.stands), 0),
           coalesce(before.credit_minor, 0) + coalesce(sum(m.credit) FILTER (WHERE m.stands), 0),
           coalesce(before.held_minor, 0) + coalesce(sum(m.held) FILTER (WHERE m.stands), 0),
           coalesce(sum(m.debit) FILTER (WHERE NOT m.stands), 0), coalesce(sum(m.credit) FILTER (WHERE NOT m.stands), 0),
           coalesce(sum(m.held) FILTER (WHERE NOT m.stands), 0),
           coalesce(sum(m.n) FILTER (WHERE m.stands), 0), min(m.batch_number) FILTER (WHERE m.stands),
           max(m.batch_number) FILTER (WHERE m.stands)
      INTO debit_minor, credit_minor, held_minor, rest_debit_minor, rest_credit_minor, rest_held_minor, moves, low_batch, high_batch
      FROM (SELECT g.*, coalesce(p.position <= p_position, false) AS stands
              FROM (SELECT e.batch_number, count(*) AS n, sum(e.amount_minor) FILTER (WHERE e.side = 'debit') AS debit,
                           sum(e.amount_minor) FILTER (WHERE e.side = 'credit') AS credit,
                           -sum(e.amount_minor) FILTER (WHERE e.was_held) AS held
                      FROM ledger.all_entries e WHERE e.account_id = p_account AND e.batch_number BETWEEN low AND high
                     GROUP BY e.batch_number
                    UNION ALL
                    SELECT h.batch_number, 1, 0, 0, h.amount_minor
                      FROM ledger.all_holds h WHERE h.account_id = p_account AND h.batch_number BETWEEN low AND high
                    UNION ALL
                    SELECT h.batch_number, 1, 0, 0, -h.freed_minor
                      FROM ledger.all_hold_ends h WHERE h.account_id = p_account AND h.batch_number BETWEEN low AND high) g
              LEFT JOIN LATERAL (SELECT p.position FROM ledger.positions p WHERE p.batch_number = g.batch_number OFFSET 0) p ON true
             WHERE (p.position <= coalesce(before.position, 0)) IS NOT TRUE) m;
END $$;

-- An account's entries behind a place, in the order of the books, up to the end of
-- the chain. Between two checkpoints there are not many; those without entries are
-- passed over, so many at most, and the last row says how far this came.
CREATE FUNCTION ledger.account_entries(p_account bigint, p_position bigint, p_transaction uuid, p_line int, p_max int)
RETURNS TABLE (place bigint, transaction_id uuid, line smallint, side ledger.side, amount_minor bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    sealed bigint;
    start bigint := p_position;
    least_upto bigint := p_position;
    upto bigint;
    low bigint;
    high bigint;
    told int := 0;
    n int;
BEGIN
    SELECT coalesce(max(c.position), 0) INTO sealed FROM ledger.chain c;
    FOR look IN 1 .. 64 LOOP
        SELECT c.position, c.low_batch, c.high_batch INTO upto, low, high FROM ledger.checkpoints c
         WHERE c.account_id = p_account AND c.position >= least_upto
         ORDER BY c.position LIMIT 1;
        IF NOT FOUND THEN
            upto := sealed;
            low := ledger.low_batch_after((SELECT coalesce(max(c.position), 0) FROM ledger.checkpoints c WHERE c.account_id = p_account));
            high := 9223372036854775807;
        END IF;
        RETURN QUERY
        SELECT p.position, e.transaction_id, e.line, e.side, e.amount_minor
          FROM ledger.all_entries e, LATERAL (SELECT p.position FROM ledger.positions p WHERE p.batch_number = e.batch_number OFFSET 0) p
         WHERE e.account_id = p_account AND e.batch_number BETWEEN low AND high AND p.position <= upto
           AND (p.position, e.transaction_id, e.line) > (p_position, p_transaction, p_line)
           AND p.position > CASE look WHEN 1 THEN -1 ELSE start END
         ORDER BY p.position, e.transaction_id, e.line LIMIT p_max - told;
        GET DIAGNOSTICS n = ROW_COUNT;
        told := told + n;
        EXIT WHEN told >= p_max;
        start := upto;
        least_upto := upto + 1;
        EXIT WHEN upto >= sealed OR high = 9223372036854775807;
    END LOOP;
    IF told < p_max THEN
        RETURN QUERY SELECT start, NULL::uuid, NULL::smallint, NULL::ledger.side, NULL::bigint;
    END IF;
END $$;

-- Looks at what was sealed since the last time, up to about so many transactions,
-- and makes checkpoints of busy accounts; true: there is more. One at a time, with a pause: an account
-- is busy by what it did meanwhile, however many replicas ask. What is lost is made
-- again, so nobody waits for the disk.
CREATE FUNCTION ledger.roll(p_max int, p_pause_ms int, p_whole_after int, p_whole_seconds int) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    rolled ledger.rollup;
    sealed bigint;
    upto bigint;
    booked bigint;
    low bigint;
    busy bigint[];
    whole boolean;
BEGIN
    PERFORM ledger.commit_durably();
    PERFORM set_config('synchronous_commit', 'off', true);
    IF NOT pg_try_advisory_xact_lock(7813575005) THEN
        RETURN false;
    END IF;
    SELECT r.* INTO STRICT rolled FROM ledger.rollup r;
    SELECT coalesce(max(c.position), 0) INTO sealed FROM ledger.chain c;
    SELECT coalesce(max(n.position), rolled.position), coalesce(max(n.total), 0), min(n.batch_number) INTO upto, booked, low
      FROM (SELECT p.position, p.batch_number, b.booked, sum(b.booked) OVER (ORDER BY p.position) AS total
              FROM (SELECT p.position, p.batch_number FROM ledger.positions p
                     WHERE p.position > rolled.position AND p.position <= sealed ORDER BY p.position LIMIT 20000) p
              JOIN ledger.batches b USING (batch_number)) n
     WHERE n.total - n.booked < least(p_max, 100000);
    whole := rolled.whole_upto IS NULL AND (rolled.transactions + booked >= p_whole_after
          OR (rolled.transactions + booked > 0 AND rolled.whole_at < clock_timestamp() - make_interval(secs => p_whole_seconds)));
    -- While all are getting theirs, this does not go far ahead.
    IF (upto = rolled.position AND NOT whole)
        OR (rolled.whole_upto IS NOT NULL AND rolled.transactions / 4 > p_whole_after)
        OR (upto = sealed AND rolled.rolled_at > clock_timestamp() - make_interval(secs => p_pause_ms / 1000.0)) THEN
        RETURN false;
    END IF;
    busy := ARRAY(SELECT m.account_id FROM ledger.movements(ledger.batches_between(rolled.position, upto)) m
                   GROUP BY m.account_id HAVING count(*) >= 16);
    INSERT INTO ledger.checkpoints (account_id, position, debit_minor, credit_minor, held_minor, moves, low_batch, high_batch)
    SELECT b.id, upto, a.debit_minor, a.credit_minor, a.held_minor, a.moves, a.low_batch, a.high_batch
      FROM unnest(busy) b (id), LATERAL ledger.account_at(b.id, upto) a
     -- Others may be getting one before this just now: it would not know of it.
     WHERE rolled.whole_upto IS NULL
        OR EXISTS (SELECT FROM ledger.checkpoints c WHERE c.account_id = b.id AND c.position >= rolled.whole_upto);
    UPDATE ledger.rollup r
       SET position = upto, rolled_at = clock_timestamp(), low_batch = least(r.low_batch, low),
           whole_upto = CASE WHEN whole THEN upto ELSE r.whole_upto END,
           transactions = CASE WHEN whole THEN 0 ELSE r.transactions + booked END;
    RETURN upto < sealed;
END $$;

-- What moved of one account since the last time that all got a checkpoint, or of it on a day.
CREATE TYPE ledger.moved AS (account_id bigint, day date, debit_minor numeric, credit_minor numeric, held_minor numeric,
    moves bigint, low_batch bigint, high_batch bigint);

-- Adds up account by account, in order, each day apart or not.
CREATE FUNCTION ledger.together(p_moves ledger.moved[], p_days_apart boolean) RETURNS ledger.moved[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW (m.account_id, d.day, sum(m.debit_minor), sum(m.credit_minor), sum(m.held_minor), sum(m.moves), min(m.low_batch),
               max(m.high_batch))::ledger.moved
          FROM unnest(p_moves) m, LATERAL (SELECT CASE WHEN p_days_apart THEN m.day END AS day) d
         GROUP BY m.account_id, d.day ORDER BY m.account_id, d.day);
END $$;

-- Keeps what of it is of another day than most. Days begin one after the other.
CREATE FUNCTION ledger.roll_days(p_after bigint, p_upto bigint, p_moves ledger.moved[]) RETURNS void LANGUAGE sql AS $$
    WITH main AS MATERIALIZED (
        SELECT greatest(s.day, often.day) AS day, s.day AS day_before
          FROM (SELECT m.day FROM unnest(p_moves) m GROUP BY m.day ORDER BY sum(m.moves) DESC, m.day LIMIT 1) often,
               (SELECT max(s.day) AS day FROM ledger.day_starts s) s),
    begun AS (
        INSERT INTO ledger.day_starts (day, position)
        SELECT main.day, p_after FROM main WHERE main.day IS DISTINCT FROM main.day_before)
    INSERT INTO ledger.day_moves (account_id, day, position, debit_minor, credit_minor)
    SELECT m.account_id, m.day, p_upto, sum(m.debit_minor), sum(m.credit_minor)
      FROM unnest(p_moves) m, main WHERE m.day <> main.day AND m.debit_minor + m.credit_minor > 0 GROUP BY m.account_id, m.day;
$$;

-- Gives accounts that moved a checkpoint: where few movements are in it yet, its
-- last one goes on to here. One that was busy since the last time has some already.
CREATE FUNCTION ledger.roll_whole(p_after bigint, p_upto bigint, p_moved ledger.moved[]) RETURNS void
LANGUAGE sql SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
    WITH last AS MATERIALIZED (
        SELECT m.*, coalesce(c.position, 0) AS place, c.moves + m.moves < 256 AS goes_on, coalesce(c.debit_minor, 0) AS debit_before,
               coalesce(c.credit_minor, 0) AS credit_before, coalesce(c.held_minor, 0) AS held_before
          FROM unnest(p_moved) m LEFT JOIN LATERAL (
               SELECT c.* FROM ledger.checkpoints c WHERE c.account_id = m.account_id ORDER BY c.position DESC LIMIT 1) c ON true),
    went_on AS (
        UPDATE ledger.checkpoints c
           SET position = p_upto, debit_minor = c.debit_minor + l.debit_minor, credit_minor = c.credit_minor + l.credit_minor,
               held_minor = c.held_minor + l.held_minor, moves = c.moves + l.moves,
               low_batch = least(c.low_batch, l.low_batch), high_batch = greatest(c.high_batch, l.high_batch)
          FROM last l WHERE c.account_id = l.account_id AND c.position = l.place AND l.place <= p_after AND l.goes_on)
    INSERT INTO ledger.checkpoints (account_id, position, debit_minor, credit_minor, held_minor, moves, low_batch, high_batch)
    SELECT l.account_id, p_upto, l.debit_before + l.debit_minor, l.credit_before + l.credit_minor, l.held_before + l.held_minor,
           l.moves, l.low_batch, l.high_batch
      FROM last l WHERE l.place <= p_after AND l.goes_on IS NOT TRUE
    UNION ALL
    SELECT l.account_id, p_upto, a.debit_minor, a.credit_minor, a.held_minor, a.moves, a.low_batch, a.high_batch
      FROM last l, LATERAL ledger.account_at(l.account_id, p_upto) a WHERE l.place > p_after AND l.place < p_upto AND a.moves > 0;
$$;

-- Gives every account its checkpoint where `roll` said that it is time; true: it did.
-- That takes seconds: busy accounts get theirs from `roll` meanwhile, and after each
-- part it rests for twice as long as that took, so that postings have the processors. Not
-- for longer: while it lasts, what was deleted stays in the way of whoever folds.
CREATE FUNCTION ledger.roll_all() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off AS $$
DECLARE
    rolled ledger.rollup;
    batches bigint[];
    -- Account by account and day by day.
    moves ledger.moved[] := '{}';
    moved ledger.moved[];
    kept int := 10000;
    since timestamptz := clock_timestamp();
BEGIN
    PERFORM ledger.commit_durably();
    PERFORM set_config('synchronous_commit', 'off', true);
    IF NOT pg_try_advisory_xact_lock(7813575007) THEN
        RETURN false;
    END IF;
    SELECT r.* INTO STRICT rolled FROM ledger.rollup r;
    IF rolled.whole_upto IS NULL THEN
        RETURN false;
    END IF;
    batches := ledger.batches_between(rolled.whole_position, rolled.whole_upto);
    FOR n IN 1 .. cardinality(batches) BY 12 LOOP
        moves := moves || ARRAY(
            SELECT ROW (m.account_id, m.day, sum(m.debit_minor), sum(m.credit_minor), sum(m.held_minor), count(*), min(m.batch_number),
                   max(m.batch_number))::ledger.moved FROM ledger.movements(batches[n : n + 11]) m GROUP BY m.account_id, m.day);
        -- No more of them than accounts that moved, or twice as many.
        IF cardinality(moves) > 2 * kept THEN
            moves := ledger.together(moves, true);
            kept := greatest(kept, cardinality(moves));
        END IF;
        since := ledger.rest_after(since);
    END LOOP;
    PERFORM ledger.roll_days(rolled.whole_position, rolled.whole_upto, moves);
    moved := ledger.together(moves, false);
    since := ledger.rest_after(since);
    FOR n IN 1 .. cardinality(moved) BY 200 LOOP
        PERFORM ledger.roll_whole(rolled.whole_position, rolled.whole_upto, moved[n : n + 199]);
        since := ledger.rest_after(since);
    END LOOP;
    -- What `roll` has reached by now is read in the next statement.
    PERFORM FROM ledger.rollup FOR UPDATE;
    UPDATE ledger.rollup r
       SET whole_position = rolled.whole_upto, whole_at = clock_timestamp(), whole_upto = NULL,
           low_batch = (SELECT min(p.batch_number) FROM (
               SELECT p.batch_number FROM ledger.positions p
                WHERE p.position > rolled.whole_upto AND p.position <= r.position OFFSET 0) p);
    RETURN true;
END $$;

-- No rest while `roll` waits for this with more and more before it.
CREATE FUNCTION ledger.rest_after(p_since timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT max(c.position) FROM ledger.chain c) < (SELECT r.position + 1000 FROM ledger.rollup r) THEN
        PERFORM pg_sleep(2 * extract(epoch FROM clock_timestamp() - p_since));
    END IF;
    RETURN clock_timestamp();
END $$;

-- Is anything on an account? What is held is. Asked behind the fence: nothing is under way.
CREATE FUNCTION ledger.has_money(p_account bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT a.debit_minor + a.rest_debit_minor <> a.credit_minor + a.rest_credit_minor
      FROM ledger.account_at(p_account, 9223372036854775807) a;
$$;

SELECT payplane.no_truncate('ledger.checkpoints');
SELECT payplane.no_delete('ledger.rollup');
CREATE INDEX ON ledger.positions (given_at, position);

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.roll, ledger.roll_all, ledger.movements, ledger.batches_between, ledger.low_batch_after, ledger.account_at, ledger.account_entries TO ledger;
GRANT SELECT ON ledger.checkpoints, ledger.rollup TO ledger;
