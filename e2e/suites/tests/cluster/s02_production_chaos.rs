//! Everything around a Production-sized ledger fails under load, one thing after the
//! other: what callers were told is in the books, once. `make chaos-ledger` goes on until
//! there were so many faults that the result counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_common::tls::{Files, install_provider};
use payplane_e2e::chaos::{Callers, Counts, Fault, Place, Scene, assert_agree};
use payplane_e2e::random::Random;
use payplane_e2e::{books, env, faults, kubectl, tenant, wait};
use payplane_lab::cluster::Cluster;
use serde_json::json;

use crate::s03_sealed::{published, verify};
use crate::s04_faults::whole;

const TENANT: &str = "bank";
const NAMESPACE: &str = "ptn-bank";
const AGAIN_WITHIN: Duration = Duration::from_secs(120);
/// Between the faults of a long run, which is about traffic too.
const CALM: Duration = Duration::from_secs(2);

/// Of each fault, how many met requests in flight; how often a standby took over; and
/// the heads that were said meanwhile.
#[derive(Default)]
struct Met {
    faults: BTreeMap<Fault, usize>,
    takeovers: usize,
    heads: BTreeSet<String>,
}

impl Met {
    /// Were there so many of each that the run counts?
    fn enough(&self, counts: &Counts, each: usize) -> bool {
        let (booked, not) = counts.unknown();
        let many = counts.acknowledged() >= 200_000 && booked.min(not) >= 50 && booked + not >= 500;
        let met = |fault| self.faults.get(fault).is_some_and(|met| *met >= each);
        Fault::ALL.iter().all(met) && self.takeovers >= each && (each == 1 || many)
    }

    fn tell(&self, counts: &Counts) {
        for (fault, times) in &self.faults {
            println!("figure: chaos_faults({fault:?})={times} with requests in flight");
        }
        let (booked, not) = counts.unknown();
        println!("figure: chaos_faults={} with requests in flight", self.faults.values().sum::<usize>());
        println!("figure: chaos_takeovers={} by a standby", self.takeovers);
        println!("figure: chaos_acknowledged={} requests", counts.acknowledged());
        println!("figure: chaos_refused={} requests", counts.refused());
        println!("figure: chaos_unknown_booked={booked} requests");
        println!("figure: chaos_unknown_not_booked={not} requests");
        println!("figure: chaos_busy={:.2} of all seconds", counts.busy());
    }
}

#[test]
fn what_callers_were_told_is_booked_once_whatever_fails() {
    if !env::cluster() {
        return;
    }
    let Some(name) = env::lab_cluster() else {
        tenant::destroy(TENANT);
        return;
    };
    install_provider();
    let each = std::env::var("PAYPLANE_CHAOS_EACH").map_or(1, |text| text.parse().expect("a number"));
    let mut bank = tenant::development(TENANT);
    bank["spec"]["profile"] = json!("Production");
    tenant::ready(&bank, 60);
    let _ = whole(TENANT);

    let mut random = Random::printed("chaos", env::seed());
    let ledgers = faults::pods(NAMESPACE, "payplane.io/component=ledger");
    let cluster = Cluster::open(&name).expect("the cluster is there");
    let scene = Scene { cluster, namespace: NAMESPACE.to_owned(), ledgers };
    let (keys, folder) = (tempfile::tempdir().expect("a folder"), env::fresh_logs("chaos"));
    let callers = Callers::start(place(&scene, keys.path()), &folder, &mut random);
    let mut met = Met::default();
    for _ in 0..2 * each {
        if met.enough(callers.counts(), each) {
            break;
        }
        let mut order = Fault::ALL;
        random.shuffle(&mut order);
        for fault in order {
            suffer(fault, &scene, &callers, &mut met, &mut random);
            if each > 1 {
                std::thread::sleep(CALM);
            }
        }
    }
    met.tell(callers.counts());
    assert!(met.enough(callers.counts(), each), "too little happened for this to count");
    assert!(each == 1 || callers.counts().busy() >= 0.5, "traffic stood still for too long");
    let (unknown_booked, _) = callers.counts().unknown();
    assert!(unknown_booked > 0 && callers.counts().refused() > 20, "no answer was lost, or no floor met");

    let record = callers.stop();
    assert_agree(&record, TENANT);
    books::assert_balanced(TENANT);
    met.heads.extend(heads());
    let said: String = met.heads.into_iter().collect();
    let proven = verify(NAMESPACE, &said).expect("every invariant holds, and every head that was said");
    assert!(proven.contains("proven by heads up to"), "{proven}");
    tenant::destroy(TENANT);
}

