//! What risk policies know and decide, in the transaction that begins attempts: it locks the
//! windows that are counted in, from the verdict to the commit. So no two payments count
//! the same place, by however many replicas, and no verdict is without its line in the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::GenericClient;
use futures_util::future::try_join_all;
use payplane_api::config::{OnError, RiskAction};
use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::begin::{Begin, Begun};
use super::orders::{COLUMNS, by_id, event};
use super::outbox::publish;
use super::{Params, ReadSnafu, StoreError, execute, rows};
use crate::risk::question::{Hit, Key, Known};
use crate::risk::window::Slices;
use crate::step_up::FAILED;

const WHAT: &str = "assess risk";
/// The code of a payment that a policy blocked. Which one, the app is not told.
pub const BLOCKED: &str = "RiskBlocked";

/// Who matched what.
type Matched<'a> = (&'a Begin, Vec<Hit>);

/// What became of those that were assessed.
#[derive(Default)]
pub(super) struct Judged<'a> {
    pub passed: Vec<Matched<'a>>,
    pub blocked: Vec<Matched<'a>>,
    /// They go on without a proof, and a stricter policy wants one by now.
    pub unproven: Vec<Matched<'a>>,
    /// Their payers are to prove themselves first.
    pub asked: Vec<(Matched<'a>, OnError)>,
}

impl Judged<'_> {
    /// Adds it to what began. What a proven payment matched was told when its proof was asked for.
    pub(super) fn tell(self, known: &Known, begun: &mut Vec<(Uuid, Begun)>) {
        let is_new = |id| !known.proven.contains(id) && !known.allowed.contains(id);
        let new = self.passed.into_iter().filter(|(begin, _)| is_new(&begin.order_id));
        let mut seen: HashMap<_, _> = new.map(|(begin, hits)| (begin.attempt_id, hits)).collect();
        for (attempt_id, begun) in begun.iter_mut() {
            if let Begun::Attempt(hits) = begun {
                *hits = seen.remove(attempt_id).unwrap_or_default();
            }
        }
        let failed = self.blocked.into_iter().chain(self.unproven);
        let blocked = failed.map(|(begin, hits)| (begin.attempt_id, Begun::Blocked(hits)));
        begun.extend(blocked);
        let asked = self.asked.into_iter();
        begun.extend(asked.map(|((begin, hits), on)| (begin.attempt_id, Begun::StepUp(hits, on))));
    }
}

/// Reads what is known of payments whose orders are held, and locks their windows.
pub(super) async fn read<C: GenericClient>(client: &C, held: &[&Begin]) -> Result<Known, StoreError> {
    let asking: Vec<_> =
        held.iter().filter_map(|begin| Some((begin.order_id, begin.risk.as_ref()?))).collect();
    let mut known = Known::default();
    if asking.is_empty() {
        return Ok(known);
    }
    let lookups = || asking.iter().flat_map(|(_, question)| &question.lookups);
    let entries = || lookups().flat_map(|lookup| lookup.hashes.iter().map(move |hash| (lookup, hash)));
    let orders: Vec<_> = asking.iter().map(|(order_id, _)| *order_id).collect();
    let aged = asking.iter().filter(|(_, question)| question.is_about_age());
    let merchants: Vec<_> = aged.map(|(_, question)| question.merchant.as_str()).collect();
    let listed: Params<'_> = &[
        &entries().map(|(lookup, _)| lookup.list.as_str()).collect::<Vec<_>>(),
        &entries().map(|(lookup, _)| lookup.kind.as_str()).collect::<Vec<_>>(),
        &entries().map(|(_, hash)| hash.as_slice()).collect::<Vec<_>>(),
    ];
    let proofs = asking.iter().filter(|(_, question)| question.may_step_up());
    let proofs: Vec<_> = proofs.map(|(order_id, _)| *order_id).collect();
    let (begun_of, approved_of): (Params<'_>, Params<'_>) = (&[&orders], &[&merchants]);
    let (proven, begun, listed, approved) = futures_util::try_join!(
        proven(client, &proofs),
        rows(client, WHAT, "SELECT order_id FROM gateway.attempts WHERE order_id = ANY ($1)", begun_of),
        rows(
            client,
            WHAT,
            "SELECT DISTINCT e.list, e.kind, e.value_hash FROM gateway.risk_entries e
             JOIN unnest($1::text[], $2::text[], $3::bytea[]) AS t(list, kind, value_hash)
                USING (list, kind, value_hash)",
            listed
        ),
        rows(
            client,
            WHAT,
            "SELECT merchant_id, coalesce(approved_at, created_at) FROM gateway.merchants WHERE merchant_id = ANY ($1)",
            approved_of
        ),
    )?;
    for (order_id, is_proven) in proven {
        let those = if is_proven { &mut known.proven } else { &mut known.allowed };
        those.insert(order_id);
    }
    for row in &begun {
        known.begun.insert(row.try_get(0).context(ReadSnafu)?);
    }
    for row in &listed {
        let hash = key(row, 2)?;
        known.listed.insert((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?, hash));
    }
    for row in &approved {
        known.approved.insert(row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?);
    }
    lock_windows(client, held, &mut known).await?;
    Ok(known)
}

