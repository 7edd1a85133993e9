//! A channel's methods, fees and limits, and the tenant's currencies: what they
//! let through, and at what price.

use std::time::Duration;

use payplane_e2e::{env, kubectl, merchant::App, tenant};
use serde_json::{Value, json};

use crate::s03_payments::ready;

fn in_force(channel: &Value) {
    let (name, namespace) = (&channel["metadata"]["name"], &channel["metadata"]["namespace"]);
    tenant::apply(channel);
    let target = ["pch", name.as_str().expect("a name"), "-n", namespace.as_str().expect("a namespace")];
    tenant::await_condition(&target, "Ready", "True", Duration::from_secs(60));
}

fn pays(app: &App, what: &str, amount_minor: i64, currency: &str) -> Result<Value, String> {
    app.pay(&format!("{what}-{}", env::seed()), amount_minor, currency)
}

#[test]
fn fees_limits_and_methods_are_what_the_channel_says() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let mut channel = tenant::channel("alpha", "sim", 60);
    channel["spec"]["methods"] = json!([
        {
            "name": "card",
            "fees": [{"currency": "CNY", "basisPoints": 50, "fixedMinor": 7}],
            "limits": [{"currency": "CNY", "perPaymentMinorMax": 20_000}],
        },
        {"name": "wallet", "fees": [{"currency": "CNY", "basisPoints": 100, "fixedMinor": 3, "maxMinor": 50}]},
        {"name": "dated", "fees": [{"currency": "CNY", "basisPoints": 100, "changes": [
            {"from": "2020-01-01", "basisPoints": 200, "fixedMinor": 1, "maxMinor": 70},
            {"from": "2099-01-01", "basisPoints": 0},
        ]}]},
    ]);
    in_force(&channel);
    let paid = pays(&app, "priced", 20_000, "CNY").expect("as much as the limit");
    assert_eq!((&paid["status"], &paid["feeMinor"]), (&json!("Succeeded"), &json!(107)), "{paid}");
    let none = |answer: Result<Value, String>| {
        assert!(answer.as_ref().is_err_and(|e| e.contains("NoChannel")), "{answer:?}")
    };
    none(pays(&app, "above", 20_001, "CNY"));
    none(pays(&app, "unpriced", 100, "USD"));
    let wallet = App { method: "wallet".into(), ..app.clone() };
    let paid = pays(&wallet, "wallet", 30_000, "CNY").expect("no limit was given");
    assert_eq!((&paid["status"], &paid["feeMinor"]), (&json!("Succeeded"), &json!(50)), "{paid}");
    let dated = App { method: "dated".into(), ..app.clone() };
    for (order, amount, fee) in [("dated", 3_000, 61), ("dated-most", 30_000, 70)] {
        let paid = pays(&dated, order, amount, "CNY").expect("no limit was given");
        assert_eq!(paid["feeMinor"], json!(fee), "{paid}");
    }
    none(pays(&App { method: "qr".into(), ..app.clone() }, "unknown", 100, "CNY"));
    let _ = ready("alpha", 60);
}

/// A payment method of a Channel, with further members.
fn method(name: &str, more: &Value) -> Value {
    let mut method = json!({"name": name, "fees": [{"currency": "CNY", "basisPoints": 60}]});
    for (member, value) in more.as_object().into_iter().flatten() {
        method[member] = value.clone();
    }
    method
}

