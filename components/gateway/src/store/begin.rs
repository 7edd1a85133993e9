//! Attempts begin, many in one transaction, and are counted in it: of those that limits
//! are about, only as many begin as fit. So no limit is ever exceeded, by however many
//! replicas, and a process that dies leaves nothing that nobody counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use snafu::{OptionExt, ResultExt};
use uuid::Uuid;

use super::attempts::{Attempt, COLUMNS};
use super::{MissingSnafu, QuerySnafu, ReadSnafu, Store, StoreError, rows};
use crate::limits::{self, Limit, Reached, Used};
use crate::route::Decision;

const WHAT: &str = "begin attempts";

/// An attempt that is to begin.
#[derive(Clone, Debug)]
pub struct Begin {
    pub order_id: Uuid,
    /// Chosen once, so that a repeated try finds what it began.
    pub attempt_id: Uuid,
    pub decision: Decision,
    pub signed_at: Timestamp,
    pub amount_minor: i64,
    pub limits: Vec<Limit>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Begun {
    Attempt(Attempt),
    LimitReached(Reached),
}

/// One that fits, and its counters.
type Fit<'a> = (&'a Begin, Vec<i64>);

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
            None => Ok(self.attempt(begin.attempt_id).await?.map(Begun::Attempt)),
        }
    }

    async fn begin_all(&self, all: Arc<Vec<Begin>>) -> Result<Vec<(Uuid, Begun)>, StoreError> {
        let mut client = self.client().await?;
        if all.iter().all(|begin| begin.limits.is_empty()) {
            return insert(&client, &all.iter().map(|begin| (begin, vec![])).collect::<Vec<_>>()).await;
        }
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        let held = hold(&transaction, &all).await?;
        let (ids, mut used) = counters(&transaction, &all).await?;
        let (mut fit, mut reached) = (vec![], vec![]);
        for begin in all.iter().filter(|begin| held.contains(&begin.order_id)) {
            let taken = limits::take(&mut used, &begin.limits, (&begin.decision.channel, begin.amount_minor));
            if let Err(limit) = taken {
                reached.push((begin.attempt_id, limit));
                continue;
            }
            let counted = begin.limits.iter().map(|limit| ids.get(&limit.counter).copied());
            let counted: Option<Vec<_>> = counted.collect();
            let counted = counted.context(MissingSnafu { what: "counter of", id: begin.attempt_id })?;
            fit.push((begin, counted));
        }
        let mut begun = insert(&transaction, &fit).await?;
        begun.extend(refused(&transaction, reached).await?);
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
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

/// Locks the counters, in one order, and reads what they count.
async fn counters<C: GenericClient>(
    client: &C,
    all: &[Begin],
) -> Result<(HashMap<String, i64>, HashMap<String, Used>), StoreError> {
    let sql = "SELECT counter_id, counter, amount_minor, payments FROM gateway.limit_counters
         WHERE counter = ANY ($1) ORDER BY counter_id FOR UPDATE";
    let names: HashSet<_> = all.iter().flat_map(|begin| &begin.limits).map(|limit| &limit.counter).collect();
    let (mut ids, mut used) = (HashMap::new(), HashMap::new());
    for row in rows(client, WHAT, sql, &[&names.into_iter().collect::<Vec<_>>()]).await? {
        let counter: String = row.try_get("counter").context(ReadSnafu)?;
        ids.insert(counter.clone(), row.try_get("counter_id").context(ReadSnafu)?);
        let amount_minor = row.try_get("amount_minor").context(ReadSnafu)?;
        used.insert(counter, Used { amount_minor, payments: row.try_get("payments").context(ReadSnafu)? });
    }
    Ok((ids, used))
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

/// Stores attempts, and counts just what it stores.
async fn insert<C: GenericClient>(client: &C, all: &[Fit<'_>]) -> Result<Vec<(Uuid, Begun)>, StoreError> {
    let sql = format!(
        "WITH held AS (SELECT order_id, amount_minor FROM gateway.orders
            WHERE order_id = ANY ($1) AND status = 'Processing' ORDER BY order_id FOR UPDATE),
         made AS (INSERT INTO gateway.attempts (order_id, attempt_id, ordinal, channel, decision, fee_minor,
                config_hash, config_epoch, signed_at, counted)
            SELECT order_id, t.attempt_id,
                (SELECT count(*) + 1 FROM gateway.attempts a WHERE a.order_id = held.order_id)::smallint,
                t.channel, t.decision, t.fee_minor, t.config_hash, t.config_epoch, t.signed_at,
                string_to_array(t.counters, ',')::bigint[]
            FROM held JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::bigint[], $6::text[],
                $7::bigint[], $8::timestamptz[], $9::text[]) AS t(order_id, attempt_id, channel, decision,
                fee_minor, config_hash, config_epoch, signed_at, counters) USING (order_id)
            ON CONFLICT (attempt_id) DO NOTHING RETURNING *),
         sums AS (SELECT c.id, sum(held.amount_minor)::bigint AS minor, count(*) AS ones
            FROM made JOIN held USING (order_id) CROSS JOIN LATERAL unnest(made.counted) AS c(id) GROUP BY c.id),
         spent AS (UPDATE gateway.limit_counters l SET amount_minor = l.amount_minor + sums.minor,
                payments = l.payments + sums.ones FROM sums WHERE l.counter_id = sums.id)
         SELECT {COLUMNS} FROM made"
    );
    let counters = |ids: &Vec<i64>| {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        (!ids.is_empty()).then(|| ids.join(","))
    };
    let begins = || all.iter().map(|(begin, _)| begin);
    let params: super::Params<'_> = &[
        &begins().map(|begin| begin.order_id).collect::<Vec<_>>(),
        &begins().map(|begin| begin.attempt_id).collect::<Vec<_>>(),
        &begins().map(|begin| begin.decision.channel.as_str()).collect::<Vec<_>>(),
        &begins().map(|begin| &begin.decision.explanation).collect::<Vec<_>>(),
        &begins().map(|begin| begin.decision.fee_minor).collect::<Vec<_>>(),
        &begins().map(|begin| begin.decision.config_hash.as_str()).collect::<Vec<_>>(),
        &begins().map(|begin| begin.decision.config_epoch).collect::<Vec<_>>(),
        &begins().map(|begin| begin.signed_at).collect::<Vec<_>>(),
        &all.iter().map(|(_, ids)| counters(ids)).collect::<Vec<_>>(),
    ];
    let made = Store::attempts(&rows(client, WHAT, &sql, params).await?)?;
    Ok(made.into_iter().map(|(id, attempt)| (id, Begun::Attempt(attempt))).collect())
}
