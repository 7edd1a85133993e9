//! Attempts begin, many in one transaction, and are counted in it: of those that limits
//! are about, only as many begin as fit, and of those that risk policies are about, only
//! those that none blocks. So no limit is ever exceeded, by however many replicas, and a
//! process that dies leaves nothing that nobody counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use payplane_api::config::OnError;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{LostSnafu, QuerySnafu, ReadSnafu, Store, StoreError, assess, rows};
use crate::limits::{self, Limit, Reached, Used};
use crate::risk::question::{Hit, Question, Verdict, verdict};
use crate::route::Decision;

const WHAT: &str = "begin attempts";
/// For transactions that others wait for.
pub(super) const BOUNDS: &str =
    "SET LOCAL idle_in_transaction_session_timeout = '2s'; SET LOCAL lock_timeout = '5s'";

/// An attempt that is to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    pub order_id: Uuid,
    /// Chosen once, so that a repeated try finds what it began.
    pub attempt_id: Uuid,
    pub decision: Decision,
    pub signed_at: Timestamp,
    pub amount_minor: i64,
    /// By which it is made. One that is not active any more begins nothing.
    pub agreement_id: Option<Uuid>,
    pub limits: Vec<Limit>,
    /// What risk policies ask, before an order's first attempt.
    pub risk: Option<Arc<Question>>,
    /// Its payer has just brought the code of the agreement that it is made by.
    pub is_proven: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Begun {
    /// And what risk policies in shadow mode would have said.
    Attempt(Vec<Hit>),
    LimitReached(Reached),
    /// By a risk policy: the order has failed.
    Blocked(Vec<Hit>),
    /// By risk policies: nothing has begun, and the payer is to prove himself first.
    StepUp(Vec<Hit>, OnError),
}

impl Store {
    /// Begins an attempt; none where the order is finished. It locks the order's
    /// row, as does whoever fails the order for want of an attempt. Tried again,
    /// it finds the attempt that it began; nothing was sent in between.
    pub async fn begin_attempt(&self, begin: &Begin) -> Result<Option<Begun>, StoreError> {
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.begin_all(all).await }
        };
        match self.gathers.begin.put(begin.attempt_id, begin.clone(), write).await? {
            Some(begun) => Ok(Some(begun)),
            None => Ok(self.attempt(begin.attempt_id).await?.map(|_| Begun::Attempt(vec![]))),
        }
    }

    async fn begin_all(&self, all: Arc<Vec<Begin>>) -> Result<Vec<(Uuid, Begun)>, StoreError> {
        let mut client = self.client().await?;
        if all.iter().all(|begin| begin.risk.is_none())
            && let Some(begun) = insert(&client, &all.iter().collect::<Vec<_>>(), Fit::Asked).await?
        {
            return Ok(begun);
        }
        // Not all of them fit, or policies have to be asked: one after the other.
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        // Others wait for what it locks: should this process freeze, not for long.
        transaction.batch_execute(BOUNDS).await.context(QuerySnafu { what: WHAT })?;
        let held = hold(&transaction, &all).await?;
        let agreed = agreed(&transaction, &all).await?;
        let holds = |begin: &&Begin| begin.agreement_id.is_none_or(|id| agreed.contains(&id));
        let held: Vec<_> = all.iter().filter(|begin| held.contains(&begin.order_id)).filter(holds).collect();
        let mut used = counters(&transaction, &all).await?;
        let mut known = assess::read(&transaction, &held).await?;
        let (mut fit, mut reached, mut judged) = (vec![], vec![], assess::Judged::default());
        for begin in held {
            let hits = assess::verdicts(begin, &known);
            match verdict(&hits) {
                Verdict::Block => {
                    judged.blocked.push((begin, hits));
                    continue;
                }
                Verdict::StepUp(on_error) if !begin.is_proven && !known.proven.contains(&begin.order_id) => {
                    let is_allowed = known.allowed.contains(&begin.order_id);
                    match (is_allowed, on_error) {
                        (true, OnError::Allow) => {}
                        // Nobody asks a second time.
                        (true, OnError::Hold | OnError::Block) => {
                            judged.unproven.push((begin, hits));
                            continue;
                        }
                        (false, _) => {
                            judged.asked.push(((begin, hits), on_error));
                            continue;
                        }
                    }
                }
                Verdict::StepUp(_) | Verdict::Pass => {}
            }
            let payment = (begin.decision.channel.as_str(), begin.amount_minor);
            match limits::take(&mut used, &begin.limits, payment) {
                Ok(()) => {
                    assess::count(begin, &hits, &mut known);
                    judged.passed.push((begin, hits));
                    fit.push(begin);
                }
                Err(limit) => reached.push((begin.attempt_id, limit)),
            }
        }
        // They fit, as nobody else counts meanwhile.
        let mut begun = insert(&transaction, &fit, Fit::Known).await?.context(LostSnafu)?;
        begun.extend(refused(&transaction, reached).await?);
        let told = assess::write(&transaction, &known, &judged).await?;
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        self.wake(told);
        judged.tell(&known, &mut begun);
        Ok(begun)
    }
}

