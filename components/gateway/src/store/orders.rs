//! Orders: one per (app, order date, order number).

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admission::{self, ADMITTED, Refusal};
use super::attempts::latest;
use super::nonces::{self, Nonce};
use super::outbox::{Event, publish};
use super::surpluses;
use super::terms;
use super::{
    LEASE_SECONDS, MissingSnafu, QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one,
    optional, rows,
};
use crate::data_key::RequestHash;
use crate::state::{AttemptState, OrderState};
use crate::terminal::Claim;
use crate::terms::InForce;

pub(super) const COLUMNS: &str = "order_id, app_id, order_date, order_number, request_hash, merchant_id, method,
    amount_minor, currency, stored_date, settlement_date, calendar_version, status, channel, fee_minor,
    config_hash, config_epoch, ledger_transaction_id, failure_code, refund_reserved_minor, refunded_minor, created_at,
    completed_at, description, expires_at, action, terminal_id, top_up_customer";

/// An order as it is stored.
#[derive(Clone, Debug)]
pub struct Order {
    pub order_id: Uuid,
    pub app_id: String,
    pub order_date: Date,
    pub order_number: String,
    pub request_hash: Vec<u8>,
    pub merchant_id: String,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub stored_date: Date,
    /// When the merchant's share is due, and the config epoch whose calendar says so. Of a top-up
    /// nothing is.
    pub settlement_date: Option<Date>,
    pub calendar_version: i64,
    pub status: OrderState,
    pub channel: Option<String>,
    pub fee_minor: Option<i64>,
    pub config_hash: Option<String>,
    pub config_epoch: Option<i64>,
    pub ledger_transaction_id: Option<Uuid>,
    pub failure_code: Option<String>,
    pub refund_reserved_minor: i64,
    pub refunded_minor: i64,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub description: Option<String>,
    /// It is not paid any more from here on.
    pub expires_at: Timestamp,
    /// What the payer does to pay, once the network has said.
    pub action: Option<Value>,
    /// The terminal that it was made at.
    pub terminal_id: Option<String>,
    /// Whose wallet it fills.
    pub top_up_customer: Option<String>,
}

impl Order {
    /// Is what is paid a customer's, rather than the merchant's?
    #[must_use]
    pub fn is_top_up(&self) -> bool {
        self.top_up_customer.is_some()
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let read = || -> Result<(Self, String), tokio_postgres::Error> {
            let order = Self {
                order_id: row.try_get("order_id")?,
                app_id: row.try_get("app_id")?,
                order_date: row.try_get("order_date")?,
                order_number: row.try_get("order_number")?,
                request_hash: row.try_get("request_hash")?,
                merchant_id: row.try_get("merchant_id")?,
                method: row.try_get("method")?,
                amount_minor: row.try_get("amount_minor")?,
                currency: row.try_get("currency")?,
                stored_date: row.try_get("stored_date")?,
                settlement_date: row.try_get("settlement_date")?,
                calendar_version: row.try_get("calendar_version")?,
                status: OrderState::Processing,
                channel: row.try_get("channel")?,
                fee_minor: row.try_get("fee_minor")?,
                config_hash: row.try_get("config_hash")?,
                config_epoch: row.try_get("config_epoch")?,
                ledger_transaction_id: row.try_get("ledger_transaction_id")?,
                failure_code: row.try_get("failure_code")?,
                refund_reserved_minor: row.try_get("refund_reserved_minor")?,
                refunded_minor: row.try_get("refunded_minor")?,
                created_at: row.try_get("created_at")?,
                completed_at: row.try_get("completed_at")?,
                description: row.try_get("description")?,
                expires_at: row.try_get("expires_at")?,
                action: row.try_get("action")?,
                terminal_id: row.try_get("terminal_id")?,
                top_up_customer: row.try_get("top_up_customer")?,
            };
            Ok((order, row.try_get("status")?))
        };
        let (order, status) = read().context(ReadSnafu)?;
        Ok(Self { status: OrderState::parse(&status).context(StateSnafu)?, ..order })
    }
}

/// Orders by their ids.
pub(super) fn by_id(rows: &[Row]) -> Result<Vec<(Uuid, Order)>, StoreError> {
    rows.iter().map(|row| Order::read(row).map(|order| (order.order_id, order))).collect()
}

