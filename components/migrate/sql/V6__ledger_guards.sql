-- What speaks against a posting: its accounts, its original, its floors.

CREATE TYPE ledger.refusal AS (reason text, subject text, message text);

-- Accounts exist, are open on that side, and the probe's stay among themselves.
-- One answer for each item that has something against it.
CREATE FUNCTION ledger.check_accounts(p_items ledger.item[], p_entries ledger.entry[]) RETURNS SETOF ledger.answer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (e.item) e.item, 'refused', NULL::uuid, NULL::date, w.reason, e.code, w.message, NULL::bigint
      FROM unnest(p_entries) e JOIN unnest(p_items) i ON i.n = e.item
      LEFT JOIN LATERAL (SELECT o.* FROM ledger.accounts o WHERE o.account_id = e.account_id OFFSET 0) a ON true,
      LATERAL (SELECT * FROM (VALUES
          ('CURRENCY', a.account_id IS NULL AND EXISTS (SELECT FROM ledger.accounts o WHERE o.code = e.code),
           format('account %s is not kept in %s', e.code, e.currency)),
          ('UNKNOWN_ACCOUNT', a.account_id IS NULL, format('account %s is not open in the books', e.code)),
          ('ACCOUNT_NOT_OPEN', a.state IN ('closed', 'frozen', 'frozen_' || e.side),
           format('account %s is %s', e.code, replace(a.state, '_', ' for '))),
          ('INVALID', a.reserved <> (i.kind = 'probe') AND NOT (a.reserved AND i.kind = 'reversal'),
           'probes move money between reserved accounts, and nothing else does'),
          ('INVALID', i.kind = 'hold' AND e.change_minor >= 0,
           format('a hold is on the side that lowers an account with a floor, which %s has not there', e.code)))
          AS v (reason, is_so, message) WHERE v.is_so LIMIT 1) w
     ORDER BY e.item, e.line;
END $$;

-- What a transaction moves, per currency: the sum of its debits.
CREATE FUNCTION ledger.moved(p_entries ledger.entry[]) RETURNS TABLE (currency text, amount_minor bigint)
LANGUAGE sql STABLE AS $$
    SELECT n.currency, sum(n.amount_minor)::bigint FROM unnest(p_entries) n
     WHERE n.side = 'debit' GROUP BY n.currency;
$$;

-- The caps that items with these originals touch: the original's, and where it is
-- itself a link, which a reversal gives its part back, that one's original's.
CREATE FUNCTION ledger.touched_caps(p_originals uuid[]) RETURNS TABLE (original uuid, cap uuid)
LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT o.id, o.id FROM unnest(p_originals) o (id) UNION
    -- OFFSET: looked up one by one, never all that are linked to anything.
    SELECT o.id, t.original_id FROM unnest(p_originals) o (id), LATERAL (
           SELECT l.original_id FROM ledger.transactions l WHERE l.transaction_id = o.id OFFSET 0) t
     WHERE t.original_id IS NOT NULL;
$$;

-- Locks the caps that links and reversals touch, then the balances that are
-- lowered, each in order.
CREATE FUNCTION ledger.lock_guards(p_originals uuid[], p_lowered bigint[]) RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    PERFORM FROM ledger.caps c
      WHERE c.original_id IN (SELECT t.cap FROM ledger.touched_caps(p_originals) t)
      ORDER BY c.original_id, c.currency FOR UPDATE;
    PERFORM FROM ledger.balances b WHERE b.account_id = ANY (p_lowered) ORDER BY b.account_id FOR UPDATE;
END $$;

-- Which of these rows somebody holds now. It holds none itself when it returns,
-- so that nothing is ever waited for out of order.
CREATE FUNCTION ledger.held(INOUT p_originals uuid[], INOUT p_lowered bigint[]) LANGUAGE plpgsql AS $$
DECLARE
    free_caps uuid[];
    free_balances bigint[];
BEGIN
    SELECT array_agg(s.id) INTO free_caps FROM (
        SELECT c.original_id AS id FROM ledger.caps c
         WHERE c.original_id IN (SELECT t.cap FROM ledger.touched_caps(p_originals) t)
           FOR UPDATE SKIP LOCKED) s;
    SELECT array_agg(s.id) INTO free_balances FROM (
        SELECT b.account_id AS id FROM ledger.balances b WHERE b.account_id = ANY (p_lowered)
          FOR UPDATE SKIP LOCKED) s;
    RAISE EXCEPTION 'seen' USING ERRCODE = 'triggered_action_exception';
