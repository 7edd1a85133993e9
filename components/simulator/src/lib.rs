//! A payment network to test against: https JSON with signatures of its own,
//! state that survives a kill, asynchronous results, and faults on request.
//! `docs/simulator.md` is its manual. It shares no code with its callers.

pub mod alipay;
pub mod api;
pub mod bank;
pub mod beijing;
pub mod book;
pub mod details;
pub mod fault;
pub mod form;
pub mod ids;
pub mod init;
pub mod journal;
pub mod keys;
pub mod message;
pub mod networks;
pub mod notify;
pub mod payer;
pub mod rsa;
pub mod sandbox;
pub mod script;
mod serve;
mod silence;
pub mod traffic;
pub mod unionpay;
pub mod wechat;

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
    /// Folder whose ca.crt every caller's certificate must lead to; without it callers need none
    #[arg(long)]
    pub client_trust: Option<PathBuf>,
    /// The journal that holds every payment
    #[arg(long, default_value = "/state/journal.jsonl")]
    pub state: PathBuf,
    /// The key that signs answers (ECDSA P-256, PKCS#8 PEM)
    #[arg(long, default_value = "/keys/network.key")]
    pub network_key: PathBuf,
    /// Who may call: JSON [{"merchantId", "publicKeyPem"}]
    #[arg(long, default_value = "/keys/merchants.json")]
    pub merchants: PathBuf,
    /// Keys and merchants of WeChat Pay, Alipay, UnionPay and a bank; followed while it changes.
    /// Without it, /keys/networks.json where that exists
    #[arg(long)]
    pub networks: Option<PathBuf>,
    /// CAs (PEM) that notifications to merchants believe, followed while they change;
    /// without it the public ones
    #[arg(long)]
    pub notify_ca: Option<PathBuf>,
    /// Record what is said with the real networks' merchants: a JSON line per exchange, at
    /// most 64 MiB; it holds what they sent
    #[arg(long)]
    pub traffic: Option<PathBuf>,
    /// How long after an order its payer pays, in milliseconds
    #[arg(long, default_value_t = 300)]
    pub payer_after_ms: u64,
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
