//! Refunds: reserved on their order's row, so all of them stay within it.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission;
use super::nonces::{self, Nonce};
use super::orders::Order;
use super::outbox::{Event, publish};
use super::{
    INTERVAL_SECONDS_MAX, LEASE_SECONDS, MissingSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError,
    execute, one, optional, rows,
};
use crate::data_key::RequestHash;
use crate::state::registry::RegistryState;
use crate::state::{OrderState, RefundState};

const COLUMNS: &str = "refund_id, order_id, refund_number, request_hash, amount_minor, channel, stored_date,
    config_epoch, status, ledger_transaction_id, signed_at, network_id, failure_code,
    created_at";

/// A refund as it is stored.
#[derive(Clone, Debug)]
pub struct Refund {
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub refund_number: String,
    pub request_hash: Vec<u8>,
    pub amount_minor: i64,
    pub channel: String,
    pub stored_date: Date,
    pub config_epoch: i64,
    pub status: RefundState,
    pub ledger_transaction_id: Option<Uuid>,
    pub signed_at: Option<Timestamp>,
    /// There once the network has said that it knows the refund; it may be empty.
    pub network_id: Option<String>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
}

impl Refund {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let refund = Self {
                refund_id: row.try_get("refund_id")?,
                order_id: row.try_get("order_id")?,
                refund_number: row.try_get("refund_number")?,
                request_hash: row.try_get("request_hash")?,
                amount_minor: row.try_get("amount_minor")?,
                channel: row.try_get("channel")?,
                stored_date: row.try_get("stored_date")?,
                config_epoch: row.try_get("config_epoch")?,
                status: RefundState::Requested,
                ledger_transaction_id: row.try_get("ledger_transaction_id")?,
                signed_at: row.try_get("signed_at")?,
                network_id: row.try_get("network_id")?,
                failure_code: row.try_get("failure_code")?,
                created_at: row.try_get("created_at")?,
            };
            Ok((refund, row.try_get("status")?))
        };
        let (refund, status) = read().context(ReadSnafu)?;
        Ok(Self { status: RefundState::parse(&status).context(StateSnafu)?, ..refund })
    }
}

/// A refund to be created.
#[derive(Clone, Debug)]
pub struct NewRefund {
    /// Chosen once, so that a repeated try knows its own refund.
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub refund_number: String,
    pub request_hash: RequestHash,
    pub amount_minor: i64,
    pub reason: Option<String>,
    pub stored_date: Date,
    pub config_epoch: i64,
    pub created_at: Timestamp,
}

#[derive(Debug)]
pub enum CreatedRefund {
    New(Box<Refund>),
    /// The number is known; whether the request is the same is not said.
    Known(Box<Refund>),
    NonceUsed,
    /// An app that is suspended or closed pays nothing back, either.
    AppNotActive(RegistryState),
    /// This much may still be refunded, and more was asked for.
    Exceeds {
        left_minor: i64,
    },
}