EXCEPTION WHEN triggered_action_exception THEN
    SELECT array_agg(t.original) INTO p_originals FROM ledger.touched_caps(p_originals) t
     WHERE NOT t.cap = ANY (coalesce(free_caps, '{}'))
       AND EXISTS (SELECT FROM ledger.caps c WHERE c.original_id = t.cap);
    SELECT array_agg(l.id) INTO p_lowered FROM unnest(p_lowered) l (id)
     WHERE NOT l.id = ANY (coalesce(free_balances, '{}'));
END $$;

-- The floored accounts of which each item lowers what is available, on the whole.
CREATE FUNCTION ledger.lowerings(p_entries ledger.entry[])
RETURNS TABLE (item int, account_id bigint, code text, change_minor bigint) LANGUAGE sql STABLE AS $$
    SELECT e.item, e.account_id, e.code, sum(e.change_minor)::bigint FROM unnest(p_entries) e
     WHERE e.change_minor <> 0 AND e.held_minor = 0 GROUP BY e.item, e.account_id, e.code HAVING sum(e.change_minor) < 0;
$$;

-- New keys, then what guards the items, in that order. An item whose row is not
-- free within 50 ms is busy: it leaves nothing behind and the others go on.
CREATE FUNCTION ledger.take_keys_and_guards(p_items ledger.item[], p_entries ledger.entry[], p_open boolean[],
    p_originals uuid[], OUT fresh boolean[], OUT busy boolean[], OUT lowered bigint[]) LANGUAGE plpgsql AS $$
DECLARE
    held record;
    originals uuid[];
    guarding boolean;
BEGIN
    busy := array_fill(false, ARRAY[cardinality(p_items)]);
    FOR attempt IN 1 .. 4 LOOP
        guarding := false;
        originals := ARRAY(SELECT o.id FROM unnest(p_originals, busy) AS o (id, busy) WHERE o.id IS NOT NULL AND NOT o.busy);
        lowered := ARRAY(SELECT DISTINCT l.account_id FROM ledger.lowerings(p_entries) l WHERE NOT busy[l.item] ORDER BY 1);
        BEGIN
            fresh := ledger.take_keys(p_items, ARRAY(SELECT o.open AND NOT o.busy FROM unnest(p_open, busy) AS o (open, busy)));
            guarding := true;
            PERFORM set_config('lock_timeout', '50ms', true);
            PERFORM ledger.lock_guards(originals, lowered);
            PERFORM set_config('lock_timeout', '5s', true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            -- An identity that is being decided elsewhere: the fence is not held for longer.
            IF NOT guarding THEN
                RAISE;
            END IF;
            SELECT * INTO held FROM ledger.held(originals, lowered);
            busy := ARRAY(SELECT u.busy OR (attempt > 2 AND (p_originals[u.n] IS NOT NULL OR l.item IS NOT NULL))
                              OR p_originals[u.n] = ANY (coalesce(held.p_originals, '{}')) IS TRUE OR l.held IS TRUE
                            FROM unnest(busy) WITH ORDINALITY u (busy, n)
                            LEFT JOIN (SELECT w.item, bool_or(w.account_id = ANY (coalesce(held.p_lowered, '{}'))) AS held
                                         FROM ledger.lowerings(p_entries) w GROUP BY w.item) l ON l.item = u.n
                           ORDER BY u.n);
        END;
    END LOOP;
    RAISE EXCEPTION 'rows are locked for too long' USING ERRCODE = 'lock_not_available';
END $$;

-- What speaks against a link or a reversal. The caps are locked.
CREATE FUNCTION ledger.check_original(p_entries ledger.entry[], p_kind text, p_original_id uuid)
RETURNS ledger.refusal LANGUAGE plpgsql AS $$
DECLARE
    original_kind text;
    over_cap text;
BEGIN
    SELECT t.kind INTO original_kind FROM ledger.transactions t WHERE t.transaction_id = p_original_id;
    IF NOT FOUND THEN
        RETURN ROW ('UNKNOWN_ORIGINAL', 'original', 'the original is not in the books')::ledger.refusal;
    ELSIF original_kind IN ('reversal', 'void', 'expire') THEN
        RETURN ROW ('INVALID', 'original', format('a %s is neither reversed nor linked to', original_kind))::ledger.refusal;
    ELSIF original_kind = 'hold' THEN
        RETURN ROW ('INVALID', 'original', 'a hold is captured, voided or expired, and nothing else')::ledger.refusal;
    END IF;
    IF EXISTS (SELECT FROM ledger.caps c WHERE c.original_id = p_original_id AND c.reversed_by IS NOT NULL) THEN
        RETURN ROW ('ALREADY_REVERSED', 'original', 'the original was reversed')::ledger.refusal;
    END IF;
    IF p_kind <> 'reversal' THEN
        SELECT string_agg(m.currency, ', ') INTO over_cap FROM ledger.moved(p_entries) m
          LEFT JOIN ledger.caps c ON c.original_id = p_original_id AND c.currency = m.currency
         WHERE m.amount_minor > coalesce(c.remaining_minor, 0);
        IF over_cap IS NOT NULL THEN
            RETURN ROW ('OVER_ORIGINAL', 'original', format('more than is left of the original in %s', over_cap))::ledger.refusal;
        END IF;
    ELSIF EXISTS (SELECT FROM ledger.caps c
                   WHERE c.original_id = p_original_id AND c.remaining_minor < c.original_minor) THEN
        RETURN ROW ('OVER_ORIGINAL', 'original', 'an original with live links is not reversed')::ledger.refusal;
    ELSIF NOT ledger.mirrors(p_entries, p_original_id) THEN
        RETURN ROW ('INVALID', 'entries', 'a reversal repeats the original''s entries on the other sides')::ledger.refusal;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.mirrors(p_entries ledger.entry[], p_original_id uuid) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT NOT EXISTS (
        (SELECT n.account_id, n.side, n.amount_minor FROM unnest(p_entries) n
          EXCEPT ALL
         SELECT e.account_id, CASE e.side WHEN 'debit' THEN 'credit' ELSE 'debit' END::ledger.side, e.amount_minor
           FROM ledger.entries e WHERE e.transaction_id = p_original_id))
       AND cardinality(p_entries) =
           (SELECT t.entry_count FROM ledger.transactions t WHERE t.transaction_id = p_original_id));
