//! A bank that pays out, merchants who have something to be paid, and what books, payouts
//! and the bank's own record have to say in the end.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use payplane_api::accounting::{Account, Amounts, Who, events};
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::{Identity, OpenAccountsRequest, Outcome, PostRequest};
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use payplane_client::message::{PayRequest, Payout, PayoutRequest};
use payplane_common::tls::{self, Files};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{DATE, Stack};
use crate::networks::{NETWORKS, stack_with};

pub(crate) const ACCOUNT: &str = "6228480402564890018";
pub(crate) const NAME: &str = "Li Hua Trading";

pub(crate) fn payout(number: &str, amount_minor: i64) -> PayoutRequest {
    PayoutRequest {
        order_date: jiff::civil::Date::constant(2026, 11, 24),
        payout_number: number.into(),
        merchant_id: "M1".into(),
        amount_minor,
        currency: "CNY".into(),
        payee_account: ACCOUNT.into(),
        payee_name: NAME.into(),
        description: None,
    }
}

/// A stack with the bank alone.
pub(crate) async fn bank() -> Result<Stack> {
    stack_with(&NETWORKS[3..]).await
}

/// A sale over the bank, half of which is enough for so much.
pub(crate) fn sale(merchant: &str, amount_minor: i64) -> PayRequest {
    let order = NETWORKS[3].order(&format!("fund-{merchant}"), 2 * amount_minor);
    PayRequest { merchant_id: merchant.into(), ..order }
}

/// Gives a merchant something that is due: a sale, and the release of half of it, which
/// settlement will book.
pub(crate) async fn fund(stack: &Stack, sale: &PayRequest) -> Result<()> {
    ensure!(stack.app("app1", 1)?.pay(sale).await?.status == Succeeded);
    let (merchant, amount_minor) = (sale.merchant_id.as_str(), sale.amount_minor / 2);
    let (who, today) = (Who { merchant, ..Who::default() }, Timestamp::now().to_string());
    let mut ledger = stack.ledger_client()?;
    let accounts = [Account::MerchantPending, Account::MerchantAvailable];
    let accounts = accounts.map(|account| account.spec(who, "CNY")).into();
    ledger.open_accounts(OpenAccountsRequest { accounts }).await?;
    let amounts = Amounts { amount: amount_minor, ..Amounts::default() };
    let request = PostRequest {
        identity: Some(Identity { key_date: today[..10].into(), key: format!("release:{merchant}") }),
        kind: events::RELEASE.kind.into(),
        entries: events::RELEASE.entries(who, amounts, "CNY")?,
        effective_time: today,
        config_epoch: 1,
        ..PostRequest::default()
    };
    let answer = ledger.post(request).await?.into_inner();
    ensure!(answer.outcome() == Outcome::Created, "{answer:?}");
    Ok(())
}

/// Asks until the payout has ended.
pub(crate) async fn paid_out(app: &App, number: &str, max: Duration) -> Result<Payout> {
    let started = Instant::now();
    loop {
        let last = app.payout(DATE, number).await;
        match last {
            Ok(payout) if payout.status != Processing => return Ok(payout),
            _ if started.elapsed() > max => bail!("{number} has not ended: {last:?}"),
            _ => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

/// A channel that pays out, and the network behind it.
pub(crate) const BANK: (&str, &str) = ("bankdirect", "BankDirect");

/// Every payout has ended, and books, payouts and the network's own record agree to the cent.
/// `funded` is what all merchants had.
pub(crate) async fn agree(stack: &Stack, (channel, network): (&str, &str), funded: i64) -> Result<()> {
    let sum =
        |of: &str| format!("SELECT coalesce(sum(amount_minor), 0)::int8 FROM gateway.payouts WHERE {of}");
    ensure!(stack.count(&sum("status NOT IN ('Succeeded', 'Failed')")).await? == 0, "one is open");
    let paid = stack.count(&sum("status = 'Succeeded'")).await?;
    let taken = (stack.record().await?.into_iter())
        .filter(|entry| entry["kind"] == "Payout" && entry["state"] == "Succeeded")
        .map(|entry| entry["amountMinor"].as_i64().context("an amount"))
        .sum::<Result<i64>>()?;
    let transit = stack.balance("transit:payouts").await?;
    let mut left = 0;
    for merchant in ["M1", "M2"] {
        left += stack.balance(&format!("merchant:{merchant}:available")).await?;
    }
    ensure!(paid == taken && paid == transit, "payouts {paid}, bank {taken}, books {transit}");
    ensure!(left == funded - paid, "{left} are left of {funded}, of which {paid} were paid");
    // One debit each, and one reversal of what failed after it; one event each.
    let misbooked = "SELECT count(*) FROM gateway.payouts p
         LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE key = 'payout:' || payout_id) AS debits,
                count(*) FILTER (WHERE key = 'payout-reversal:' || payout_id) AS reversals
            FROM ledger.transactions WHERE key LIKE '%' || payout_id) b ON true
         LEFT JOIN LATERAL (SELECT count(*) AS told FROM gateway.outbox
            WHERE subject_id = payout_id AND kind = 'payout.' || lower(status)) e ON true
         WHERE debits <> (ledger_transaction_id IS NOT NULL)::int OR told <> 1
            OR reversals <> (status = 'Failed' AND ledger_transaction_id IS NOT NULL)::int";
    ensure!(stack.count(misbooked).await? == 0, "a payout is booked or told otherwise than once");
    stack.check_channel(channel, network).await
}

impl Stack {
    /// The ledger, as a gateway calls it.
    pub(crate) fn ledger_client(&self) -> Result<LedgerClient<Channel>> {
        let trust = Some(self.postgres.pki.trust());
        let tls = tls::client(Files { identity: Some(self.postgres.pki.leaf("gateway", &[])?), trust })?;
        payplane_testkit::ledger::local((Ipv4Addr::LOCALHOST, self.ledger_port).into(), tls)
    }

    /// What an account has, credits above zero.
    pub(crate) async fn balance(&self, account: &str) -> Result<i64> {
        let (_, balance) = self.admin("admin-client", "GET", "/admin/v1/trial-balance", &json!({})).await?;
        ensure!(balance["balanced"] == true, "{balance}");
        let lines = balance["lines"].as_array().cloned().unwrap_or_default();
        let line = lines.into_iter().find(|line| line["account"] == account).unwrap_or(Value::Null);
        let minor = |side: &str| line[side].as_i64().unwrap_or(0);
        Ok(minor("creditMinor") - minor("debitMinor"))
    }
}
