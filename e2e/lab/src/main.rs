//! `lab`: local Kubernetes clusters on this machine.

use clap::Parser;

mod cli;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Exactly one provider is linked; a second call would be the only way to fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::Cli::parse().run().await
}