END $$;

-- Takes its part from the original's cap, or gives a reversed link's part back. A
-- capture's part is not held again: its money is available.
CREATE FUNCTION ledger.use_cap(p_entries ledger.entry[], p_kind text, p_original_id uuid, p_transaction_id uuid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_kind <> 'reversal' THEN
        UPDATE ledger.caps c SET remaining_minor = c.remaining_minor - m.amount_minor
          FROM ledger.moved(p_entries) m WHERE c.original_id = p_original_id AND c.currency = m.currency;
        RETURN;
    END IF;
    UPDATE ledger.caps c SET remaining_minor = 0, reversed_by = p_transaction_id
     WHERE c.original_id = p_original_id;
    UPDATE ledger.caps c SET remaining_minor = c.remaining_minor + m.amount_minor
      FROM ledger.moved(p_entries) m, ledger.transactions link
     WHERE link.transaction_id = p_original_id AND link.kind <> 'capture'
       AND c.original_id = link.original_id AND c.currency = m.currency;
END $$;

-- Folds what happened to floored accounts into their locked balances and reads
-- them in order. What commits later is found by whoever locks them next.
CREATE FUNCTION ledger.fold(p_accounts bigint[], OUT posted bigint[], OUT held bigint[]) LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM ledger.raisings r WHERE r.account_id = ANY (p_accounts)
                  RETURNING account_id, posted_minor, held_minor),
         g AS (SELECT account_id, sum(posted_minor)::bigint AS posted_minor, sum(held_minor)::bigint AS held_minor
                 FROM gone GROUP BY account_id)
    SELECT array_agg(b.posted_minor + coalesce(g.posted_minor, 0) ORDER BY b.account_id),
           array_agg(b.held_minor + coalesce(g.held_minor, 0) ORDER BY b.account_id) INTO posted, held
      FROM ledger.balances b LEFT JOIN g USING (account_id) WHERE b.account_id = ANY (p_accounts);
END $$;

-- Writes balances that changed.
CREATE FUNCTION ledger.write_balances(p_accounts bigint[], p_posted bigint[], p_held bigint[]) RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    UPDATE ledger.balances b SET posted_minor = w.posted_minor, held_minor = w.held_minor
      FROM unnest(p_accounts, p_posted, p_held) AS w (account_id, posted_minor, held_minor)
     WHERE b.account_id = w.account_id AND (b.posted_minor, b.held_minor) <> (w.posted_minor, w.held_minor);
END $$;
