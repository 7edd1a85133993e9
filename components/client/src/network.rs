//! Probes from where the pod stands, and waiting.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::call::duration;

#[derive(Debug, clap::Args)]
pub(crate) struct DialArgs {
    /// HOST:PORT
    address: String,
    #[arg(long, default_value = "3s", value_parser = duration)]
    timeout: Duration,
}

/// Says what a SYN meets: `open`, `refused`, `timeout`, or another error. Names
/// are resolved first: a name that is not known is not a dropped packet.
pub(crate) async fn dial(args: &DialArgs) -> String {
    let addresses: Vec<_> = match tokio::net::lookup_host(&args.address).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return format!("name not resolved: {error}"),
    };
    match tokio::time::timeout(args.timeout, TcpStream::connect(&addresses[..])).await {
        Ok(Ok(_)) => "open".to_owned(),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timeout".to_owned(),
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn idle() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