/// Those that go on: whose payers have proven themselves, and those that need not.
async fn proven<C: GenericClient>(client: &C, orders: &[Uuid]) -> Result<Vec<(Uuid, bool)>, StoreError> {
    if orders.is_empty() {
        return Ok(vec![]);
    }
    let sql = "SELECT order_id, status = 'Confirmed' FROM gateway.step_ups
         WHERE order_id = ANY ($1) AND status IN ('Confirmed', 'Allowed')";
    let found = rows(client, WHAT, sql, &[&orders]).await?;
    let read = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    found.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
}

/// Makes windows that are not there yet and locks all of them, in one order for everybody.
async fn lock_windows<C: GenericClient>(
    client: &C,
    held: &[&Begin],
    known: &mut Known,
) -> Result<(), StoreError> {
    let mut days = BTreeMap::new();
    for begin in held.iter().filter(|begin| !known.begun.contains(&begin.order_id)) {
        for count in begin.risk.iter().flat_map(|question| question.windows(known)) {
            let day = days.entry(count.key).or_insert(count.last_day);
            *day = count.last_day.max(*day);
        }
    }
    if days.is_empty() {
        return Ok(());
    }
    // The clock is read when the row is locked, be it after a wait for another.
    let sql = "INSERT INTO gateway.risk_windows AS w (window_key, last_day)
         SELECT key, day FROM unnest($1::bytea[], $2::date[]) AS t(key, day) ORDER BY key
         ON CONFLICT (window_key) DO UPDATE SET last_day = greatest(w.last_day, excluded.last_day)
         RETURNING window_key, slices, floor(extract(epoch FROM clock_timestamp()))::bigint";
    let params: Params<'_> =
        &[&days.keys().map(Key::as_slice).collect::<Vec<_>>(), &days.values().collect::<Vec<_>>()];
    for row in rows(client, WHAT, sql, params).await? {
        // What cannot be read was not written by us: it counts from now on.
        let slices = Slices::read(row.try_get(1).context(ReadSnafu)?).unwrap_or_default();
        known.windows.insert(key(&row, 0)?, slices);
        known.now_seconds = known.now_seconds.max(row.try_get(2).context(ReadSnafu)?);
    }
    Ok(())
}

fn key(row: &Row, column: usize) -> Result<Key, StoreError> {
    let bytes: &[u8] = row.try_get(column).context(ReadSnafu)?;
    let mut key = Key::default();
    // The table holds them to this length.
    if bytes.len() == key.len() {
        key.copy_from_slice(bytes);
    }
    Ok(key)
}

/// What the policies say of an attempt; nothing where it is not the first that is tried.
pub(super) fn verdicts(begin: &Begin, known: &Known) -> Vec<Hit> {
    let asked = begin.risk.as_ref().filter(|_| !known.begun.contains(&begin.order_id));
    asked.map(|question| question.verdicts(known)).unwrap_or_default()
}

/// Counts a payment that goes on, although some policies, which do not count it, matched it.
pub(super) fn count(begin: &Begin, hits: &[Hit], known: &mut Known) {
    if let Some(question) = begin.risk.as_ref().filter(|_| !known.begun.contains(&begin.order_id)) {
        question.count(known, hits);
    }
}

