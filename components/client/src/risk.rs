//! Lists of those from whom no payment is taken, kept over the admin API.

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use snafu::ResultExt;

use crate::admin::{Admin, AdminArgs, AdminError, CallSnafu};
use crate::print::{self, Output};

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    Payer,
    Device,
    Merchant,
    Terminal,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Add an entry, or say which one it is
    Add {
        list: String,
        #[arg(value_enum)]
        kind: Kind,
        /// The id that payments name
        value: String,
        /// Why, for people
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Remove an entry by its entryId
    Remove {
        list: String,
        entry: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

pub(crate) async fn run(command: ListCommand) -> Result<(), AdminError> {
    let (args, answer, done) = match command {
        ListCommand::Add { list, kind, value, note, admin } => {
            let body = json!({"kind": format!("{kind:?}"), "value": value, "note": note});
            let path = format!("/admin/v1/risk/lists/{list}/entries");
            let api = Admin::new(&admin).context(CallSnafu)?;
            (admin, api.post_json(&path, &body).await.context(CallSnafu)?, "is there")
        }
        ListCommand::Remove { list, entry, admin } => {
            let path = format!("/admin/v1/risk/lists/{list}/entries/{entry}");
            let api = Admin::new(&admin).context(CallSnafu)?;
            (admin, api.delete(&path).await.context(CallSnafu)?, "is gone")
        }
    };
    match args.output {
        Output::Json => print::json(&answer),
        Output::Text => {
            let (entry, list) = (&answer["entryId"], &answer["list"]);
            print::line(&format!("entry {entry} of {list} {done}").replace('"', ""));
        }
    }
    Ok(())
}