/// Each a line. A killed pod's go with it.
fn heads() -> impl Iterator<Item = String> {
    published(NAMESPACE, "10m").into_iter().map(|head| format!("{head}\n"))
}

/// The gateway's own place: its network, its certificate.
fn place(scene: &Scene, folder: &Path) -> Place {
    let secret =
        kubectl::get(&["secret", "gateway-tls", "-n", NAMESPACE]).expect("the gateway's certificate");
    for key in ["tls.crt", "tls.key"] {
        let text = secret["data"][key].as_str().expect("it is there");
        std::fs::write(folder.join(key), STANDARD.decode(text).expect("base64")).expect("it is written");
    }
    let bundle = kubectl::get(&["configmap", "trust-bundle", "-n", NAMESPACE]).expect("the trust bundle");
    std::fs::write(folder.join("ca.crt"), bundle["data"]["ca.crt"].as_str().expect("PEM"))
        .expect("it is written");
    let address = |pod: &String| {
        let pod = faults::pod(pod);
        format!("{}:8443", pod["status"]["podIP"].as_str().expect("an address")).parse().expect("an address")
    };
    let gateways = faults::pods(NAMESPACE, "payplane.io/component=gateway");
    let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("the tenant's zone");
    Place {
        network: scene.target(&gateways[0]).network().expect("the pod's network"),
        ledgers: scene.ledgers.iter().map(address).collect(),
        name: format!("ledger.{NAMESPACE}.svc"),
        files: Files { identity: Some(folder.to_owned()), trust: Some(folder.to_owned()) },
        date: jiff::Timestamp::now().to_zoned(zone).date().to_string(),
    }
}

/// Inflicts it, waits until callers are answered again and the database is whole.
fn suffer(fault: Fault, scene: &Scene, callers: &Callers, met: &mut Met, random: &mut Random) {
    met.heads.extend(heads());
    let (counts, began, primary) = (callers.counts(), Instant::now(), faults::primary(TENANT));
    let before = fault.is_the_databases().then(|| promotions_and_probes().expect("the database answers"));
    let flying = scene.inflict(fault, callers, &primary, random);
    *met.faults.entry(fault).or_default() += usize::from(flying);
    let acknowledged = counts.acknowledged();
    wait::until("answers after the fault", AGAIN_WITHIN, || {
        (counts.acknowledged() > acknowledged + 50).then_some(()).ok_or_else(|| format!("{counts:?}"))
    });
    let again = began.elapsed().as_secs_f64();
    if let Some((promotions, probes)) = before {
        let _ = whole(TENANT);
        // Each new primary is probed once, and one that only came back is not.
        wait::until("one probe of each new primary", AGAIN_WITHIN, || {
            let (now_promotions, now_probes) = promotions_and_probes()?;
            let (risen, probed) = (now_promotions - promotions, now_probes - probes);
            if risen == probed { Ok(()) } else { Err(format!("{risen} promotions, {probed} probes")) }
        });
    }
    let taken_over = faults::primary(TENANT) != primary;
    met.takeovers += usize::from(taken_over);
    let whole = began.elapsed().as_secs_f64();
    println!(
        "{fault:?}: answers after {again:.1} s, whole after {whole:.1} s, in flight: {flying}, taken over: {taken_over}"
    );
}

/// The timeline, and the operator's probes.
fn promotions_and_probes() -> Result<(i64, i64), String> {
    let (timeline, _) = books::try_place(TENANT)?;
    let probes = i64::try_from(books::try_probes(TENANT)?).map_err(|error| error.to_string())?;
    Ok((i64::from(timeline), probes))
}
