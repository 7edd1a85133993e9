//! Attempts: one row per request to a network, committed before it is sent.

use std::sync::Arc;

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use payplane_common::telemetry::chain;
use serde_json::Value;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::contradictions::Said;
use super::{MissingSnafu, ReadSnafu, StateSnafu, Store, StoreError, messages, one, optional, rows};
use crate::channel::Details;
use crate::decide::Kind;
use crate::message::Messages;
use crate::route::Decision;
use crate::state::AttemptState;

pub(super) const COLUMNS: &str =
    "attempt_id, order_id, ordinal, channel, fee_minor, config_hash, config_epoch, status,
    signed_at, network_id, network_time, code, action, paid_minor";

/// The code of what two persons ended.
pub(super) const DECIDED: &str = "Decided";

/// An attempt as it is stored.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub attempt_id: Uuid,
    pub order_id: Uuid,
    pub ordinal: i16,
    pub channel: String,
    pub fee_minor: i64,
    pub config_hash: String,
    pub config_epoch: i64,
    pub status: AttemptState,
    pub signed_at: Timestamp,
    pub network_id: Option<String>,
    pub network_time: Option<Timestamp>,
    pub code: Option<String>,
    /// What the payer does to pay.
    pub action: Option<Value>,
    /// What the network took, where that is not what it was asked for.
    pub paid_minor: Option<i64>,
}

impl Attempt {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let attempt = Self {
                attempt_id: row.try_get("attempt_id")?,
                order_id: row.try_get("order_id")?,
                ordinal: row.try_get("ordinal")?,
                channel: row.try_get("channel")?,
                fee_minor: row.try_get("fee_minor")?,
                config_hash: row.try_get("config_hash")?,
                config_epoch: row.try_get("config_epoch")?,
                status: AttemptState::Sending,
                signed_at: row.try_get("signed_at")?,
                network_id: row.try_get("network_id")?,
                network_time: row.try_get("network_time")?,
                code: row.try_get("code")?,
                action: row.try_get("action")?,
                paid_minor: row.try_get("paid_minor")?,
            };
            Ok((attempt, row.try_get("status")?))
        };
        let (attempt, status) = read().context(ReadSnafu)?;
        Ok(Self { status: AttemptState::parse(&status).context(StateSnafu)?, ..attempt })
    }

    /// Has it ended as if nothing had been paid?
    #[must_use]
    pub fn has_ended_unpaid(&self) -> bool {
        self.has_failed() && self.status != AttemptState::OtherAmount
    }

    /// Has it ended, and not in a success that its order could have?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.status.is_final() && self.status != AttemptState::Succeeded
    }
}

/// What an attempt became, and what the network said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub status: AttemptState,
    pub network_id: Option<String>,
    pub network_time: Option<Timestamp>,
    pub code: Option<String>,
    pub action: Option<Value>,
    pub paid_minor: Option<i64>,
    pub details: Details,
    /// What passed between us and the network, where it is kept with this.
    pub messages: Messages,
}

impl Ending {
    #[must_use]
    pub fn bare(status: AttemptState) -> Self {
        Self {
            status,
            network_id: None,
            network_time: None,
            code: None,
            action: None,
            paid_minor: None,
            details: Details::default(),
            messages: Messages::default(),
        }
    }

    #[must_use]
    pub fn with(self, messages: Messages) -> Self {
        Self { messages, ..self }
    }

    /// Messages that say something else than is stored: what is asked again and again says the same
    /// mostly.
    #[must_use]
    pub fn with_news(self, messages: Messages, stored: &Attempt) -> Self {
        if self.status == stored.status { self } else { self.with(messages) }
    }

    /// By which number a network says it, too, where persons decided that it succeeded.
    #[must_use]
    pub fn confirms(&self, stored: &Attempt) -> Option<&str> {
        let succeeded = [stored.status, self.status] == [AttemptState::Succeeded; 2];
        let id = self.network_id.as_deref().filter(|id| !id.is_empty());
        id.filter(|_| succeeded && stored.code.as_deref() == Some(DECIDED))
    }

    /// What it says against a success that is stored, if it does.
    #[must_use]
    pub fn denies(&self, stored: &Attempt) -> Option<&'static str> {
        use AttemptState::{Closed, Declined, NotReceived, OtherAmount};
        match (stored.status, self.status) {
            (AttemptState::Succeeded, Declined | Closed | NotReceived) => Some("Failed"),
            (AttemptState::Succeeded, OtherAmount) => Some("OtherAmount"),
            _ => None,
        }
    }
}

/// An attempt that ends.
pub(super) type Ended = (Uuid, Ending);

