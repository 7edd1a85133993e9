//! What the migration says when it ends.

use std::path::Path;

use payplane_api::config::MigrateReport;
use payplane_common::telemetry;
use snafu::ResultExt;

use crate::{MigrateError, ReportSnafu};

/// The kubelet keeps 4096 bytes of a termination message.
const MESSAGE_CHARS_MAX: usize = 900;

pub(crate) fn of(outcome: &Result<MigrateReport, MigrateError>) -> MigrateReport {
    let error = match outcome {
        Ok(report) => return report.clone(),
        Err(error) => error,
    };
    let message = telemetry::chain(error).chars().take(MESSAGE_CHARS_MAX).collect();
    match error {
        MigrateError::Unfit { remedy } => MigrateReport::DatabaseUnfit { message: remedy.clone() },
        MigrateError::Conflict { remedy } => MigrateReport::BooksConflict { message: remedy.clone() },
        _ => MigrateReport::Failed { message },
    }
}

pub(crate) fn write(path: &Path, report: &MigrateReport) -> Result<(), MigrateError> {
    let mut line = serde_json::to_string(report)
        .unwrap_or_else(|_| r#"{"result":"Failed","message":"the report cannot be written"}"#.to_owned());
    line.push('\n');
    std::fs::write(path, line).context(ReportSnafu { path })
}
