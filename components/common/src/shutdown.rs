//! A component ends by draining: readiness turns false first, connections are
//! still taken while the Service forgets the pod, then what runs is finished.

use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long new connections are still taken after SIGTERM: endpoints and
/// kube-proxy on other nodes need that long to stop sending them.
pub const UNROUTE: Duration = Duration::from_secs(5);
/// How long running requests may take after that. Both together stay below the
/// pods' termination grace of 30 s.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, Snafu)]
#[snafu(display("cannot listen for signals"))]
pub struct SignalError {
    source: std::io::Error,
}

/// Two moments of the end. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// The pod should be sent nothing new: not ready any more.
    pub draining: CancellationToken,
    /// Nothing new is taken; what runs is finished.
    pub closing: CancellationToken,
}

impl Shutdown {
    /// Follows SIGTERM and SIGINT.
    pub fn on_signals() -> Result<Self, SignalError> {
        let mut terminate = signal(SignalKind::terminate()).context(SignalSnafu)?;
        let mut interrupt = signal(SignalKind::interrupt()).context(SignalSnafu)?;
        let shutdown = Self::default();
        let both = shutdown.clone();
        tokio::spawn(async move {
            let grace = tokio::select! {
                _ = terminate.recv() => UNROUTE,
                // A person at a terminal waits for nobody's routing.
                _ = interrupt.recv() => Duration::ZERO,
            };
            tracing::info!("draining");
            both.draining.cancel();
            tokio::time::sleep(grace).await;
            both.closing.cancel();
        });
        Ok(shutdown)
    }
}
