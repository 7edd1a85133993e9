//! The payment gateway: the API that merchants call, and the channels behind it.
//!
//! Start with `pay` (the life of a payment) and `state` (every state and
//! transition); docs/gateway.md has both on one screen. `store` is the only
//! module that knows SQL, `channel` the only one that knows networks, `books`
//! the only one that knows the ledger's wire.

#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::arithmetic_side_effects))]

pub mod agreement;
pub mod api;
pub mod books;
pub mod breaker;
pub mod channel;
pub mod close;
pub mod confirm;
pub mod contradiction;
mod counts;
pub mod credit_code;
pub mod data_key;
pub mod decide;
pub mod gateway;
pub mod keys;
pub mod limits;
pub mod message;
pub mod metrics;
pub mod notified;
pub mod notify;
pub mod outgoing;
pub mod patience;
pub mod pay;
pub mod payee;
pub mod payout;
mod pressure;
pub mod rates;
pub mod refund;
pub mod resolve;
pub mod risk;
pub mod route;
pub mod settings;
pub mod settle;
pub mod shares;
pub mod sign_and_pay;
pub mod signature;
pub mod state;
pub mod step_up;
pub mod store;
pub mod stream;
pub mod surplus;
pub mod terminal;
pub mod terms;
pub mod vault;
pub mod works;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use payplane_api::config::DatabaseConfig;
use payplane_api::names;
use payplane_common::config::{ConfigError, Live};
use payplane_common::database::{DatabaseError, DatabaseTls};
use payplane_common::serve::ServeError;
use payplane_common::shutdown::{DRAIN_MAX, Shutdown, SignalError};
use payplane_common::tls::{Files, TlsError};
use payplane_common::{database, health, serve, tls};
use prometheus_client::registry::Registry;
use snafu::{ResultExt, Snafu};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::books::{Books, BooksError};
use crate::data_key::{DataKeyError, DataKeys};
use crate::gateway::Gateway;
use crate::notify::sign::{FollowedKey, NotifyKey, NotifyKeyError};
use crate::settings::Settings;

const DATABASE_CONNECTIONS: usize = 16;
/// Of the other login: payouts and agreements alone need it.
const VAULT_CONNECTIONS: usize = 2;
/// Notifications of networks that are worked on at once; a network sends again what is refused.
const NETWORK_PLACES: usize = 256;
/// Codes that are being sent at once: a sender who is slow keeps no more waiting.
const CODE_PLACES: usize = 64;
const BOOK_READS: usize = 16;
/// How long readiness asks the database.
const READY_MAX: Duration = Duration::from_secs(2);

/// How it is started.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rendered config; it is followed while the gateway runs
    #[arg(long, default_value = names::CONFIG_FILE)]
    config: PathBuf,
    /// The app API
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], names::PORT_APP)))]
    listen: SocketAddr,
    /// The admin and control API
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], names::PORT_ADMIN)))]
    admin: SocketAddr,
    /// /livez, /readyz and /metrics
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], names::PORT_HEALTH)))]
    health: SocketAddr,
    /// tls.crt and tls.key of the gateway
    #[arg(long, default_value = names::TLS_DIR)]
    tls: PathBuf,
    /// ca.crt: whom the gateway believes, as server and as client
    #[arg(long, default_value = names::TRUST_DIR)]
    trust: PathBuf,
    /// tls.crt and tls.key of the database login; absent where it is by password
    #[arg(long, default_value = names::DATABASE_TLS_DIR)]
    database_tls: String,
    /// The same of the login that reaches the vault
    #[arg(long, default_value = names::VAULT_TLS_DIR)]
    vault_tls: String,
    /// ca.crt of the database
    #[arg(long, default_value = names::DATABASE_TRUST_DIR)]
    database_trust: String,
    /// The key that notifications are signed with: ECDSA P-256, PKCS#8 PEM; it is followed
    #[arg(long, default_value = names::NOTIFY_KEY_FILE)]
    notify_key: PathBuf,
    /// The keys that secrets are sealed with and hashes of requests are keyed with
    #[arg(long, default_value = names::DATA_KEY_FILE)]
    data_key: PathBuf,
    /// Requests worked on at once; more are refused with 503
    #[arg(long, default_value_t = 1024, env = "PAYPLANE_IN_FLIGHT_MAX")]
    in_flight_max: usize,
}

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the gateway cannot follow signals"))]
    Signals { source: SignalError },
    #[snafu(display("the gateway has no usable config"))]
    Config { source: ConfigError },
    #[snafu(display("the gateway has no usable certificates"))]
    Tls { source: TlsError },
    #[snafu(display("the gateway has no key to sign notifications with"))]
    Notify { source: NotifyKeyError },
    #[snafu(display("the gateway has no key for what it keeps sealed"))]
    Data { source: DataKeyError },
    #[snafu(display("the gateway cannot prepare its database"))]
    Database { source: DatabaseError },
    #[snafu(display("the gateway cannot prepare its ledger client"))]
    Books { source: BooksError },
    #[snafu(display("the gateway cannot serve"))]
    Serve { source: ServeError },
}

