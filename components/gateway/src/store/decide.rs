//! Decisions by two persons: proposed by one, approved by another. What is approved takes
//! effect in the same transaction, by the statements that a network's answer takes, so it
//! happens once, and what ended before stays.

mod effect;
mod propose;

use jiff::Timestamp;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use self::effect::Effect;
pub use self::propose::Proposed;
use super::{LostSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional, rows};
use crate::decide::{Choice, Kind, Proposal, Unfit};
use crate::state::decision::DecisionState;

const COLUMNS: &str =
    "decision_id, version, status, kind, item_id, seen, outcome, network_id, network_time, reason, reference,
    proposed_by, proposed_at, ended_by, ended_at";
/// In whose name statements are noted in the audit.
pub(super) const NAMED: &str = "SELECT set_config('payplane.subject', $1, true)";
/// The gateway itself, where a proposal is overtaken.
const MACHINE: &str = "gateway";
/// Those of which there is nothing left to decide, or something else than was seen. OFFSET 0 keeps
/// it one look for each proposal, by its id, rather than one over all that is open. What somebody
/// judges at this moment is his.
const LAPSE: &str = "UPDATE gateway.decisions SET status = 'Lapsed', ended_by = $1, ended_at = now()
     WHERE decision_id IN (SELECT decision_id FROM gateway.decisions d
        WHERE status = 'Proposed' AND ($2::uuid IS NULL OR item_id = $2)
            AND NOT EXISTS (SELECT FROM gateway.open_items i
                WHERE i.kind = d.kind AND i.item_id = d.item_id AND i.seen = d.seen OFFSET 0)
        ORDER BY decision_id FOR UPDATE SKIP LOCKED)";

/// A decision as it is stored.
#[derive(Clone, Debug)]
pub struct Decision {
    pub decision_id: Uuid,
    pub version: i32,
    pub status: DecisionState,
    /// The item as it was proposed of.
    pub seen: String,
    pub proposal: Proposal,
    pub proposed_by: String,
    pub proposed_at: Timestamp,
    pub ended_by: Option<String>,
    pub ended_at: Option<Timestamp>,
}

/// How a decision ends by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    Reject,
    Withdraw,
}

impl Verdict {
    pub(super) fn state(self) -> DecisionState {
        match self {
            Self::Approve => DecisionState::Approved,
            Self::Reject => DecisionState::Rejected,
            Self::Withdraw => DecisionState::Withdrawn,
        }
    }
}

/// What came of a verdict.
#[derive(Debug)]
pub enum Ended {
    /// It is so, now or before.
    So(Box<Decision>),
    Unknown,
    /// It ended otherwise.
    Otherwise(Box<Decision>),
    /// Another version was named.
    Changed(i32),
    /// It cannot take effect now.
    Unfit(Unfit, Proposal),
    /// The maker approves nothing, and nobody else withdraws.
    WrongPerson(Box<Decision>),
}

