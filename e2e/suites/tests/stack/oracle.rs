//! The networks' own kits judge what the gateway and the simulator said to each other.
//! Both are ours, so that they agree proves little; `e2e/oracle` shares no code with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::Succeeded;
use serde_json::Value;

use crate::harness::{Stack, ended};

mod call;
mod stage;
mod tamper;
mod verdict;

use stage::{Stage, stages};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_networks_own_kits_believe_all_traffic() -> Result<()> {
    let stages = stages();
    let (stack, app) = stack_with(&stages).await?;
    try_join_all(stages.iter().map(|stage| stage.drive(&app))).await?;
    drop(app);
    let traffic = read(&stack.folder.path().join("traffic"))?;
    let keys = stack.folder.path().join("network");

    let verdicts = verdict::judge(&traffic, &keys)?;
    if let Some(refused) = verdicts.iter().find(|verdict| verdict.why.is_some()) {
        bail!("{refused:?} of {}", traffic[refused.line]);
    }
    let mut counts = BTreeMap::new();
    for verdict in &verdicts {
        *counts.entry(format!("{} {}", verdict.network, verdict.part)).or_insert(0_usize) += 1;
    }
    println!("verified and made anew: {counts:?}");
    // No record was passed over: each is a notification, or a request, mostly with its reply.
    let parts = traffic.iter().map(|exchange| {
        let is_replied = exchange["direction"] == "request" && !exchange["answer"].is_null();
        if is_replied { 2 } else { 1 }
    });
    ensure!(parts.sum::<usize>() == verdicts.len(), "{} of {traffic:#?}", verdicts.len());
    for stage in &stages {
        stage.was_heard(&traffic, &verdicts, &counts)?;
    }

    // It can say no.
    let spoiled: Vec<_> = verdicts.iter().flat_map(|verdict| tamper::copies(&traffic, verdict)).collect();
    let copies: Vec<_> = spoiled.iter().map(|spoiled| spoiled.exchange.clone()).collect();
    let verdicts = verdict::judge(&copies, &keys)?;
    for (line, spoiled) in spoiled.iter().enumerate() {
        let verdict = verdicts.iter().find(|verdict| verdict.line == line && verdict.part == spoiled.part);
        let why = verdict.and_then(|verdict| verdict.why.as_ref());
        ensure!(why.is_some(), "believed with {}: {}", spoiled.how, spoiled.exchange);
    }
    println!("spoiled copies refused: {}", spoiled.len());
    Ok(())
}

/// A stack whose simulator records its traffic, with a channel for each stage.
async fn stack_with(stages: &[Stage]) -> Result<(Stack, App)> {
    let mut stack = Stack::start().await?;
    let traffic = stack.folder.path().join("traffic").to_string_lossy().into_owned();
    stack.simulator.restart_with(["--traffic".to_owned(), traffic]).await?;
    let channels = stages.iter().map(|stage| stage.channel(&stack)).collect::<Result<Vec<_>>>()?;
    stack.configure_channels(&channels)?;
    let app = stack.app("app1", 8)?;
    // Both gateways follow their config.
    for gateway in 0..2 {
        let app = stack.app_of(gateway, 1)?;
        let order = stages[0].network.order(&format!("first-{gateway}"), 1);
        for _ in 0..50 {
            if app.pay(&order).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let paid = ended(&app, &order.order_number, SOON).await?;
        ensure!(paid.status == Succeeded, "{paid:?}");
    }
    Ok((stack, app))
}

fn read(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}
