//! Available is the truth: False soon after money cannot move any more, with the
//! part that is away, and True again without a touch.

use std::time::{Duration, Instant};

use payplane_e2e::faults::Frozen;
use payplane_e2e::{env, faults, kubectl, tenant};

use crate::s04_faults::production;
use crate::s05_live_config::two_gateways;

const TOLD_WITHIN: Duration = Duration::from_secs(30);
const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// Freezes, and fails unless the tenant says so in time, and heals after the thaw.
fn told(name: &str, labels: &str, reason: &str) {
    let generation = || kubectl::get(&["ptn", name]).map(|object| object["metadata"]["generation"].clone());
    let before = generation();
    let began = Instant::now();
    let frozen = Frozen::freeze(faults::pods(&format!("ptn-{name}"), labels));
    let said = tenant::await_condition(&["ptn", name], "Available", "False", TOLD_WITHIN);
    println!("figure: unavailable_told_after({reason})={} ms", began.elapsed().as_millis());
    let (_, now, message) = tenant::condition(&said, "Available").expect("just seen");
    assert_eq!(now, reason, "{message}");
    let (ready, _, _) = tenant::condition(&said, "Ready").expect("every type is told");
    assert_eq!(ready, "False", "nobody is Ready who is not Available");
    drop(frozen);
    tenant::await_condition(&["ptn", name], "Ready", "True", HEALED_WITHIN);
    assert_eq!(generation(), before, "nobody touched it");
}

#[test]
fn a_tenant_without_its_ledger_is_soon_unavailable() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = two_gateways("live");
    told("live", "payplane.io/component=ledger", "LedgerUnreachable");
    let paid = app.pay(&format!("healed-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}

#[test]
#[ignore = "long form: make e2e-full"]
fn a_tenant_without_its_standbys_or_its_database_is_soon_unavailable() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = production("prod");
    told("prod", "cnpg.io/instanceRole=replica", "StandbyMissing");
    crate::s04_faults::whole("prod");
    told("prod", "cnpg.io/podRole=instance", "DatabaseUnreachable");
    crate::s04_faults::whole("prod");
    let paid = app.pay(&format!("healed-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}
