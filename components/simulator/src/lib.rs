//! A payment network to test against: https JSON with signatures of its own,
//! state that survives a kill, asynchronous results, and faults on request.
//! `docs/simulator.md` is its manual. It shares no code with its callers.

pub mod api;
pub mod book;
pub mod fault;
pub mod init;
pub mod journal;
pub mod keys;
pub mod message;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use snafu::{ResultExt, Snafu};

/// How it is started.
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the keys, the CA and the certificate of a demo network
    Init(init::InitArgs),
}

/// How the network is served.
#[derive(Clone, Debug, ClapArgs)]
pub struct ServeArgs {
    /// Where merchants call, over TLS
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Certificate chain (PEM), named tls.crt; followed while it changes
    #[arg(long, default_value = "/keys/tls.crt")]
    pub tls_cert: PathBuf,
    /// Its key (PEM), named tls.key, in the same folder
    #[arg(long, default_value = "/keys/tls.key")]
    pub tls_key: PathBuf,
    /// The journal that holds every payment
    #[arg(long, default_value = "/state/journal.jsonl")]
    pub state: PathBuf,
    /// The key that signs answers (ECDSA P-256, PKCS#8 PEM)
    #[arg(long, default_value = "/keys/network.key")]
    pub network_key: PathBuf,
    /// Who may call: JSON [{"merchantId", "publicKeyPem"}]
    #[arg(long, default_value = "/keys/merchants.json")]
    pub merchants: PathBuf,
    /// /livez, /readyz, /metrics and /sim/v1/record, plain
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub health: SocketAddr,
}

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the demo network's keys cannot be made"))]
    Init { source: init::InitError },
    #[snafu(display("the simulator cannot run"))]
    Serve { source: serve::ServeError },
}

/// Runs until the process is told to stop.
pub async fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Some(Command::Init(args)) => init::run(&args).context(InitSnafu),
        None => serve::run(args.serve).await.context(ServeSnafu),
    }
}
