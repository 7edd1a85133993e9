//! Edits of a Channel reach running pods under load: no restart, and nothing
//! that was sent after Ready bears the old terms.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use payplane_client::load::{Entry, Outcome};
use payplane_e2e::load::{Load, Options, Run};
use payplane_e2e::{env, faults, kubectl, merchant::App, tenant};
use serde_json::json;

/// An edit is in force on every pod within this time.
const EDIT_MAX: Duration = Duration::from_secs(5);

/// Tenant `live` with two gateways and two ledgers, and its merchant's app.
pub(crate) fn two_gateways(name: &str) -> App {
    let mut object = tenant::development(name);
    object["spec"]["components"] = json!({"gateway": {"replicas": 2}, "ledger": {"replicas": 2}});
    tenant::ready(&object, 60);
    crate::s03_payments::register(name)
}

/// An edit, from being applied to being seen as Ready.
struct Edit {
    applied: Timestamp,
    ready: Timestamp,
    /// None where the channel takes no payments.
    basis_points: Option<i64>,
    epoch: u64,
    hash: String,
}

fn edit(name: &str, basis_points: Option<i64>) -> Edit {
    let mut channel = tenant::channel(name, "sim", basis_points.unwrap_or(60));
    channel["spec"]["enabled"] = json!(basis_points.is_some());
    let (applied, began) = (Timestamp::now(), Instant::now());
    tenant::apply(&channel);
    let target = ["pch", "sim", "-n", &format!("ptn-{name}")];
    tenant::await_condition(&target, "Ready", "True", Duration::from_secs(30));
    let (ready, took) = (Timestamp::now(), began.elapsed());
    let available = if basis_points.is_some() { ("True", "Serving") } else { ("False", "Disabled") };
    let object = kubectl::get(&target).expect("it is there");
    let (status, reason, _) = tenant::condition(&object, "Available").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), available);
    println!("figure: channel_edit_ready={} ms", took.as_millis());
    assert!(took <= EDIT_MAX, "Ready at its generation within {EDIT_MAX:?}: {took:?}");
    let status = kubectl::get(&["ptn", name]).expect("the tenant is there");
    let config = &status["status"]["config"];
    let epoch = config["epoch"].as_u64().expect("a config is in force");
    let hash = config["hash"].as_str().expect("a config is in force").to_owned();
    Edit { applied, ready, basis_points, epoch, hash }
}

/// Pays that surely were sent after an edit was Ready, and before the next began.
fn sent_under<'a>(run: &'a Run, edits: &'a [Edit], at: usize) -> impl Iterator<Item = &'a Entry> {
    let (from, to) = (edits[at].ready, edits.get(at + 1).map_or(Timestamp::MAX, |next| next.applied));
    let pays = run.record.entries.values().filter(|entry| entry.sent.refund_number.is_none());
    // The answer may still come under the next terms, which then are the right ones.
    pays.filter(move |entry| {
        let answered = entry.answered.as_ref().map_or(Timestamp::MAX, |a| a.answered_at);
        entry.sent.sent_at > from && entry.sent.sent_at < to && (answered < to || to == Timestamp::MAX)
    })
}

fn fee(amount_minor: i64, basis_points: i64) -> i64 {
    use payplane_api::{currency::Currency, money};
    let amount = money::Money::new(amount_minor, Currency::parse("CNY").expect("a currency")).expect("money");
    money::fee(amount, basis_points, 0, None).expect("a fee").minor()
}