/// Locks the orders that are not finished, and makes counters that are not there yet: in one
/// order, as whoever makes the same ones waits for us.
async fn hold<C: GenericClient>(client: &C, all: &[Begin]) -> Result<HashSet<Uuid>, StoreError> {
    let sql = "WITH made AS (INSERT INTO gateway.limit_counters (counter, last_day)
            SELECT counter, last_day FROM unnest($2::text[], $3::date[]) AS t(counter, last_day)
            WHERE NOT EXISTS (SELECT FROM gateway.limit_counters c WHERE c.counter = t.counter)
            ORDER BY counter ON CONFLICT DO NOTHING)
         SELECT order_id FROM gateway.orders
         WHERE order_id = ANY ($1) AND status = 'Processing' ORDER BY order_id FOR UPDATE";
    let limits: BTreeMap<_, _> =
        all.iter().flat_map(|begin| &begin.limits).map(|limit| (&limit.counter, limit.last_day)).collect();
    let params: super::Params<'_> = &[
        &all.iter().map(|begin| begin.order_id).collect::<Vec<_>>(),
        &limits.keys().collect::<Vec<_>>(),
        &limits.values().collect::<Vec<_>>(),
    ];
    let held = rows(client, WHAT, sql, params).await?;
    held.iter().map(|row| row.try_get("order_id").context(ReadSnafu)).collect()
}

/// Those of the agreements that are active, until the commit: what would begin by another one is
/// counted nowhere.
async fn agreed<C: GenericClient>(client: &C, all: &[Begin]) -> Result<HashSet<Uuid>, StoreError> {
    let ids: Vec<_> = all.iter().filter_map(|begin| begin.agreement_id).collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = "SELECT agreement_id FROM gateway.agreements
         WHERE agreement_id = ANY ($1) AND status = 'Active' ORDER BY agreement_id FOR SHARE";
    let agreed = rows(client, WHAT, sql, &[&ids]).await?;
    agreed.iter().map(|row| row.try_get(0).context(ReadSnafu)).collect()
}

/// Locks the counters, in one order, and reads what they count.
async fn counters<C: GenericClient>(client: &C, all: &[Begin]) -> Result<HashMap<String, Used>, StoreError> {
    let sql = "SELECT counter, amount_minor, payments FROM gateway.limit_counters
         WHERE counter = ANY ($1) ORDER BY counter_id FOR UPDATE";
    let names: HashSet<_> = all.iter().flat_map(|begin| &begin.limits).map(|limit| &limit.counter).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let read = |row: &Row| -> Result<(String, Used), tokio_postgres::Error> {
        let used = Used { amount_minor: row.try_get("amount_minor")?, payments: row.try_get("payments")? };
        Ok((row.try_get("counter")?, used))
    };
    let rows = rows(client, WHAT, sql, &[&names.into_iter().collect::<Vec<_>>()]).await?;
    rows.iter().map(|row| read(row).context(ReadSnafu)).collect()
}

/// Those that reached a limit: not one that is tried again, for which its own first try,
/// whose answer was lost, left no room.
async fn refused<C: GenericClient>(
    client: &C,
    reached: Vec<(Uuid, Reached)>,
) -> Result<Vec<(Uuid, Begun)>, StoreError> {
    if reached.is_empty() {
        return Ok(vec![]);
    }
    let sql = "SELECT attempt_id FROM gateway.attempts WHERE attempt_id = ANY ($1)";
    let ids: Vec<_> = reached.iter().map(|(id, _)| *id).collect();
    let known = rows(client, WHAT, sql, &[&ids]).await?;
    let known = known.iter().map(|row| row.try_get("attempt_id").context(ReadSnafu));
    let known: HashSet<Uuid> = known.collect::<Result<_, _>>()?;
    let refused = reached.into_iter().filter(|(id, _)| !known.contains(id));
    Ok(refused.map(|(id, limit)| (id, Begun::LimitReached(limit))).collect())
}

/// Is it known already that all of them fit?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Asked,
    Known,
}