impl Store {
    /// Creates a refund under a lock on its order's row, which holds the sum of
    /// all refunds that have not failed.
    pub async fn create_refund(&self, new: &NewRefund, nonce: &Nonce) -> Result<CreatedRefund, StoreError> {
        let what = "create a refund";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        // Whoever closes the app waits for this refund, or is seen by it.
        admission::hold(&transaction, &nonce.app, &[], &[]).await?;
        if !nonces::guard(&transaction, nonce).await? {
            return Ok(CreatedRefund::NonceUsed);
        }
        let lock =
            "SELECT o.status, channel, amount_minor - refund_reserved_minor AS left_minor, a.status AS app
             FROM gateway.orders o JOIN gateway.apps a USING (app_id) WHERE order_id = $1 FOR UPDATE OF o";
        let order = one(&transaction, what, lock, &[&new.order_id]).await?;
        if let Some(known) = find(&transaction, new.order_id, &new.refund_number).await? {
            transaction.commit().await.context(QuerySnafu { what })?;
            let known = Box::new(known);
            let is_own = known.refund_id == new.refund_id;
            return Ok(if is_own { CreatedRefund::New(known) } else { CreatedRefund::Known(known) });
        }
        let app: String = order.try_get("app").context(ReadSnafu)?;
        let app = RegistryState::parse(&app).context(StateSnafu)?;
        if app != RegistryState::Active {
            return Ok(CreatedRefund::AppNotActive(app));
        }
        let status: String = order.try_get("status").context(ReadSnafu)?;
        let succeeded = OrderState::parse(&status).context(StateSnafu)? == OrderState::Succeeded;
        let left_minor: i64 = order.try_get("left_minor").context(ReadSnafu)?;
        let left_minor = if succeeded { left_minor } else { 0 };
        if new.amount_minor > left_minor {
            return Ok(CreatedRefund::Exceeds { left_minor });
        }
        let reserve = "UPDATE gateway.orders SET refund_reserved_minor = refund_reserved_minor + $2
             WHERE order_id = $1";
        execute(&transaction, what, reserve, &[&new.order_id, &new.amount_minor]).await?;
        let sql = format!(
            "INSERT INTO gateway.refunds (refund_id, order_id, refund_number, request_hash, amount_minor,
                reason, channel, stored_date, config_epoch, created_at, next_check_at)
             SELECT $1, order_id, $3, $4, $5, $6, channel, $7, $8, $9, now() + $10 * interval '1 second'
             FROM gateway.orders WHERE order_id = $2 RETURNING {COLUMNS}"
        );
        let row = one(
            &transaction,
            what,
            &sql,
            &[
                &new.refund_id,
                &new.order_id,
                &new.refund_number,
                &new.request_hash.as_slice(),
                &new.amount_minor,
                &new.reason,
                &new.stored_date,
                &new.config_epoch,
                &new.created_at,
                &LEASE_SECONDS,
            ],
        )
        .await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(CreatedRefund::New(Box::new(Refund::read(&row)?)))
    }

    pub async fn find_refund(&self, order: &Order, number: &str) -> Result<Option<Refund>, StoreError> {
        find(&self.client().await?, order.order_id, number).await
    }

    /// The refund that a network names by this id; none where it is nobody's.
    pub async fn known_refund(&self, refund_id: Uuid) -> Result<Option<Refund>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.refunds WHERE refund_id = $1");
        let row = optional(&self.client().await?, "read a refund", &sql, &[&refund_id]).await?;
        row.as_ref().map(Refund::read).transpose()
    }

    pub async fn refund(&self, refund_id: Uuid) -> Result<Refund, StoreError> {
        let known = self.known_refund(refund_id).await?;
        known.context(MissingSnafu { what: "refund", id: refund_id })
    }

    /// The books have debited it: from here on the network may be asked. Only
    /// the turn `send_id` that makes this change gets the refund back, and may
    /// send; it gets it again where the answer was lost on the way.
    pub async fn send_refund(
        &self,
        refund_id: Uuid,
        transaction_id: Uuid,
        (send_id, signed_at): (Uuid, Timestamp),
    ) -> Result<Option<Refund>, StoreError> {
        let sql = format!(
            "UPDATE gateway.refunds
             SET status = 'Sending', ledger_transaction_id = $2, send_id = $3, signed_at = $4
             WHERE refund_id = $1 AND (status = 'Requested' OR (status = 'Sending' AND send_id = $3))
             RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> = &[&refund_id, &transaction_id, &send_id, &signed_at];
        let row = optional(&self.client().await?, "mark a refund as sent", &sql, params).await?;
        row.as_ref().map(Refund::read).transpose()
    }

    /// Its next posting is decided on a newer config.
    pub async fn raise_refund_epoch(&self, refund_id: Uuid, epoch: i64) -> Result<Refund, StoreError> {
        let sql = format!(
            "UPDATE gateway.refunds SET config_epoch = greatest(config_epoch, $2) WHERE refund_id = $1
             RETURNING {COLUMNS}"
        );
        let what = "raise a refund's config epoch";
        Refund::read(&one(&self.client().await?, what, &sql, &[&refund_id, &epoch]).await?)
    }

    /// The network knows it, and will decide later.
    pub async fn note_refund(&self, refund_id: Uuid, network_id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.refunds SET network_id = coalesce(nullif($2, ''), network_id, '')
             WHERE refund_id = $1 AND status = 'Sending'";
        execute(&self.client().await?, "note that a refund is known", sql, &[&refund_id, &network_id])
            .await?;
        Ok(())
    }

    /// The network declined it for good: the debit has to be reversed.
    pub async fn reverse_refund(&self, refund_id: Uuid, code: &str) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.refunds SET status = 'Reversing', failure_code = $2
             WHERE refund_id = $1 AND status = 'Sending'";
        execute(&self.client().await?, "mark a refund as declined", sql, &[&refund_id, &code]).await?;
        Ok(())
    }

    pub async fn succeed_refund(&self, refund: &Refund, network_id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.refunds SET status = 'Succeeded', network_id = $2, completed_at = now(),
                next_check_at = NULL WHERE refund_id = $1 AND status = 'Sending'";
        self.end_refund(refund.refund_id, sql, &[&refund.refund_id, &network_id], true).await
    }

    /// The books refused it (`code`), or have reversed it (`reversal`).
    pub async fn fail_refund(
        &self,
        refund: &Refund,
        code: Option<&str>,
        reversal: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.refunds SET status = 'Failed', failure_code = coalesce(failure_code, $2),
                reversal_transaction_id = $3, completed_at = now(), next_check_at = NULL
             WHERE refund_id = $1
               AND status = CASE WHEN $3::uuid IS NULL THEN 'Requested' ELSE 'Reversing' END";
        self.end_refund(refund.refund_id, sql, &[&refund.refund_id, &code, &reversal], false).await
    }

    /// Ends a refund by `sql`, keeps its order's sums, and publishes it. Whoever
    /// comes second finds it done.
    async fn end_refund(
        &self,
        refund_id: Uuid,
        sql: &str,
        params: super::Params<'_>,
        succeeded: bool,
    ) -> Result<(), StoreError> {
        let what = "end a refund";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let sql = format!("{sql} RETURNING {COLUMNS}");
        let Some(row) = optional(&transaction, what, &sql, params).await? else {
            drop(transaction);
            drop(client);
            return self.ended_before(refund_id, succeeded).await;
        };
        let refund = Refund::read(&row)?;
        let sum = if succeeded {
            "refunded_minor = refunded_minor + $2"
        } else {
            "refund_reserved_minor = refund_reserved_minor - $2"
        };
        let sums = format!(
            "UPDATE gateway.orders SET {sum} WHERE order_id = $1
             RETURNING app_id, order_date, order_number, merchant_id, currency"
        );
        let order = one(&transaction, what, &sums, &[&refund.order_id, &refund.amount_minor]).await?;
        let (app, payload) = event(&order, &refund).context(ReadSnafu)?;
        let kind = if succeeded { "refund.succeeded" } else { "refund.failed" };
        let told =
            publish(&transaction, &Event { kind, app: &app, subject: refund.refund_id, payload }).await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told);
        Ok(())
    }

    /// Whoever comes second finds it done. A success of what was given back to the merchant
    /// is no such thing.
    async fn ended_before(&self, refund_id: Uuid, succeeded: bool) -> Result<(), StoreError> {
        let stored = self.refund(refund_id).await?.status;
        if succeeded && matches!(stored, RefundState::Reversing | RefundState::Failed) {
            tracing::error!(%refund_id, %stored, "the network paid back what was given back to the merchant");
            return Err(StoreError::Contradiction { id: refund_id });
        }
        Ok(())
    }

    /// Takes up to `limit` refunds that are due, as [`Store::claim_orders`] does.
    pub async fn claim_refunds(&self, limit: i64, busy: &[String]) -> Result<Vec<Refund>, StoreError> {
        let sql = format!(
            "UPDATE gateway.refunds SET next_check_at = now() + $2 * interval '1 second', checks = checks + 1
             WHERE refund_id IN (SELECT refund_id FROM gateway.refunds
                WHERE next_check_at <= now() AND channel <> ALL ($3)
                ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING {COLUMNS}"
        );
        let client = self.client().await?;
        let rows = rows(&client, "claim refunds", &sql, &[&limit, &LEASE_SECONDS, &busy]).await?;
        rows.iter().map(Refund::read).collect()
    }

    pub async fn postpone_refund(&self, refund_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.refunds SET next_check_at = now() + interval '1 second'
                * least($2, power(2, least(checks, 10))) * (0.8 + 0.4 * random())
             WHERE refund_id = $1 AND next_check_at IS NOT NULL";
        let client = self.client().await?;
        execute(&client, "postpone a refund", sql, &[&refund_id, &INTERVAL_SECONDS_MAX]).await?;
        Ok(())
    }
}

/// Whom to tell of a refund that has ended, and what.
fn event(order: &Row, refund: &Refund) -> Result<(String, serde_json::Value), tokio_postgres::Error> {
    let payload = json!({
        "refundId": refund.refund_id,
        "orderId": refund.order_id,
        "appId": order.try_get::<_, String>("app_id")?,
        "orderDate": order.try_get::<_, Date>("order_date")?,
        "orderNumber": order.try_get::<_, String>("order_number")?,
        "refundNumber": refund.refund_number,
        "merchantId": order.try_get::<_, String>("merchant_id")?,
        "amountMinor": refund.amount_minor,
        "currency": order.try_get::<_, String>("currency")?,
        "status": refund.status,
        "failureCode": refund.failure_code,
    });
    Ok((order.try_get("app_id")?, payload))
}

async fn find<C: deadpool_postgres::GenericClient>(
    client: &C,
    order_id: Uuid,
    number: &str,
) -> Result<Option<Refund>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM gateway.refunds WHERE order_id = $1 AND refund_number = $2");
    let row = optional(client, "find a refund", &sql, &[&order_id, &number]).await?;
    row.as_ref().map(Refund::read).transpose()
}