impl Store {
    /// Stores what became of an attempt, where the table of states allows it.
    /// What it is now is returned, whoever stored that.
    pub async fn end_attempt(&self, attempt_id: Uuid, ending: &Ending) -> Result<Attempt, StoreError> {
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.end_all(all).await }
        };
        if let Some(attempt) = self.gathers.end.put(attempt_id, (attempt_id, ending.clone()), write).await? {
            return Ok(attempt);
        }
        let stored = self.attempt(attempt_id).await?;
        let stored = stored.context(MissingSnafu { what: "attempt", id: attempt_id })?;
        let paid = matches!(ending.status, AttemptState::Succeeded | AttemptState::OtherAmount);
        if paid && stored.has_ended_unpaid() {
            self.note_surplus(&stored, ending).await?;
        } else if let Some(what) = ending.denies(&stored) {
            let said = Said { what, network_id: ending.network_id.as_deref(), at: ending.network_time };
            self.contradict((Kind::Payment, attempt_id), said).await?;
        } else if let Some(network_id) = ending.confirms(&stored) {
            return self.confirm_decided(stored, (network_id, ending.network_time)).await;
        }
        Ok(stored)
    }

    /// The network's own receipt is kept, rather than what persons read. What is not booked yet keeps
    /// theirs: the ledger may have it already.
    async fn confirm_decided(
        &self,
        stored: Attempt,
        (network_id, at): (&str, Option<Timestamp>),
    ) -> Result<Attempt, StoreError> {
        let said = Said { what: "Succeeded", network_id: Some(network_id), at };
        self.contradict((Kind::Payment, stored.attempt_id), said).await?;
        let sql = format!(
            "UPDATE gateway.attempts SET network_id = $2, network_time = coalesce($3, network_time)
             WHERE attempt_id = $1 AND status = 'Succeeded' AND code = $4 AND EXISTS (SELECT FROM gateway.orders o
                WHERE o.order_id = attempts.order_id AND o.status = 'Succeeded') RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> = &[&stored.attempt_id, &network_id, &at, &DECIDED];
        let row = optional(&self.client().await?, "keep a receipt", &sql, params).await?;
        row.as_ref().map_or(Ok(stored), Attempt::read)
    }

    /// An outcome whose messages are refused is stored without them.
    async fn end_all(&self, all: Arc<Vec<Ended>>) -> Result<Vec<(Uuid, Attempt)>, StoreError> {
        match end(&self.client().await?, &all).await {
            Err(error)
                if !error.is_transient()
                    && let [(id, ending)] = all.as_slice() =>
            {
                if ending.messages.0.is_empty() {
                    return Err(error);
                }
                let bare = (*id, ending.clone().with(Messages::default()));
                let ended = end(&self.client().await?, &[bare]).await?;
                self.note_unkept(&ending.messages, &chain(&error));
                Ok(ended)
            }
            ended => ended,
        }
    }

    /// Replaces what a posting is decided on by something newer, where it is older
    /// than the ledger takes: what may be booked already stays, and so does a fee by the
    /// merchant's terms, which no config changes. What is in force then is returned, whoever stored it.
    pub async fn decide_again(
        &self,
        attempt: &Attempt,
        newer: &Decision,
        epoch_min: i64,
    ) -> Result<Attempt, StoreError> {
        let sql = format!(
            "UPDATE gateway.attempts SET
                fee_minor = CASE WHEN config_epoch < $5 AND NOT decision ? 'feeByTerms' THEN $2 ELSE fee_minor END,
                config_hash = CASE WHEN config_epoch < $5 THEN $3 ELSE config_hash END,
                config_epoch = CASE WHEN config_epoch < $5 THEN $4 ELSE config_epoch END
             WHERE attempt_id = $1 RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> =
            &[&attempt.attempt_id, &newer.fee_minor, &newer.config_hash, &newer.config_epoch, &epoch_min];
        Attempt::read(&one(&self.client().await?, "decide an attempt again", &sql, params).await?)
    }

    /// The attempt that the network knows by this number.
    pub async fn attempt(&self, attempt_id: Uuid) -> Result<Option<Attempt>, StoreError> {
        read_attempt(&self.client().await?, attempt_id).await?.as_ref().map(Attempt::read).transpose()
    }

    /// The newest attempt of an order.
    pub async fn latest_attempt(&self, order_id: Uuid) -> Result<Option<Attempt>, StoreError> {
        latest(&self.client().await?, order_id).await
    }

    /// Payments, refunds and payouts on a channel whose outcome is owed: those that are
    /// under way, and those of unknown outcome.
    pub async fn count_open(&self, channel: &str) -> Result<(i64, i64), StoreError> {
        let sql = "SELECT
            (SELECT count(*) FROM gateway.attempts WHERE channel = $1 AND status IN ('Sending', 'Processing'))
             + (SELECT count(*) FROM gateway.refunds WHERE channel = $1 AND next_check_at IS NOT NULL)
             + (SELECT count(*) FROM gateway.payouts WHERE channel = $1 AND next_check_at IS NOT NULL)
             + (SELECT count(*) FROM gateway.surpluses WHERE channel = $1 AND next_check_at IS NOT NULL)
             + (SELECT count(*) FROM gateway.agreements WHERE channel = $1 AND next_check_at IS NOT NULL)
             + (SELECT count(*) FROM gateway.orders o JOIN gateway.attempts a USING (order_id)
                WHERE o.status = 'Processing' AND a.status = 'Succeeded' AND a.channel = $1),
            (SELECT count(*) FROM gateway.attempts WHERE channel = $1 AND status = 'Unknown')";
        let row = one(&self.client().await?, "count open payments", sql, &[&channel]).await?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }
}

pub(super) async fn latest<C: GenericClient>(
    client: &C,
    order_id: Uuid,
) -> Result<Option<Attempt>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM gateway.attempts WHERE order_id = $1 ORDER BY ordinal DESC LIMIT 1");
    let row = optional(client, "read the newest attempt", &sql, &[&order_id]).await?;
    row.as_ref().map(Attempt::read).transpose()
}

