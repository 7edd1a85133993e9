//! What a channel says of payouts, in force in the running pods.

use std::time::Duration;

use payplane_e2e::{env, kubectl, merchant::App, tenant};
use serde_json::{Value, json};

use crate::s03_networks::apply;
use crate::s03_payments::ready;

const TENANT: &str = "alpha";
const NAMESPACE: &str = "ptn-alpha";
const CHANNELS: [&str; 2] = ["bank-a", "bank-b"];

fn say(name: &str, payouts: &Value) {
    kubectl::patch(&["pch", name, "-n", NAMESPACE], &json!({"spec": {"payouts": payouts}})).expect("patched");
    tenant::await_condition(&["pch", name, "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
}

/// The merchant has nothing that is due, so the books refuse whatever a channel would take;
/// the payout that is stored says which channel that was.
fn over(app: &App, what: &str, amount_minor: i64) -> Result<String, String> {
    let number = format!("{what}-{}", env::seed());
    let refused = app.pay_out(&number, amount_minor).expect_err("nothing is due");
    if !refused.contains("InsufficientBalance") {
        return Err(refused);
    }
    let stored = app.payout(&number).expect("it is stored");
    assert_eq!(
        (&stored["status"], &stored["payeeAccount"]),
        (&json!("Failed"), &json!("****0018")),
        "{stored}"
    );
    Ok(stored["channel"].as_str().unwrap_or_default().to_owned())
}

/// What the channel of a payment does not give back goes out over one that pays out.
fn transfers(app: &App) {
    let order = format!("given-{}", env::seed());
    let paid = app.pay(&order, 10_000, "CNY").expect("paid");
    let date = paid["orderDate"].as_str().unwrap_or_default().to_owned();
    refund_days(&json!(0));
    let refused = app.refund(&date, &order, "nobody", 1_000).expect_err("the network gives nothing back");
    assert!(refused.contains("payeeAccount"), "{refused}");
    let transferred = app.transfer((&date, &order), "transferred", 1_000).expect("transferred");
    assert_eq!(
        (&transferred["status"], &transferred["payeeAccount"]),
        (&json!("Succeeded"), &json!("****0018"))
    );
    refund_days(&json!(null));
    let given_back = app.refund(&date, &order, "given-back", 1_000).expect("given back");
    assert_eq!((&given_back["status"], &given_back["payeeAccount"]), (&json!("Succeeded"), &json!(null)));
}

fn refund_days(days: &Value) {
    kubectl::patch(&["pch", "sim", "-n", NAMESPACE], &json!({"spec": {"refundDays": days}}))
        .expect("patched");
    tenant::await_condition(&["pch", "sim", "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
}

#[test]
fn payouts_go_by_what_the_channels_say() {
    if !env::cluster() {
        return;
    }
    let app = ready(TENANT, 60);
    for name in CHANNELS {
        apply("demo-bankdirect", "bankDirect", "bankdirect", name);
    }
    let priority = |n: u32| json!([{"currency": "CNY", "priority": n}]);
    let none = |answer: Result<String, String>, why: &str| {
        assert!(answer.as_ref().is_err_and(|e| e.contains("NoChannel") && e.contains(why)), "{answer:?}");
    };
    for (of_a, of_b, first) in [(1, 2, "bank-a"), (2, 1, "bank-b")] {
        say("bank-a", &priority(of_a));
        say("bank-b", &priority(of_b));
        assert_eq!(over(&app, first, 10_000).as_deref(), Ok(first));
    }
    say("bank-b", &json!([{"currency": "CNY", "perPayoutMinorMax": 500}]));
    assert_eq!(over(&app, "small", 500).as_deref(), Ok("bank-b"));
    assert_eq!(over(&app, "large", 501).as_deref(), Ok("bank-a"));
    transfers(&app);
    say("bank-a", &json!([]));
    none(over(&app, "over", 501), "OverLimit");
    say("bank-b", &json!([{"currency": "USD"}]));
    none(over(&app, "other", 100), "CurrencyMissing");
    for name in CHANNELS {
        let _ = kubectl::ok(&["delete", "pch", name, "-n", NAMESPACE, "--timeout=60s"]);
    }
}

#[test]
fn agreements_are_signed_where_the_network_has_them() {
    if !env::cluster() {
        return;
    }
    let app = ready(TENANT, 60);
    let name = "bank-agreed";
    apply("demo-bankdirect", "bankDirect", "bankdirect", name);
    tenant::await_condition(&["pch", name, "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
    declined(&app, (name, "bank-account"), "AccountUnknown");
    let none = json!({"spec": {"bankDirect": {"agreements": false}}});
    kubectl::patch(&["pch", name, "-n", NAMESPACE], &none).expect("patched");
    tenant::await_condition(&["pch", name, "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
    let refused = app.sign("bank-account", &format!("no-{}", env::seed())).expect_err("the bank has none");
    assert!(refused.contains("NoChannel") && refused.contains("AgreementsMissing"), "{refused}");
    let _ = kubectl::ok(&["delete", "pch", name, "-n", NAMESPACE, "--timeout=60s"]);

    let name = "cards-agreed";
    apply("demo-unionpay", "unionPay", "unionpay", name);
    tenant::await_condition(&["pch", name, "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
    declined(&app, (name, "unionpay-card"), "61");
    let _ = kubectl::ok(&["delete", "pch", name, "-n", NAMESPACE, "--timeout=60s"]);
}

/// The network says so, and nothing is open.
fn declined(app: &App, (channel, method): (&str, &str), code: &str) {
    let signed = app.sign(method, &format!("{channel}-{}", env::seed())).expect("it is asked for");
    assert_eq!(
        (&signed["status"], &signed["failureCode"], &signed["channel"]),
        (&json!("Failed"), &json!(code), &json!(channel)),
        "{signed}"
    );
}
