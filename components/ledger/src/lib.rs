//! The double-entry ledger: the only writer of balances.
//!
//! Requests come in by gRPC over mutual TLS ([`service`]), are checked
//! ([`request`]) and become one call of one database function ([`books`]); the
//! function decides (`components/migrate/sql/V8__ledger_posting.sql`).

#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::arithmetic_side_effects))]

pub mod access;
mod account_entries;
pub mod accounts;
mod balances;
mod booked;
pub mod books;
pub mod days;
mod due;
mod events;
pub mod metrics;
pub mod place;
#[cfg(feature = "plants")]
pub mod plants;
mod query;
pub mod reads;
pub mod request;
pub mod seal;
pub mod service;
mod settlements;
pub mod stream;
mod tend;
pub mod verify;
pub mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use payplane_api::config::LedgerConfig;
use payplane_api::ledger::v1::ledger_server::LedgerServer;
use payplane_api::names;
use payplane_api::settlement::Calendar;
use payplane_common::config::{ConfigError, Live};
use payplane_common::database::{self, DatabaseError, DatabaseTls};
use payplane_common::health;
use payplane_common::serve::{self, ServeError};
use payplane_common::shutdown::{Shutdown, SignalError};
use payplane_common::telemetry;
use payplane_common::tls::{self, Files, TlsError};
use snafu::{ResultExt, Snafu};

use crate::books::Books;
use crate::events::Reading;
use crate::metrics::Metrics;
use crate::seal::{Outside, Sealer};
use crate::service::Service;

/// How it is started.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = names::CONFIG_FILE)]
    pub config: PathBuf,
    /// Folder of the own certificate.
    #[arg(long, default_value = names::TLS_DIR)]
    pub tls: PathBuf,
    /// Folder of the CA that callers' certificates lead to.
    #[arg(long, default_value = names::TRUST_DIR)]
    pub trust: PathBuf,
    /// Folder of the database client certificate.
    #[arg(long, default_value = names::DATABASE_TLS_DIR)]
    pub database_tls: String,
    /// Folder of the database's CA.
    #[arg(long, default_value = names::DATABASE_TRUST_DIR)]
    pub database_trust: String,
    /// PEM PKCS#8 of the Ed25519 key that signs heads of the books; none are said without.
    #[arg(long, default_value = names::SEAL_KEY_FILE)]
    pub seal_key: PathBuf,
    /// A file that heads are appended to, beside the log.
    #[arg(long)]
    pub heads_file: Option<PathBuf>,
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], names::PORT_LEDGER)))]
    pub listen: SocketAddr,
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], names::PORT_HEALTH)))]
    pub health: SocketAddr,
}

#[derive(Debug, Snafu)]
pub enum LedgerError {
    #[snafu(display("cannot follow signals"))]
    Signals { source: SignalError },
    #[snafu(display("cannot load the config"))]
    Config { source: ConfigError },
    #[snafu(display("cannot use the TLS files"))]
    Tls { source: TlsError },
    #[snafu(display("cannot set the database up"))]
    Database { source: DatabaseError },
    #[snafu(display("cannot serve"))]
    Serve { source: ServeError },
}

/// Two batches at once, and the six connections that other calls have: more batches
/// are only smaller ones.
const WRITERS: usize = 8;
/// Reads have connections of their own, so that they never delay a posting.
const READERS: usize = 4;
const FIRST_CONTACT_RETRY: Duration = Duration::from_millis(500);
/// The largest message: 64 entries or 100 accounts are far smaller.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The part of the config that follows the file. The database's address does
/// not: it belongs to the tenant for ever.
#[derive(Debug)]
pub struct Settings {
    pub calendar: Calendar,
    pub database: payplane_api::config::DatabaseConfig,
}

/// Runs until the process is told to stop.
pub async fn run(args: Args) -> Result<(), LedgerError> {
    telemetry::init();
    tls::install_provider();
    run_until(args, Shutdown::on_signals().context(SignalsSnafu)?).await
}

/// Runs until the shutdown; what was accepted is answered first.
pub async fn run_until(args: Args, shutdown: Shutdown) -> Result<(), LedgerError> {
    let config = Live::load(&args.config, |_, bytes| settings(bytes)).context(ConfigSnafu)?;
    let database_tls = DatabaseTls::found(&args.database_tls, &args.database_trust).context(DatabaseSnafu)?;
    let settings = config.current();
    let (address, name) = (&settings.value.database, "payplane-ledger");
    let writers = database::pool(address, &database_tls, name, WRITERS).context(DatabaseSnafu)?;
    let readers = database::read_pool(address, &database_tls, name, READERS).context(DatabaseSnafu)?;
    let files = Files { identity: Some(args.tls.clone()), trust: Some(args.trust.clone()) };
    let server_tls = tls::server(files).context(TlsSnafu)?;
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = Metrics::register(&mut registry);
    let books = Books::new(writers);
    books.register(&mut registry);
    let outside = Outside::new(args.seal_key, args.heads_file);
    let reading = Reading::new(readers.clone(), outside.last(), shutdown.closing.clone());
    let service = Service::new(
        books.clone(),
        readers.clone(),
        config.clone(),
        metrics.clone(),
        reading,
        shutdown.closing.clone(),
    );

    let heads = outside.last();
    let sealer = Sealer::new(books.clone(), metrics.clone(), outside);
    let met = Arc::new(AtomicBool::new(false));
    let background = [
        tokio::spawn(config.clone().follow()),
        tokio::spawn(database_tls.follow()),
        tokio::spawn(metrics.clone().follow_config(config)),
        tokio::spawn(first_contact(readers, met.clone())),
        tokio::spawn(tend::fold(books.clone())),
        tokio::spawn(tend::roll(books.clone(), heads)),
        tokio::spawn(tend::roll_all(books.clone())),
        tokio::spawn(tend::rotate(books.clone())),
        tokio::spawn(sealer.run()),
    ];
    let listener = serve::listen(args.listen).await.context(ServeSnafu)?;
    let health_listener = serve::listen(args.health).await.context(ServeSnafu)?;
    let ready = move || -> futures_util::future::BoxFuture<'static, Result<(), String>> {
        let met = met.load(Ordering::Acquire);
        Box::pin(async move { if met { Ok(()) } else { Err("database not reached yet".to_owned()) } })
    };
    let health = health::serve(health_listener, registry, &shutdown, ready, axum::Router::new());
    let server = LedgerServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let router = tonic::service::Routes::new(server).into_axum_router();
    let serving = serve::tls(listener, server_tls, router, shutdown.clone());
    tracing::info!(listen = %args.listen, "serving");
    tokio::join!(serving, health);
    // Callers may be gone; what they asked for still ends as it ends.
    books.drain().await;
    background.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

fn settings(bytes: &[u8]) -> Result<Settings, String> {
    let config: LedgerConfig = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let calendar = Calendar::new(&config.calendar).map_err(|error| telemetry::chain(&error))?;
    Ok(Settings { calendar, database: config.database })
}

/// A pod is ready once it has seen the books. After that a lost database does
/// not take it out of the Service: callers should hear why, not a refused
/// connection.
async fn first_contact(readers: deadpool_postgres::Pool, met: Arc<AtomicBool>) {
    loop {
        match reads::status(&readers).await {
            Ok(_) => return met.store(true, Ordering::Release),
            Err(error) => tracing::info!(error = telemetry::chain(&error), "the books are not there yet"),
        }
        tokio::time::sleep(FIRST_CONTACT_RETRY).await;
    }
}