/// Serves until SIGTERM, then drains.
pub async fn run(args: Args) -> Result<(), Error> {
    let shutdown = Shutdown::on_signals().context(SignalsSnafu)?;
    let settings = Live::load(&args.config, Settings::parse).context(ConfigSnafu)?;
    let following = tokio::spawn(settings.clone().follow());
    let notify_key = NotifyKey::load(&args.notify_key).context(NotifySnafu)?;
    let mut registry = Registry::default();
    let gateway = Arc::new(prepare(&args, settings, FollowedKey::new(notify_key), &mut registry)?);

    let identity = Some(args.tls.clone());
    let app = Files { identity: identity.clone(), trust: None };
    let admin = Files { identity, trust: Some(args.trust.clone()) };
    let app_tls = tls::server(app).context(TlsSnafu)?;
    let admin_tls = tls::server(admin).context(TlsSnafu)?;
    let app_listener = serve::listen(args.listen).await.context(ServeSnafu)?;
    let admin_listener = serve::listen(args.admin).await.context(ServeSnafu)?;
    let health_listener = serve::listen(args.health).await.context(ServeSnafu)?;
    tracing::info!(app = %args.listen, admin = %args.admin, tenant = gateway.settings().value.tenant, "serving");

    let app = serve::tls(app_listener, app_tls, api::app::router(gateway.clone()), shutdown.clone());
    let admin_port = api::control::admin_port(&gateway);
    let admin = serve::tls(admin_listener, admin_tls, admin_port, shutdown.clone());
    let (ready, met) = (gateway.clone(), Arc::new(AtomicBool::new(false)));
    let ready = move || is_ready(ready.clone(), met.clone()).boxed();
    let health = health::serve(health_listener, registry, &shutdown, ready, axum::Router::new());
    let resolver = resolve::run(gateway.clone(), shutdown.clone());
    let notifier = notify::run(gateway.clone(), shutdown.clone());
    let asker = breaker::run(gateway.clone(), shutdown.clone());
    let keeper = vault::keeper::run(gateway.clone(), shutdown.clone());
    let placer = stream::run(gateway.clone(), shutdown.clone());
    tokio::join!(app, admin, health, resolver, notifier, asker, keeper, placer);

    // Payments whose callers have gone are finished as well.
    gateway.work.close();
    if tokio::time::timeout(DRAIN_MAX, gateway.work.wait()).await.is_err() {
        tracing::info!(left = gateway.work.len(), "left to the resolver of another replica");
    }
    following.abort();
    Ok(())
}

fn prepare(
    args: &Args,
    settings: Arc<Live<Settings>>,
    notify_key: FollowedKey,
    registry: &mut Registry,
) -> Result<Gateway, Error> {
    let current = settings.current();
    let config = &current.value.config;
    let login = |config: &DatabaseConfig, tls: &str, (application, size)| -> Result<_, DatabaseError> {
        let identity = config.password_file.is_none().then_some(tls);
        let tls = DatabaseTls::load(identity, &args.database_trust)?;
        let pool = database::key_pool(config, &tls, application, size)?;
        tokio::spawn(tls.follow());
        Ok(pool)
    };
    let own = (store::sealed::APPLICATION, DATABASE_CONNECTIONS);
    let pool = login(&config.database, &args.database_tls, own).context(DatabaseSnafu)?;
    let data_keys = DataKeys::load(&args.data_key).context(DataSnafu)?;
    let vault = config.database.as_user(names::ROLE_VAULT);
    // Its sessions tell which key they use for what is new.
    let application = format!("payplane-vault {}", data_keys.current());
    let vault = login(&vault, &args.vault_tls, (&application, VAULT_CONNECTIONS));
    let vault = vault.context(DatabaseSnafu)?;
    let files = Files { identity: Some(args.tls.clone()), trust: Some(args.trust.clone()) };
    let ledger_tls = tls::client(files).context(TlsSnafu)?;
    let books = Books::new(&config.ledger, ledger_tls.clone()).context(BooksSnafu)?;
    tokio::spawn(ledger_tls.follow());
    let metrics = metrics::Metrics::new(registry);
    Ok(Gateway {
        settings,
        store: store::Store::new(pool, metrics.messages_unkept.clone()),
        books,
        keys: keys::KeyCache::default(),
        data_keys,
        vault: store::vault::VaultTable::new(vault),
        breakers: breaker::Breakers::default(),
        rates: rates::Rates::default(),
        metrics,
        work: TaskTracker::new(),
        places: Arc::new(Semaphore::new(args.in_flight_max)),
        shares: shares::Shares::default(),
        network_places: Arc::new(Semaphore::new(NETWORK_PLACES)),
        code_places: Semaphore::new(CODE_PLACES),
        notify_key,
        book_reads: Semaphore::new(BOOK_READS),
    })
}

/// A pod is ready once it has met a database that it can write. After that a
/// lost one does not take it out of the Service: requests wait for the next
/// primary, where a refused connection would fail them. The ledger is not asked:
/// without it payments are accepted and owed.
async fn is_ready(gateway: Arc<Gateway>, met: Arc<AtomicBool>) -> Result<(), String> {
    if met.load(Ordering::Acquire) {
        return Ok(());
    }
    match tokio::time::timeout(READY_MAX, gateway.store.is_writable()).await {
        Ok(Ok(true)) => {
            met.store(true, Ordering::Release);
            Ok(())
        }
        Ok(Ok(false)) => Err("the database is read-only".to_owned()),
        Ok(Err(error)) => Err(payplane_common::telemetry::chain(&error)),
        Err(_) => Err("the database does not answer".to_owned()),
    }
}
