//! What a network says against what is stored: against what two persons decided, or against
//! what it said before of money that goes out. Nothing is overwritten; each is kept once.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use jiff::civil::Date;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::due::Table;
use super::{MissingSnafu, ReadSnafu, Store, StoreError, execute, optional, rows};
use crate::decide::Kind;

const COLUMNS: &str =
    "contradiction_id, kind, item_id, transferred, decision_id, stored, said, said_at, network_id, channel,
    amount_minor, currency, stored_date, status, ledger_transaction_id, created_at";

/// A contradiction as it is stored.
#[derive(Clone, Debug)]
pub struct Contradiction {
    pub contradiction_id: Uuid,
    pub kind: String,
    pub item_id: Uuid,
    /// A refund that goes out as a payout does.
    pub transferred: bool,
    pub decision_id: Option<Uuid>,
    pub stored: String,
    pub said: String,
    pub said_at: Timestamp,
    pub network_id: Option<String>,
    pub channel: String,
    pub amount_minor: i64,
    pub currency: String,
    pub stored_date: Date,
    pub status: String,
    pub ledger_transaction_id: Option<Uuid>,
    pub created_at: Timestamp,
}

/// What the network says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// `Succeeded`, `Failed` or `OtherAmount`.
    pub what: &'static str,
    pub network_id: Option<&'a str>,
    pub at: Option<Timestamp>,
}

/// What it is about.
pub(super) type About = (Kind, Uuid);

pub(super) fn about((table, id): (Table, Uuid)) -> About {
    (if table == Table::Payouts { Kind::Payout } else { Kind::Refund }, id)
}

impl Store {
    /// Keeps it, where it is one. True where it is kept: now, or before.
    pub async fn contradict(&self, about: About, said: Said<'_>) -> Result<bool, StoreError> {
        let client = self.client().await?;
        if insert(&client, about, said).await? {
            tell(about, said);
            return Ok(true);
        }
        let sql = "SELECT 1 FROM gateway.contradictions WHERE kind = $1 AND item_id = $2 AND said = $3";
        let params: super::Params<'_> = &[&about.0.as_str(), &about.1, &said.what];
        let known = optional(&client, "find a contradiction", sql, params).await?;
        Ok(known.is_some())
    }

    pub async fn contradiction(&self, id: Uuid) -> Result<Contradiction, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.contradictions WHERE contradiction_id = $1");
        let row = optional(&self.client().await?, "read a contradiction", &sql, &[&id]).await?;
        read(&row.context(MissingSnafu { what: "contradiction", id })?).context(ReadSnafu)
    }

    /// Takes up to `limit` whose posting is owed.
    pub async fn claim_contradictions(
        &self,
        limit: i64,
        busy: &[String],
    ) -> Result<Vec<Contradiction>, StoreError> {
        let rows = self.claim(Table::Contradictions, COLUMNS, (limit, busy)).await?;
        rows.iter().map(|row| read(row).context(ReadSnafu)).collect()
    }

    /// It is booked as suspense, and left to a person.
    pub async fn book_contradiction(&self, id: Uuid, transaction_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.contradictions
             SET status = 'Open', ledger_transaction_id = $2, next_check_at = NULL
             WHERE contradiction_id = $1 AND status = 'Noted'";
        execute(&self.client().await?, "book a contradiction", sql, &[&id, &transaction_id]).await?;
        Ok(())
    }

    /// The contradictions after one, oldest first.
    pub async fn contradictions(&self, after: Uuid, limit: i64) -> Result<Vec<Contradiction>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM gateway.contradictions WHERE contradiction_id > $1
             ORDER BY contradiction_id LIMIT $2"
        );
        let found = rows(&self.client().await?, "read contradictions", &sql, &[&after, &limit]).await?;
        found.iter().map(|row| read(row).context(ReadSnafu)).collect()
    }
}

/// Once it is committed. It is said once: what the network repeats is kept already.
pub(super) fn tell((kind, id): About, said: Said<'_>) {
    let (kind, said) = (kind.as_str(), said.what);
    tracing::error!(kind, %id, said, "the network contradicts what is stored; a person has to look");
}