#[test]
fn limits_and_routing_are_what_the_channels_say() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    // Counters of a channel's name last for the month.
    let named = |what: &str| format!("{what}-{}", env::seed());
    let with = |name: &str, methods: Vec<Value>| {
        let mut channel = tenant::channel("alpha", name, 60);
        channel["spec"]["methods"] = Value::Array(methods);
        channel
    };
    let pay = |method: &str, order: &str| {
        let by = App { method: method.to_owned(), ..app.clone() };
        by.pay_as("payer-1", &named(&format!("{method}-{order}")), 10_000).expect("the order is stored")
    };
    for scope in ["perChannel", "perMerchant", "perPayer"] {
        let limits = ["perDay", "perMonth"].map(|window| {
            [("amount", "amountMinorMax", 19_999), ("count", "paymentsMax", 1)].map(|(name, member, max)| {
                let limit = json!({"currency": "CNY", scope: {window: {member: max}}});
                method(&format!("{name}-{}", window.to_lowercase()), &json!({"limits": [limit]}))
            })
        });
        let name = named(&scope.to_lowercase());
        let methods = limits.concat();
        in_force(&with(&name, methods.clone()));
        for method in methods.iter().filter_map(|method| method["name"].as_str()) {
            let (one, two) = (pay(method, scope), pay(method, &format!("{scope}-2")));
            assert_eq!((&one["status"], &one["channel"]), (&json!("Succeeded"), &json!(name)), "{one}");
            assert_eq!(two["failureCode"], "LimitReached", "{scope} {method}: {two}");
        }
        let _ = kubectl::ok(&["delete", "pch", &name, "-n", "ptn-alpha"]);
    }
    let costs = |more: Value| {
        let mut cost = json!({"currency": "CNY", "basisPoints": 0});
        cost.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"costs": [cost]})
    };
    let dated = |more: Value| {
        let mut change = json!({"from": "2020-01-01", "basisPoints": 0});
        change.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        costs(json!({"basisPoints": 60, "changes": [change]}))
    };
    let none = json!({});
    let names = ["a", "b", "c"].map(|name| named(&format!("route-{name}")));
    let rows = [
        ("by-priority", json!({"priority": 5}), json!({"priority": 4}), 1),
        ("by-share", costs(json!({"basisPoints": 500})), costs(json!({"basisPoints": 10})), 1),
        ("by-fixed", costs(json!({"fixedMinor": 1_000})), none.clone(), 1),
        ("by-most", costs(json!({"basisPoints": 500, "maxMinor": 1})), none.clone(), 0),
        ("by-share-of-a-day", dated(json!({"basisPoints": 500})), none.clone(), 1),
        ("by-fixed-of-a-day", dated(json!({"fixedMinor": 1_000})), none.clone(), 1),
        ("by-most-of-a-day", dated(json!({"basisPoints": 500, "maxMinor": 1})), none.clone(), 0),
        ("by-weight", none.clone(), json!({"weight": 1}), 1),
    ];
    // Were it not for others, it would have every first turn.
    let first = |name: &str| method(name, &json!({"priority": 0}));
    let mut others = with(&names[2], rows.iter().map(|row| first(row.0)).collect());
    others["spec"]["merchants"] = json!(["nobody-else"]);
    in_force(&others);
    let same_place = |more: &Value| {
        let mut more = more.clone();
        if more["priority"].is_null() {
            more["priority"] = json!(1);
        }
        more
    };
    in_force(&with(&names[0], rows.iter().map(|row| method(row.0, &same_place(&row.1))).collect()));
    in_force(&with(&names[1], rows.iter().map(|row| method(row.0, &same_place(&row.2))).collect()));
    for (method, _, _, winner) in &rows {
        let paid = pay(method, "route");
        assert_eq!(paid["channel"], names[*winner].as_str(), "{method}: {paid}");
    }
    for name in names {
        let _ = kubectl::ok(&["delete", "pch", &name, "-n", "ptn-alpha"]);
    }
}

/// A currency is added to the books of a tenant that pays, and is never taken out again.
pub(crate) fn a_currency_is_added(app: &App) {
    let channel = |currencies: &[&str]| {
        let fees: Vec<_> = currencies.iter().map(|c| json!({"currency": c, "basisPoints": 100})).collect();
        let mut channel = tenant::channel(&app.tenant, "sim", 60);
        channel["spec"]["methods"] = json!([{"name": "card", "fees": fees}]);
        channel
    };
    tenant::apply(&channel(&["CNY", "JPY"]));
    let namespace = format!("ptn-{}", app.tenant);
    let target = ["pch", "sim", "-n", &namespace];
    tenant::await_reason(&target, "Ready", "CurrencyUnknown", Duration::from_secs(30));
    let currencies = |list: &[&str]| json!({"spec": {"currencies": list}});
    kubectl::patch(&["ptn", &app.tenant], &currencies(&["CNY", "USD", "JPY"])).expect("one more");
    tenant::await_condition(&target, "Ready", "True", Duration::from_secs(120));
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(120));
    let paid = pays(app, "yen", 900, "JPY").expect("paid");
    assert_eq!((&paid["status"], &paid["feeMinor"]), (&json!("Succeeded"), &json!(9)), "{paid}");
    let fewer = kubectl::patch(&["ptn", &app.tenant], &currencies(&["CNY", "USD"]));
    assert!(fewer.as_ref().is_err_and(|e| e.contains("currencies may only be added")), "{fewer:?}");
    let listed = kubectl::ok(&["get", "ptn", &app.tenant]);
    assert!(listed.contains(&format!("Suite tenant {}", app.tenant)), "people see its name: {listed}");
}

/// A merchant number that the network does not know moves nothing there: it refuses
/// unread, and says so with its signature, so the payment is over.
pub(crate) fn an_unknown_merchant_number_is_refused_by_the_network(app: &App) {
    let mut stranger = tenant::channel(&app.tenant, "stranger", 0);
    stranger["spec"]["simulator"]["merchantId"] = json!("M9");
    stranger["spec"]["methods"] =
        json!([{"name": "wallet", "fees": [{"currency": "CNY", "basisPoints": 0}]}]);
    in_force(&stranger);
    let answer = pays(&App { method: "wallet".into(), ..app.clone() }, "stranger", 100, "CNY");
    let paid = answer.expect("the order is stored");
    assert_eq!(
        (&paid["status"], &paid["failureCode"], &paid["ledgerTransactionId"]),
        (&json!("Failed"), &json!("ChannelUnavailable"), &Value::Null),
        "{paid}"
    );
}
