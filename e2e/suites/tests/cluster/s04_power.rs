//! Nodes that lose their power under load: what was acknowledged is in the books
//! once, and payments go on soon.

use std::time::Duration;

use jiff::Timestamp;
use payplane_e2e::load::{Load, Options};
use payplane_e2e::{env, faults, kubectl, lab, tenant, wait};
use serde_json::json;

use crate::s04_faults::{kills_and_freezes, outsiders_are_spared, production, whole};
use crate::s05_live_config::two_gateways;

/// A node without power is noticed, and the database moved, within this time.
const POWER_CUT_MAX: Duration = Duration::from_secs(120);
/// A single instance is back only when its node is, on whatever machine that is.
const FLICKER_MAX: Duration = Duration::from_secs(240);

/// The only instance of a small tenant's database goes down with everything else
/// on its node, and comes back with it.
#[test]
fn a_node_that_loses_its_power_for_a_moment_loses_and_doubles_nothing() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = two_gateways("live");
    let load = Load::start(&app, "flicker", &Options::fifty(env::seed()));
    let node = faults::node_of(&faults::primary("live"));
    println!("power cut of {node}");
    let cut = Timestamp::now();
    let _ = lab::run(&["node", "kill", &node]);
    let _ = lab::run(&["node", "start", &node]);
    let again = load.await_success(Timestamp::now(), FLICKER_MAX);
    println!("figure: pays_again_after_flicker={} ms", again.as_millis());
    tenant::await_condition(&["ptn", "live"], "Ready", "True", POWER_CUT_MAX);
    let healed = Timestamp::now();
    let run = load.stop();
    let gap = run.longest_gap(cut, healed);
    println!("figure: gap_at_flicker={} ms", gap.as_millis());
    run.assert_booked();
}

#[test]
#[ignore = "long form: make e2e-full"]
fn nodes_that_lose_their_power_stop_payments_for_two_minutes_at_most() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let nodes = kubectl::list(&["nodes"]).len();
    assert!(nodes >= 4, "this needs four nodes, not {nodes}");
    let app = production("prod");
    outsiders_are_spared();
    let load = Load::start(&app, "power", &Options::fifty(env::seed()));
    let mut cuts = vec![];
    let leader: fn(&str) -> String = |_| faults::leader();
    for (what, whose) in [("primary", faults::primary as fn(&str) -> String), ("leader", leader)] {
        let node = faults::node_of(&whose("prod"));
        println!("power cut of {node}, where the {what} runs");
        let cut = Timestamp::now();
        let _ = lab::run(&["node", "kill", &node]);
        let again = load.await_success(cut, POWER_CUT_MAX);
        println!("figure: pays_again_after_power_cut({what})={} ms", again.as_millis());
        // The node stays away until it was noticed, or nothing was tested.
        wait::until("the node to be missed", Duration::from_secs(90), || missed(&node));
        load.await_success(Timestamp::now(), POWER_CUT_MAX);
        let _ = lab::run(&["node", "start", &node]);
        let healed = whole("prod");
        println!("figure: three_healthy_after_return({what})={} s", healed.as_secs());
        cuts.push((what, cut, Timestamp::now()));
    }
    let run = load.stop();
    for (what, from, to) in cuts {
        let gap = run.longest_gap(from, to);
        println!("figure: gap_at_power_cut({what})={} ms", gap.as_millis());
        assert!(gap <= POWER_CUT_MAX, "{what}: no payment succeeded for {gap:?}");
    }
    run.assert_booked();
    kills_and_freezes(&app, 1);
}

fn missed(node: &str) -> Result<(), String> {
    let found = kubectl::get(&["node", node]).ok_or("no such node")?;
    let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|c| c["type"] == "Ready").map(|c| c["status"].clone());
    if ready == Some(json!("True")) { Err("it still counts as ready".to_owned()) } else { Ok(()) }
}
