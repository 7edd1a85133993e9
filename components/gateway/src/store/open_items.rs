//! What is open and may need a person, of every kind in one list.

use deadpool_postgres::GenericClient;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{LostSnafu, QuerySnafu, ReadSnafu, Store, StoreError, optional, rows};
use crate::decide::{Item, Kind};

const COLUMNS: &str =
    "i.kind, i.item_id, i.order_id, i.channel, i.amount_minor, i.currency, i.status, i.since,
    i.is_known, i.seen, d.decision_id, d.version";
const FROM: &str = "gateway.open_items i LEFT JOIN gateway.decisions d
    ON d.kind = i.kind AND d.item_id = i.item_id AND d.status = 'Proposed'";

/// Which of them are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub kind: Option<Kind>,
    /// Each kind's own where none is given.
    pub older_than_seconds: Option<i64>,
    /// They are ordered by their ids.
    pub after: Uuid,
}

/// Those that are old enough, as a condition. It is spelled out: one plan is kept for each text.
fn old_enough(asked: &Asked) -> String {
    let kinds = Kind::ALL.iter().filter(|kind| asked.kind.is_none_or(|only| only == **kind));
    let each = kinds.map(|kind| {
        let seconds = |is_known| asked.older_than_seconds.unwrap_or(kind.seconds_min(is_known));
        let (known, unknown) = (seconds(true), seconds(false));
        format!(
            "i.kind = '{}' AND i.since <= now()
                - CASE WHEN i.is_known THEN interval '{known} seconds' ELSE interval '{unknown} seconds' END",
            kind.as_str()
        )
    });
    each.collect::<Vec<_>>().join(" OR ")
}

impl Store {
    /// A page, oldest first.
    pub async fn open_items(&self, asked: &Asked, limit: i64) -> Result<Vec<Item>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE i.item_id > $1 AND ({}) ORDER BY i.item_id LIMIT {limit}",
            old_enough(asked)
        );
        // Not kept as a plan: ages are a person's to choose.
        let found = self.client().await?.query(sql.as_str(), &[&asked.after]).await;
        let found = found.context(QuerySnafu { what: "read what is open" })?;
        found.iter().map(read).collect()
    }

    /// How many there are, and since when the oldest is.
    pub async fn count_open_items(&self) -> Result<(i64, f64), StoreError> {
        let all = old_enough(&Asked { kind: None, older_than_seconds: None, after: Uuid::nil() });
        let sql = format!(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(i.since)), 0)::float8
             FROM gateway.open_items i WHERE {all}"
        );
        // Planned anew, for tables that grew since.
        let row = self.client().await?.query_one(sql.as_str(), &[]).await;
        let row = row.context(QuerySnafu { what: "count what is open" })?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }
}

/// One that is open, whatever its age; none where it has ended.
pub(super) async fn find<C: GenericClient>(
    client: &C,
    (kind, id): (Kind, Uuid),
) -> Result<Option<Item>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE i.kind = $1 AND i.item_id = $2");
    let row = optional(client, "read what is open", &sql, &[&kind.as_str(), &id]).await?;
    row.as_ref().map(read).transpose()
}

/// Is there such a thing, open or not?
pub(super) async fn exists<C: GenericClient>(
    client: &C,
    (kind, id): (Kind, Uuid),
) -> Result<bool, StoreError> {
    let (table, key) = table(kind);
    let sql = format!("SELECT 1 FROM {table} WHERE {key} = $1");
    Ok(!rows(client, "look whether it is there", &sql, &[&id]).await?.is_empty())
}

/// Where such a thing is stored, and its key.
pub(super) fn table(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Payment => ("gateway.attempts", "attempt_id"),
        Kind::Refund | Kind::Reversal => ("gateway.refunds", "refund_id"),
        Kind::Payout => ("gateway.payouts", "payout_id"),
        Kind::Surplus => ("gateway.surpluses", "attempt_id"),
        Kind::Contradiction => ("gateway.contradictions", "contradiction_id"),
    }
}

fn read(row: &Row) -> Result<Item, StoreError> {
    let kind: String = row.try_get("kind").context(ReadSnafu)?;
    // The view has these alone.
    let kind = Kind::parse(&kind).context(LostSnafu)?;
    let read = || -> Result<Item, tokio_postgres::Error> {
        let proposal: Option<Uuid> = row.try_get("decision_id")?;
        Ok(Item {
            kind,
            item_id: row.try_get("item_id")?,
            order_id: row.try_get("order_id")?,
            channel: row.try_get("channel")?,
            amount_minor: row.try_get("amount_minor")?,
            currency: row.try_get("currency")?,
            status: row.try_get("status")?,
            since: row.try_get("since")?,
            is_known: row.try_get("is_known")?,
            seen: row.try_get("seen")?,
            proposal: proposal.zip(row.try_get("version")?),
        })
    };
    read().context(ReadSnafu)
}