/// True where it is one, and is new. A payment's that no person decided is none: what was paid
/// after its end is a surplus, and of what succeeded the network's success was verified. A surplus
/// that persons say was given back by one number was given back twice by another. Who contradicts
/// himself again is kept as well, and nothing is booked of it: which word is the last, is not known.
pub(super) async fn insert<C: GenericClient>(
    client: &C,
    (kind, id): About,
    said: Said<'_>,
) -> Result<bool, StoreError> {
    let item = match kind {
        Kind::Refund => {
            "SELECT r.status, r.channel, r.amount_minor, o.currency, r.stored_date, r.payee_masked IS NOT NULL AS transferred
             FROM gateway.refunds r JOIN gateway.orders o USING (order_id) WHERE r.refund_id = $3"
        }
        Kind::Payout => {
            "SELECT status, channel, amount_minor, currency, stored_date, false AS transferred
             FROM gateway.payouts WHERE payout_id = $3"
        }
        Kind::Surplus => {
            "SELECT status, channel, amount_minor, currency, stored_date, false AS transferred
             FROM gateway.surpluses WHERE attempt_id = $3"
        }
        _ => {
            "SELECT a.status, a.channel, o.amount_minor, o.currency, o.stored_date, false AS transferred
             FROM gateway.attempts a JOIN gateway.orders o USING (order_id) WHERE a.attempt_id = $3"
        }
    };
    // The money of a payment that succeeded after all is a surplus; of another amount it is not
    // known what is right.
    let sql = format!(
        "WITH i AS ({item}), d AS (SELECT decision_id, network_id, outcome FROM gateway.decisions
            WHERE kind = $2 AND item_id = $3 AND status = 'Approved' ORDER BY ended_at DESC LIMIT 1)
         INSERT INTO gateway.contradictions (contradiction_id, kind, item_id, transferred, decision_id, stored, said, said_at,
            network_id, channel, amount_minor, currency, stored_date, status, next_check_at)
         SELECT $1, $2, $3, i.transferred, d.decision_id, i.status, $4, coalesce($5, now()), $6, i.channel,
            i.amount_minor, i.currency, i.stored_date, CASE WHEN is_bare THEN 'Open' ELSE 'Noted' END,
            CASE WHEN NOT is_bare THEN now() END
         FROM i LEFT JOIN d ON true, LATERAL (SELECT (i.status = 'Succeeded') = ($4 = 'Succeeded') AS agrees) a,
            LATERAL (SELECT $7 OR a.agrees AS is_bare) b
         WHERE i.status IN ('Succeeded', 'Declined', 'Reversing', 'Failed', 'Forfeiting', 'Forfeited', 'Repaid',
                'Refunded')
            AND (EXISTS (SELECT FROM gateway.contradictions WHERE kind = $2 AND item_id = $3 AND said <> $4)
                OR (d.decision_id IS NOT NULL OR $2 <> 'Payment' AND $4 = 'Succeeded') AND NOT a.agrees
                    AND (i.status NOT IN ('Repaid', 'Refunded')
                        OR d.outcome = 'Refunded' AND nullif($6, '') <> d.network_id))
         ON CONFLICT (kind, item_id, said) DO NOTHING"
    );
    let is_bare = kind == Kind::Payment && said.what != "Failed";
    let params: super::Params<'_> =
        &[&Uuid::now_v7(), &kind.as_str(), &id, &said.what, &said.at, &said.network_id, &is_bare];
    Ok(execute(client, "keep a contradiction", &sql, params).await? == 1)
}

fn read(row: &Row) -> Result<Contradiction, tokio_postgres::Error> {
    Ok(Contradiction {
        contradiction_id: row.try_get("contradiction_id")?,
        kind: row.try_get("kind")?,
        item_id: row.try_get("item_id")?,
        transferred: row.try_get("transferred")?,
        decision_id: row.try_get("decision_id")?,
        stored: row.try_get("stored")?,
        said: row.try_get("said")?,
        said_at: row.try_get("said_at")?,
        network_id: row.try_get("network_id")?,
        channel: row.try_get("channel")?,
        amount_minor: row.try_get("amount_minor")?,
        currency: row.try_get("currency")?,
        stored_date: row.try_get("stored_date")?,
        status: row.try_get("status")?,
        ledger_transaction_id: row.try_get("ledger_transaction_id")?,
        created_at: row.try_get("created_at")?,
    })
}