/// Stores attempts where all of them fit, and counts just what it stores; else none. One
/// statement, so that the counters are locked no longer than the commit takes.
async fn insert<C: GenericClient>(
    client: &C,
    all: &[&Begin],
    fit: Fit,
) -> Result<Option<Vec<(Uuid, Begun)>>, StoreError> {
    let sql = "WITH held AS (SELECT order_id, amount_minor FROM gateway.orders
            WHERE order_id = ANY ($1) AND status = 'Processing' ORDER BY order_id FOR UPDATE),
         asked AS (SELECT * FROM unnest($9::uuid[], $10::text[], $11::bigint[], $12::bigint[])
            AS t(order_id, counter, amount_max, payments_max)),
         locked AS (SELECT counter_id, counter, amount_minor, payments FROM gateway.limit_counters
            WHERE counter = ANY ($10) ORDER BY counter_id FOR UPDATE),
         sums AS (SELECT counter, sum(amount_minor) AS minor, count(*) AS ones, min(amount_max) AS amount_max,
            min(payments_max) AS payments_max FROM asked JOIN held USING (order_id) GROUP BY counter),
         fits AS (SELECT coalesce(bool_and(l.counter_id IS NOT NULL AND l.amount_minor + s.minor <= s.amount_max
            AND l.payments + s.ones <= s.payments_max), true) AS ok FROM sums s LEFT JOIN locked l USING (counter)),
         ids AS (SELECT order_id, array_agg(counter_id) AS counted
            FROM asked JOIN locked USING (counter) GROUP BY order_id),
         -- Held until the commit: whoever ends one waits for those that begin by it, and is seen by the rest.
         agreed AS (SELECT agreement_id FROM gateway.agreements
            WHERE agreement_id = ANY ($14) AND status = 'Active' ORDER BY agreement_id FOR SHARE),
         made AS (INSERT INTO gateway.attempts (order_id, attempt_id, ordinal, channel, decision, fee_minor,
                config_hash, config_epoch, signed_at, counted, agreement_id)
            SELECT order_id, t.attempt_id,
                (SELECT count(*) + 1 FROM gateway.attempts a WHERE a.order_id = held.order_id)::smallint,
                t.channel, t.decision, t.fee_minor, t.config_hash, t.config_epoch, t.signed_at, ids.counted, t.agreement_id
            FROM held JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::bigint[], $6::text[],
                $7::bigint[], $8::timestamptz[], $14::uuid[]) AS t(order_id, attempt_id, channel, decision, fee_minor,
                config_hash, config_epoch, signed_at, agreement_id) USING (order_id) LEFT JOIN ids USING (order_id)
            WHERE ($13 OR (SELECT ok FROM fits))
                AND (t.agreement_id IS NULL OR t.agreement_id IN (SELECT agreement_id FROM agreed))
            ON CONFLICT (attempt_id) DO NOTHING RETURNING attempt_id, order_id, counted),
         counts AS (SELECT c.id, sum(held.amount_minor)::bigint AS minor, count(*) AS ones
            FROM made JOIN held USING (order_id) CROSS JOIN LATERAL unnest(made.counted) AS c(id) GROUP BY c.id),
         spent AS (UPDATE gateway.limit_counters l SET amount_minor = l.amount_minor + counts.minor,
                payments = l.payments + counts.ones FROM counts WHERE l.counter_id = counts.id)
         SELECT ok OR $13 AS ok, made.attempt_id FROM fits LEFT JOIN made ON true";
    let limits = || all.iter().flat_map(|begin| begin.limits.iter().map(|limit| (begin.order_id, limit)));
    let params: super::Params<'_> = &[
        &all.iter().map(|begin| begin.order_id).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.attempt_id).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.decision.channel.as_str()).collect::<Vec<_>>(),
        &all.iter().map(|begin| &begin.decision.explanation).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.decision.fee_minor).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.decision.config_hash.as_str()).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.decision.config_epoch).collect::<Vec<_>>(),
        &all.iter().map(|begin| begin.signed_at).collect::<Vec<_>>(),
        &limits().map(|(order_id, _)| order_id).collect::<Vec<_>>(),
        &limits().map(|(_, limit)| limit.counter.as_str()).collect::<Vec<_>>(),
        &limits().map(|(_, limit)| limit.quota.amount_minor_max.unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        &limits().map(|(_, limit)| limit.quota.payments_max.unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        &(fit == Fit::Known),
        &all.iter().map(|begin| begin.agreement_id).collect::<Vec<_>>(),
    ];
    let mut begun = vec![];
    for row in rows(client, WHAT, sql, params).await? {
        if !row.try_get::<_, bool>("ok").context(ReadSnafu)? {
            return Ok(None);
        }
        if let Some(attempt_id) = row.try_get("attempt_id").context(ReadSnafu)? {
            begun.push((attempt_id, Begun::Attempt(vec![])));
        }
    }
    Ok(Some(begun))
}
