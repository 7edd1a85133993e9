//! Accounts, names, cards and codes are planted in whatever a stranger, an app or an administrator
//! may send, also where they do not belong; afterwards they stand nowhere.

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus::Succeeded;
use payplane_client::message::RefundRequest;
use payplane_client::sign::Signer;
use serde_json::{Value, json};

use crate::agreement_stage::{self as agreements, CODE, HOLDER, WRONG, active, by_agreement, pay};
use crate::harness::{DATE, Stack, refund};
use crate::networks::NETWORKS;
use crate::payout_stage::{self, bank, fund, payout, sale};
use crate::secrets::{is_silent, nowhere};

const CARD: &str = "4111111111111111";
const EXPIRY: &str = "2031QX07";
/// Letters, so that no number is one by chance.
const CVV: &str = "7QZ3XK";
const OWNER: &str = "Wang Xiao Planted";
const PHONE: &str = "13800138017";
const PLANTED: [&str; 5] = [CARD, EXPIRY, CVV, OWNER, PHONE];

/// What somebody sends who thinks that this is where card data go.
fn card() -> Value {
    json!({"cardNumber": CARD, "expiry": EXPIRY, "cvv": CVV, "holder": OWNER, "phone": PHONE})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_planted_stands_nowhere() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 2)?;
    fund(&stack, &sale("M1", 1_000_000)).await?;

    // Where they belong: an agreement, a payout, a payer, a transfer that is asked for and not needed.
    let agreed = active(&app, "a1").await?;
    agreements::confirm(&app, "a1", WRONG).await?;
    let paid = pay(&app, &by_agreement("by", 10_000, "a1")).await?;
    ensure!(paid["status"] == "Succeeded", "{paid}");
    let mut out = payout("out", 10_000);
    (out.payee_account, out.payee_name) = (CARD.into(), OWNER.into());
    let paid_out = app.pay_out(&out).await?;
    ensure!(paid_out.status == Succeeded && !format!("{paid_out:?}").contains(CARD), "{paid_out:?}");
    let mut order = NETWORKS[3].order("payer", 10_000);
    order.payer_id = Some(PHONE.into());
    ensure!(app.pay(&order).await?.status == Succeeded);
    let request = RefundRequest {
        payee_account: Some(CARD.into()),
        payee_name: Some(OWNER.into()),
        ..refund("transfer", 1_000)
    };
    let refunded = app.refund(DATE, "bankdirect-payer", &request).await?;
    ensure!(refunded.status == Succeeded, "{refunded:?}");

    misplaced(&stack).await?;
    let token = agreements::at_bank(&stack, &agreed).await?.0["details"]["token"].clone();
    let all = [CODE, WRONG, HOLDER, agreements::ACCOUNT, token.as_str().unwrap_or("?")];
    nowhere(&stack, &[&PLANTED[..], &all].concat()).await?;
    nowhere(&stack, &[payout_stage::NAME]).await
}

/// Where they do not belong: unknown and ill-typed fields, broken JSON, the query, the audit.
async fn misplaced(stack: &Stack) -> Result<()> {
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    let good = serde_json::to_value(NETWORKS[3].order("refused", 100))?;
    let agreement = agreements::request("refused", CARD);
    let out = serde_json::to_value(payout("refused", 100))?;
    let mut bodies: Vec<(&str, String)> = vec![];
    for (path, body) in [("/v1/payments", &good), ("/v1/agreements", &agreement), ("/v1/payouts", &out)] {
        let with = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            body.to_string()
        };
        bodies.push((path, with("card", card())));
        bodies.push((path, with("cvv", json!(CVV))));
        bodies.push((path, with("merchantId", card())));
        bodies.push((path, with("merchantId", json!(format!("{OWNER} {CARD}")))));
        bodies.push((path, with("description", json!([CARD, EXPIRY]))));
        let whole = with("cvv", json!(CVV));
        bodies.push((path, whole[..whole.len() - 1].to_owned()));
        bodies.push((path, format!("{whole}{}", card())));
        bodies.push((path, format!("cardNumber={CARD}&cvv={CVV}")));
    }
    bodies.push(("/v1/payments/2026-11-24/nobody/confirm", json!({"code": CARD}).to_string()));
    bodies.push(("/v1/payments/2026-11-24/bankdirect-payer/refunds", card().to_string()));
    bodies.push(("/v1/channels/bankdirect/notifications", card().to_string()));
    for (path, body) in bodies {
        let (status, answer) = stack.signed_at(path, &signer, &body, |request| request).await?;
        ensure!((400..500).contains(&status), "{path} {body}: {status} {answer}");
        ensure!(is_silent(&answer.to_string(), &PLANTED), "{path} tells {answer}");
        // And by who signs nothing.
        let unsigned = stack.https(None)?.post(format!("{}{path}?cvv={CVV}&pan={CARD}", stack.url(1)));
        let unsigned = unsigned.body(body).send().await?;
        ensure!(unsigned.status().is_client_error());
        ensure!(is_silent(&unsigned.text().await?, &PLANTED), "{path}");
    }
    for (method, path) in [
        ("POST", "/admin/v1/decisions".to_owned()),
        ("POST", "/admin/v1/risk/lists/cards/entries".to_owned()),
        ("PUT", "/admin/v1/merchants/M7".to_owned()),
        ("GET", format!("/admin/v1/open-items?kind={CARD}")),
    ] {
        let (status, answer) = stack.admin("admin-client", method, &path, &card()).await?;
        ensure!((400..500).contains(&status), "{path}: {status} {answer}");
        ensure!(is_silent(&answer.to_string(), &PLANTED), "{path} tells {answer}");
    }
    // Lists are kept by a keyed digest.
    let entry = json!({"kind": "Payer", "value": CARD});
    let path = "/admin/v1/risk/lists/cards/entries";
    let (status, answer) = stack.admin("admin-client", "POST", path, &entry).await?;
    ensure!((200..300).contains(&status) && is_silent(&answer.to_string(), &PLANTED), "{status} {answer}");
    Ok(())
}
