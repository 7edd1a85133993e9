//! The SQL files of every component: one history, forward only.

use refinery::{Migration, Runner};
use snafu::ResultExt;
use tokio_postgres::Client;

use crate::{MigrateError, QuerySnafu, RefinerySnafu};

/// Where refinery writes what it applied.
const HISTORY: &str = "payplane.schema_history";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../sql/", $name, ".sql")))),*]
    };
}

/// Every migration. A new file is named here, so that a build sees it.
pub const FILES: &[(&str, &str)] = files![
    "V1__control",
    "V2__ledger",
    "V3__gateway",
    "V4__ledger_rules",
    "V5__ledger_decisions",
    "V6__ledger_guards",
    "V7__ledger_holds",
    "V8__ledger_posting",
    "V9__ledger_accounts",
    "V10__ledger_positions",
    "V11__ledger_days",
    "V12__ledger_chain",
    "V13__ledger_checkpoints",
    "V14__ledger_epoch",
    "V15__ledger_partitions",
    "V16__ledger_archive",
    "V17__gateway_notifications",
    "V18__gateway_networks",
    "V19__gateway_registry",
    "V20__gateway_limits",
    "V21__gateway_app_keys",
    "V23__gateway_surpluses",
    "V24__gateway_payouts",
    "V25__gateway_risk",
    "V26__gateway_risk_lists",
    "V27__gateway_agreements",
    "V28__gateway_decisions",
    "V29__gateway_transfers",
    "V30__vault",
    "V32__gateway_messages",
    "V33__gateway_stream",
    "V34__gateway_terms",
    "V35__gateway_sign_and_pay",
    "V36__gateway_top_ups",
    "V37__gateway_step_ups",
];

/// Applies what is missing and says at which version the schema is. A schema
/// newer than this release stays as it is: a release that is rolled back finds
/// the tables that it knows, because migrations only add.
pub(crate) async fn apply(client: &mut Client) -> Result<u32, MigrateError> {
    let files: Result<Vec<_>, _> = FILES.iter().map(|(name, sql)| Migration::unapplied(name, sql)).collect();
    let files = files.map_err(Box::new).context(RefinerySnafu)?;
    let newest = files.iter().map(Migration::version).max().unwrap_or(0);
    let applied = version(client).await?;
    if applied > newest {
        tracing::info!(applied, newest, "the schema is newer than this release");
        return Ok(u32::try_from(applied).unwrap_or(0));
    }
    client
        .batch_execute("CREATE SCHEMA IF NOT EXISTS payplane")
        .await
        .context(QuerySnafu { what: "creating schema payplane" })?;
    let mut runner = Runner::new(&files);
    runner.set_migration_table_name(HISTORY);
    runner.run_async(client).await.map_err(Box::new).context(RefinerySnafu)?;
    Ok(u32::try_from(version(client).await?).unwrap_or(0))
}

async fn version(client: &Client) -> Result<i32, MigrateError> {
    let what = "reading the schema's version";
    let known = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&HISTORY])
        .await
        .context(QuerySnafu { what })?;
    if !known.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client
        .query_one("SELECT coalesce(max(version), 0)::int4 FROM payplane.schema_history", &[])
        .await
        .context(QuerySnafu { what })?;
    Ok(row.get(0))
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_in_the_folder_is_listed_in_order() {
        let folder = "sql";
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".sql", ""))
            .collect();
        let number = |name: &str| -> u32 { name[1..name.find("__").unwrap()].parse().unwrap() };
        found.sort_by_key(|name| number(name));
        let listed: Vec<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(listed, found);
    }
}
