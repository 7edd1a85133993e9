-- How transactions get into the books: one call for a batch, one transaction,
-- one answer for each item. The ledger's login may call `post` and a few others
-- and writes nothing itself. The life of a posting is `ledger.post`, read from top
-- to bottom. Whatever runs statements is PL/pgSQL, also where SQL would do: it keeps
-- their plans, and a function in SQL that is not inlined is planned in every call.
-- A plan may be older than the table's size: lookups leave no other way than an index.

-- Reads the accounts of all entries. `change_minor` is what an entry adds to an
-- account with a floor, on its normal side; 0 where there is none. `held_minor` is
-- what a capture takes of what is held there.
CREATE FUNCTION ledger.resolve(p_items int[], p_lines int[], p_codes text[], p_currencies text[], p_sides text[],
    p_amounts bigint[]) RETURNS ledger.entry[]
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT array_agg(ROW (e.item, e.line, a.account_id, e.code, e.currency, e.side, e.amount,
               CASE WHEN a.floor_minor IS NULL THEN 0 WHEN a.normal_side = e.side::ledger.side THEN e.amount
                    ELSE -e.amount END, 0,
               a.account_id IS NULL OR a.state <> 'open' OR a.reserved)::ledger.entry ORDER BY e.n)
      FROM unnest(p_items, p_lines, p_codes, p_currencies, p_sides, p_amounts) WITH ORDINALITY
           AS e (item, line, code, currency, side, amount, n) LEFT JOIN ledger.accounts a USING (code, currency));
END $$;

-- Decides the items that have an original or lower a floored account, in order,
-- against caps and balances that are locked. The refused ones are answered.
CREATE FUNCTION ledger.decide(p_items ledger.item[], p_entries ledger.entry[], p_open boolean[], p_originals uuid[],
    p_accounts bigint[]) RETURNS SETOF ledger.answer LANGUAGE plpgsql AS $$
DECLARE
    posted bigint[]; held bigint[]; floors bigint[]; -- of p_accounts
    -- Of holds that are captured or ended: see ledger.holds_of.
    kinds text[]; still bigint[]; expires timestamptz[]; accounts bigint[]; firsts int[];
    freed bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_items)]);
    ended uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_items)]);
    used boolean[] := array_fill(false, ARRAY[cardinality(p_items)]);
    refusal ledger.refusal;
    it record;
    place int;
