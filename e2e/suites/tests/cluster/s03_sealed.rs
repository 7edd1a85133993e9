//! What the ledger says of its books outside of them proves them later.

use std::time::Duration;

use payplane_e2e::{env, kubectl, wait};
use serde_json::Value;

use crate::s03_payments::ready;

const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// The heads in the logs of all pods, of so long.
pub(crate) fn published(namespace: &str, since: &str) -> Vec<Value> {
    let selector =
        ["logs", "-n", namespace, "-l", "payplane.io/component=ledger", "--tail=-1", "--since", since];
    // A pod that only starts has none yet.
    let log = kubectl::attempt(&selector).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| serde_json::from_str(line["head"].as_str()?).ok()).collect()
}

pub(crate) fn verify(namespace: &str, heads: &str) -> Result<String, String> {
    let exec =
        ["exec", "-i", "-n", namespace, "deploy/ledger", "--", "/payplane", "ledger", "verify", "--heads=-"];
    kubectl::told(&kubectl::run(&exec, Some(heads)))
}

#[test]
fn published_heads_prove_the_books() {
    if !env::cluster() {
        return;
    }
    let (app, namespace) = (ready("alpha", 60), "ptn-alpha");
    let _ = ready("beta", 100);
    let last =
        || published(namespace, "24h").iter().filter_map(|head| head["position"].as_i64()).max().unwrap_or(0);
    let before = last();
    let paid = app.pay(&format!("sealed-{}", env::seed()), 1_000, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    wait::until("a head after the payment", HEAD_WITHIN, || {
        (last() > before).then_some(()).ok_or_else(|| format!("the last one is at {before}"))
    });
    let heads = published(namespace, "24h");
    let lines = |heads: &[Value]| heads.iter().map(|head| format!("{head}\n")).collect::<String>();
    let proven = verify(namespace, &lines(&heads)).expect("the books are what was published");
    assert!(proven.contains("proven by heads up to"), "{proven}");
    assert!(!proven.contains("broken"), "{proven}");

    let mut forged = heads.clone();
    forged[0]["hash"] = "00".repeat(32).into();
    let refused = verify(namespace, &lines(&forged)).expect_err("it was signed otherwise");
    assert!(refused.contains("signature does not hold"), "{refused}");
    let refused = verify("ptn-beta", &lines(&heads)).expect_err("another tenant's books and key");
    assert!(refused.contains("no head that --key signed"), "{refused}");
}