/// An order to be created.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Chosen once, so that a repeated try knows its own order.
    pub order_id: Uuid,
    pub app_id: String,
    pub order_date: Date,
    pub order_number: String,
    pub request_hash: RequestHash,
    pub merchant_id: String,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub description: Option<String>,
    pub stored_date: Date,
    /// T+0, T+1 and so on; the merchant's is chosen when the order is stored.
    pub settlement_dates: Vec<Date>,
    pub calendar_version: i64,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// What the terminal says of itself.
    pub terminal: Option<Claim>,
    pub top_up_customer: Option<String>,
}

impl NewOrder {
    /// The order that it becomes, with the date that its merchant's terms chose.
    #[must_use]
    pub fn as_created(&self, settlement_date: Option<Date>) -> Order {
        Order {
            order_id: self.order_id,
            app_id: self.app_id.clone(),
            order_date: self.order_date,
            order_number: self.order_number.clone(),
            request_hash: self.request_hash.as_slice().to_vec(),
            merchant_id: self.merchant_id.clone(),
            method: self.method.clone(),
            amount_minor: self.amount_minor,
            currency: self.currency.clone(),
            stored_date: self.stored_date,
            settlement_date,
            calendar_version: self.calendar_version,
            status: OrderState::Processing,
            channel: None,
            fee_minor: None,
            config_hash: None,
            config_epoch: None,
            ledger_transaction_id: None,
            failure_code: None,
            refund_reserved_minor: 0,
            refunded_minor: 0,
            created_at: self.created_at,
            completed_at: None,
            description: self.description.clone(),
            expires_at: self.expires_at,
            action: None,
            terminal_id: self.terminal.as_ref().map(|claim| claim.terminal_id.clone()),
            top_up_customer: self.top_up_customer.clone(),
        }
    }
}

/// What came of creating an order.
#[derive(Debug)]
pub enum Created {
    /// And what its merchant agreed to.
    New(Box<Order>, Option<InForce>),
    /// The identity is known; whether the request is the same is not said.
    Known(Box<Order>),
    NonceUsed,
    Refused(Refusal),
}

impl Store {
    /// Creates an order and stores the request's nonce, in one transaction. The
    /// unique constraint makes one of many equal requests the first; the others
    /// wait for its commit and find its order. It may be tried again.
    pub async fn create_order(&self, new: &NewOrder, nonce: &Nonce) -> Result<Created, StoreError> {
        if let Some((order, terms)) = self.create_together(new, nonce).await? {
            return Ok(Created::New(Box::new(order), terms));
        }
        let what = "create an order";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let terminal = |read: fn(&Claim) -> &str| new.terminal.as_ref().map(read);
        let terminal_id = terminal(|t| &t.terminal_id);
        let (merchant, terminals) = ([new.merchant_id.as_str()], terminal_id.as_slice());
        admission::hold(&transaction, &new.app_id, &merchant, terminals).await?;
        if !nonces::guard(&transaction, nonce).await? {
            return Ok(Created::NonceUsed);
        }
        let sql = format!(
            "INSERT INTO gateway.orders (order_id, app_id, order_date, order_number, request_hash,
                merchant_id, method, amount_minor, currency, description, stored_date, settlement_date,
                calendar_version, created_at, next_check_at, expires_at, terminal_id, top_up_customer)
             SELECT $1, t.app_id, $3, $4, $5, t.merchant_id, $7, $8, $9, $10, $11,
                CASE WHEN $23::text IS NULL THEN ($12::date[])[m.settlement_days + 1] END,
                $13, $14, now() + $15 * interval '1 second', $16, t.terminal_id, $23
             FROM (SELECT $2::text AS app_id, $6::text AS merchant_id, $17::text AS terminal_id,
                $18::text AS serial_number, $19::text AS acquirer_code, $20::text AS credit_code,
                $21::text AS settlement_account, $22::text AS location) t
             {ADMITTED}
             ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
        );
        let row = optional(
            &transaction,
            what,
            &sql,
            &[
                &new.order_id,
                &new.app_id,
                &new.order_date,
                &new.order_number,
                &new.request_hash.as_slice(),
                &new.merchant_id,
                &new.method,
                &new.amount_minor,
                &new.currency,
                &new.description,
                &new.stored_date,
                &new.settlement_dates,
                &new.calendar_version,
                &new.created_at,
                &LEASE_SECONDS,
                &new.expires_at,
                &terminal_id,
                &terminal(|t| &t.serial_number),
                &terminal(|t| &t.acquirer_code),
                &terminal(|t| &t.credit_code),
                &terminal(|t| &t.settlement_account),
                &terminal(|t| &t.location),
                &new.top_up_customer,
            ],
        )
        .await?;
        let created = match row {
            Some(row) => Created::New(Box::new(Order::read(&row)?), None),
            None => match find(&transaction, &new.app_id, new.order_date, &new.order_number).await? {
                Some(order) if order.order_id == new.order_id => Created::New(Box::new(order), None),
                Some(order) => Created::Known(Box::new(order)),
                None => {
                    let who = (new.app_id.as_str(), new.merchant_id.as_str());
                    let why = admission::refusal(&transaction, who, new.terminal.as_ref()).await?;
                    return Ok(Created::Refused(why));
                }
            },
        };
        let created = match created {
            Created::New(order, _) => {
                let terms = terms::of(&transaction, &order.merchant_id, order.stored_date).await?;
                Created::New(order, terms)
            }
            other => other,
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(created)
    }

