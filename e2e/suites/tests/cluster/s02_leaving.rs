//! A deleted Channel stays while a payment on it is open, says how many, and
//! then goes.

use std::time::Duration;

use payplane_e2e::faults::Frozen;
use payplane_e2e::merchant::App;
use payplane_e2e::{books, env, faults, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

const NAMESPACE: &str = "ptn-alpha";
const LEAVING: [&str; 4] = ["pch", "leaving", "-n", NAMESPACE];
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// The simulated network's amount for "Processing, and Succeeded after two seconds".
const SUCCEEDS_LATER: i64 = 19_002;

/// Whether something of the channel's name is still there.
fn get(kind: &str, name: &str) -> Option<Value> {
    kubectl::get(&[kind, name, "-n", NAMESPACE])
}

#[test]
fn a_deleted_channel_stays_until_no_payment_on_it_is_open() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready("alpha", 60);
    let mut leaving = tenant::channel("alpha", "leaving", 0);
    leaving["spec"]["methods"] = json!([{"name": "qr", "fees": [{"currency": "CNY", "basisPoints": 0}]}]);
    leaving["spec"]["simulator"]["credentials"] = json!({"name": "leaving-credentials"});
    tenant::credentials_as("alpha", "leaving-credentials");
    tenant::apply(&leaving);
    tenant::await_condition(&LEAVING, "Ready", "True", Duration::from_secs(60));

    let network = faults::pods("simnet", "app.kubernetes.io/name=simulator");
    let by_leaving = App { method: "qr".into(), ..app.clone() };
    let order = format!("leaving-{}", env::seed());
    let taken = by_leaving.pay(&order, SUCCEEDS_LATER, "CNY").expect("taken");
    let frozen = Frozen::freeze(network);
    assert_eq!(taken["status"], "Processing", "{taken}");

    // Its Secret goes first, as in `kubectl delete -f` of a file that holds both.
    let _ = kubectl::ok(&["delete", "secret", "leaving-credentials", "-n", NAMESPACE]);
    tenant::await_reason(&LEAVING, "Ready", "CredentialsMissing", GONE_WITHIN);
    let _ = kubectl::ok(&[&["delete", "--wait=false"], &LEAVING[..]].concat());
    let said = tenant::await_told(&LEAVING, "OpenPayments", "pending", GONE_WITHIN);
    let (_, _, message) = tenant::condition(&said, "Ready").expect("just seen");
    let one = ["1 pending, 0 unknown", "0 pending, 1 unknown"];
    assert!(one.iter().any(|count| message.contains(count)), "{message}");
    let refused = by_leaving.pay(&format!("new-{order}"), 100, "CNY");
    assert!(refused.as_ref().is_err_and(|said| said.contains("NoChannel")), "no new payments: {refused:?}");
    // Longer than any look of the operator's, and the channel still has its flow.
    std::thread::sleep(Duration::from_secs(6));
    assert!(get("pch", "leaving").is_some() && get("networkpolicy", "channel-leaving").is_some());

    drop(frozen);
    wait::until("the channel to go", GONE_WITHIN, || {
        get("pch", "leaving").map_or(Ok(()), |channel| Err(channel["status"].to_string()))
    });
    assert!(get("networkpolicy", "channel-leaving").is_none(), "its flow went with it");
    let of_order = |what: &str| {
        books::sql("alpha", &format!("select {what} from gateway.orders where order_number = '{order}'"))
    };
    assert_eq!(of_order("status").trim(), "Succeeded", "it went only after the payment had ended");
    let since: f64 =
        of_order("extract(epoch from now() - completed_at)").trim().parse().expect("it has ended");
    assert!(since <= tenant::HEALED_WITHIN.as_secs_f64(), "the channel went {since} s after its payment");
    books::assert_balanced("alpha");
}
