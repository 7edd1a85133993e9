//! Bad updates of a tenant that is being paid (crds/updates.yaml): the API server
//! or the operator names the field, and payments go on all the while.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use payplane_e2e::merchant::App;
use payplane_e2e::tenant::HEALED_WITHIN;
use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;
use crate::s07_manifests::{says, table};

/// A pod without a node is told after 20 s.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn bad_updates_of_a_paying_tenant_are_named_and_it_goes_on_paying() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    let payer = Payer { app, number: 0.into() };
    let books = kubectl::get(&["ptn", "alpha"]).expect("the tenant is there")["status"]["booksId"].clone();
    let methods = json!({"spec": {"methods": tenant::channel("alpha", "sim", 60)["spec"]["methods"]}});
    let (mut refused, mut slowest, mut reasons) = (0, Duration::ZERO, BTreeSet::new());
    for row in table("updates") {
        let text = row.to_string().replace("\"BOOKS\"", &books.to_string());
        let text = text.replace("\"METHODS\"", &methods.to_string());
        let text = text.replace("\"WEEKDAYS\"", &weekdays().to_string());
        let row: Value = serde_json::from_str(&text).expect("still JSON");
        if row["refused"].is_string() {
            refuse(&row);
            refused += 1;
        } else {
            slowest = slowest.max(taken(&row, &payer));
            reasons.insert(row["reason"].to_string());
        }
        payer.pays(&row);
    }
    let paid = payer.number.get();
    println!(
        "figure: bad_updates={} of a paying tenant, {refused} refused by the API server",
        table("updates").len()
    );
    println!(
        "figure: healed_slowest={} ms after {reasons:?}, {paid} payments, 0 failed",
        slowest.as_millis()
    );
    assert!(table("updates").len() - refused >= 7 && refused >= 10);
}

/// Every weekday of the next twelve weeks.
fn weekdays() -> Value {
    let today = jiff::Zoned::now().date();
    let days = (0..84).map(|ahead| today.saturating_add(jiff::Span::new().days(ahead)));
    days.filter(|day| day.weekday().to_monday_one_offset() < 6).map(|day| json!(day.to_string())).collect()
}

fn target(row: &Value) -> &'static [&'static str] {
    if row["kind"] == "Channel" { &["pch", "sim", "-n", "ptn-alpha"] } else { &["ptn", "alpha"] }
}

/// The API server refuses it, names the field and says why.
fn refuse(row: &Value) {
    let before = kubectl::get(target(row)).expect("it is there");
    let said = kubectl::patch(target(row), &row["update"]).expect_err(&row.to_string());
    for words in [&row["refused"], &row["says"]] {
        assert!(said.contains(words.as_str().expect("words")), "{row}: {said}");
    }
    let after = kubectl::get(target(row)).expect("it is there");
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"], "{row}");
}

/// The operator says what is wrong, money goes on moving, and once it is mended
/// all is Ready again without another touch.
fn taken(row: &Value, payer: &Payer) -> Duration {
    for secret in row["given"].as_array().into_iter().flatten() {
        let mut secret = secret.clone();
        secret["metadata"]["namespace"] = "ptn-alpha".into();
        tenant::apply(&secret);
    }
    kubectl::patch(target(row), &row["update"]).unwrap_or_else(|said| panic!("{row}: {said}"));
    let reason = row["reason"].as_str().expect("a reason");
    wait::until(&format!("{row}"), FOUND_WITHIN, || says(row, reason, kubectl::get(target(row))));
    for both in [&["ptn", "alpha"][..], &["pch", "sim", "-n", "ptn-alpha"]] {
        let live = kubectl::get(both).expect("it is there");
        let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let available = conditions.iter().find(|c| c["type"] == "Available").expect("it is told");
        assert_eq!(available["status"], "True", "{row}: money moves, so it is available: {available}");
    }
    payer.pays(row);
    kubectl::patch(target(row), &row["mend"]).unwrap_or_else(|said| panic!("{row}: {said}"));
    let mended = Instant::now();
    tenant::await_condition(target(row), "Ready", "True", HEALED_WITHIN);
    let took = mended.elapsed();
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", HEALED_WITHIN);
    took
}

struct Payer {
    app: App,
    number: std::cell::Cell<u32>,
}

impl Payer {
    fn pays(&self, row: &Value) {
        self.number.set(self.number.get() + 1);
        let order = format!("update-{}-{}", self.number.get(), env::seed());
        let paid = self.app.pay(&order, 100, "CNY").unwrap_or_else(|said| panic!("{row}: {said}"));
        assert_eq!(paid["status"], "Succeeded", "{row}: {paid}");
    }
}
