//! Step-ups: one row for an order whose payer is asked for his proof. Whoever moves one holds its
//! order's row, as does whoever begins an attempt or fails the order; so a proof is given once, and
//! nothing is sent without.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use jiff::Timestamp;
use payplane_api::config::OnError;
use serde_json::json;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::begin::BOUNDS;
use super::vault::soon_after;
use super::{
    LEASE_SECONDS, Params, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional,
};
use crate::confirm::ONE_TIME_CODE;
use crate::state::step_up::StepUpState;
use crate::step_up::{CODE_SECONDS, StepUp, Tried};

const WHAT: &str = "move a step-up";
const COLUMNS: &str = "order_id, status, on_error, agreement_id, code_digest, code_expires_at, sends, tries,
    why, moved_by, created_at, ended_at, clock_timestamp() AS read_at";

impl Store {
    pub async fn step_up(&self, order_id: Uuid) -> Result<Option<StepUp>, StoreError> {
        find(&self.client().await?, order_id).await
    }

    /// Who pays is kept: a code may be sent. Says for how many orders of a day he was to prove himself;
    /// none where this one has ended.
    pub async fn step_up_kept(
        &self,
        order_id: Uuid,
        kept_at: Timestamp,
        payer_keys: &[[u8; 32]],
    ) -> Result<Option<i64>, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        match held(&transaction, order_id).await? {
            Some(row) if row.status == StepUpState::Asked => {
                soon_after(&transaction, kept_at).await?;
                let sql =
                    "UPDATE gateway.step_ups SET status = 'Sending', payer_key = $2 WHERE order_id = $1";
                let key = payer_keys.first().map(<[u8; 32]>::as_slice);
                execute(&transaction, WHAT, sql, &[&order_id, &key]).await?;
            }
            Some(row) if row.status == StepUpState::Sending => {}
            _ => return Ok(None),
        }
        let sql = "SELECT count(*) FROM gateway.step_ups
             WHERE payer_key = ANY ($1) AND created_at > now() - interval '1 day'";
        let keys: Vec<_> = payer_keys.iter().map(<[u8; 32]>::as_slice).collect();
        let asked = one(&transaction, WHAT, sql, &[&keys]).await?.try_get(0).context(ReadSnafu)?;
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        Ok(Some(asked))
    }

    /// Commits that a code was made, as the next of its order, and says until when it is good. None
    /// where somebody else made one meanwhile, or none is to be sent any more.
    pub async fn make_code(
        &self,
        order_id: Uuid,
        (ordinal, digest): (i16, &[u8]),
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        let row = held(&transaction, order_id).await?.filter(|row| row.status == StepUpState::Sending);
        let Some(row) = row else { return Ok(None) };
        if row.sends == ordinal && row.code_digest.as_deref() == Some(digest) {
            return Ok(row.code_expires_at);
        }
        if row.sends.checked_add(1) != Some(ordinal) {
            return Ok(None);
        }
        let sql = "UPDATE gateway.step_ups s SET sends = $2, code_digest = $3,
                code_expires_at = least(o.expires_at, now() + $4::float8 * interval '1 second')
             FROM gateway.orders o WHERE s.order_id = $1 AND o.order_id = $1 RETURNING s.code_expires_at";
        let params: Params<'_> = &[&order_id, &ordinal, &digest, &CODE_SECONDS];
        let row = one(&transaction, WHAT, sql, params).await?;
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        row.try_get(0).context(ReadSnafu)
    }

    /// The sender took the code: its payer has something to do, and the order is looked at when the
    /// code is good no more.
    pub async fn code_sent(&self, order_id: Uuid, ordinal: i16) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        let row = held(&transaction, order_id).await?;
        if !row.is_some_and(|row| row.status == StepUpState::Sending && row.sends == ordinal) {
            return Ok(());
        }
        let sql = "UPDATE gateway.step_ups SET status = 'AwaitingCode', why = NULL WHERE order_id = $1";
        execute(&transaction, WHAT, sql, &[&order_id]).await?;
        let sql =
            "UPDATE gateway.orders o SET action = $2, next_check_at = s.code_expires_at + interval '1 second'
             FROM gateway.step_ups s WHERE s.order_id = $1 AND o.order_id = $1";
        execute(&transaction, WHAT, sql, &[&order_id, &json!({ "type": ONE_TIME_CODE })]).await?;
        transaction.commit().await.context(QuerySnafu { what: WHAT })
    }

    /// Judges a code and counts it, once for `moved_by`. Where it is right the order is its bringer's:
    /// nobody else looks at it for a while, and its payer has nothing to do.
    pub async fn try_code(
        &self,
        order_id: Uuid,
        moved_by: Uuid,
        judged: &(impl Fn(&StepUp) -> Tried + Sync),
    ) -> Result<Tried, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        let Some(row) = held(&transaction, order_id).await? else { return Ok(Tried::Taken) };
        if row.moved_by == Some(moved_by) {
            return Ok(row.said());
        }
        let tried = judged(&row);
        match tried {
            Tried::Confirmed => go_on(&transaction, order_id, ("Confirmed", None, moved_by)).await?,
            Tried::Wrong | Tried::Last => {
                let sql = "UPDATE gateway.step_ups SET tries = tries + 1, moved_by = $2 WHERE order_id = $1";
                execute(&transaction, WHAT, sql, &[&order_id, &moved_by]).await?;
            }
            Tried::Over | Tried::Taken | Tried::NotAwaited => return Ok(tried),
        }
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        Ok(tried)
    }

    /// No code can be sent, and its policies let the payment go on. True for `moved_by`, who carries it on.
    pub async fn go_on_unproven(
        &self,
        order_id: Uuid,
        (why, moved_by): (&str, Uuid),
    ) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        let row = held(&transaction, order_id).await?;
        match row {
            Some(row) if matches!(row.status, StepUpState::Asked | StepUpState::Sending) => {}
            row => return Ok(row.is_some_and(|row| row.moved_by == Some(moved_by))),
        }
        go_on(&transaction, order_id, ("Allowed", Some(why), moved_by)).await?;
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        Ok(true)
    }

    /// Says why no code was sent, and when another one is made; where none is, the step-up has failed.
    /// False where somebody was sent a later code, or has proven himself by this one: it came after all.
    pub async fn note_unsent(
        &self,
        order_id: Uuid,
        (why, ordinal): (&str, i16),
        again: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what: WHAT })?;
        match held(&transaction, order_id).await? {
            Some(row)
                if matches!(row.status, StepUpState::Asked | StepUpState::Sending)
                    && row.sends <= ordinal => {}
            held => return Ok(held.is_some_and(|row| row.status == StepUpState::Failed)),
        }
        let (sql, after) = match again {
            Some(after) => ("UPDATE gateway.step_ups SET why = $2 WHERE order_id = $1", after),
            None => (
                "UPDATE gateway.step_ups SET why = $2, status = 'Failed', ended_at = now() WHERE order_id = $1",
                Duration::ZERO,
            ),
        };
        execute(&transaction, WHAT, sql, &[&order_id, &why]).await?;
        if again.is_some() {
            let sql = "UPDATE gateway.orders SET next_check_at = greatest(now() + interval '1 second',
                    least(expires_at + interval '1 second', now() + $2::float8 * interval '1 second'))
                 WHERE order_id = $1";
            execute(&transaction, WHAT, sql, &[&order_id, &after.as_secs_f64()]).await?;
        }
        transaction.commit().await.context(QuerySnafu { what: WHAT })?;
        Ok(true)
    }

    /// Its order is looked at when its code, or itself, is good no more.
    pub async fn look_at_expiry(&self, order_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.orders o SET next_check_at = interval '1 second' + greatest(now(),
                CASE WHEN s.status = 'AwaitingCode' THEN s.code_expires_at ELSE o.expires_at END)
             FROM gateway.step_ups s WHERE s.order_id = $1 AND o.order_id = $1 AND o.status = 'Processing' AND s.ended_at IS NULL";
        execute(&self.client().await?, WHAT, sql, &[&order_id]).await?;
        Ok(())
    }
}