BEGIN
    SELECT f.posted, f.held INTO posted, held FROM ledger.fold(p_accounts) f;
    SELECT array_agg(b.floor_minor ORDER BY b.account_id) INTO floors
      FROM ledger.balances b WHERE b.account_id = ANY (p_accounts);
    IF EXISTS (SELECT FROM unnest(p_items) i WHERE i.kind IN ('capture', 'void', 'expire')) THEN
        SELECT * INTO kinds, still, expires, accounts, firsts FROM ledger.holds_of(p_items, p_originals);
    END IF;
    FOR it IN
        SELECT i.*, i.kind IN ('capture', 'void', 'expire') AS of_hold, g.places, g.changes, g.codes, o.entries, o.captured
          FROM unnest(p_items) i LEFT JOIN (
               SELECT e.item, array_agg(e) FILTER (WHERE e.held_minor = 0) AS entries, -sum(e.held_minor)::bigint AS captured
                 FROM unnest(p_entries) e WHERE p_originals[e.item] IS NOT NULL GROUP BY e.item) o ON o.item = i.n
          LEFT JOIN (
               SELECT l.item, array_agg(array_position(p_accounts, l.account_id)) AS places,
                      array_agg(l.change_minor) AS changes, array_agg(l.code) AS codes
                 FROM ledger.lowerings(p_entries) l GROUP BY l.item) g ON g.item = i.n
         WHERE p_open[i.n] AND (g.item IS NOT NULL OR i.kind IN ('refund', 'reversal') OR i.original_key IS NOT NULL)
         ORDER BY i.n LOOP
        refusal := CASE WHEN it.of_hold
            THEN ledger.check_hold(it.kind, it.captured, kinds[it.n], still[firsts[it.n]], expires[it.n])
            WHEN it.kind IN ('refund', 'reversal') OR it.original_key IS NOT NULL
            THEN ledger.check_original(it.entries, it.kind, p_originals[it.n]) END;
        FOR n IN 1 .. coalesce(cardinality(it.places), 0) LOOP
            place := it.places[n];
            IF refusal.reason IS NULL AND posted[place] - held[place] + it.changes[n] < floors[place] THEN
                refusal := ROW ('INSUFFICIENT', it.codes[n],
                    format('account %s would fall below its floor', it.codes[n]))::ledger.refusal;
            END IF;
        END LOOP;
        IF refusal.reason IS NOT NULL THEN
            RETURN NEXT ROW (it.n, 'refused', NULL, NULL, refusal.reason, refusal.subject, refusal.message,
                NULL)::ledger.answer;
            CONTINUE;
        END IF;
        FOR n IN 1 .. coalesce(cardinality(it.places), 0) LOOP
            IF it.kind = 'hold' THEN
                held[it.places[n]] := held[it.places[n]] - it.changes[n];
            ELSE
                posted[it.places[n]] := posted[it.places[n]] + it.changes[n];
            END IF;
        END LOOP;
        place := firsts[it.n];
        IF it.kind = 'capture' THEN
            still[place] := still[place] - it.captured;
            used[place] := true;
        ELSIF it.of_hold THEN
            used[place] := true;
            freed[place] := still[place];
            still[place] := 0;
            ended[place] := it.transaction_id;
        ELSIF p_originals[it.n] IS NOT NULL THEN
            PERFORM ledger.use_cap(it.entries, it.kind, p_originals[it.n], it.transaction_id);
        END IF;
    END LOOP;
    IF firsts IS NOT NULL THEN
        PERFORM ledger.write_holds(p_originals, used, still, freed, ended, accounts);
    END IF;
    PERFORM ledger.write_balances(p_accounts, posted, held);
END $$;

-- The day that a transaction is booked into: the one that its caller demands, else
-- its own, else the earliest that is not closed.
CREATE FUNCTION ledger.day_of(p_item ledger.item, p_closed_through date) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_item.demanded_date, greatest(p_item.accounting_date, p_closed_through + 1));
$$;

-- What was held still of a hold before this batch. Its cap is locked: no capture is under way.
CREATE FUNCTION ledger.held_before(p_hold uuid) RETURNS TABLE (hold_id uuid, account_id bigint, held_minor bigint)
LANGUAGE plpgsql STABLE ROWS 1 SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY SELECT h.hold_id, h.account_id, h.amount_minor - coalesce((
        SELECT sum(e.amount_minor)::bigint FROM ledger.transactions t JOIN ledger.entries e USING (transaction_id)
         WHERE t.original_id = p_hold AND e.was_held), 0) FROM ledger.holds h WHERE h.hold_id = p_hold;
END $$;

