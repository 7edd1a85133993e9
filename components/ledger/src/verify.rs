//! `payplane ledger verify`: are these the books that were sealed? It reads them
//! in one snapshot and brings its own questions, so that nothing that is stored
//! in the database speaks for itself.

mod chain;
pub mod heads;
mod invariants;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use payplane_api::config::DatabaseConfig;
use payplane_api::names;
use payplane_common::database::{self, DatabaseError, DatabaseTls};
use snafu::{ResultExt, Snafu};
use tokio_postgres::{Client, Error};

use crate::seal::head::Head;
pub use chain::{CONTENT, Walked, link};
pub use invariants::invariants;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// First: no partition leaves meanwhile, of which the snapshot would not know. Whatever the login's
/// or the tables' settings say, names are the server's own and every row is seen. A question
/// is planned for the range that it is asked of, and sorting has a sixteenth of the server's
/// cache, which grows with its memory. One connection waits for the other.
const SETTINGS: &str = "
    LOCK TABLE ONLY ledger.identities, ONLY ledger.transactions, ONLY ledger.entries,
        ONLY ledger.external_references, ONLY ledger.holds, ONLY ledger.hold_ends IN ACCESS SHARE MODE;
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off;
    SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL idle_in_transaction_session_timeout = 0;
    SELECT set_config('work_mem', greatest(4096, setting::bigint / 2) || 'kB', true)
      FROM pg_settings WHERE name = 'shared_buffers'";

/// What to verify, and against what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON with the `database` to read, as in a component's config
    #[arg(long, default_value = names::CONFIG_FILE)]
    pub config: PathBuf,
    /// Folder of the database client certificate
    #[arg(long, default_value = names::DATABASE_TLS_DIR)]
    pub database_tls: String,
    /// Folder of the database's CA
    #[arg(long, default_value = names::DATABASE_TRUST_DIR)]
    pub database_trust: String,
    /// Heads that were published, one a line, from a heads file or a log; - is the standard input
    #[arg(long)]
    pub heads: PathBuf,
    /// PEM of the Ed25519 public keys that heads may be signed with
    #[arg(long, default_value = names::SEAL_PUBLIC_FILE)]
    pub key: PathBuf,
}

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum VerifyError {
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("the config {} cannot be parsed", path.display()))]
    Config { path: PathBuf, source: serde_json::Error },
    #[snafu(display("--key: {} holds {why}", path.display()))]
    Key { path: PathBuf, why: String },
    #[snafu(display("line {line} of the heads: {why}"))]
    Head { line: usize, why: String },
    #[snafu(display("--heads: no head that --key signed is in {}", path.display()))]
    NoHead { path: PathBuf },
    #[snafu(display("cannot reach the database"))]
    Connect { source: DatabaseError },
    #[snafu(context(false), display("the books cannot be read"))]
    Query { source: tokio_postgres::Error },
    #[snafu(display("cannot print"))]
    Print { source: std::io::Error },
    #[snafu(display("these are not the books that were sealed, or they break their own rules"))]
    Refuted,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub subject: String,
}

#[derive(serde::Deserialize)]
struct Where {
    database: DatabaseConfig,
}

/// Prints what it found, one finding a line, and fails if there is any.
pub async fn run(args: Args) -> Result<(), VerifyError> {
    let text = std::fs::read(&args.config).context(ReadSnafu { path: &args.config })?;
    let found: Where = serde_json::from_slice(&text).context(ConfigSnafu { path: &args.config })?;
    let (heads, others) = heads::read(&input(&args.heads)?, &heads::keys(&args.key)?)?;
    snafu::ensure!(!heads.is_empty(), NoHeadSnafu { path: &args.heads });
    let tls = DatabaseTls::found(&args.database_tls, &args.database_trust).context(ConnectSnafu)?;
    let connect = || database::connect_to_read(&found.database, &tls, "payplane-verify");
    let (one, _driver) = connect().await.context(ConnectSnafu)?;
    let (two, _driver) = connect().await.context(ConnectSnafu)?;
    let walked = prove(&one, &two, &heads).await?;
    print(&walked, heads.len(), others).context(PrintSnafu)?;
    if walked.findings.is_empty() { Ok(()) } else { RefutedSnafu.fail() }
}

/// Walks the chain and then all transactions on one connection, and what is said of the whole
/// books on the other, in one snapshot.
pub async fn prove(one: &Client, two: &Client, heads: &[Head]) -> Result<Walked, Error> {
    one.batch_execute(&format!("{BEGIN}; {SETTINGS}")).await?;
    let snapshot: String = one.query_one("SELECT pg_export_snapshot()", &[]).await?.get(0);
    two.batch_execute(&format!("{BEGIN}; SET TRANSACTION SNAPSHOT '{snapshot}'; {SETTINGS}")).await?;
    let chain = async {
        let walked = chain::walk(one, heads).await?;
        Ok((walked, invariants::of_transactions(one).await?))
    };
    let ((mut walked, of_transactions), of_the_whole) =
        tokio::try_join!(chain, invariants::of_the_whole(two))?;
    walked.findings.extend(of_the_whole);
    walked.findings.extend(of_transactions);
    let left = "SELECT max(upto)::text FROM ledger.departures WHERE what = 'identities'";
    walked.keys_from = one.query_one(left, &[]).await?.get(0);
    tokio::try_join!(one.batch_execute("COMMIT"), two.batch_execute("COMMIT"))?;
    Ok(walked)
}

fn input(path: &Path) -> Result<String, VerifyError> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path).context(ReadSnafu { path });
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context(ReadSnafu { path })?;
    Ok(text)
}

fn print(walked: &Walked, heads: usize, others: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for finding in &walked.findings {
        writeln!(out, "broken: {}: {}", finding.what, finding.subject)?;
    }
    writeln!(out, "{heads} heads, {others} lines that are none")?;
    if let Some(day) = &walked.keys_from {
        writeln!(out, "identities of key dates before {day} have left; none is looked for")?;
    }
    let Walked { sealed, proven, unsealed, .. } = walked;
    writeln!(out, "sealed up to position {sealed}, proven by heads up to {proven}, {unsealed} batches beyond")
}
