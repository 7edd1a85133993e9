//! Faults are over: everything comes to rest, within bounds, and the merchant asks for all
//! that it was not told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use payplane_e2e::receiver::Mood;

use super::caller::Caller;
use super::end::End;
use super::form::Form;
use super::record::{self, Call, Exchange, Said, Sent};
use super::stage::{REPLICAS, Stage};

const EVERY: Duration = Duration::from_secs(1);
/// Asked for at once.
const AT_ONCE: usize = 16;

/// Something that was asked for, and is not known to have ended.
struct Open {
    sent: Sent,
    /// It is known to exist: from here on it is only looked at.
    is_known: bool,
    was_unknown: bool,
}

/// Fails with what hangs.
pub(super) async fn come_to_rest(stage: &Stage, caller: &Caller, record: &Path, form: &Form) -> Result<()> {
    for process in stage.gateways.iter().chain(&stage.ledgers).chain([&stage.simulator]) {
        process.lock().await.ready().await?;
    }
    let began = Instant::now();
    // An endpoint that rests is asked again.
    stage.receiver.becomes(Mood::Takes);
    stage.register().await?;
    let mut open = open(&record::read(record)?);
    let mut turn = 0;
    loop {
        nobody_ended(stage).await?;
        if !form.is_long {
            hasten(stage).await?;
        }
        turn += 1;
        let asked = stream::iter(open).map(|one| ask(caller, one, turn)).buffer_unordered(AT_ONCE);
        let left: Vec<Option<Open>> = asked.try_collect().await?;
        open = left.into_iter().flatten().collect();
        let end = End::read(stage).await?;
        let hanging = end.hanging(form.is_long);
        let unanswered = open.iter().filter(|one| !one.is_known).count();
        if hanging.is_empty() && unanswered == 0 && end.owed == 0 {
            println!("figure: chaos_rest={:.1} s", began.elapsed().as_secs_f64());
            return Ok(());
        }
        if began.elapsed() > form.rest {
            let some = &hanging[..hanging.len().min(5)];
            let (owed, of) = (end.owed, hanging.len());
            bail!(
                "no rest after {:?}: {of} without end {some:?}, {unanswered} unanswered, {owed} not told",
                form.rest
            );
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What was left to a later look is due now: the short form has no time for leases and
/// intervals of half a minute. Nothing else is changed.
async fn hasten(stage: &Stage) -> Result<()> {
    let postgres = stage.postgres.lock().await.connect("postgres").await?;
    let all = ["orders", "refunds", "surpluses"].map(|table| {
        format!("UPDATE gateway.{table} SET next_check_at = now() WHERE next_check_at > now() + interval '1 second';")
    });
    let told =
        "UPDATE gateway.deliveries SET next_try_at = now() WHERE next_try_at > now() + interval '1 second'";
    Ok(postgres.batch_execute(&format!("{}{told}", all.concat())).await?)
}

fn open(record: &[Exchange]) -> Vec<Open> {
    let mut all: BTreeMap<(String, Option<String>), (Open, bool)> = BTreeMap::new();
    for Exchange { sent, said, .. } in record {
        if matches!(sent.call, Call::PayOtherwise | Call::PayAnew) {
            continue;
        }
        let new = || (Open { sent: sent.clone(), is_known: false, was_unknown: false }, false);
        let (one, ended) = all.entry((sent.number.clone(), sent.refund.clone())).or_insert_with(new);
        let said = said.as_ref().map(|(_, said)| said);
        one.is_known |= said.is_some_and(|said| said.status().is_some());
        one.was_unknown = !one.is_known && matches!(said, Some(Said::Unknown { .. }) | None);
        *ended |= said.is_some_and(has_ended);
    }
    all.into_values().filter(|(_, ended)| !ended).map(|(one, _)| one).collect()
}

/// A refusal of a refund is its end: nothing was stored, or the number is used up.
fn has_ended(said: &Said) -> bool {
    said.is_final() || matches!(said, Said::Refused { status: 422, .. })
}

async fn ask(caller: &Caller, mut one: Open, turn: usize) -> Result<Option<Open>> {
    let is_refund = one.sent.refund.is_some();
    let call = match (is_refund, one.is_known) {
        (false, false) => Call::Pay,
        (false, true) => Call::Query,
        (true, false) => Call::Refund,
        (true, true) => Call::QueryRefund,
    };
    let sent = Sent { call, gateway: turn % REPLICAS, ..one.sent.clone() };
    let said = caller.ask(&sent, &caller.sign(&sent, None)?, false).await?;
    if let (Some(is_new), true) = (said.is_new(), one.was_unknown && !one.is_known) {
        caller.counts.resolved(!is_new);
        one.was_unknown = false;
    }
    one.is_known |= said.status().is_some();
    Ok((!has_ended(&said)).then_some(one))
}

/// Processes end when they are told to, and only then.
pub(super) async fn nobody_ended(stage: &Stage) -> Result<()> {
    let named = [("gateway", &stage.gateways), ("ledger", &stage.ledgers)];
    let all = named.into_iter().flat_map(|(name, all)| all.iter().map(move |process| (name, process)));
    for (name, process) in all.chain([("simulator", &stage.simulator)]) {
        if let Ok(mut process) = process.try_lock() {
            ensure!(!process.has_ended()?, "a {name} ended by itself");
        }
    }
    Ok(())
}