#[test]
fn edits_under_load_are_in_force_once_ready_without_a_restart() {
    if !env::cluster() {
        return;
    }
    let app = two_gateways("live");
    let pods = || faults::incarnations("ptn-live", "payplane.io/component in (gateway, ledger)");
    let before = pods();
    assert_eq!(before.len(), 4);
    let order = format!("edited-{}", env::seed());
    let paid = app.pay(&order, 8_000, "CNY").expect("paid");
    let date = paid["orderDate"].as_str().expect("a date").to_owned();
    let load = Load::start(&app, "edit", &Options::fifty(env::seed()));
    let mut edits = vec![];
    for basis_points in [Some(250), None, Some(20), Some(400), None, Some(60)] {
        edits.push(edit("live", basis_points));
        let asked = app.query(&date, &order).expect("queries go on, whatever the channel takes");
        assert_eq!(asked["status"], "Succeeded", "{asked}");
        std::thread::sleep(Duration::from_secs(3));
    }
    let run = load.stop();
    assert_eq!(pods(), before, "no pod was replaced or restarted");
    let mut hashed = 0;
    for (at, edit) in edits.iter().enumerate() {
        let mut count = 0;
        for entry in sent_under(&run, &edits, at) {
            count += 1;
            let last = entry.last().expect("answered");
            let Some(basis_points) = edit.basis_points else {
                assert_eq!(entry.outcome(), Outcome::Refused, "a disabled channel takes no pays: {entry:?}");
                continue;
            };
            assert_eq!(entry.outcome(), Outcome::Succeeded, "{entry:?}");
            assert_eq!(last.fee_minor, Some(fee(entry.sent.amount_minor, basis_points)), "{entry:?}");
            assert!(last.config_epoch >= Some(edit.epoch), "below epoch {}: {entry:?}", edit.epoch);
            let by_this_one = last.config_epoch == Some(edit.epoch);
            assert!(
                !by_this_one || last.config_hash.as_ref() == Some(&edit.hash),
                "not {}: {entry:?}",
                edit.hash
            );
            hashed += usize::from(by_this_one);
        }
        println!("figure: sent_after_ready_{at}={count} requests");
        assert!(count >= 50, "too few to prove anything: {count}");
    }
    assert!(hashed >= 50, "too few were booked on the very config that an edit made: {hashed}");
    let refunds = run.record.entries.values().filter(|entry| entry.sent.refund_number.is_some());
    let failed: Vec<_> = refunds.filter(|entry| entry.outcome() != Outcome::Succeeded).collect();
    assert!(failed.is_empty(), "refunds go on while the channel is disabled: {failed:?}");
    run.assert_booked();
}

#[test]
fn a_channel_whose_secret_is_missing_says_so_and_the_last_good_config_pays() {
    if !env::cluster() {
        return;
    }
    let app = two_gateways("live");
    let _ = kubectl::attempt(&["delete", "secret", "not-there", "-n", "ptn-live", "--ignore-not-found"]);
    let mut channel = tenant::channel("live", "sim", 60);
    channel["spec"]["simulator"]["credentials"]["name"] = json!("not-there");
    tenant::apply(&channel);
    let target = ["pch", "sim", "-n", "ptn-live"];
    let pays = |number: u32| {
        let paid = app.pay(&format!("last-good-{number}-{}", env::seed()), 100, "CNY");
        assert_eq!(paid.expect("the last good config pays")["status"], "Succeeded");
    };
    let missing = "spec.simulator.credentials: Secret not-there";
    let said = tenant::await_told(&target, "CredentialsMissing", missing, Duration::from_secs(30));
    pays(0);
    // The Secret comes, is spoilt, and is put right: nobody touches the Channel.
    tenant::credentials_as("live", "not-there");
    tenant::await_condition(&target, "Ready", "True", tenant::HEALED_WITHIN);
    pays(1);
    tenant::apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "payplane.io/channel-credentials",
        "metadata": {"name": "not-there", "namespace": "ptn-live"}, "data": {"merchant.key": "bm9uZQ=="},
    }));
    let spoilt = "Secret not-there: merchant.key is missing or is not";
    tenant::await_told(&target, "CredentialsInvalid", spoilt, Duration::from_secs(30));
    pays(2);
    tenant::credentials_as("live", "not-there");
    let healed = tenant::await_condition(&target, "Ready", "True", tenant::HEALED_WITHIN);
    assert_eq!(healed["metadata"]["generation"], said["metadata"]["generation"], "nobody touched it");
    pays(3);
    // Money is tried once for each change of the config, never more often.
    let probes = || payplane_e2e::books::probes("live");
    let before = probes();
    for (basis_points, tried) in [(137, 1), (60, 2)] {
        let _ = edit("live", Some(basis_points));
        tenant::await_condition(&["ptn", "live"], "Ready", "True", Duration::from_secs(30));
        assert_eq!(probes(), before + tried, "with {basis_points} basis points");
    }
    let _ = kubectl::ok(&["delete", "secret", "not-there", "-n", "ptn-live"]);
}

