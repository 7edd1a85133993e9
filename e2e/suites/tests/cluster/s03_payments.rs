//! Two tenants side by side: payments and refunds in both, each with books of
//! its own that balance, and one booking for a request sent many times at once.

use std::collections::BTreeMap;
use std::process::Command;

use payplane_e2e::{books, env, merchant::App, metrics, tenant};
use serde_json::json;

/// Registers merchant M1 and app `app1` at a tenant.
pub(crate) fn register(name: &str) -> App {
    let script = env::root().join("e2e/scripts/merchant.sh");
    let output = Command::new(script).args([name, "app1", "M1"]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    App { tenant: name.into(), app: "app1".into(), method: "card".into(), folder: format!("/keys/{name}") }
}

pub(crate) fn ready(name: &str, basis_points: i64) -> App {
    tenant::ready(&tenant::development(name), basis_points);
    register(name)
}

#[test]
fn two_tenants_are_paid_and_their_books_balance() {
    if !env::cluster() {
        return;
    }
    let apps = [ready("alpha", 60), ready("beta", 100)];
    for (app, fee) in apps.iter().zip([60, 100]) {
        let order = format!("two-{}", env::seed());
        let paid = app.pay(&order, 10_000, "CNY").expect("paid");
        assert_eq!(paid["status"], "Succeeded", "{paid}");
        assert_eq!(paid["feeMinor"], fee, "{paid}");
        let date = paid["orderDate"].as_str().expect("a date");
        let refunded = app.refund(date, &order, "R1", 2_500).expect("refunded");
        assert_eq!(refunded["status"], "Succeeded", "{refunded}");
        let over = app.refund(date, &order, "R2", 7_501);
        assert!(over.is_err_and(|e| e.contains("RefundExceedsPayment")), "a refund above the payment");

        books::assert_balanced(&app.tenant);
        let id = paid["ledgerTransactionId"].as_str().expect("booked");
        let entries = books::sql(
            &app.tenant,
            &format!(
                "select count(*), sum(amount_minor) filter (where side = 'debit') from ledger.entries where transaction_id = '{id}'"
            ),
        );
        assert_eq!(entries.trim(), "3|10000");
    }
}

/// How many payments each gateway pod was asked for.
fn pays(namespace: &str) -> BTreeMap<String, u64> {
    metrics::of_pods(namespace, "gateway", "payplane_gateway_requests_total{operation=\"pay\"")
}

#[test]
fn the_same_request_fifty_times_at_once_books_once() {
    if !env::cluster() {
        return;
    }
    let mut two = tenant::development("alpha");
    two["spec"]["components"] = json!({"gateway": {"replicas": 2}});
    tenant::ready(&two, 60);
    let app = register("alpha");
    let order = format!("fifty-{}", env::seed());
    let before = pays("ptn-alpha");
    assert_eq!(before.len(), 2, "{before:?}");
    let said = app.burst(&order, 5_000, "CNY", 50).expect("the burst ran");
    for (pod, count) in pays("ptn-alpha") {
        let received = count - before.get(&pod).copied().unwrap_or(0);
        println!("figure: burst_requests_at_{pod}={received} requests");
        assert!(received > 0, "{pod} took none of the 50");
    }
    assert_eq!(said["requests"], 50, "{said}");
    assert_eq!(said["orders"].as_array().map(Vec::len), Some(1), "{said}");
    // A copy that arrives while the first is under way is told so, and no more.
    let answered = said["succeeded"].as_u64().zip(said["processing"].as_u64());
    assert!(answered.is_some_and(|(done, under_way)| done + under_way == 50), "{said}");
    let after = app.pay(&order, 5_000, "CNY").expect("the same payment once more");
    assert_eq!(after["status"], "Succeeded", "{after}");
    let booked = books::sql(
        "alpha",
        &format!(
            "select count(*) from gateway.orders o join ledger.transactions t on t.key = 'sale:' || o.order_id where o.order_number = '{order}'"
        ),
    );
    assert_eq!(booked.trim(), "1");
    let attempts = books::sql(
        "alpha",
        &format!(
            "select count(*) from gateway.attempts a join gateway.orders o using (order_id) where o.order_number = '{order}'"
        ),
    );
    assert_eq!(attempts.trim(), "1");
}
