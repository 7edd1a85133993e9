//! Starts the operator: health port, leadership, then the controllers.

use anyhow::Context as _;
use clap::Parser;
use kube::Client;
use kube::api::Api;
use payplane_operator::framework::health::{self, Metrics};
use payplane_operator::framework::lease::Election;
use payplane_operator::framework::reign::Reign;
use payplane_operator::run::run;
use payplane_operator::settings::Settings;

/// The payplane operator.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Runs the operator.
    Run(Settings),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // A task that panicked would leave its tenant marked as being worked on: the next process starts over.
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        said(panic);
        std::process::abort();
    }));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Command::Run(settings) = Command::parse();
    let mut config = kube::Config::infer().await.context("no way to the API server")?;
    let client = Client::try_from(config.clone()).context("no way to the API server")?;
    // What is tried again inside of itself would sleep through the time of this leader.
    config.default_retry = false;
    let writer = Client::try_from(config).context("no way to the API server")?;
    let metrics = Metrics::default();
    let health = tokio::spawn(health::serve(settings.health, metrics.clone()));
    let election = Election {
        api: Api::namespaced(writer.clone(), &settings.pod_namespace),
        name: "payplane-operator".to_owned(),
        identity: settings.pod_name.clone(),
        reign: Reign::default(),
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let lead = async {
        election.acquire().await;
        let work = tokio::spawn(run(client, writer, settings, metrics, election.reign.clone()));
        tokio::select! {
            () = election.hold() => tracing::warn!("leadership lost; this process ends"),
            ended = work => tracing::error!(?ended, "the controllers ended"),
        }
    };
    tokio::select! {
        () = lead => anyhow::bail!("no longer leading"),
        ended = health => anyhow::bail!("the health port ended: {ended:?}"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    election.release().await;
    Ok(())
}
