//! Load: requests start at their intended times whatever the answers do, and a
//! record outside the system under test says what was sent and acknowledged.

mod drive;
pub mod journal;
pub mod plan;
pub mod record;
mod settle;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use snafu::{ResultExt, Snafu};

use crate::call::{AppArgs, CallError, duration};

pub use self::record::{Entry, Outcome, Record};

#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send payments and refunds at a rate, and record them
    Run(Box<RunArgs>),
    /// End a run early: it finishes what is open and prints its summary
    Stop(RecordArgs),
    /// Print a record
    Dump(RecordArgs),
}

#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// The record's file
    record: PathBuf,
}

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub app: AppArgs,
    /// Requests a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub rate: u64,
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// How long to ask afterwards for outcomes that are still open
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub settle: Duration,
    /// How many of a hundred requests refund an earlier payment
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub refund_share: u64,
    /// Where the record is written; it must not exist yet
    #[arg(long)]
    pub record: PathBuf,
    /// Payment methods, picked at random
    #[arg(long, value_delimiter = ',', default_value = "card")]
    pub methods: Vec<String>,
    /// Merchants, picked at random
    #[arg(long, value_delimiter = ',', default_value = "M1")]
    pub merchants: Vec<String>,
    #[arg(long, default_value = "CNY")]
    pub currency: String,
    /// Least and greatest amount in minor units, as `100-20000`. Amounts that a
    /// simulated network takes as a request for a fault are left out.
    #[arg(long, default_value = "100-8000", value_parser = plan::amount_range)]
    pub amount_range: plan::AmountRange,
    /// Also amounts that ask a simulated network for faults
    #[arg(long)]
    pub faults: bool,
    /// Chooses amounts, methods and refunds; printed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Order numbers begin so; unique per run when left out
    #[arg(long)]
    pub prefix: Option<String>,
    /// The order date's zone
    #[arg(long, default_value = "Asia/Shanghai")]
    pub timezone: String,
}

#[derive(Debug, Snafu)]
pub enum LoadError {
    #[snafu(display("the app cannot call"))]
    App { source: CallError },
    #[snafu(display("the record cannot be kept"))]
    Journal { source: journal::JournalError },
    #[snafu(display("the record cannot be read"))]
    Record { source: record::RecordError },
    #[snafu(display("time zone {zone:?} is not known"))]
    Zone { zone: String, source: jiff::Error },
    #[snafu(display("cannot follow signals"))]
    Signals { source: std::io::Error },
    #[snafu(display("cannot ask {} to stop", path.display()))]
    Stop { path: PathBuf, source: std::io::Error },
}

pub(crate) async fn run(args: LoadArgs) -> Result<(), LoadError> {
    match args.command {
        Command::Run(args) => drive::run(*args).await,
        Command::Stop(args) => {
            let path = stop_file(&args.record);
            std::fs::write(&path, "").context(StopSnafu { path })
        }
        Command::Dump(args) => record::dump(&args.record).context(RecordSnafu),
    }
}

/// A run ends when this file appears: an image without a shell has no `kill`.
fn stop_file(record: &std::path::Path) -> PathBuf {
    record.with_added_extension("stop")
}
