//! A bank's own PostgreSQL: outside the cluster, TLS with a verified name, logins
//! by password. What is wrong with it is named with its remedy and heals without
//! touching the tenant; then the tenant pays, and its books stay where they are.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use payplane_e2e::bank::{self, Bank};
use payplane_e2e::tenant::HEALED_WITHIN;
use payplane_e2e::{env, kubectl, tenant, wait};
use payplane_testkit::Pki;
use serde_json::{Value, json};

use crate::s03_payments::register;

/// A name of its own in each run: the namespace keeps the mark of books that are the bank's.
static NAME: LazyLock<String> = LazyLock::new(|| format!("outer-{}", env::seed()));
const FOUND: Duration = Duration::from_secs(60);

fn target() -> [&'static str; 2] {
    ["ptn", &NAME]
}

fn secret(name: &str, data: Value) {
    tenant::apply(&bank::secret(&NAME, name, data));
}

fn logins(owner: &str) {
    logins_with(owner, "of-ledger");
}

fn logins_with(owner: &str, ledger: &str) {
    secret(
        "bank-logins",
        json!({"payplane_owner": owner, "ledger": ledger, "gateway": "of-gateway", "payplane_vault": "of-payplane_vault"}),
    );
}

/// The reason is there, names what is wrong, and says what to do.
fn says(reason: &str, words: &str) {
    tenant::await_told(&target(), reason, words, FOUND);
}

/// What is wrong with the server, in the order in which it is looked at: how it
/// came about, how it is mended, and what the condition says meanwhile.
fn faults() -> Vec<[&'static str; 3]> {
    let mut faults = vec![["ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync", "fsync is off"]];
    if env::full() {
        faults.extend([
            [
                "ALTER SYSTEM SET synchronous_commit = off",
                "ALTER SYSTEM RESET synchronous_commit",
                "synchronous_commit is off",
            ],
            [
                "REVOKE CREATE ON DATABASE payplane FROM payplane_owner",
                "GRANT CREATE ON DATABASE payplane TO payplane_owner",
                "may not create schemas",
            ],
        ]);
    }
    faults.push(["ALTER ROLE ledger SUPERUSER", "ALTER ROLE ledger NOSUPERUSER", "administrative rights"]);
    if env::full() {
        faults.push(["ALTER ROLE gateway NOLOGIN", "ALTER ROLE gateway LOGIN", "role gateway cannot log in"]);
    }
    faults
}

