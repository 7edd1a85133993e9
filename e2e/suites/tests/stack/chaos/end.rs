//! What orders, books, networks and the merchant's endpoint have in the end.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use payplane_client::message::PaymentStatus;
use payplane_client::notification::Notification;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::stage::{APP, Stage};

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) order_id: Uuid,
    pub(super) order_number: String,
    pub(super) amount_minor: i64,
    pub(super) method: String,
    pub(super) status: PaymentStatus,
    pub(super) channel: Option<String>,
    pub(super) fee_minor: Option<i64>,
    pub(super) ledger_transaction_id: Option<Uuid>,
    pub(super) failure_code: Option<String>,
    pub(super) refund_reserved_minor: i64,
    pub(super) refunded_minor: i64,
}

impl Order {
    /// Its payer pays later, and the network notifies of it.
    pub(super) fn is_qr_code(&self) -> bool {
        self.method != "card"
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Attempt {
    pub(super) attempt_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) ordinal: i16,
    pub(super) status: String,
    pub(super) age_seconds: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) refund_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) refund_number: String,
    pub(super) amount_minor: i64,
    pub(super) status: String,
    pub(super) channel: String,
    pub(super) ledger_transaction_id: Option<Uuid>,
    pub(super) failure_code: Option<String>,
}

impl Refund {
    pub(super) fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "Succeeded" | "Failed")
    }
}

/// What a network took and no order could have.
#[derive(Debug, Deserialize)]
pub(super) struct Surplus {
    pub(super) attempt_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) channel: String,
    pub(super) reason: String,
    pub(super) amount_minor: i64,
    pub(super) status: String,
    pub(super) suspense_transaction_id: Option<Uuid>,
    pub(super) refund_id: Uuid,
    pub(super) refund_transaction_id: Option<Uuid>,
}

/// A line of a transaction: account and amount, debits above zero.
pub(super) type Lines = BTreeMap<String, i64>;

#[derive(Debug, Deserialize)]
pub(super) struct Booked {
    pub(super) transaction_id: Uuid,
    pub(super) key: String,
    pub(super) lines: Lines,
}

/// A pay or refund in a network's own record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Taken {
    pub(super) number: Uuid,
    pub(super) kind: String,
    pub(super) amount_minor: i64,
    pub(super) state: String,
    /// How often it was asked for again, since the network's last start.
    #[serde(default)]
    pub(super) repeated: u32,
}

pub(super) struct End {
    pub(super) orders: HashMap<String, Order>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) refunds: Vec<Refund>,
    pub(super) surpluses: Vec<Surplus>,
    pub(super) booked: Vec<Booked>,
    pub(super) taken: Vec<Taken>,
    pub(super) told: BTreeMap<Uuid, Notification>,
    pub(super) forged: usize,
    /// Notifications that nobody has taken yet.
    pub(super) owed: i64,
    pub(super) balance: Value,
}

impl End {
    pub(super) async fn read(stage: &Stage) -> Result<Self> {
        let postgres = stage.postgres.lock().await.connect("postgres").await?;
        let orders: Vec<Order> =
            rows(&postgres, &format!("SELECT * FROM gateway.orders WHERE app_id = '{APP}'")).await?;
        let count = orders.len();
        let orders: HashMap<_, _> =
            orders.into_iter().map(|order| (order.order_number.clone(), order)).collect();
        ensure!(orders.len() == count, "one identity has two orders");
        let attempts =
            "SELECT *, extract(epoch FROM now() - signed_at)::float8 AS age_seconds FROM gateway.attempts";
        let booked = "SELECT t.transaction_id, t.key, (SELECT json_object_agg(code, minor) FROM (
                SELECT a.code, sum(CASE e.side WHEN 'debit' THEN e.amount_minor ELSE -e.amount_minor END)::int8 AS minor
                  FROM ledger.entries e JOIN ledger.accounts a USING (account_id)
                 WHERE e.transaction_id = t.transaction_id GROUP BY 1) l) AS lines
             FROM ledger.transactions t";
        let owed = "SELECT count(*) FROM gateway.deliveries WHERE status <> 'Delivered'";
        let (status, balance) = stage.admin("GET", "/admin/v1/trial-balance", &json!({})).await?;
        ensure!(status == 200, "{balance}");
        Ok(Self {
            orders,
            attempts: rows(&postgres, attempts).await?,
            refunds: rows(&postgres, "SELECT * FROM gateway.refunds").await?,
            surpluses: rows(&postgres, "SELECT * FROM gateway.surpluses").await?,
            booked: rows(&postgres, booked).await?,
            taken: serde_json::from_value(stage.record().await?.into()).context("the networks' record")?,
            told: stage.receiver.taken(),
            forged: stage.receiver.forged.load(std::sync::atomic::Ordering::SeqCst),
            owed: postgres.query_one(owed, &[]).await?.get(0),
            balance,
        })
    }

    /// What has no end, and must have one by now.
    pub(super) fn hanging(&self, is_long: bool) -> Vec<String> {
        let orders = self.orders.values().filter(|order| order.status == PaymentStatus::Processing);
        let orders = orders.filter(|order| is_long || !self.waits(order));
        let orders = orders.map(|order| format!("order {}", order.order_number));
        let waits = |id, status: &str, channel: &str| self.refund_waits((id, status, channel), is_long);
        let refunds = self.refunds.iter().filter(|refund| !refund.is_final());
        let refunds = refunds.filter(|refund| !waits(refund.refund_id, &refund.status, &refund.channel));
        let surpluses = self.surpluses.iter().filter(|surplus| surplus.status != "Refunded");
        let surpluses = surpluses.filter(|one| !waits(one.refund_id, &one.status, &one.channel));
        let refunds = refunds.map(|refund| format!("refund {refund:?}"));
        orders.chain(refunds).chain(surpluses.map(|surplus| format!("{surplus:?}"))).collect()
    }

    /// "Not found" ends a payment once the network can take it no more: 65 s after it was
    /// signed, at a real network 5 to 16 min, for which the short form has no time. Until
    /// then nothing may have come of it.
    fn waits(&self, order: &Order) -> bool {
        let attempts = self.attempts.iter().filter(|attempt| attempt.order_id == order.order_id);
        attempts.max_by_key(|attempt| attempt.ordinal).is_some_and(|newest| {
            let is_open = matches!(newest.status.as_str(), "Sending" | "Unknown" | "Processing");
            let is_early = order.is_qr_code() || newest.age_seconds < 150.0;
            is_open && is_early && !self.has_taken(newest.attempt_id)
        })
    }

    /// A refund likewise; one that never reached Alipay or UnionPay waits for a day
    /// (docs/channels.md), in the long form too.
    fn refund_waits(&self, (refund_id, status, channel): (Uuid, &str, &str), is_long: bool) -> bool {
        let a_day = matches!(channel, "alipay" | "unionpay");
        status == "Sending" && (a_day || !is_long) && !self.has_taken(refund_id)
    }

    fn has_taken(&self, number: Uuid) -> bool {
        self.taken.iter().any(|taken| taken.number == number && taken.state == "Succeeded")
    }
}

async fn rows<T: DeserializeOwned>(postgres: &Client, sql: &str) -> Result<Vec<T>> {
    let sql = format!("SELECT coalesce(json_agg(t), '[]')::text FROM ({sql}) t");
    let text: String = postgres.query_one(&sql, &[]).await?.get(0);
    serde_json::from_str(&text).with_context(|| sql)
}