async fn find<C: GenericClient>(client: &C, order_id: Uuid) -> Result<Option<StepUp>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM gateway.step_ups WHERE order_id = $1");
    let row = optional(client, "read a step-up", &sql, &[&order_id]).await?;
    row.as_ref().map(read).transpose()
}

/// How the step-up of an unfinished order stands, while the order is held.
async fn held(transaction: &Transaction<'_>, order_id: Uuid) -> Result<Option<StepUp>, StoreError> {
    transaction.batch_execute(BOUNDS).await.context(QuerySnafu { what: WHAT })?;
    let sql = "SELECT FROM gateway.orders WHERE order_id = $1 AND status = 'Processing' FOR UPDATE";
    match optional(transaction, WHAT, sql, &[&order_id]).await? {
        Some(_) => find(transaction, order_id).await,
        None => Ok(None),
    }
}

/// The payment goes on, by whoever moved it.
async fn go_on(
    transaction: &Transaction<'_>,
    order_id: Uuid,
    (to, why, moved_by): (&str, Option<&str>, Uuid),
) -> Result<(), StoreError> {
    let sql =
        "UPDATE gateway.step_ups SET status = $2, why = coalesce($3, why), moved_by = $4, ended_at = now()
         WHERE order_id = $1";
    execute(transaction, WHAT, sql, &[&order_id, &to, &why, &moved_by]).await?;
    let sql = "UPDATE gateway.orders SET action = NULL, next_check_at = now() + $2 * interval '1 second'
         WHERE order_id = $1";
    execute(transaction, WHAT, sql, &[&order_id, &LEASE_SECONDS]).await?;
    Ok(())
}

fn on_error(text: &str) -> OnError {
    // The table holds no other; the strictest would be what is meant.
    [OnError::Allow, OnError::Hold].into_iter().find(|known| known.as_str() == text).unwrap_or(OnError::Block)
}

fn read(row: &Row) -> Result<StepUp, StoreError> {
    let status: String = row.try_get("status").context(ReadSnafu)?;
    let status = StepUpState::parse(&status).context(StateSnafu)?;
    let read = || -> Result<StepUp, tokio_postgres::Error> {
        Ok(StepUp {
            order_id: row.try_get("order_id")?,
            status,
            on_error: on_error(row.try_get("on_error")?),
            agreement_id: row.try_get("agreement_id")?,
            code_digest: row.try_get("code_digest")?,
            code_expires_at: row.try_get("code_expires_at")?,
            sends: row.try_get("sends")?,
            tries: row.try_get("tries")?,
            why: row.try_get("why")?,
            moved_by: row.try_get("moved_by")?,
            created_at: row.try_get("created_at")?,
            ended_at: row.try_get("ended_at")?,
            read_at: row.try_get("read_at")?,
        })
    };
    read().context(ReadSnafu)
}
