//! What merchants agreed to, version by version: each is proposed by one person, judged by
//! another one, and never changed.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use jiff::civil::Date;
use snafu::ResultExt;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::decide::Verdict;
use super::standing::{CHANGE, Kind};
use super::{Params, ReadSnafu, StateSnafu, Store, StoreError, optional, rows};
use crate::state::decision::DecisionState;
use crate::terms::{InForce, Terms};

/// Those in force for the rows `made`: of those approved, the last to begin by the order's day.
pub(super) const IN_FORCE: &str = "SELECT a.version, a.terms FROM gateway.merchant_terms a
    WHERE a.merchant_id = made.merchant_id AND a.since <= made.stored_date AND a.status = 'Approved'
    ORDER BY a.since DESC, a.version DESC LIMIT 1";
const COLUMNS: &str =
    "version, since, terms, merchant_terms.status, proposed_by, proposed_at, ended_by, ended_at";

/// A version, and who stands for it.
#[derive(Clone, Debug)]
pub struct Version {
    pub version: i32,
    pub since: Date,
    pub terms: Terms,
    pub status: DecisionState,
    pub proposed_by: String,
    pub proposed_at: Timestamp,
    pub ended_by: Option<String>,
    pub ended_at: Option<Timestamp>,
}

/// What came of proposing one.
#[derive(Debug)]
pub enum Proposed {
    Stored(Version),
    /// There is no such merchant, or it is closed.
    NoMerchant,
    /// Another one waits to be judged.
    Taken(Version),
}

/// What came of judging one.
#[derive(Debug)]
pub enum Judged {
    So(Version),
    Unknown,
    /// Its day has come already.
    TooLate(Version),
    /// It stands otherwise, or this is not the one to say so.
    Not(Version),
}

/// The terms of a row that has joined [`IN_FORCE`].
pub(super) fn in_force(row: &Row) -> Result<Option<InForce>, StoreError> {
    let Some(version) = row.try_get("version").context(ReadSnafu)? else { return Ok(None) };
    let Json(terms) = row.try_get("terms").context(ReadSnafu)?;
    Ok(Some(InForce { version, terms }))
}

/// Those of a merchant that are in force on a day.
pub(super) async fn of<C: GenericClient>(
    client: &C,
    merchant: &str,
    on: Date,
) -> Result<Option<InForce>, StoreError> {
    let sql = format!(
        "SELECT t.* FROM (SELECT $1::text AS merchant_id, $2::date AS stored_date) made, LATERAL ({IN_FORCE}) t"
    );
    let row = optional(client, "read a merchant's terms", &sql, &[&merchant, &on]).await?;
    row.as_ref().map_or(Ok(None), in_force)
}

impl Store {
    pub async fn terms_on(&self, merchant: &str, on: Date) -> Result<Option<InForce>, StoreError> {
        of(&self.client().await?, merchant, on).await
    }

    /// A merchant's versions, by number, after one.
    pub async fn terms(&self, merchant: &str, after: i32, limit: i64) -> Result<Vec<Version>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM gateway.merchant_terms
             WHERE merchant_id = $1 AND version > $2 ORDER BY version LIMIT $3"
        );
        let client = self.client().await?;
        let found = rows(&client, "read a merchant's terms", &sql, &[&merchant, &after, &limit]).await?;
        found.iter().map(Version::read).collect()
    }

    /// Proposes the next version, in the name of a subject.
    pub async fn propose_terms(
        &self,
        (merchant, since): (&str, Date),
        terms: &Terms,
        subject: &str,
    ) -> Result<Proposed, StoreError> {
        let sql = format!(
            "INSERT INTO gateway.merchant_terms (merchant_id, version, since, terms, proposed_by)
             SELECT m.merchant_id, 1 + coalesce((SELECT max(a.version) FROM gateway.merchant_terms a
                WHERE a.merchant_id = m.merchant_id), 0), $2, $3, $4
             FROM gateway.merchants m WHERE m.merchant_id = $1 AND m.status <> 'Closed'
                AND NOT EXISTS (SELECT FROM gateway.merchant_terms o
                    WHERE o.merchant_id = m.merchant_id AND o.status = 'Proposed')
             RETURNING {COLUMNS}"
        );
        let lock: Params<'_> = &[&subject, &Kind::Merchant.as_str(), &merchant];
        let params: Params<'_> = &[&merchant, &since, &Json(terms), &subject];
        let made = self.under("propose terms", (CHANGE, lock), (&sql, params)).await?;
        if let Some(row) = made.first() {
            return Version::read(row).map(Proposed::Stored);
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM gateway.merchant_terms JOIN gateway.merchants m USING (merchant_id)
             WHERE merchant_id = $1 AND merchant_terms.status = 'Proposed' AND m.status <> 'Closed'"
        );
        let open = optional(&self.client().await?, "read proposed terms", &sql, &[&merchant]).await?;
        open.as_ref().map_or(Ok(Proposed::NoMerchant), |row| Version::read(row).map(Proposed::Taken))
    }

    /// Judges a version. Once an approval is answered, every new order goes by it from its day on.
    pub async fn judge_terms(
        &self,
        (merchant, version): (&str, i32),
        (verdict, today): (Verdict, Date),
        subject: &str,
    ) -> Result<Judged, StoreError> {
        let becomes = verdict.state();
        let condition = match verdict {
            Verdict::Approve => "proposed_by <> $4 AND since >= $5",
            Verdict::Reject => "proposed_by <> $4 AND $5::date IS NOT NULL",
            Verdict::Withdraw => "proposed_by = $4 AND $5::date IS NOT NULL",
        };
        let sql = format!(
            "UPDATE gateway.merchant_terms SET status = $3, ended_by = $4, ended_at = clock_timestamp()
             WHERE merchant_id = $1 AND version = $2 AND status = 'Proposed' AND {condition} RETURNING {COLUMNS}"
        );
        let lock: Params<'_> = &[&subject, &Kind::Merchant.as_str(), &merchant];
        let params: Params<'_> = &[&merchant, &version, &becomes.as_str(), &subject, &today];
        let done = self.under("judge terms", (CHANGE, lock), (&sql, params)).await?;
        if let Some(row) = done.first() {
            return Version::read(row).map(Judged::So);
        }
        let sql =
            format!("SELECT {COLUMNS} FROM gateway.merchant_terms WHERE merchant_id = $1 AND version = $2");
        let row = optional(&self.client().await?, "read terms", &sql, &[&merchant, &version]).await?;
        let Some(row) = row else { return Ok(Judged::Unknown) };
        let found = Version::read(&row)?;
        Ok(if found.status == becomes && found.ended_by.as_deref() == Some(subject) {
            Judged::So(found)
        } else if found.status == DecisionState::Proposed
            && verdict == Verdict::Approve
            && found.proposed_by != subject
        {
            Judged::TooLate(found)
        } else {
            Judged::Not(found)
        })
    }
}

impl Version {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let Json(terms) = row.try_get("terms")?;
            let version = Self {
                version: row.try_get("version")?,
                since: row.try_get("since")?,
                terms,
                status: DecisionState::Proposed,
                proposed_by: row.try_get("proposed_by")?,
                proposed_at: row.try_get("proposed_at")?,
                ended_by: row.try_get("ended_by")?,
                ended_at: row.try_get("ended_at")?,
            };
            Ok((version, row.try_get("status")?))
        };
        let (version, status) = read().context(ReadSnafu)?;
        Ok(Self { status: DecisionState::parse(&status).context(StateSnafu)?, ..version })
    }
}
