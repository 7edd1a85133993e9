//! The migration's Job: started, judged by what its pod said, and started anew.

use jiff::{SignedDuration, Timestamp};
use payplane_api::config::MigrateReport;
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::Object;
use crate::tenant::build::config;
use crate::tenant::gates;
use crate::tenant::validate::Tenant;

/// A migration that ended badly is tried again after this time.
const MIGRATE_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// The migration's config names the books once they are known. The one that it
/// made them with does not, and need not be written again for that.
pub async fn write_config(
    writer: &Cluster,
    tenant: &Tenant,
    config: Object,
    report: Option<&MigrateReport>,
) -> Result<(), ClusterError> {
    let first = config::build_migrate_config(tenant, None);
    let live = writer.look(&first.resource(), first.namespace(), first.name()).await?;
    let migrated = matches!(report, Some(MigrateReport::Migrated { .. }));
    let is_first = live.is_some_and(|live| live["data"] == first.0["data"]);
    writer.apply(if migrated && is_first { &first } else { &config }).await.map(|_| ())
}

/// Undoes what somebody else changed in the Job that ended well.
pub async fn keep_in_shape(writer: &Cluster, job: &Object, live: Option<&Value>) -> Result<(), ClusterError> {
    let there = live.is_some_and(|live| live["metadata"]["deletionTimestamp"].is_null());
    if there {
        writer.apply(job).await?;
    }
    Ok(())
}

/// What a migration's Job was made from.
fn input(job: &Value) -> &Value {
    &job["metadata"]["annotations"]["payplane.io/input"]
}

/// The Job that there is, and its word.
pub struct Said {
    pub live: Option<Value>,
    pub report: Option<MigrateReport>,
}

/// What the Job of exactly this input said. A Job of other input says nothing.
pub async fn said(writer: &Cluster, tenant: &Tenant, job: &Object) -> Result<Said, ClusterError> {
    let live = writer.look(&job.resource(), Some(&tenant.namespace), "migrate").await?;
    let Some(same) = live.as_ref().filter(|live| input(live) == input(&job.0)) else {
        return Ok(Said { live, report: None });
    };
    let uid = same["metadata"]["uid"].as_str().unwrap_or_default();
    let pods =
        writer.look_for_pods(&tenant.namespace, &[("batch.kubernetes.io/controller-uid", uid)]).await?;
    let known = tenant.books_id.clone().zip(tenant.schema_version);
    let report = gates::migration(&pods).or_else(|| {
        // Its pod may be gone since, for example with its node.
        let (books_id, schema_version) = known.filter(|_| gates::job_ended(same, "Complete").is_some())?;
        Some(MigrateReport::Migrated { books_id, schema_version })
    });
    Ok(Said { report, live })
}

/// Starts the Job, or removes one that ended badly or has other input.
pub async fn start(
    writer: &Cluster,
    tenant: &Tenant,
    job: &Object,
    live: &Option<Value>,
    reported: bool,
) -> Result<(), ClusterError> {
    let Some(live) = live else {
        writer.apply(job).await?;
        return Ok(());
    };
    let failed = gates::job_ended(live, "Failed")
        .is_some_and(|at| Timestamp::now().duration_since(at) > MIGRATE_AGAIN);
    // Complete without a word: what it found out is lost.
    let again = failed || gates::job_ended(live, "Complete").is_some();
    if input(live) != input(&job.0) || again {
        tracing::info!(tenant = tenant.name, reported, "migration starts anew");
        writer.delete(&job.resource(), live).await?;
    }
    Ok(())
}
