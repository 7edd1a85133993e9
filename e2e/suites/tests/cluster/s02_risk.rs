//! A tenant's risk policies: each is in force once the tenant is Ready, without a restart.

use std::time::Duration;

use jiff::ToSpan as _;
use payplane_e2e::{books, env, kubectl, merchant, merchant::App, tenant};
use payplane_testkit::Pki;
use serde_json::{Value, json};

use crate::s02_calendar::local;
use crate::s03_payments::ready;

fn named(what: &str) -> String {
    format!("{what}-{}", env::seed())
}

/// One policy in force, and no other.
fn in_force(app: &App, kind: &str, more: &Value) {
    let mut policy = json!({"name": named(&kind.to_lowercase()), "type": kind, "action": "Block"});
    for (member, value) in more.as_object().into_iter().flatten() {
        policy[member] = value.clone();
    }
    let spec = json!({"spec": {"risk": {"policies": [policy]}}});
    kubectl::patch(&["ptn", &app.tenant], &spec).expect("accepted");
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
}

/// Pays amounts one after the other as one payer, and says which were not blocked.
fn pays(app: &App, what: &str, amounts: &[i64]) -> Vec<bool> {
    let pay = |(n, amount): (usize, &i64)| {
        let paid = app.pay_as(&named("payer"), &named(&format!("risk-{what}-{n}")), *amount).expect("stored");
        let blocked = paid["failureCode"] == "RiskBlocked";
        assert!(blocked || paid["status"] == "Succeeded", "{what} {n}: {paid}");
        !blocked
    };
    amounts.iter().enumerate().map(pay).collect()
}

/// Adds the payer to a list by the tenant's admin certificate.
fn list_payer(app: &App, list: &str) {
    let file = |name: &str| format!("{}/{name}", app.folder);
    let (ca, cert, key, payer) = (file("ca.crt"), file("tls.crt"), file("tls.key"), named("payer"));
    let gateway = app.gateway(9443);
    let admin = ["--gateway", &gateway, "--ca", &ca, "--cert", &cert, "--cert-key", &key];
    let add = ["client", "risk-list", "add", list, "payer", &payer];
    merchant::exec(&[&add[..], &admin].concat()).expect("listed");
}

