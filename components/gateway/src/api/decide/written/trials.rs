//! A proposal is read strictly: what is wrong with it is named.

use serde_json::{Value, json};

use super::read;

fn good(kind: &str, outcome: &str) -> Value {
    json!({"kind": kind, "itemId": "0194f3a0-0000-7000-8000-000000000001", "outcome": outcome,
        "reason": "the bank says so", "reference": "statement 7, line 3"})
}

fn field(body: &Value) -> Option<String> {
    read(body.to_string().as_bytes()).err().map(|problem| problem.field.unwrap_or_default())
}

#[test]
fn each_kind_has_its_outcomes_and_a_success_its_receipt() {
    for (kind, outcome, named) in [
        ("Payment", "Failed", None),
        ("Refund", "Failed", None),
        ("Payout", "Failed", None),
        ("Surplus", "TakeToIncome", None),
        ("Contradiction", "Resolved", None),
        ("Payment", "Succeeded", Some("networkId")),
        ("Surplus", "Refunded", Some("networkId")),
        ("Payment", "Retry", Some("outcome")),
        ("Surplus", "Retry", Some("outcome")),
        ("Surplus", "Failed", Some("outcome")),
        ("Contradiction", "Succeeded", Some("outcome")),
        ("Reversal", "Failed", Some("outcome")),
        ("payment", "Failed", Some("kind")),
        ("Order", "Failed", Some("kind")),
    ] {
        assert_eq!(field(&good(kind, outcome)).as_deref(), named, "{kind} {outcome}");
    }
    let mut success = good("Payout", "Succeeded");
    success["networkId"] = "N-1".into();
    assert_eq!(field(&success).as_deref(), Some("networkTime"));
    success["networkTime"] = "2026-11-24T08:30:00Z".into();
    assert_eq!(field(&success), None);
}

#[test]
fn what_is_wrong_is_named() {
    let long = "x".repeat(201);
    for (name, value) in [
        ("reason", Value::Null),
        ("reason", "".into()),
        ("reason", long.clone().into()),
        ("reason", "a\u{0}b".into()),
        ("reason", "a\nb".into()),
        ("reason", 7.into()),
        ("reference", Value::Null),
        ("reference", long[..129].into()),
        ("reference", "\u{1b}[2J".into()),
        ("itemId", "1".into()),
        ("itemId", "' OR 1=1 --".into()),
        ("itemId", Value::Null),
        ("kind", Value::Null),
        ("outcome", 1.into()),
        ("networkId", "N-1".into()),
        ("more", true.into()),
    ] {
        let mut body = good("Payment", "Failed");
        body[name] = value.clone();
        assert_eq!(field(&body).as_deref(), Some(name), "{value}");
    }
    let mut body = good("Payment", "Succeeded");
    body["networkTime"] = "2026-11-24T08:30:00Z".into();
    for bad in ["", "a b", "\u{7ea2}", &long] {
        body["networkId"] = bad.into();
        assert_eq!(field(&body).as_deref(), Some("networkId"), "{bad}");
    }
    body["networkId"] = "N-1".into();
    for bad in ["", "yesterday", "2026-11-24", "2026-11-24 08:30", "99999-01-01T00:00:00Z"] {
        body["networkTime"] = bad.into();
        assert_eq!(field(&body).as_deref(), Some("networkTime"), "{bad}");
    }
}