async fn read_attempt<C: GenericClient>(client: &C, attempt_id: Uuid) -> Result<Option<Row>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM gateway.attempts WHERE attempt_id = $1");
    optional(client, "read an attempt", &sql, &[&attempt_id]).await
}

/// Ends those that may end so, and keeps the messages of all.
pub(super) async fn end<C: GenericClient>(
    client: &C,
    all: &[Ended],
) -> Result<Vec<(Uuid, Attempt)>, StoreError> {
    let kept = messages::Columns::of(all.iter().flat_map(|(_, ending)| &ending.messages.0));
    // A statement that keeps none asks for no right to.
    let has_messages = all.iter().any(|(_, ending)| !ending.messages.0.is_empty());
    let keep = if has_messages { format!(", kept AS ({})", messages::insert(12)) } else { String::new() };
    let sql = format!(
        "WITH held AS (SELECT attempt_id AS held_id FROM gateway.attempts
            WHERE attempt_id = ANY ($1) ORDER BY attempt_id FOR UPDATE){keep}
         UPDATE gateway.attempts SET status = t.became, network_id = coalesce(t.by_network, network_id),
            network_time = coalesce(t.at, network_time), code = coalesce(t.with_code, code),
            action = coalesce(t.to_do, action), paid_minor = t.paid, payer_minor = coalesce(t.by_payer, payer_minor),
            settled_minor = coalesce(t.settled, settled_minor), ended_at = CASE WHEN t.is_final THEN now() END,
            network_settlement_date = coalesce(t.settled_on, network_settlement_date)
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bool[], $7::text[],
            $8::jsonb[], $9::bigint[], $10::bigint[], $11::bigint[], $12::date[]) AS t(id, became, by_network, at,
            with_code, is_final, sources, to_do, paid, by_payer, settled, settled_on)
            JOIN held ON held_id = t.id
         WHERE attempt_id = t.id AND status = ANY (string_to_array(t.sources, ',')) RETURNING {COLUMNS}"
    );
    let params: super::Params<'_> = &[
        &all.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.status.as_str()).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.network_id.as_deref()).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.network_time).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.code.as_deref()).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.status.is_final()).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.status.sources().join(",")).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.action.as_ref()).collect::<Vec<_>>(),
        &all.iter().map(|(_, ending)| ending.paid_minor).collect::<Vec<_>>(),
    ];
    let details = all.iter().map(|(_, ending)| ending.details);
    let (mut payer, mut settled, mut dates) = (vec![], vec![], vec![]);
    for Details { payer_minor, settled_minor, settlement_date } in details {
        payer.push(payer_minor);
        settled.push(settled_minor);
        dates.push(settlement_date);
    }
    let said: super::Params<'_> = &[&payer, &settled, &dates];
    let kept = kept.params();
    let kept = if has_messages { kept.as_slice() } else { &[] };
    let params = [params, said, kept].concat();
    let rows = rows(client, "store the outcomes of attempts", &sql, &params).await?;
    let read = |row| Attempt::read(row).map(|attempt| (attempt.attempt_id, attempt));
    rows.iter().map(read).collect()
}
