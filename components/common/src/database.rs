//! A pool of PostgreSQL connections: TLS with the server's name verified, a
//! client certificate or a password that is read again for every new connection,
//! and bounds.

mod failure;

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod};
use payplane_api::config::DatabaseConfig;
use rustls::ClientConfig;
use snafu::{ResultExt, Snafu};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::failure::{failure, is_read_only};
use crate::tls::{self, Files, Followed, TlsError};

/// A dead primary is noticed within this time, also when its packets vanish.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Also where an answer is awaited and nothing is on its way.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// Whatever server, database or role say: no timer may end the wait for a commit.
/// And a client that vanished without a word, or hangs inside a transaction, lets
/// go of its rows: the server would keep them for two hours.
/// Statements are short: compiling one takes longer than running it.
const SESSION: &str = "-c jit=off -c statement_timeout=0 -c idle_in_transaction_session_timeout=10s -c tcp_user_timeout=10s \
    -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3";
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a request waits for a connection before it is refused.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Snafu)]
pub enum DatabaseError {
    #[snafu(display("the database's TLS files cannot be used"))]
    Tls { source: TlsError },
    #[snafu(display("the database's password file {path} cannot be read"))]
    Password { path: String, source: std::io::Error },
    #[snafu(display("the database pool cannot be built"))]
    Build { source: deadpool_postgres::BuildError },
    #[snafu(display("cannot connect to the database at {host}"))]
    Connect { host: String, source: tokio_postgres::Error },
}

/// Where the client certificate and the CA lie.
#[derive(Clone, Debug)]
pub struct DatabaseTls {
    files: Arc<Followed<ClientConfig>>,
}

impl DatabaseTls {
    /// `identity` and `trust` are folders as of `payplane_api::names`.
    pub fn load(identity: Option<&str>, trust: &str) -> Result<Self, DatabaseError> {
        let files = Files { identity: identity.map(Into::into), trust: Some(trust.into()) };
        Ok(Self { files: tls::client(files).context(TlsSnafu)? })
    }

    /// The same with the certificate that lies in the folder, or none: a bank's own
    /// database may log in by password alone.
    pub fn found(identity: &str, trust: &str) -> Result<Self, DatabaseError> {
        let there = Path::new(identity).join("tls.crt").exists();
        Self::load(there.then_some(identity), trust)
    }

    /// Follows the files until the future is dropped.
    pub async fn follow(self) {
        self.files.follow().await;
    }
}

impl std::fmt::Debug for Followed<ClientConfig> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Followed<ClientConfig>")
    }
}

/// A statement of a few rows is never worth a plan of its own.
const KEPT_PLANS: &str = "-c plan_cache_mode=force_generic_plan";

/// What this release knows. The database keeps from others what they would take for something
/// else.
const KNOWS: &str = "-c payplane.knows=transfers,decisions,vault,top-ups";

/// Opens a pool of at most `size` connections. Nothing is connected yet.
pub fn pool(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    application: &str,
    size: usize,
) -> Result<Pool, DatabaseError> {
    pool_with(KEPT_PLANS, (config, application), tls, size)
}

/// The same for statements that find their rows by key. A plan that was made while the
/// tables were small is kept: it may not be to read them whole.
pub fn key_pool(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    application: &str,
    size: usize,
) -> Result<Pool, DatabaseError> {
    pool_with(&format!("{KEPT_PLANS} {KNOWS} -c enable_seqscan=off"), (config, application), tls, size)
}

/// The same for reading alone: a read that nobody waits for any more ends.
pub fn read_pool(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    application: &str,
    size: usize,
) -> Result<Pool, DatabaseError> {
    pool_with("-c statement_timeout=30s", (config, application), tls, size)
}

/// A pool whose sessions have these settings beside [`SESSION`].
fn pool_with(
    more: &str,
    (config, application): (&DatabaseConfig, &str),
    tls: &DatabaseTls,
    size: usize,
) -> Result<Pool, DatabaseError> {
    let mut options = options(config, application)?;
    options.options(format!("{SESSION} {more}"));
    let manager = Manager::from_connect(
        options,
        Connector::new(config, tls),
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let timeouts = deadpool_postgres::Timeouts {
        wait: Some(WAIT_MAX),
        create: Some(CONNECT_MAX),
        recycle: Some(CONNECT_MAX),
    };
    let builder = Pool::builder(manager).max_size(size).timeouts(timeouts);
    builder.runtime(deadpool_postgres::Runtime::Tokio1).build().context(BuildSnafu)
}

/// One connection outside any pool, and the task that drives it.
pub async fn connect(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    application: &str,
) -> Result<(tokio_postgres::Client, JoinHandle<()>), DatabaseError> {
    connect_with(config, tls, &options(config, application)?).await
}

/// The same for who only reads: a standby will do.
pub async fn connect_to_read(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    application: &str,
) -> Result<(tokio_postgres::Client, JoinHandle<()>), DatabaseError> {
    let mut options = options(config, application)?;
    options.target_session_attrs(TargetSessionAttrs::Any);
    connect_with(config, tls, &options).await
}

async fn connect_with(
    config: &DatabaseConfig,
    tls: &DatabaseTls,
    options: &tokio_postgres::Config,
) -> Result<(tokio_postgres::Client, JoinHandle<()>), DatabaseError> {
    Connector::new(config, tls).connect(options).await.context(ConnectSnafu { host: &config.host })
}

fn options(config: &DatabaseConfig, application: &str) -> Result<tokio_postgres::Config, DatabaseError> {
    let mut options = tokio_postgres::Config::new();
    options
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .application_name(application)
        .options(SESSION)
        .ssl_mode(SslMode::Require)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(CONNECT_MAX)
        .keepalives_idle(KEEPALIVE_AFTER)
        .keepalives_interval(KEEPALIVE_EVERY)
        .tcp_user_timeout(TCP_USER_TIMEOUT);
    if let Some(path) = &config.password_file {
        let password = std::fs::read_to_string(path).context(PasswordSnafu { path })?;
        options.password(password.trim_end());
    }
    Ok(options)
}

struct Connector {
    tls: Arc<Followed<ClientConfig>>,
    password_file: Option<String>,
}

impl Connector {
    fn new(config: &DatabaseConfig, tls: &DatabaseTls) -> Self {
        Self { tls: tls.files.clone(), password_file: config.password_file.clone() }
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        options: &tokio_postgres::Config,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        let tls = MakeRustlsConnect::new((*self.tls.current()).clone());
        let mut options = options.clone();
        // It may have been changed since; where it cannot be read, the last one is tried.
        if let Some(Ok(password)) = self.password_file.as_ref().map(std::fs::read_to_string) {
            options.password(password.trim_end());
        }
        Box::pin(async move {
            let (client, connection) = options.connect(tls).await?;
            Ok((client, tokio::spawn(drive(connection))))
        })
    }
}

/// The place in PostgreSQL that warns when somebody cancelled the wait for the
/// standby. The text is translated, this is not.
const COMMITTED_ALONE: &str = "SyncRepWaitForLSN";

/// Runs a connection to its end. A commit that the required standby may not have
/// is no success: the connection ends before the answer is read, so whoever
/// waits for it hears that the outcome is unknown.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) if notice.routine() == Some(COMMITTED_ALONE) => {
                let warning = notice.message();
                return tracing::info!(warning, "committed, perhaps without the standby; connection dropped");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let error = crate::telemetry::chain(&error);
                return tracing::info!(error, "database connection lost");
            }
            None => return,
        }
    }
}