impl Store {
    /// Ends a decision in a person's name. Whoever does the same again, as his answer was
    /// lost, is told that it is so.
    pub async fn end_decision(
        &self,
        (id, version): (Uuid, Option<i32>),
        verdict: Verdict,
        subject: &str,
    ) -> Result<Ended, StoreError> {
        let what = "end a decision";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        execute(&transaction, what, NAMED, &[&subject]).await?;
        let lock = format!("SELECT {COLUMNS} FROM gateway.decisions WHERE decision_id = $1 FOR UPDATE");
        let Some(row) = optional(&transaction, what, &lock, &[&id]).await? else { return Ok(Ended::Unknown) };
        let stored = Box::new(Decision::read(&row)?);
        if (stored.proposed_by == subject) != (verdict == Verdict::Withdraw) {
            return Ok(Ended::WrongPerson(stored));
        }
        if let Some(version) = version.filter(|version| *version != stored.version) {
            tracing::info!(%id, version, stored = stored.version, "another version was named");
            return Ok(Ended::Changed(stored.version));
        }
        if stored.status.is_final() {
            let is_so = stored.status == verdict.state() && stored.ended_by.as_deref() == Some(subject);
            return Ok(if is_so { Ended::So(stored) } else { Ended::Otherwise(stored) });
        }
        let told = match verdict {
            Verdict::Approve => match effect::approve(&transaction, &stored).await? {
                Effect::Unfit(unfit) => return Ok(Ended::Unfit(unfit, stored.proposal)),
                Effect::Overtaken => None,
                Effect::Done(told) => Some(told),
            },
            Verdict::Reject | Verdict::Withdraw => Some(false),
        };
        let (state, by) = match told {
            Some(_) => (verdict.state(), subject),
            None => (DecisionState::Lapsed, MACHINE),
        };
        execute(&transaction, what, NAMED, &[&by]).await?;
        let sql = format!(
            "UPDATE gateway.decisions SET status = $2, ended_by = $3, ended_at = now()
             WHERE decision_id = $1 RETURNING {COLUMNS}"
        );
        let row = one(&transaction, what, &sql, &[&id, &state.as_str(), &by]).await?;
        let ended = Box::new(Decision::read(&row)?);
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told == Some(true));
        Ok(if told.is_some() { Ended::So(ended) } else { Ended::Otherwise(ended) })
    }

    /// Lapses those of which there is nothing left to decide; says how many.
    pub async fn lapse_decisions(&self) -> Result<usize, StoreError> {
        let sql = format!("{LAPSE} RETURNING decision_id");
        let params: super::Params<'_> = &[&MACHINE, &None::<Uuid>];
        Ok(self.under("lapse decisions", (NAMED, &[&MACHINE]), (&sql, params)).await?.len())
    }

    pub async fn decision(&self, id: Uuid) -> Result<Option<Decision>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.decisions WHERE decision_id = $1");
        let row = optional(&self.client().await?, "read a decision", &sql, &[&id]).await?;
        row.as_ref().map(Decision::read).transpose()
    }

    /// A page, oldest first.
    pub async fn decisions(
        &self,
        state: Option<DecisionState>,
        after: Uuid,
        limit: i64,
    ) -> Result<Vec<Decision>, StoreError> {
        // Spelled out: one plan is kept for each text, and this one is to know them.
        let of = state.map_or(String::new(), |state| format!("AND status = '{}'", state.as_str()));
        let sql = format!(
            "SELECT {COLUMNS} FROM gateway.decisions WHERE decision_id > $1 {of} ORDER BY decision_id LIMIT {limit}"
        );
        let rows = rows(&self.client().await?, "read decisions", &sql, &[&after]).await?;
        rows.iter().map(Decision::read).collect()
    }
}

impl Decision {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let text = |name: &str| row.try_get::<_, String>(name).context(ReadSnafu);
        // Their checks let nothing else in.
        let kind = Kind::parse(&text("kind")?).context(LostSnafu)?;
        let choice = Choice::parse(&text("outcome")?).context(LostSnafu)?;
        let status = DecisionState::parse(&text("status")?).context(StateSnafu)?;
        let read = || -> Result<Self, tokio_postgres::Error> {
            let network_id: Option<String> = row.try_get("network_id")?;
            let proposal = Proposal {
                kind,
                item_id: row.try_get("item_id")?,
                choice,
                receipt: network_id.zip(row.try_get("network_time")?),
                reason: row.try_get("reason")?,
                reference: row.try_get("reference")?,
            };
            Ok(Self {
                decision_id: row.try_get("decision_id")?,
                version: row.try_get("version")?,
                status,
                seen: row.try_get("seen")?,
                proposal,
                proposed_by: row.try_get("proposed_by")?,
                proposed_at: row.try_get("proposed_at")?,
                ended_by: row.try_get("ended_by")?,
                ended_at: row.try_get("ended_at")?,
            })
        };
        read().context(ReadSnafu)
    }
}
