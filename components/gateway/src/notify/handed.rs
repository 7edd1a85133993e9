//! Notifications that this process took with the commit that made them.

use std::time::Duration;

use payplane_common::shutdown::Shutdown;
use tokio::task::JoinSet;

use super::Sender;
use crate::works::ONE_MAX;

/// After the closing nothing more is taken: what is committed then is left to another replica.
const LAST_EVERY: Duration = Duration::from_millis(20);

/// Sends what is handed over, until the process closes and all of it has ended. Each is
/// there by a ticket, so they are bounded.
pub(super) async fn run(sender: Sender, shutdown: Shutdown) {
    let handover = sender.gateway.store.handover.clone();
    let Some(mut waiting) = handover.open() else { return };
    let mut tasks = JoinSet::new();
    loop {
        let closing = shutdown.closing.is_cancelled();
        tokio::select! {
            Some((delivery, ticket)) = waiting.recv() => {
                let sender = sender.clone();
                tasks.spawn(async move {
                    // What is cut off is taken again when its lease has ended.
                    let _ = tokio::time::timeout(ONE_MAX, sender.tell(delivery)).await;
                    drop(ticket);
                });
            }
            Some(_) = tasks.join_next() => {}
            () = tokio::time::sleep(LAST_EVERY), if closing => {
                handover.close();
                if handover.is_empty() {
                    return;
                }
            }
            () = shutdown.closing.cancelled(), if !closing => {}
        }
    }
}
