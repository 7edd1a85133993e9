//! Every component in one binary: one image, one layer, one version.

use clap::{Parser, Subcommand};

/// Under many callers a twentieth faster than the system's, and far less uneven.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "payplane", version, about)]
struct Cli {
    #[command(subcommand)]
    component: Component,
}

#[derive(Debug, Subcommand)]
enum Component {
    /// The payment gateway: the API that merchants call
    Gateway(payplane_gateway::Args),
    /// The double-entry ledger
    Ledger(Ledger),
    /// A payment network to test against
    Simulator(payplane_simulator::Args),
    /// Bring the database's schema up to date
    Migrate(payplane_migrate::Args),
    /// A merchant's side: register, pay, refund, put load on
    Client(payplane_client::Args),
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Ledger {
    #[command(flatten)]
    serve: payplane_ledger::Args,
    #[command(subcommand)]
    task: Option<LedgerTask>,
}

#[derive(Debug, Subcommand)]
enum LedgerTask {
    /// Verify books against heads that were published outside of them
    Verify(payplane_ledger::verify::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Before anything else: rustls has no provider of its own here.
    payplane_common::tls::install_provider();
    payplane_common::telemetry::init();
    match Cli::parse().component {
        Component::Gateway(args) => payplane_gateway::run(args).await?,
        Component::Ledger(Ledger { task: Some(LedgerTask::Verify(args)), .. }) => {
            payplane_ledger::verify::run(args).await?;
        }
        Component::Ledger(Ledger { serve, task: None }) => payplane_ledger::run(serve).await?,
        Component::Simulator(args) => payplane_simulator::run(args).await?,
        Component::Migrate(args) => payplane_migrate::run(args).await?,
        Component::Client(args) => payplane_client::run(args).await?,
    }
    Ok(())
}