/// The frozen pod's kernel goes on accepting; what it accepted is read first
/// after the thaw, by a process that still holds the old config.
#[test]
fn a_frozen_gateway_pod_keeps_ready_false_and_books_nothing_on_the_old_config() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let cluster = env::lab_cluster().expect("checked");
    let app = two_gateways("live");
    // A patient client keeps its connections, so what it sent is read after the thaw.
    let patient = Options { refund_share: 0, silence: "60s", timeout: "60s", ..Options::fifty(env::seed()) };
    let load = Load::start(&app, "frozen", &patient);
    let names = kubectl::list(&["pods", "-n", "ptn-live", "-l", "payplane.io/component=gateway"]);
    let frozen = format!("ptn-live/{}", names[0]["metadata"]["name"].as_str().expect("a name"));
    let frozen_at = Timestamp::now();
    let _ = payplane_e2e::lab::run(&["pod", "freeze", &frozen, "--cluster", &cluster]);
    let before =
        kubectl::get(&["pch", "sim", "-n", "ptn-live"]).expect("it is there")["metadata"]["generation"]
            .clone();
    let ready = "{.status.conditions[?(@.type=='Ready')]['observedGeneration','status']}";
    let watch = kubectl::Watch::start(&["pch", "sim", "-n", "ptn-live"], ready);
    tenant::apply(&tenant::channel("live", "sim", 900));
    let target = ["pch", "sim", "-n", "ptn-live"];
    let said = payplane_e2e::wait::until("1 of 2 pods", Duration::from_secs(30), || {
        let object = kubectl::get(&target).ok_or("gone")?;
        let (status, reason, message) = tenant::condition(&object, "Ready").ok_or("an old generation")?;
        let told = status == "False" && reason == "PodsOutdated" && message.contains("1 of 2 pods");
        if told { Ok(object) } else { Err(format!("{status} {reason} {message}")) }
    });
    let generation = &said["metadata"]["generation"];
    assert_ne!(*generation, before);
    // It stays so for as long as the pod is frozen.
    std::thread::sleep(Duration::from_secs(15));
    let status = kubectl::get(&["ptn", "live"]).expect("the tenant is there");
    let epoch = status["status"]["config"]["epoch"].as_u64().expect("a config is in force");
    let thawed_at = Timestamp::now();
    let seen = watch.end();
    assert!(seen.contains(&format!("{generation} False")), "{seen}");
    assert!(!seen.contains(&format!("{generation} True")), "Ready while a pod was frozen:\n{seen}");
    let _ = payplane_e2e::lab::run(&["pod", "thaw", &frozen, "--cluster", &cluster]);
    tenant::await_condition(&target, "Ready", "True", Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(3));
    let run = load.stop();
    let read_late = on_old_terms(&run, thawed_at, frozen_at, epoch);
    println!("figure: sent_to_a_frozen_pod_and_read_after_the_thaw={read_late} requests");
    assert!(read_late >= 20, "the thawed pod read nothing that was sent before: this proves nothing");
    run.assert_booked();
    let _ = edit("live", Some(60));
}

/// Fails for any payment that a pod first read after the thaw and booked below
/// the epoch; counts those that were sent while the pod was frozen.
fn on_old_terms(run: &Run, thawed_at: Timestamp, frozen_at: Timestamp, epoch: u64) -> usize {
    let rows = payplane_e2e::books::sql(
        &run.tenant,
        &format!(
            "select o.order_number, o.fee_minor, o.config_epoch, o.amount_minor from gateway.orders o \
             where o.order_number like '{}%' and o.status = 'Succeeded' and o.created_at > '{thawed_at}'",
            run.prefix
        ),
    );
    let mut late = 0;
    for row in rows.lines() {
        let fields: Vec<&str> = row.split('|').collect();
        let number = |at: usize| fields[at].parse::<i64>().expect("a number");
        assert!(number(2).unsigned_abs() >= epoch, "read after the thaw, booked on the old config: {row}");
        assert_eq!(number(1), fee(number(3), 900), "read after the thaw, booked with the old fee: {row}");
        let sent = run.record.entries.values().find(|entry| entry.sent.order_number == fields[0]);
        let sent_at = sent.expect("it is in the record").sent.sent_at;
        late += usize::from(sent_at > frozen_at && sent_at < thawed_at);
    }
    late
}
