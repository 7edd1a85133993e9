//! Refunds: reserved on their order's row, so all of them stay within it.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::{self, Refusal};
use super::due::Table;
use super::nonces::{self, Nonce};
use super::orders::Order;
use super::outgoing::Told;
use super::vault::soon_after;
use super::{
    LEASE_SECONDS, MissingSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional,
};
use crate::data_key::RequestHash;
use crate::payee::KeptPayee;
use crate::state::registry::RegistryState;
use crate::state::{OrderState, OutgoingState};

pub(super) const COLUMNS: &str =
    "refund_id, order_id, refund_number, request_hash, amount_minor, channel, stored_date,
    status, ledger_transaction_id, signed_at, network_id, failure_code, payee_sealed, payee_masked,
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
    pub status: OutgoingState,
    pub ledger_transaction_id: Option<Uuid>,
    pub signed_at: Option<Timestamp>,
    /// There once the network has said that it knows the refund; it may be empty.
    pub network_id: Option<String>,
    pub failure_code: Option<String>,
    /// Of one that a release before the vault transfers, until the request is signed.
    pub payee_sealed: Option<Vec<u8>>,
    pub payee_masked: Option<String>,
    pub created_at: Timestamp,
}

impl Refund {
    /// Its network gives nothing back: it goes out as a payout does.
    #[must_use]
    pub fn is_transferred(&self) -> bool {
        self.payee_masked.is_some()
    }

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
                status: OutgoingState::Requested,
                ledger_transaction_id: row.try_get("ledger_transaction_id")?,
                signed_at: row.try_get("signed_at")?,
                network_id: row.try_get("network_id")?,
                failure_code: row.try_get("failure_code")?,
                payee_sealed: row.try_get("payee_sealed")?,
                payee_masked: row.try_get("payee_masked")?,
                created_at: row.try_get("created_at")?,
            };
            Ok((refund, row.try_get("status")?))
        };
        let (refund, status) = read().context(ReadSnafu)?;
        Ok(Self { status: OutgoingState::parse(&status).context(StateSnafu)?, ..refund })
    }
}

pub struct Transfer {
    pub merchant_id: String,
    pub channel: String,
    pub payee: KeptPayee,
}

/// A refund to be created.
pub struct NewRefund {
    /// Chosen once, so that a repeated try knows its own refund.
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub refund_number: String,
    pub request_hash: RequestHash,
    pub amount_minor: i64,
    pub reason: Option<String>,
    /// Over which channel it is transferred, and to whom; none: over the payment's own.
    pub transfer: Option<Transfer>,
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
    /// The app takes no money of the merchant, so nothing is transferred.
    Refused(Refusal),
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
        let transfer = new.transfer.as_ref();
        let merchant = transfer.map(|transfer| transfer.merchant_id.as_str());
        admission::hold(&transaction, &nonce.app, merchant.as_slice(), &[]).await?;
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
        if let Some(transfer) = transfer {
            soon_after(&transaction, transfer.payee.kept_at).await?;
        }
        let who = merchant.map(|merchant| (nonce.app.as_str(), merchant));
        if let Some(who) = who
            && !admission::takes_money(&transaction, who).await?
        {
            return Ok(CreatedRefund::Refused(admission::refusal_by_name(&transaction, who).await?));
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
                reason, channel, stored_date, config_epoch, created_at, next_check_at, payee_masked)
             SELECT $1, order_id, $3, $4, $5, $6, coalesce($11, channel), $7, $8, $9,
                now() + $10 * interval '1 second', $12
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
                &transfer.map(|transfer| &transfer.channel),
                &transfer.map(|transfer| &transfer.payee.masked),
            ],
        )
        .await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(CreatedRefund::New(Box::new(Refund::read(&row)?)))
    }

    pub async fn find_refund(&self, order: &Order, number: &str) -> Result<Option<Refund>, StoreError> {
        find(&self.client().await?, order.order_id, number).await
    }

    /// Has the network declined a refund of the order?
    pub async fn has_declined_refund(&self, order_id: Uuid) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM gateway.refunds
             WHERE order_id = $1 AND failure_code = 'Declined' AND payee_masked IS NULL)";
        let row = one(&self.client().await?, "look for declined refunds", sql, &[&order_id]).await?;
        row.try_get(0).context(ReadSnafu)
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

    /// Takes up to `limit` refunds that are due.
    pub async fn claim_refunds(&self, limit: i64, busy: &[String]) -> Result<Vec<Refund>, StoreError> {
        let rows = self.claim(Table::Refunds, COLUMNS, (limit, busy)).await?;
        rows.iter().map(Refund::read).collect()
    }
}

/// Keeps the sums of the order of a refund that has ended; whom to tell, and what.
pub(super) async fn told<C: deadpool_postgres::GenericClient>(
    client: &C,
    row: &Row,
) -> Result<Told, StoreError> {
    let refund = Refund::read(row)?;
    let (kind, sum) = if refund.status == OutgoingState::Succeeded {
        ("refund.succeeded", "refunded_minor = refunded_minor + $2")
    } else {
        ("refund.failed", "refund_reserved_minor = refund_reserved_minor - $2")
    };
    let sums = format!(
        "UPDATE gateway.orders SET {sum} WHERE order_id = $1
         RETURNING app_id, order_date, order_number, merchant_id, currency, top_up_customer"
    );
    let params: super::Params<'_> = &[&refund.order_id, &refund.amount_minor];
    let order = one(client, "keep the sums of an order", &sums, params).await?;
    let (app, payload) = event(&order, &refund).context(ReadSnafu)?;
    Ok(Told { kind, app, payload })
}

/// Whom to tell of a refund that has ended, and what.
fn event(order: &Row, refund: &Refund) -> Result<(String, serde_json::Value), tokio_postgres::Error> {
    let mut payload = json!({
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
    if let Some(customer) = order.try_get::<_, Option<String>>("top_up_customer")? {
        payload["topUp"] = json!({"customer": customer});
    }
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
