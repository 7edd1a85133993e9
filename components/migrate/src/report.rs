//! What the migration says when it ends.

use std::path::Path;

use payplane_api::config::MigrateReport;
use payplane_common::database;
use snafu::ResultExt;

use crate::{MigrateError, ReportSnafu};

pub(crate) fn of(outcome: &Result<MigrateReport, MigrateError>) -> MigrateReport {
    let error = match outcome {
        Ok(report) => return report.clone(),
        Err(error) => error,
    };
    match error {
        MigrateError::Unfit { remedy } => MigrateReport::DatabaseUnfit { message: remedy.clone() },
        MigrateError::Conflict { remedy } => MigrateReport::BooksConflict { message: remedy.clone() },
        _ => MigrateReport::Failed { message: words(error) },
    }
}

/// What a status may say: the log has the whole error.
fn words(error: &MigrateError) -> String {
    match error {
        MigrateError::NotReady { .. } | MigrateError::Locked => format!("{error}."),
        MigrateError::Vault { .. } => {
            format!("{error}. {}", database::failure(error).unwrap_or_default()).trim_end().to_owned()
        }
        _ => database::failure(error).unwrap_or_else(|| "The log of Job migrate says why.".to_owned()),
    }
}

pub(crate) fn write(path: &Path, report: &MigrateReport) -> Result<(), MigrateError> {
    let mut line = serde_json::to_string(report)
        .unwrap_or_else(|_| r#"{"result":"Failed","message":"the report cannot be written"}"#.to_owned());
    line.push('\n');
    std::fs::write(path, line).context(ReportSnafu { path })
}
