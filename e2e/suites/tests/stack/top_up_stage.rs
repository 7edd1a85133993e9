//! Customers who fill their wallets over a network, and what the books have of it.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use payplane_api::accounting::{Account, Amounts, Who, events};
use payplane_api::ledger::v1::{Identity, Outcome, PostRequest};
use payplane_client::call::App;
use payplane_client::message::{Payment, PaymentStatus, Refund, RefundRequest};
use serde_json::{Value, json};

use crate::agreement_stage::pay;
use crate::harness::{DATE, Stack, ended};
use crate::networks::{Network, SOON};

/// A payment that fills a customer's wallet.
pub(crate) fn top_up(network: &Network, number: &str, amount_minor: i64, customer: &str) -> Result<Value> {
    let mut order = serde_json::to_value(network.order(number, amount_minor))?;
    order["topUp"] = json!({"customer": customer});
    Ok(order)
}

/// Fills a wallet, and waits for its end.
pub(crate) async fn filled(app: &App, order: &Value) -> Result<Payment> {
    pay(app, order).await?;
    ended(app, order["orderNumber"].as_str().unwrap_or_default(), SOON).await
}

/// Asks for a refund, and waits for its end.
pub(crate) async fn refunded(app: &App, order: &str, request: &RefundRequest) -> Result<Refund> {
    let mut refund = app.refund(DATE, order, request).await?;
    for _ in 0..100 {
        if refund.status != PaymentStatus::Processing {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        refund = app.refund_of(DATE, order, &request.refund_number).await?;
    }
    Ok(refund)
}

/// He pays a merchant out of his wallet, as no channel does yet.
pub(crate) async fn spends(stack: &Stack, customer: &str, amount: i64) -> Result<()> {
    let (who, today) = (Who { merchant: "M1", customer, ..Who::default() }, Timestamp::now().to_string());
    let mut ledger = stack.ledger_client()?;
    let request = PostRequest {
        identity: Some(Identity { key_date: today[..10].into(), key: format!("sale:{customer}") }),
        kind: events::WALLET_SALE.kind.into(),
        entries: events::WALLET_SALE.entries(who, Amounts { amount, ..Amounts::default() }, "CNY")?,
        effective_time: today,
        config_epoch: 1,
        ..PostRequest::default()
    };
    let answer = ledger.post(request).await?.into_inner();
    ensure!(answer.outcome() == Outcome::Created, "{answer:?}");
    Ok(())
}

impl Stack {
    /// What a customer has.
    pub(crate) async fn wallet(&self, customer: &str) -> Result<i64> {
        self.balance(&Account::Wallet.code(Who { customer, ..Who::default() })).await
    }

    /// What merchants have, and what was earned: nothing of a top-up.
    pub(crate) async fn of_others(&self) -> Result<[i64; 2]> {
        Ok([self.balance("merchant:M1:pending").await?, self.balance("income:fee").await?])
    }

    /// Each top-up that succeeded is booked once as what it is, and no sale is.
    pub(crate) async fn booked_once(&self) -> Result<()> {
        let misbooked = "SELECT count(*) FROM gateway.orders o
             LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE key = 'wallet-top-up:' || order_id) AS filled,
                    count(*) FILTER (WHERE key = 'sale:' || order_id) AS sold
                FROM ledger.transactions WHERE key LIKE '%' || order_id) b ON true
             WHERE top_up_customer IS NOT NULL AND (filled <> (status = 'Succeeded')::int OR sold <> 0)";
        ensure!(self.count(misbooked).await? == 0, "a top-up is booked otherwise than once");
        Ok(())
    }
}
