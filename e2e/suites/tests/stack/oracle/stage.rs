//! What is said to one network, and that all of it was heard.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join4;
use payplane_client::call::App;
use payplane_client::message::PayRequest;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use serde_json::{Value, json};

use super::verdict::Verdict;
use super::{SOON, call};
use crate::agreement_stage::{CARD, account, end, paid, status, until};
use crate::harness::{DATE, Stack, ended, refund};
use crate::networks::{NETWORKS, Network};

/// A network, or one of UnionPay's ways to sign.
pub(super) struct Stage {
    pub(super) network: Network,
    /// UnionPay's channels have the same methods: the amount decides which of them it is. Its
    /// last four digits ask for faults.
    above_minor: i64,
    /// As the kits' verdicts name it.
    judged: &'static str,
    /// What is said at least once, each with a reply.
    calls: &'static [&'static str],
    /// So many of its orders and refunds are told of.
    notifications_min: usize,
}

const UNIONPAY_CALLS: &[&str] = &["unionpay 01/07", "unionpay 01/01", "unionpay 00/00", "unionpay 04/00"];
/// Cards are agreed on over the first of its channels.
const CARDS: &str = "UnionPay 01";
const CARD_CALLS: &[&str] = &["unionpay 77/00", "unionpay 79/00", "unionpay 78/02", "unionpay 74/01"];

pub(super) fn stages() -> [Stage; 6] {
    let [wechat, alipay, unionpay, bank] = NETWORKS;
    let sha256 = Network::unionpay_keyed("unionpay-sha256", "Sha256");
    let sm3 = Network::unionpay_keyed("unionpay-sm3", "Sm3");
    let wechat_calls = &[
        "POST /v3/pay/transactions/native",
        "POST /v3/pay/transactions/jsapi",
        "GET /v3/pay/transactions/out-trade-no/*",
        "POST /v3/pay/transactions/out-trade-no/*/close",
        "POST /v3/refund/domestic/refunds",
        "GET /v3/refund/domestic/refunds/*",
    ];
    let alipay_calls = &[
        "alipay.trade.precreate",
        "alipay.trade.query",
        "alipay.trade.close",
        "alipay.trade.refund",
        "alipay.trade.fastpay.refund.query",
    ];
    let bank_calls = &["/bank/v1/pay", "/bank/v1/query", "/bank/v1/close", "/bank/v1/refund"];
    let stage = |network, above_minor, judged, calls, notifications_min| Stage {
        network,
        above_minor,
        judged,
        calls,
        notifications_min,
    };
    [
        stage(wechat, 0, "WechatPay", wechat_calls, 2),
        stage(alipay, 0, "Alipay", alipay_calls, 1),
        stage(unionpay, 0, "UnionPay 01", UNIONPAY_CALLS, 4),
        stage(sha256, 1_000_000, "UnionPay 11", UNIONPAY_CALLS, 4),
        stage(sm3, 2_000_000, "UnionPay 12", UNIONPAY_CALLS, 4),
        // It tells of what it did not answer at once.
        stage(bank, 0, "BankDirect", bank_calls, 1),
    ]
}

impl Stage {
    pub(super) fn channel(&self, stack: &Stack) -> Result<Value> {
        let mut channel = self.network.channel(stack)?;
        for method in channel["methods"].as_array_mut().context("no methods")? {
            method["priority"] = json!(1 + self.above_minor / 1_000_000);
            method["limits"] = json!([{"currency": "CNY", "perPaymentMinorMax": self.above_minor + 999_999}]);
        }
        Ok(channel)
    }

    /// Makes the gateway say everything that it ever says to this network.
    pub(super) async fn drive(&self, app: &App) -> Result<()> {
        let paid = async {
            self.pay_by_every_method(app).await?;
            // Through at once, and two seconds later.
            self.refund(app, "R1", 2_800).await?;
            self.refund(app, "R2", 9_002).await
        };
        // Paid, and nobody is told: the resolver asks.
        let untold = async {
            let untold = self.network.pay(app, "untold", self.above_minor + 19_009, SOON).await?;
            ensure!(untold.status == Succeeded, "{}: {untold:?}", self.judged);
            Ok(())
        };
        let agreed = async { if self.judged == CARDS { agree(app).await } else { Ok(()) } };
        // Never paid: closed.
        let unpaid = async {
            let unpaid = self.network.order("unpaid", self.above_minor + 19_008);
            app.pay(&unpaid).await?;
            // Alipay has something to close once the payer has scanned the code.
            tokio::time::sleep(Duration::from_secs(1)).await;
            app.close(DATE, &unpaid.order_number).await?;
            Ok(())
        };
        try_join4(paid, untold, agreed, unpaid).await.map(|_| ())
    }

    async fn pay_by_every_method(&self, app: &App) -> Result<()> {
        for (place, method) in self.network.methods.iter().enumerate() {
            let payer_id = self.network.payer_of(method);
            let order = self.network.order(&format!("by-{place}"), self.above_minor + 12_800);
            // What is signed is not only ASCII, and has what forms escape.
            let description = Some("\u{8336} 50% + \u{676f}".to_owned());
            let order = PayRequest { method: (*method).into(), payer_id, description, ..order };
            app.pay(&order).await?;
            let paid = ended(app, &order.order_number, SOON).await?;
            let is_ours = paid.channel.as_deref() == Some(self.network.name);
            ensure!(paid.status == Succeeded && is_ours, "{}: {paid:?}", self.judged);
        }
        Ok(())
    }

    async fn refund(&self, app: &App, number: &str, minor: i64) -> Result<()> {
        let order = self.network.order("by-0", 0).order_number;
        let mut part = app.refund(DATE, &order, &refund(number, minor)).await?;
        for _ in 0..200 {
            if part.status != Processing {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            part = app.refund_of(DATE, &order, number).await?;
        }
        ensure!(part.status == Succeeded, "{}: {part:?}", self.judged);
        Ok(())
    }

    /// Was everything said that there is to say, and told enough?
    pub(super) fn was_heard(
        &self,
        traffic: &[Value],
        verdicts: &[Verdict],
        counts: &BTreeMap<String, usize>,
    ) -> Result<()> {
        let (judged, min) = (self.judged, self.notifications_min);
        let told = counts.get(&format!("{judged} notification")).copied().unwrap_or_default();
        ensure!(told >= min, "{judged}: {told} notifications, of {min}");
        let cards = if judged == CARDS { CARD_CALLS } else { &[] };
        for call in self.calls.iter().chain(cards) {
            let heard = verdicts.iter().any(|verdict| {
                verdict.network == judged
                    && verdict.part == "reply"
                    && call::name(&traffic[verdict.line]) == *call
            });
            ensure!(heard, "{judged}: no {call} in {counts:?}");
        }
        Ok(())
    }
}

/// Opens a card, pays by it and closes it; of another one the answer is lost, so it is asked for.
async fn agree(app: &App) -> Result<()> {
    CARD.active(app, "card").await?;
    CARD.sign(app, "lost", &account("9004")).await?;
    until(app, "lost", "AwaitingCode", SOON).await?;
    let paid = paid(app, &CARD.by_agreement("by-card", 12_800, "card")).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    let ended = end(app, "card").await?;
    ensure!(status(&ended) == "Ended", "{ended}");
    Ok(())
}
