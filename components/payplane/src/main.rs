//! Every component in one binary: one image, one layer, one version.

use clap::{Parser, Subcommand};

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
    Ledger(payplane_ledger::Args),
    /// A payment network to test against
    Simulator(payplane_simulator::Args),
    /// Bring the database's schema up to date
    Migrate(payplane_migrate::Args),
    /// A merchant's side: register, pay, refund, put load on
    Client(payplane_client::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Before anything else: rustls has no provider of its own here.
    payplane_common::tls::install_provider();
    payplane_common::telemetry::init();
    match Cli::parse().component {
        Component::Gateway(args) => payplane_gateway::run(args).await?,
        Component::Ledger(args) => payplane_ledger::run(args).await?,
        Component::Simulator(args) => payplane_simulator::run(args).await?,
        Component::Migrate(args) => payplane_migrate::run(args).await?,
        Component::Client(args) => payplane_client::run(args).await?,
    }
    Ok(())
}