/// Faults one behind the other: each is mended on the database, or by a Secret,
/// and the next is found by the same tenant, which nobody touches.
async fn finds_faults(bank: &mut Bank) {
    says("CredentialsMissing", "spec.database.external.ca: Secret bank-ca");
    let events = kubectl::list(&["events", "-n", "default"]);
    let told =
        |e: &Value| e["involvedObject"]["name"] == NAME.as_str() && e["reason"] == "CredentialsMissing";
    assert!(events.iter().any(told), "an event tells the same");
    secret("bank-ca", json!({"ca.crt": bank.ca()}));
    says("CredentialsMissing", "spec.database.external.credentials: Secret bank-logins");
    logins("of-payplane_owner");
    says("DatabaseUnreachable", "Connection refused");
    bank.present(!env::full());
    bank.server.launch().await.expect("PostgreSQL starts again");
    if env::full() {
        says("DatabaseUnreachable", "not for this host's name");
        bank.present(true);
        bank.sql("SELECT pg_reload_conf()").await;
    }
    for [_, mend, words] in faults() {
        says("DatabaseUnfit", words);
        bank.sql(mend).await;
        bank.sql("SELECT pg_reload_conf()").await;
        let mended = Instant::now();
        wait::until(&format!("{words:?} to be named no more"), HEALED_WITHIN, || {
            let object = kubectl::get(&target()).ok_or("gone")?;
            match tenant::condition(&object, "Ready") {
                Some((_, _, message)) if message.contains(words) => Err(message),
                _ => Ok(()),
            }
        });
        println!("figure: external_fault_healed={} s ({words})", mended.elapsed().as_secs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_database_is_judged_named_and_used() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let mut bank = Bank::open(&env::lab_cluster().expect("checked")).await;
    let outer = bank.tenant(&NAME);
    for [wrong, _, _] in faults() {
        bank.sql(wrong).await;
    }
    bank.server.kill_9().expect("the server is down");
    tenant::apply(&outer);
    finds_faults(&mut bank).await;
    let started = Instant::now();
    tenant::ready(&outer, 60);
    println!("figure: external_ready_after_mending={} s", started.elapsed().as_secs());
    let generation = kubectl::get(&target()).expect("it is there")["metadata"]["generation"].clone();
    assert_eq!(generation, 1, "nobody touched the tenant");
    pays(&bank).await;
    comes_back(&mut bank).await;
    reads_only(&bank).await;
    if env::full() {
        a_password_changes(&bank).await;
    }
    stays(&bank, &outer).await;
}

async fn pays(bank: &Bank) {
    let app = register(&NAME);
    let order = format!("outer-{}", env::seed());
    let paid = app.pay(&order, 10_000, "CNY").expect("paid");
    assert_eq!((&paid["status"], &paid["feeMinor"]), (&json!("Succeeded"), &json!(60)), "{paid}");
    let date = paid["orderDate"].as_str().expect("a date");
    assert_eq!(app.refund(date, &order, "R1", 2_500).expect("refunded")["status"], "Succeeded");
    let sum = "select coalesce(sum(case side when 'debit' then amount_minor else -amount_minor end), 0) \
               from ledger.entries join ledger.accounts using (account_id) group by transaction_id, currency";
    let sums = bank.sql(sum).await;
    assert!(sums.len() >= 2 && sums.iter().all(|sum| sum == "0"), "every transaction balances: {sums:?}");
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) \
                     where usename in ('ledger', 'gateway', 'payplane_vault') and client_addr is not null and not ssl";
    assert_eq!(bank.sql(encrypted).await, ["0"], "every session is encrypted");
}

/// A server that dies under a Ready tenant: Available says so, and heals.
async fn comes_back(bank: &mut Bank) {
    let killed = Instant::now();
    bank.server.kill_9().expect("the server is down");
    tenant::await_condition(&target(), "Available", "False", Duration::from_secs(30));
    println!("figure: external_away_noticed={} s", killed.elapsed().as_secs());
    bank.server.launch().await.expect("PostgreSQL starts again");
    tenant::await_condition(&target(), "Ready", "True", HEALED_WITHIN);
    let paid = register(&NAME).pay(&format!("back-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}

/// A server that takes no writes, as one whose disk is nearly full: named, healed.
async fn reads_only(bank: &Bank) {
    bank.sql("ALTER SYSTEM SET default_transaction_read_only = on").await;
    bank.sql("SELECT pg_reload_conf()").await;
    tenant::await_told(&target(), "DatabaseReadOnly", "", Duration::from_secs(30));
    bank.sql("ALTER SYSTEM RESET default_transaction_read_only").await;
    bank.sql("SELECT pg_reload_conf()").await;
    tenant::await_condition(&target(), "Ready", "True", HEALED_WITHIN);
}

/// A login is rotated: running pods use the new password once the kubelet has
/// brought it, without a restart.
async fn a_password_changes(bank: &Bank) {
    let pods = ["pods", "-n", &format!("ptn-{}", *NAME), "-l", "payplane.io/component=ledger"];
    let uids =
        || kubectl::list(&pods).iter().map(|pod| pod["metadata"]["uid"].to_string()).collect::<Vec<_>>();
    let before = uids();
    bank.sql("ALTER ROLE ledger PASSWORD 'rotated'").await;
    logins_with("of-payplane_owner", "rotated");
    bank.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger'").await;
    let changed = Instant::now();
    let app = register(&NAME);
    wait::until("a payment on the new password", Duration::from_secs(240), || {
        let paid = app.pay(&format!("rotated-{}", env::seed()), 100, "CNY")?;
        if paid["status"] == "Succeeded" { Ok(()) } else { Err(paid.to_string()) }
    });
    println!("figure: external_password_in_use={} s", changed.elapsed().as_secs());
    tenant::await_condition(&target(), "Ready", "True", Duration::from_secs(60));
    assert_eq!(uids(), before, "no pod was replaced");
}

/// The books are the bank's: they are never destroyed from here, and found again.
async fn stays(bank: &Bank, outer: &Value) {
    let id = kubectl::get(&target()).expect("there")["status"]["booksId"].as_str().expect("books").to_owned();
    let delete = json!({"spec": {"deletionPolicy": "Delete", "destroyBooks": id}});
    let refused = kubectl::patch(&target(), &delete);
    assert!(refused.as_ref().is_err_and(|e| e.contains("only its owner may destroy it")), "{refused:?}");
    let _ = kubectl::ok(&["delete", "ptn", &NAME, "--timeout=120s"]);
    assert_eq!(bank.sql("select books_id::text from payplane.control").await, std::slice::from_ref(&id));
    tenant::ready(outer, 60);
    assert_eq!(kubectl::get(&target()).expect("there")["status"]["booksId"], id.as_str(), "the same books");
    // A wrong password and a strangers' CA, found by a tenant that comes anew.
    let _ = kubectl::ok(&["delete", "ptn", &NAME, "--timeout=120s"]);
    logins("wrong");
    tenant::apply(outer);
    says("DatabaseUnreachable", "password");
    logins("of-payplane_owner");
    bank.sql("ALTER ROLE ledger PASSWORD 'of-ledger'").await;
    let folder = tempfile::tempdir().expect("a folder");
    let strangers = Pki::create(folder.path()).expect("a CA of strangers");
    let stranger = std::fs::read_to_string(strangers.trust().join("ca.crt")).expect("it can be read");
    secret("bank-ca", json!({"ca.crt": stranger}));
    says("DatabaseUnreachable", "certificate");
    secret("bank-ca", json!({"ca.crt": bank.ca()}));
    tenant::await_healed(&target(), "DatabaseUnreachable");
    tenant::await_condition(&target(), "Ready", "True", Duration::from_secs(60));
    let _ = kubectl::ok(&["delete", "ptn", &NAME, "--timeout=120s"]);
}
