//! The life of the books: a tenant that comes back finds them, one that does not
//! agree with them is refused and they go back to sleep.

use std::time::Duration;

use payplane_e2e::{books, env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::{ready, register};

const RETAINED: Duration = Duration::from_secs(180);

pub(crate) fn books_id(name: &str) -> String {
    let object = kubectl::get(&["ptn", name]).expect("the tenant is there");
    object["status"]["booksId"].as_str().expect("it has books").to_owned()
}

pub(crate) fn mark(target: &[&str]) -> Value {
    let object = kubectl::get(target).unwrap_or_else(|| panic!("{target:?} holds books and stays"));
    object["metadata"]["annotations"]["payplane.io/books-id"].clone()
}

/// Deletes a tenant and fails unless it is gone in time.
pub(crate) fn delete(name: &str) {
    let _ = kubectl::ok(&["delete", "ptn", name, "--timeout=180s"]);
}

/// The database sleeps: no pod of it is left, and CloudNativePG says so.
fn asleep(namespace: &str) {
    wait::until("the database to sleep", RETAINED, || {
        let pods = kubectl::list(&["pods", "-n", namespace, "-l", "cnpg.io/cluster=database"]);
        let cluster =
            kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", namespace]).ok_or("gone")?;
        let on = cluster["metadata"]["annotations"]["cnpg.io/hibernation"] == "on";
        if on && pods.is_empty() {
            Ok(())
        } else {
            Err(format!("{} pods, {}", pods.len(), cluster["status"]["phase"]))
        }
    });
}

#[test]
fn retained_books_are_found_again_and_conflicting_successors_are_refused() {
    if !env::cluster() {
        return;
    }
    let app = ready("keeper", 60);
    let order = format!("kept-{}", env::seed());
    let paid = app.pay(&order, 4_200, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    let id = books_id("keeper");
    let spec = || {
        kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", "ptn-keeper"])
            .expect("it holds books and stays")["spec"]
            .clone()
    };
    let as_left = spec();
    let keys = || {
        ["tenant-ca", "seal-key", "notify-key", "data-key"].map(|name| {
            let secret =
                kubectl::get(&["secret", name, "-n", "ptn-keeper"]).expect("it stays with the books");
            (secret["metadata"]["uid"].clone(), secret["data"].clone())
        })
    };
    let kept = keys();
    // Nobody can count a channel's payments while the books sleep, so it waits for them.
    tenant::apply(&tenant::channel("keeper", "left", 60));
    let deleted = ["pch", "left", "-n", "ptn-keeper"];
    tenant::await_condition(&deleted, "Ready", "True", Duration::from_secs(60));
    let watch = kubectl::Watch::start(&["ptn", "keeper"], "{.status.conditions[?(@.type=='Ready')].reason}");
    delete("keeper");
    asleep("ptn-keeper");
    assert!(watch.end().contains("HibernationPending"), "the condition says what the deletion waits for");
    let _ = kubectl::ok(&["delete", "pch", "left", "-n", "ptn-keeper", "--wait=false"]);
    tenant::await_told(&deleted, "TenantMissing", "books that are kept", tenant::HEALED_WITHIN);
    for target in [
        &["namespace", "ptn-keeper"][..],
        &["cluster.postgresql.cnpg.io", "database", "-n", "ptn-keeper"],
        &["pvc", "database-1", "-n", "ptn-keeper"],
    ] {
        assert_eq!(mark(target), id.as_str(), "{target:?}");
    }
    let left = kubectl::list(&[
        "deployments,services,jobs,pods",
        "-n",
        "ptn-keeper",
        "-l",
        "payplane.io/component!=database",
    ]);
    let left: Vec<_> = left.iter().filter(|o| o["metadata"]["deletionTimestamp"].is_null()).collect();
    assert!(left.is_empty(), "nothing runs any more: {left:#?}");

    let mut other = tenant::development("keeper");
    other["spec"]["currencies"] = json!(["USD"]);
    other["spec"]["database"] = json!({"managed": {"parameters": {"work_mem": "9MB"}}});
    tenant::apply(&other);
    let conflict = "currencies: the books are kept in CNY";
    tenant::await_told(&["ptn", "keeper"], "BooksConflict", conflict, Duration::from_secs(240));
    asleep("ptn-keeper");
    assert_eq!(spec(), as_left, "a successor that is refused changes nothing about what holds the books");
    if env::full() {
        // Deleting the wrong successor leaves the books alone too.
        delete("keeper");
        asleep("ptn-keeper");
        assert_eq!(mark(&["namespace", "ptn-keeper"]), id.as_str());
        tenant::apply(&other);
        tenant::await_reason(&["ptn", "keeper"], "Ready", "BooksConflict", Duration::from_secs(240));
    }
    tenant::apply(&tenant::development("keeper"));
    tenant::await_healed(&["ptn", "keeper"], "BooksConflict");
    takes_up_again(&id, &order, paid["orderDate"].as_str().expect("a date"));
    wait::until("the channel without payments to go", Duration::from_secs(30), || {
        if kubectl::get(&deleted).is_none() { Ok(()) } else { Err("it is still there".to_owned()) }
    });
    assert_eq!(keys(), kept, "what was sealed and signed before can still be verified");
}

/// The conflicting successor is corrected in place.
fn takes_up_again(id: &str, order: &str, date: &str) {
    tenant::ready(&tenant::development("keeper"), 60);
    assert_eq!(books_id("keeper"), id, "the same books");
    let kept = format!("select status from gateway.orders where order_number = '{order}'");
    assert_eq!(books::sql("keeper", &kept).trim(), "Succeeded");
    let app = register("keeper");
    let refunded = app.refund(date, order, "R1", 1_200).expect("the old payment is refunded");
    assert_eq!(refunded["status"], "Succeeded", "{refunded}");
    books::assert_balanced("keeper");
}

#[test]
#[ignore = "long form: make e2e-full"]
fn an_unhealthy_database_is_released_as_it_is_and_says_so() {
    if !env::cluster() {
        return;
    }
    let app = ready("keeper", 60);
    let order = format!("unhealthy-{}", env::seed());
    app.pay(&order, 300, "CNY").expect("paid");
    let id = books_id("keeper");
    let watch = kubectl::Watch::start(&["ptn", "keeper"], "{.status.conditions[?(@.type=='Ready')].reason}");
    unschedulable(true);
    let _ = kubectl::ok(&["delete", "pod", "database-1", "-n", "ptn-keeper", "--force", "--grace-period=0"]);
    wait::until("the database to be unhealthy", Duration::from_secs(60), || {
        let cluster =
            kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", "ptn-keeper"]).ok_or("gone")?;
        let ready = cluster["status"]["readyInstances"].as_i64().unwrap_or(0);
        if ready == 0 { Ok(()) } else { Err(format!("{ready} ready")) }
    });
    delete("keeper");
    unschedulable(false);
    assert!(watch.end().contains("BooksUnhibernated"), "the condition says how the books were left");
    let namespace = kubectl::get(&["namespace", "ptn-keeper"]).expect("the namespace holds books and stays");
    let notes = &namespace["metadata"]["annotations"];
    assert_eq!(
        (&notes["payplane.io/books-id"], &notes["payplane.io/books-state"]),
        (&json!(id), &json!("BooksUnhibernated"))
    );
    for policy in ["default-deny", "database"] {
        let kept = kubectl::get(&["networkpolicy", policy, "-n", "ptn-keeper"]);
        assert!(kept.is_some(), "{policy} shuts off the database that is awake");
    }
    let _ = ready("keeper", 60);
    assert_eq!(books_id("keeper"), id);
    let kept = format!("select status from gateway.orders where order_number = '{order}'");
    assert_eq!(books::sql("keeper", &kept).trim(), "Succeeded");
    let namespace = kubectl::get(&["namespace", "ptn-keeper"]).expect("there");
    assert!(namespace["metadata"]["annotations"]["payplane.io/books-state"].is_null(), "it is well again");
}

/// Keeps new pods off every node, or lets them in again.
fn unschedulable(on: bool) {
    for node in kubectl::list(&["nodes"]) {
        let name = node["metadata"]["name"].as_str().expect("a name");
        let _ = kubectl::ok(&[if on { "cordon" } else { "uncordon" }, name]);
    }
}