    /// Finds an order by its identity.
    pub async fn find_order(&self, app: &str, date: Date, number: &str) -> Result<Option<Order>, StoreError> {
        find(&self.client().await?, app, date, number).await
    }

    pub async fn order(&self, order_id: Uuid) -> Result<Order, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM gateway.orders WHERE order_id = $1");
        let row = optional(&self.client().await?, "read an order", &sql, &[&order_id]).await?;
        Order::read(&row.context(MissingSnafu { what: "order", id: order_id })?)
    }

    /// Marks an order as failed, unless an attempt may still have an effect. The
    /// order's row is locked first and the attempts are read in a later
    /// statement, so an attempt that begins at the same time is seen. What was paid over another
    /// amount becomes a surplus.
    pub async fn fail_order(&self, order_id: Uuid, code: &str) -> Result<Order, StoreError> {
        self.fail_unsent(order_id, code, None).await
    }

    /// The same, with what was chosen from, where it came to no attempt.
    pub async fn fail_unsent(
        &self,
        order_id: Uuid,
        code: &str,
        routing: Option<&Value>,
    ) -> Result<Order, StoreError> {
        let what = "mark an order as failed";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let lock = format!("SELECT {COLUMNS} FROM gateway.orders WHERE order_id = $1 FOR UPDATE");
        let order = Order::read(&one(&transaction, what, &lock, &[&order_id]).await?)?;
        let attempt = latest(&transaction, order_id).await?;
        if order.status != OrderState::Processing || attempt.as_ref().is_some_and(|a| !a.has_failed()) {
            return Ok(order);
        }
        let paid = attempt.filter(|attempt| attempt.status == AttemptState::OtherAmount);
        let code = if paid.is_some() { "OtherAmount" } else { code };
        if let Some(paid) = &paid {
            let said = (&paid.network_id, paid.network_time);
            surpluses::insert(&transaction, paid, said, paid.paid_minor).await?;
        }
        let sql = format!(
            "WITH unproven AS (UPDATE gateway.step_ups SET status = 'Failed', ended_at = now()
                WHERE order_id = $1 AND status IN ('Asked', 'Sending', 'AwaitingCode'))
             UPDATE gateway.orders SET status = 'Failed', failure_code = $2, completed_at = now(),
                next_check_at = NULL, routing = $3 WHERE order_id = $1 RETURNING {COLUMNS}"
        );
        let order = Order::read(&one(&transaction, what, &sql, &[&order_id, &code, &routing]).await?)?;
        let told = publish(&transaction, &event("payment.failed", &order)).await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told);
        Ok(order)
    }

    /// Takes up to `limit` orders that are due, for [`LEASE_SECONDS`], and says which channel
    /// each waits for; none that waits for one of `busy`. Replicas share: what one has
    /// locked, another skips.
    pub async fn claim_orders(
        &self,
        limit: i64,
        busy: &[String],
    ) -> Result<Vec<(Order, Option<String>)>, StoreError> {
        const OPEN: &str = "SELECT a.channel FROM gateway.attempts a
            WHERE a.order_id = o.order_id AND a.status IN ('Sending', 'Processing', 'Unknown')";
        // Those that a code is to be sent for have a share as those of a channel: its sender may say nothing.
        const CODES: &str = "SELECT '~step-up' FROM gateway.step_ups s
            WHERE s.order_id = o.order_id AND s.status = 'Sending' AND o.expires_at > now()";
        let sql = format!(
            "UPDATE gateway.orders o SET next_check_at = now() + $2 * interval '1 second', checks = checks + 1
             WHERE order_id IN (SELECT o.order_id FROM gateway.orders o
                WHERE o.status = 'Processing' AND o.next_check_at <= now()
                  AND NOT EXISTS ({OPEN} AND a.channel = ANY ($3))
                  AND NOT ('~step-up' = ANY ($3) AND EXISTS ({CODES}))
                ORDER BY o.next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED)
             RETURNING {COLUMNS}, coalesce(({OPEN}), ({CODES})) AS waits_for"
        );
        let client = self.client().await?;
        let rows = rows(&client, "claim orders", &sql, &[&limit, &LEASE_SECONDS, &busy]).await?;
        let read = |row: &Row| Ok((Order::read(row)?, row.try_get("waits_for").context(ReadSnafu)?));
        rows.iter().map(read).collect()
    }

    /// Takes an order of which nothing was sent: nobody else looks at it for a while, and its payer
    /// has nothing to do.
    pub async fn lease_order(&self, order_id: Uuid) -> Result<Option<Order>, StoreError> {
        let sql = format!(
            "UPDATE gateway.orders o SET action = NULL, next_check_at = now() + $2 * interval '1 second'
             WHERE order_id = $1 AND status = 'Processing' AND expires_at > now()
                AND NOT EXISTS (SELECT FROM gateway.attempts a WHERE a.order_id = o.order_id) RETURNING {COLUMNS}"
        );
        let params: super::Params<'_> = &[&order_id, &LEASE_SECONDS];
        let row = optional(&self.client().await?, "take an order", &sql, params).await?;
        row.as_ref().map(Order::read).transpose()
    }

    /// Something new was heard of it: it is looked at soon. The interval grows as before, so
    /// that nobody makes us ask without end.
    pub async fn hasten_order(&self, order_id: Uuid) -> Result<(), StoreError> {
        let sql =
            "UPDATE gateway.orders SET next_check_at = least(next_check_at, now() + interval '1 second')
             WHERE order_id = $1 AND status = 'Processing' AND action IS NOT NULL";
        execute(&self.client().await?, "hasten an order", sql, &[&order_id]).await?;
        Ok(())
    }

    /// How many orders are unfinished, and since when the oldest is.
    pub async fn open_orders(&self) -> Result<(i64, f64), StoreError> {
        let sql = "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
             FROM gateway.orders WHERE status = 'Processing'";
        let row = one(&self.client().await?, "count open orders", sql, &[]).await?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }
}

async fn find<C: deadpool_postgres::GenericClient>(
    client: &C,
    app: &str,
    date: Date,
    number: &str,
) -> Result<Option<Order>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM gateway.orders WHERE app_id = $1 AND order_date = $2 AND order_number = $3"
    );
    let row = optional(client, "find an order", &sql, &[&app, &date, &number]).await?;
    row.as_ref().map(Order::read).transpose()
}

pub(super) fn event<'a>(kind: &'static str, order: &'a Order) -> Event<'a> {
    let mut payload = json!({
        "orderId": order.order_id,
        "appId": order.app_id,
        "orderDate": order.order_date,
        "orderNumber": order.order_number,
        "merchantId": order.merchant_id,
        "method": order.method,
        "amountMinor": order.amount_minor,
        "currency": order.currency,
        "status": order.status,
        "channel": order.channel,
        "feeMinor": order.fee_minor,
        "settlementDate": order.settlement_date,
        "failureCode": order.failure_code,
        "completedAt": order.completed_at,
    });
    if let Some(customer) = &order.top_up_customer {
        payload["topUp"] = json!({"customer": customer});
    }
    Event { kind, app: &order.app_id, subject: order.order_id, payload }
}