-- Writes what was decided, all in one statement, so that the triggers see it whole.
CREATE FUNCTION ledger.book(p_items ledger.item[], p_entries ledger.entry[], p_booked boolean[], p_originals uuid[],
    p_batch bigint, p_closed_through date, p_reference_items int[], p_reference_types text[], p_reference_values text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH ids AS MATERIALIZED (SELECT array_agg(i.transaction_id ORDER BY i.n) AS id,
                                     array_agg(i.kind = 'hold' ORDER BY i.n) AS held,
                                     array_agg(i.kind <> 'reversal' ORDER BY i.n) AS capped,
                                     array_agg(i.due_date ORDER BY i.n) AS due FROM unnest(p_items) i),
    header AS (
        INSERT INTO ledger.transactions (transaction_id, caller, key_date, key, kind, entry_count, effective_time,
            accounting_date, day_demanded, settlement_date, config_epoch, original_id, request_hash, batch_number,
            due_date, calendar_version)
        SELECT i.transaction_id, i.caller, i.key_date, i.key, i.kind, coalesce(c.entry_count, 0), i.effective_time,
               ledger.day_of(i, p_closed_through), i.demanded_date IS NOT NULL, i.settlement_date, i.config_epoch,
               p_originals[i.n], i.request_hash, p_batch, i.due_date, i.calendar_version
          FROM unnest(p_items) i
          LEFT JOIN (SELECT e.item, count(*) AS entry_count FROM unnest(p_entries) e GROUP BY e.item) c
            ON c.item = i.n AND i.kind <> 'hold'
         WHERE p_booked[i.n] ORDER BY i.n),
    line AS (
        INSERT INTO ledger.entries (transaction_id, line, account_id, side, amount_minor, batch_number, was_held, due_date)
        SELECT ids.id[e.item], e.line, e.account_id, e.side, e.amount_minor, p_batch, e.held_minor < 0,
               CASE WHEN e.change_minor <> 0 OR e.held_minor < 0 THEN ids.due[e.item] END
          FROM ids, unnest(p_entries) e WHERE p_booked[e.item] AND NOT ids.held[e.item]),
    hold AS (
        INSERT INTO ledger.holds (hold_id, account_id, amount_minor, expires_at, batch_number)
        SELECT i.transaction_id, e.account_id, e.amount_minor, i.expires_at, p_batch
          FROM unnest(p_items) i JOIN unnest(p_entries) e ON e.item = i.n WHERE i.kind = 'hold' AND p_booked[i.n]),
    hold_end AS (
        INSERT INTO ledger.hold_ends (transaction_id, hold_id, account_id, freed_minor, batch_number)
        SELECT i.transaction_id, h.hold_id, h.account_id, h.held_minor - coalesce((
               SELECT sum(-e.held_minor) FROM unnest(p_entries) e
                WHERE e.held_minor < 0 AND p_booked[e.item] AND p_originals[e.item] = h.hold_id), 0), p_batch
          FROM unnest(p_items) i, LATERAL ledger.held_before(p_originals[i.n]) h
         WHERE i.kind IN ('void', 'expire') AND p_booked[i.n]),
    cap AS (
        INSERT INTO ledger.caps (original_id, currency, original_minor, remaining_minor)
        SELECT ids.id[m.item], m.currency, m.amount_minor, m.amount_minor
          FROM ids, LATERAL (
               SELECT e.item, e.currency, sum(e.amount_minor)::bigint AS amount_minor FROM unnest(p_entries) e
                WHERE (e.side = 'debit' OR ids.held[e.item]) AND p_booked[e.item] GROUP BY e.item, e.currency) m
         WHERE ids.capped[m.item]),
    raised AS (
        INSERT INTO ledger.raisings (account_id, posted_minor, held_minor)
        SELECT r.account_id, sum(r.posted_minor)::bigint, sum(r.held_minor)::bigint
          FROM (SELECT e.account_id, sum(e.change_minor) AS posted_minor, sum(e.held_minor) AS held_minor
                  FROM unnest(p_entries) e WHERE e.change_minor <> 0 AND p_booked[e.item]
                 GROUP BY e.item, e.account_id HAVING sum(e.change_minor) > 0 OR sum(e.held_minor) < 0) r
         GROUP BY r.account_id)
    INSERT INTO ledger.external_references (transaction_id, type, value)
    SELECT ids.id[r.item], r.type, r.value
      FROM ids, unnest(p_reference_items, p_reference_types, p_reference_values) AS r (item, type, value)
     WHERE p_booked[r.item];
END $$;

-- Has any item an original, or lowers a floored account?
CREATE FUNCTION ledger.guarded(p_items ledger.item[], p_entries ledger.entry[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT EXISTS (SELECT FROM unnest(p_entries) e WHERE e.change_minor < 0)
        OR EXISTS (SELECT FROM unnest(p_items) i WHERE i.original_key IS NOT NULL OR i.kind IN ('refund', 'reversal')));
END $$;

-- The transaction that each item is linked to; null where there is none.
CREATE FUNCTION ledger.originals(p_items ledger.item[]) RETURNS uuid[] LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    RETURN (SELECT array_agg((SELECT k.decision FROM ledger.identities k WHERE k.key_date = i.original_key_date
                         AND k.caller = i.caller AND k.key_digest = ledger.key_digest(i.original_key)) ORDER BY i.n)
      FROM unnest(p_items) i);
END $$;

CREATE FUNCTION ledger.without(p_fresh boolean[], p_refused ledger.answer[]) RETURNS boolean[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT array_agg(f.fresh AND NOT f.n = ANY (SELECT r.item FROM unnest(p_refused) r) ORDER BY f.n)
      FROM unnest(p_fresh) WITH ORDINALITY f (fresh, n));
END $$;

-- What is said of items that were not taken.
CREATE FUNCTION ledger.other_answers(p_items ledger.item[], p_fresh boolean[], p_busy boolean[], p_epoch_min bigint,
    p_today date) RETURNS SETOF ledger.answer LANGUAGE sql STABLE AS $$
    SELECT coalesce(s.item, i.n), coalesce(s.outcome, CASE WHEN p_busy[i.n] THEN 'busy' ELSE 'refused' END),
           s.transaction_id, s.accounting_date,
           CASE WHEN s.outcome IS NOT NULL THEN s.reason WHEN p_busy[i.n] THEN NULL
                WHEN i.config_epoch < p_epoch_min THEN 'STALE_CONFIG' ELSE 'KEY_DATE' END,
           CASE WHEN s.outcome IS NOT NULL THEN s.subject WHEN p_busy[i.n] THEN NULL
                WHEN i.config_epoch < p_epoch_min THEN 'config_epoch' ELSE 'identity.key_date' END,
           CASE WHEN s.outcome IS NOT NULL THEN s.message WHEN p_busy[i.n] THEN NULL
                WHEN i.config_epoch < p_epoch_min THEN format('decided on epoch %s, in force is %s', i.config_epoch, p_epoch_min)
                ELSE format('%s lies outside 400 days back and 1 ahead of %s', i.key_date, p_today) END,
           CASE WHEN s.outcome IS NULL AND i.config_epoch < p_epoch_min THEN p_epoch_min END
      FROM unnest(p_items) i LEFT JOIN ledger.stored_answers(p_items, p_fresh) s ON s.item = i.n
     WHERE NOT p_fresh[i.n];
$$;

CREATE FUNCTION ledger.post(p_transaction_ids uuid[], p_callers text[], p_key_dates date[], p_keys text[],
    p_request_hashes bytea[], p_kinds text[], p_effective_times timestamptz[], p_accounting_dates date[],
    p_settlement_dates date[], p_demanded_dates date[], p_original_key_dates date[], p_original_keys text[], p_config_epochs bigint[],
    p_expires timestamptz[], p_due_dates date[], p_calendar_versions bigint[], p_entry_items int[], p_lines int[], p_accounts text[], p_currencies text[], p_sides text[],
    p_amounts bigint[], p_reference_items int[], p_reference_types text[], p_reference_values text[]) RETURNS SETOF ledger.answer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' SET jit = off AS $$
DECLARE
    items ledger.item[];
    entries ledger.entry[];
    epoch_min bigint;
    today date;
    closing date;
    closed date;
    keys_from date;
    prepared_upto date;
    timely boolean[];
    fresh boolean[];
    busy boolean[];
    originals uuid[];
    lowered bigint[];
    answers ledger.answer[] := '{}';
    refused ledger.answer[] := '{}';
    batch bigint;
BEGIN
    items := ARRAY(SELECT ROW (i.n, i.caller, i.key_date, i.key, i.hash, i.id, i.kind, i.effective, i.accounting,
            i.settlement, i.demanded, i.original_date, i.original_key, i.epoch, i.expires, i.due, i.calendar)::ledger.item
        FROM unnest(p_transaction_ids, p_callers, p_key_dates, p_keys, p_request_hashes, p_kinds, p_effective_times,
            p_accounting_dates, p_settlement_dates, p_demanded_dates, p_original_key_dates, p_original_keys, p_config_epochs,
            p_expires, p_due_dates, p_calendar_versions) WITH ORDINALITY AS i (id, caller, key_date, key, hash, kind, effective, accounting, settlement,
            demanded, original_date, original_key, epoch, expires, due, calendar, n));
    PERFORM ledger.check_arguments(items, p_entry_items, p_accounts, p_currencies);
    PERFORM ledger.take_fence(false);
    SELECT l.config_epoch_min, (now() AT TIME ZONE c.time_zone)::date, l.closing_through, l.closed_through, l.keys_from, l.prepared_upto
      INTO STRICT epoch_min, today, closing, closed, keys_from, prepared_upto FROM ledger.control l, payplane.control c;
    -- The ledger prepares partitions a month before; not where it was down, or the clock leapt.
    IF prepared_upto < today + 3 THEN
        PERFORM ledger.prepare(today);
    END IF;
    entries := ledger.resolve(p_entry_items, p_lines, p_accounts, p_currencies, p_sides, p_amounts);
    timely := ARRAY(SELECT i.config_epoch >= epoch_min AND i.key_date BETWEEN greatest(today - 400, keys_from) AND today + 1
                    FROM unnest(items) i ORDER BY i.n);
    IF NOT ledger.guarded(items, entries) THEN
        fresh := ledger.take_keys(items, timely);
    ELSE
        originals := ledger.originals(items);
        IF 'capture' = ANY (p_kinds) THEN
            entries := ledger.captured(items, entries, originals);
        END IF;
        SELECT * INTO fresh, busy, lowered FROM ledger.take_keys_and_guards(items, entries, timely, originals);
    END IF;

    -- Not new: answered before, also on a config that is no longer in force; or not to be decided now.
    IF false = ANY (fresh) THEN
        answers := ARRAY(SELECT a FROM ledger.other_answers(items, fresh, busy, epoch_min, today) a);
    END IF;
    IF 'probe' = ANY (p_kinds) OR EXISTS (SELECT FROM unnest(entries) e
                                           WHERE e.suspect OR (p_kinds[e.item] = 'hold' AND e.change_minor >= 0)) THEN
        refused := ARRAY(SELECT a FROM ledger.check_accounts(items, entries) a WHERE fresh[(a).item]);
        fresh := ledger.without(fresh, refused);
    END IF;
    IF array_remove(p_demanded_dates, NULL) <> '{}' THEN
        refused := refused || ARRAY(SELECT d FROM ledger.check_days(items, closing, closed) d WHERE fresh[(d).item]);
        fresh := ledger.without(fresh, refused);
    END IF;
    IF lowered IS NOT NULL THEN
        refused := refused || ARRAY(SELECT d FROM ledger.decide(items, entries, fresh, originals, lowered) d);
        fresh := ledger.without(fresh, refused);
    END IF;

    batch := ledger.record_batch((SELECT count(*) FROM unnest(fresh) f WHERE f)::int);
    INSERT INTO ledger.refusals (refusal_id, caller, key_date, key, reason, subject, message, config_epoch, request_hash, batch_number)
    SELECT i.transaction_id, i.caller, i.key_date, i.key, r.reason, r.subject, r.message, i.config_epoch, i.request_hash, batch
      FROM unnest(refused) r JOIN unnest(items) i ON i.n = r.item;
    PERFORM ledger.book(items, entries, fresh, originals, batch, closed, p_reference_items, p_reference_types, p_reference_values);
    RETURN QUERY SELECT i.n, 'booked', i.transaction_id, ledger.day_of(i, closed), NULL::text, NULL::text, NULL::text, NULL::bigint
                   FROM unnest(items) i WHERE fresh[i.n]
                  UNION ALL SELECT a.* FROM unnest(answers || refused) a;
END $$;
