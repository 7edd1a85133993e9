//! `bench ledger`: how many transfers a second the ledger takes, and how fast. `bench
//! gateway`: the same of payments. Everything runs on this machine: the client, the parts,
//! PostgreSQL.

mod book;
mod confirm;
mod gateway;
mod limits;
mod machine;
mod mix;
mod open_loop;
mod pace;
mod reads;
mod report;
mod rig;
mod search;
mod signs;
mod unary;
mod wal;

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::mix::Mix;

/// As the product has it, so that the client leaves the machine to what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The ledger over gRPC with mutual TLS, beside what PostgreSQL alone could do.
    Ledger(LedgerArgs),
    /// The same load on a large book as on an empty one; reading and verifying it.
    Book(BookArgs),
    /// Payments over two gateways, each posted and told its merchant.
    Gateway(gateway::GatewayArgs),
}

#[derive(clap::Args)]
pub(crate) struct BookArgs {
    /// Transactions of the large book.
    #[arg(long, default_value_t = 20_000_000)]
    transactions: u64,
    /// Accounts of merchants that they are spread over.
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// Transfers a second that are offered to both books.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// How long.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// Balances of the busiest merchant read a second, while it gets 5,000 entries a second.
    #[arg(long, default_value_t = 200)]
    reads: u64,
}

#[derive(clap::Args)]
pub(crate) struct LedgerArgs {
    /// How long a rate must hold.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Accounts of merchants that transfers are spread over.
    #[arg(long, default_value_t = 10_000)]
    accounts: usize,
    /// Where the search for the highest rate begins, in transfers a second.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Only this mix.
    #[arg(long)]
    mix: Option<Mix>,
    /// Only this rate, without a search.
    #[arg(long)]
    fixed: bool,
    /// Balances of the busiest account read a second meanwhile.
    #[arg(long, default_value_t = 0)]
    reads: u64,
    /// Without the limit of PostgreSQL alone.
    #[arg(long)]
    no_limit: bool,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    match Cli::parse().command {
        Command::Ledger(args) => runtime.block_on(ledger(&args)),
        Command::Book(args) => runtime.block_on(book::run(&args)),
        Command::Gateway(args) => runtime.block_on(gateway::run(&args)),
    }
}

async fn ledger(args: &LedgerArgs) -> Result<()> {
    report::settings(rig::SETTINGS);
    let _early = machine::WritesEarly::set()?;
    let (syncs, p99_ms) = machine::fdatasync(Duration::from_secs(3))?;
    report::figure("fdatasync", syncs, "1/s");
    report::figure("fdatasync_p99", p99_ms, "ms");
    let limit = if args.no_limit { None } else { Some(limits::sql(args).await?) };
    let mixes = args.mix.map_or_else(|| Mix::ALL.to_vec(), |mix| vec![mix]);
    for mix in mixes {
        let best = search::highest(args, mix).await?;
        if let (Some(limit), Mix::Spread) = (limit, mix) {
            report::figure("ledger_vs_sql_ratio", report::precise(best) / limit, "of the limit");
        }
    }
    if args.mix.is_none() {
        unary::measure(args, p99_ms).await?;
    }
    Ok(())
}