#[test]
fn payments_are_held_against_the_policies_of_the_tenant() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let often = |window: i64, more: Value| {
        let mut velocity = json!({"per": "Payer", "windowSeconds": window});
        for (member, value) in more.as_object().into_iter().flatten() {
            velocity[member] = value.clone();
        }
        json!({"velocity": velocity})
    };
    in_force(&app, "Velocity", &often(3_600, json!({"paymentsMax": 1})));
    assert_eq!(pays(&app, "often", &[100, 100]), [true, false]);
    in_force(&app, "Velocity", &often(3_601, json!({"paymentsMax": 1})));
    assert_eq!(pays(&app, "anew", &[100, 100]), [true, false], "another window is another count");
    let sum = json!({"amounts": [{"currency": "CNY", "amountMinorMax": 1_500}]});
    in_force(&app, "Velocity", &often(3_600, sum));
    assert_eq!(pays(&app, "sum", &[1_000, 501, 500]), [true, false, true]);

    let range = json!({"currency": "CNY", "method": "card", "amountMinorMin": 100, "amountMinorMax": 500});
    in_force(&app, "Amount", &json!({"amount": range}));
    assert_eq!(pays(&app, "range", &[99, 100, 500, 501]), [false, true, true, false]);
    in_force(&app, "Amount", &json!({"amount": range, "mode": "Shadow"}));
    assert_eq!(pays(&app, "shadow", &[501]), [true]);
    let row = format!(
        "select mode from gateway.risk_journal join gateway.orders using (order_id) where order_number = '{}'",
        named("risk-shadow-0")
    );
    assert_eq!(books::sql(&app.tenant, &row).trim(), "Shadow");

    let alpha = kubectl::get(&["ptn", &app.tenant]).expect("it is there");
    let now = local(alpha["spec"]["timezone"].as_str().expect("a zone"));
    let then = |minutes: i64| now.saturating_add(minutes.minutes()).strftime("%H:%M").to_string();
    let hours = |from: &str, to: &str| json!({"timeOfDay": {"from": from, "to": to, "currency": "CNY", "amountMinorMax": 300}});
    in_force(&app, "TimeOfDay", &hours(&then(-60), &then(60)));
    assert_eq!(pays(&app, "day", &[300, 301]), [true, false]);
    in_force(&app, "TimeOfDay", &hours(&then(120), &then(180)));
    assert_eq!(pays(&app, "later", &[301]), [true]);

    let list = named("list");
    in_force(&app, "List", &json!({"list": {"name": list}}));
    assert_eq!(pays(&app, "unlisted", &[100]), [true]);
    list_payer(&app, &list);
    assert_eq!(pays(&app, "listed", &[100]), [false]);

    in_force(&app, "NewMerchant", &json!({"newMerchant": {"days": 365, "paymentsPerDayMax": 1}}));
    assert_eq!(pays(&app, "new", &[100, 100]), [true, false]);
    let sum = json!([{"currency": "CNY", "amountMinorMax": 1_000}]);
    in_force(&app, "NewMerchant", &json!({"newMerchant": {"days": 365, "amountsPerDay": sum}}));
    assert_eq!(pays(&app, "new-sum", &[600, 401, 400]), [true, false, true]);

    let parts = json!({"windowSeconds": 600, "paymentsMin": 2, "currency": "CNY", "amountMinorMax": 1_000});
    in_force(&app, "SplitOrder", &json!({"splitOrder": parts}));
    assert_eq!(pays(&app, "parts", &[600, 401, 400]), [true, false, true]);

    kubectl::patch(&["ptn", &app.tenant], &json!({"spec": {"risk": null}})).expect("accepted");
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
    assert_eq!(pays(&app, "without", &[600]), [true]);
}

/// The sender of codes lies where nobody answers: each policy says what becomes of the payment.
#[test]
fn a_payer_who_cannot_be_sent_a_code_is_held_to_the_policy() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let ca = std::fs::read_to_string(
        Pki::create(tempfile::tempdir().expect("a folder").path()).expect("a CA").trust().join("ca.crt"),
    )
    .expect("its certificate");
    let asks = |url: &str, on_error: &str| {
        let amount = json!({"currency": "CNY", "amountMinorMax": 300});
        let policy = json!({"name": named("proof"), "type": "Amount", "action": "StepUp", "onError": on_error,
            "amount": amount});
        json!({"spec": {
            "network": {"egressCidrs": ["203.0.113.0/24"]},
            "risk": {"stepUp": {"url": url, "caPem": ca}, "policies": [policy]},
        }})
    };
    // TEST-NET-3: nobody is there.
    let nobody = "https://203.0.113.7:8443/send";
    for (on_error, status, code) in [
        ("Block", "Failed", json!("StepUpFailed")),
        ("Allow", "Succeeded", Value::Null),
        ("Hold", "Processing", Value::Null),
    ] {
        kubectl::patch(&["ptn", &app.tenant], &asks(nobody, on_error)).expect("accepted");
        tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
        let paid = app.pay_as(&named("payer"), &named(&format!("proof-{on_error}")), 301).expect("stored");
        assert_eq!((&paid["status"], &paid["failureCode"]), (&json!(status), &code), "{on_error}: {paid}");
        let little = app.pay_as(&named("payer"), &named(&format!("little-{on_error}")), 300).expect("stored");
        assert_eq!(little["status"], "Succeeded", "{little}");
    }
    kubectl::patch(&["ptn", &app.tenant], &asks("https://127.0.0.1:8443", "Block")).expect("accepted");
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "False", Duration::from_secs(60));
    let before = json!({"spec": {"risk": null, "network": {"egressCidrs": null}}});
    kubectl::patch(&["ptn", &app.tenant], &before).expect("accepted");
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
    let _ = ready("alpha", 60);
}
