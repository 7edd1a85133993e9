//! Forward-only schema migrations of every component, under an advisory lock,
//! into a database that was found fit to hold books and to hold these books.

pub mod books;
pub mod fitness;
pub mod migrations;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use payplane_api::config::{MigrateConfig, MigrateReport};
use payplane_api::names;
use payplane_common::database::{self, DatabaseTls};
use payplane_common::telemetry;
use snafu::{ResultExt, Snafu};
use tokio_postgres::Client;

/// How it is started.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = names::CONFIG_FILE)]
    pub config: PathBuf,
    /// Folder of the database client certificate.
    #[arg(long, default_value = names::DATABASE_TLS_DIR)]
    pub database_tls: String,
    /// The same of the login that reaches the vault; it is tried, and used for nothing.
    #[arg(long, default_value = names::VAULT_TLS_DIR)]
    pub vault_tls: String,
    /// Folder of the database's CA.
    #[arg(long, default_value = names::DATABASE_TRUST_DIR)]
    pub database_trust: String,
    /// Where the report goes: one line of JSON.
    #[arg(long, default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

const APPLICATION: &str = "payplane-migrate";
/// A managed database that has just started is asked for so long: its Service
/// may not lead to it yet, and each Job that fails costs writes and seconds.
const REACHED_WITHIN: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Another run may hold the lock for this long; then this one gives up.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
const LOCK_RETRY: Duration = Duration::from_millis(200);
/// The session-level advisory lock that every migration takes.
const LOCK: i64 = 7_813_575_000;

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum MigrateError {
    #[snafu(display("cannot read the config {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("the config {} cannot be parsed", path.display()))]
    Parse { path: PathBuf, source: serde_json::Error },
    #[snafu(display("cannot reach the database"))]
    Connect { source: database::DatabaseError },
    #[snafu(display("login role {} cannot reach the database", names::ROLE_VAULT))]
    Vault { source: database::DatabaseError },
    #[snafu(display("{what} failed in the database"))]
    Query { what: &'static str, source: tokio_postgres::Error },
    #[snafu(display("another migration has held the lock for {} s", LOCK_WAIT_MAX.as_secs()))]
    Locked,
    #[snafu(display("the database is not fit to hold books: {remedy}"))]
    Unfit { remedy: String },
    #[snafu(display("the database is not ready: {what}"))]
    NotReady { what: String },
    #[snafu(display("the books conflict: {remedy}"))]
    Conflict { remedy: String },
    #[snafu(display("a migration failed"))]
    Refinery { source: Box<refinery::Error> },
    #[snafu(display("cannot write the report to {}", path.display()))]
    Report { path: PathBuf, source: std::io::Error },
}

impl MigrateError {
    /// May it be over in a moment, with a database that has only just started?
    fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Vault { .. } | Self::NotReady { .. } => true,
            Self::Query { source, .. } => source.as_db_error().is_none(),
            _ => false,
        }
    }
}

/// Migrates once, says how it ended in the termination log, and fails unless the
/// schema is current.
pub async fn run(args: Args) -> Result<(), MigrateError> {
    telemetry::init();
    payplane_common::tls::install_provider();
    let outcome = migrate_by_config(&args).await;
    let line = report::of(&outcome);
    report::write(&args.termination_log, &line)?;
    match outcome {
        Ok(MigrateReport::Migrated { books_id, schema_version }) => {
            tracing::info!(books_id, schema_version, "migrated");
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::error!(error = telemetry::chain(&error), "not migrated");
            Err(error)
        }
    }
}

async fn migrate_by_config(args: &Args) -> Result<MigrateReport, MigrateError> {
    let text = std::fs::read(&args.config).context(ReadSnafu { path: &args.config })?;
    let config: MigrateConfig = serde_json::from_slice(&text).context(ParseSnafu { path: &args.config })?;
    let tls = DatabaseTls::found(&args.database_tls, &args.database_trust).context(ConnectSnafu)?;
    let vault_tls = DatabaseTls::found(&args.vault_tls, &args.database_trust).context(VaultSnafu)?;
    // A bank hears at once what is wrong with its own server.
    let patience = if config.external { Duration::ZERO } else { REACHED_WITHIN };
    let until = tokio::time::Instant::now() + patience;
    loop {
        match connect_and_migrate(&config, (&tls, &vault_tls)).await {
            Err(error) if error.may_pass() && tokio::time::Instant::now() < until => {
                tracing::info!(error = telemetry::chain(&error), "the database is asked again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            ended => return ended,
        }
    }
}

async fn connect_and_migrate(
    config: &MigrateConfig,
    (tls, vault_tls): (&DatabaseTls, &DatabaseTls),
) -> Result<MigrateReport, MigrateError> {
    let (mut client, _driver) =
        database::connect(&config.database, tls, APPLICATION).await.context(ConnectSnafu)?;
    let report = migrate(&mut client, config).await?;
    // Gateways that cannot log in as this one would be ready all the same: they wait for it.
    let vault = config.database.as_user(names::ROLE_VAULT);
    database::connect(&vault, vault_tls, APPLICATION).await.context(VaultSnafu)?;
    Ok(report)
}

/// Looks first and writes after: nothing is written to a database that is unfit,
/// or that holds other books. The lock is the session's, so a run that dies
/// lets go of it.
pub async fn migrate(client: &mut Client, config: &MigrateConfig) -> Result<MigrateReport, MigrateError> {
    lock(client).await?;
    fitness::check(client, config).await?;
    let known = books::read(client).await?;
    books::compare(known.as_ref(), config)?;
    let schema_version = migrations::apply(client).await?;
    let books_id = books::write(client, known, config).await?;
    client
        .execute("SELECT pg_advisory_unlock($1)", &[&LOCK])
        .await
        .context(QuerySnafu { what: "unlocking" })?;
    Ok(MigrateReport::Migrated { books_id: books_id.to_string(), schema_version })
}

async fn lock(client: &Client) -> Result<(), MigrateError> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT_MAX;
    loop {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
            .await
            .context(QuerySnafu { what: "locking" })?;
        if row.get(0) {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return LockedSnafu.fail();
        }
        tokio::time::sleep(LOCK_RETRY).await;
    }
}
