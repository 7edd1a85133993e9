//! Where a node's network plugin announces a new pod and waits until the pod's
//! policies are in force, so that no container starts before they are.
//!
//! Without an answer (the daemon is down) the pod starts all the same, and
//! reaches nobody until it is compiled: rulesets drop what they do not know.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::state::{PodName, State};

const LINE_BYTES_MAX: u64 = 4_096;
const CONNECTIONS_MAX: usize = 256;

/// How long a pod's start may wait for its policies.
pub(super) const WAIT_SECONDS_MAX: u64 = 5;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot listen on {}", path.display()))]
    Listen { path: PathBuf, source: io::Error },
}

/// One line of JSON from the plugin. The answer is one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Announcement {
    pub namespace: String,
    pub pod: String,
    pub address: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    InForce,
    SwitchedOff,
    TimedOut,
}

/// What the nodes enforce at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct InForce {
    pub switched_off: bool,
    /// Sorted.
    pub pods: Vec<(PodName, Ipv4Addr)>,
}

/// The socket of a cluster, seen from its daemon and from its nodes alike.
pub fn socket(run: &Path) -> PathBuf {
    run.join("policy.sock")
}

pub(super) async fn serve(
    path: &Path,
    state: Arc<State>,
    in_force: watch::Receiver<InForce>,
    stop: CancellationToken,
) -> Result<(), Error> {
    // What a daemon that was killed left behind refuses a new one.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).context(ListenSnafu { path })?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (connection, _) = accepted.context(ListenSnafu { path })?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (state, in_force) = (Arc::clone(&state), in_force.clone());
        tokio::spawn(async move {
            let wait = Duration::from_secs(WAIT_SECONDS_MAX.saturating_mul(2));
            if let Ok(Err(error)) = tokio::time::timeout(wait, answer(connection, &state, in_force)).await {
                tracing::info!(%error, "a node's announcement broke off");
            }
            drop(place);
        });
    }
    let _ = std::fs::remove_file(path);
    Ok(())
}

async fn answer(
    mut connection: UnixStream,
    state: &State,
    in_force: watch::Receiver<InForce>,
) -> io::Result<()> {
    let mut line = String::new();
    let (read, mut write) = connection.split();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let announcement: Announcement = serde_json::from_str(&line)?;
    let answer = wait(announcement, state, in_force).await;
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}

async fn wait(announcement: Announcement, state: &State, mut in_force: watch::Receiver<InForce>) -> Answer {
    let Announcement { namespace, pod, address } = announcement;
    let pod = ((namespace, pod), address);
    state.announce(pod.0.clone(), address);
    let settled = in_force.wait_for(|now| now.switched_off || now.pods.binary_search(&pod).is_ok());
    match tokio::time::timeout(Duration::from_secs(WAIT_SECONDS_MAX), settled).await {
        Ok(Ok(now)) if now.switched_off => Answer::SwitchedOff,
        Ok(Ok(_)) => Answer::InForce,
        Ok(Err(_)) | Err(_) => Answer::TimedOut,
    }
}
