//! What was refused is refused again, for the same reason: it was decided, not dropped.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use payplane_api::ledger::v1::{PostRequest, RefusalReason};
use tokio::sync::Semaphore;

use crate::report::figure;
use crate::rig::Rig;

const AT_ONCE: usize = 64;

pub(crate) async fn refusals(rig: &Rig, refused: Vec<(PostRequest, RefusalReason)>) -> Result<()> {
    let (places, client) = (Arc::new(Semaphore::new(AT_ONCE)), rig.client()?);
    let (count, mut tasks) = (refused.len(), vec![]);
    for (request, reason) in refused {
        let (place, mut client) = (places.clone().acquire_owned().await?, client.clone());
        tasks.push(tokio::spawn(async move {
            let again = client.post(request).await?.into_inner();
            drop(place);
            let again = again.refusal.context("what was refused is booked")?.reason();
            ensure!(again == reason, "refused as {reason:?}, then as {again:?}");
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    figure("refusals_confirmed", count as f64, "refusals");
    Ok(())
}