/// Stores what was counted and matched, and whose proof is asked for, and fails the orders that are
/// blocked. True: an app is to be told.
pub(super) async fn write<C: GenericClient>(
    client: &C,
    known: &Known,
    Judged { passed, blocked, unproven, asked }: &Judged<'_>,
) -> Result<bool, StoreError> {
    store_windows(client, known).await?;
    let failed = blocked.iter().chain(unproven);
    let matched = passed.iter().chain(failed).chain(asked.iter().map(|(matched, _)| matched));
    journal(client, matched).await?;
    ask_for_proof(client, asked).await?;
    let unproven: Vec<_> = unproven.iter().map(|(begin, _)| begin.order_id).collect();
    let orders = blocked.iter().map(|(begin, _)| begin.order_id).chain(unproven.iter().copied());
    let orders: BTreeSet<Uuid> = orders.collect();
    if orders.is_empty() {
        return Ok(false);
    }
    let sql = format!(
        "WITH unproven AS (UPDATE gateway.step_ups SET status = 'Failed', ended_at = now()
            WHERE order_id = ANY ($1) AND status IN ('Asked', 'Sending', 'AwaitingCode'))
         UPDATE gateway.orders SET status = 'Failed', completed_at = now(), next_check_at = NULL,
            failure_code = CASE WHEN order_id = ANY ($3) THEN $4 ELSE $2 END
         WHERE order_id = ANY ($1) AND status = 'Processing' RETURNING {COLUMNS}"
    );
    let orders: Vec<_> = orders.into_iter().collect();
    let failed = by_id(&rows(client, WHAT, &sql, &[&orders, &BLOCKED, &unproven, &FAILED]).await?)?;
    let events: Vec<_> = failed.iter().map(|(_, order)| event("payment.failed", order)).collect();
    let told = try_join_all(events.iter().map(|event| publish(client, event))).await?;
    Ok(told.contains(&true))
}

/// What comes again, as its answer was lost, is there.
async fn ask_for_proof<C: GenericClient>(
    client: &C,
    asked: &[(Matched<'_>, OnError)],
) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO gateway.step_ups (order_id, on_error, agreement_id)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]) ON CONFLICT DO NOTHING";
    let begins = || asked.iter().map(|((begin, _), _)| begin);
    let params: Params<'_> = &[
        &begins().map(|begin| begin.order_id).collect::<Vec<_>>(),
        &asked.iter().map(|(_, on_error)| on_error.as_str()).collect::<Vec<_>>(),
        &begins().map(|begin| begin.agreement_id).collect::<Vec<_>>(),
    ];
    execute(client, WHAT, sql, params).await?;
    Ok(())
}

/// By what a payment that a policy wanted the proof of was proven, where no code of ours was asked for.
fn facts((begin, hit): (&Begin, &Hit)) -> Value {
    let mut facts = hit.facts.clone();
    if begin.is_proven && hit.policy.action == RiskAction::StepUp {
        facts["provenBy"] = Value::from("AgreementCode");
    }
    facts
}

async fn store_windows<C: GenericClient>(client: &C, known: &Known) -> Result<(), StoreError> {
    let counted: Vec<_> = known.counted.iter().filter_map(|key| known.windows.get_key_value(key)).collect();
    if counted.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE gateway.risk_windows w SET slices = t.slices
         FROM unnest($1::bytea[], $2::jsonb[]) AS t(key, slices) WHERE w.window_key = t.key";
    let params: Params<'_> = &[
        &counted.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(),
        &counted.iter().map(|(_, slices)| slices.stored()).collect::<Vec<_>>(),
    ];
    execute(client, WHAT, sql, params).await?;
    Ok(())
}

async fn journal<'a, C: GenericClient>(
    client: &C,
    matched: impl Iterator<Item = &'a Matched<'a>>,
) -> Result<(), StoreError> {
    let mut lines = vec![];
    for (begin, hits) in matched {
        let version = begin.risk.iter().map(|question| &question.version);
        lines.extend(version.flat_map(|version| hits.iter().map(move |hit| (*begin, version, hit))));
    }
    if lines.is_empty() {
        return Ok(());
    }
    // What is assessed again, once its payer has proven himself, has its lines.
    let sql = "INSERT INTO gateway.risk_journal
            (order_id, policy, config_epoch, config_hash, mode, verdict, facts)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
         ON CONFLICT (order_id, policy) DO NOTHING";
    let params: Params<'_> = &[
        &lines.iter().map(|(begin, _, _)| begin.order_id).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, hit)| hit.policy.name.as_str()).collect::<Vec<_>>(),
        &lines.iter().map(|(_, version, _)| version.epoch).collect::<Vec<_>>(),
        &lines.iter().map(|(_, version, _)| version.hash.as_str()).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, hit)| hit.policy.mode.as_str()).collect::<Vec<_>>(),
        &lines.iter().map(|(_, _, hit)| hit.policy.action.as_str()).collect::<Vec<_>>(),
        &lines.iter().map(|(begin, _, hit)| facts((begin, hit))).collect::<Vec<_>>(),
    ];
    execute(client, WHAT, sql, params).await?;
    Ok(())
}
