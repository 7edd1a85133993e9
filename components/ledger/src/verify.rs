//! `payplane ledger verify`: are these the books that were sealed? It reads them
//! in one snapshot and brings its own questions, so that nothing that is stored
//! in the database speaks for itself.

mod chain;
pub mod heads;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use payplane_api::config::DatabaseConfig;
use payplane_api::names;
use payplane_common::database::{self, DatabaseError, DatabaseTls};
use snafu::{ResultExt, Snafu};
use tokio_postgres::Client;

use crate::seal::head::Head;
pub use chain::{CONTENT, Walked, link};

/// Every invariant, each a question for what breaks it, one after the other: so the
/// server needs memory and disk for one at a time.
const INVARIANTS: [&str; 3] =
    [include_str!("verify/books.sql"), include_str!("verify/order.sql"), include_str!("verify/content.sql")];
/// What stands in front of them: the tables that postings look at, and what was archived.
const BOTH: &str = "
    WITH transactions AS NOT MATERIALIZED (SELECT * FROM ledger.transactions UNION ALL SELECT * FROM ledger_archive.transactions),
    entries AS NOT MATERIALIZED (SELECT * FROM ledger.entries UNION ALL SELECT * FROM ledger_archive.entries),
    external_references AS NOT MATERIALIZED (
        SELECT * FROM ledger.external_references UNION ALL SELECT * FROM ledger_archive.external_references),
    holds AS NOT MATERIALIZED (SELECT * FROM ledger.holds UNION ALL SELECT * FROM ledger_archive.holds),
    hold_ends AS NOT MATERIALIZED (SELECT * FROM ledger.hold_ends UNION ALL SELECT * FROM ledger_archive.hold_ends)";
/// Of each invariant; more would say nothing new.
const FINDINGS_MAX: i64 = 20;
/// Before the snapshot: no partition leaves meanwhile, of which the snapshot would not know.
const STAY: &str = "LOCK TABLE ONLY ledger.identities, ONLY ledger.transactions, ONLY ledger.entries, \
    ONLY ledger.external_references, ONLY ledger.holds, ONLY ledger.hold_ends IN ACCESS SHARE MODE";
/// Whatever the login's or the tables' settings say, names are the server's own and every row is seen.
const PLAIN: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off";
/// Sorting has a sixteenth of the server's cache, which grows with its memory.
const MEMORY: &str = "SELECT set_config('work_mem', greatest(4096, setting::bigint / 2) || 'kB', true)
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
    let (client, _driver) =
        database::connect(&found.database, &tls, "payplane-verify").await.context(ConnectSnafu)?;
    let walked = prove(&client, &heads).await?;
    print(&walked, heads.len(), others).context(PrintSnafu)?;
    if walked.findings.is_empty() { Ok(()) } else { RefutedSnafu.fail() }
}

/// Walks the chain and every invariant in one snapshot.
pub async fn prove(client: &Client, heads: &[Head]) -> Result<Walked, tokio_postgres::Error> {
    client
        .batch_execute(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PLAIN}; {MEMORY}; {STAY}"))
        .await?;
    let mut walked = chain::walk(client, heads).await?;
    walked.findings.extend(invariants(client).await?);
    let left = "SELECT max(upto)::text FROM ledger.departures WHERE what = 'identities'";
    walked.keys_from = client.query_one(left, &[]).await?.get(0);
    client.batch_execute("COMMIT").await?;
    Ok(walked)
}

/// Walks every invariant over the books: no finding is good.
pub async fn invariants(client: &Client) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let mut findings = vec![];
    for question in INVARIANTS.iter().flat_map(|questions| questions.split(";\n")) {
        let sql = format!(
            "{BOTH} SELECT what, coalesce(subject, '?') FROM ({question}) b (what, subject) ORDER BY 2 LIMIT {FINDINGS_MAX}"
        );
        for row in client.query(&sql, &[]).await? {
            findings.push(Finding { what: row.get(0), subject: row.get(1) });
        }
    }
    Ok(findings)
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
