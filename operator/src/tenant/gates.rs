//! What must be there before the next part is made: pure readings of objects.

use jiff::Timestamp;
use payplane_api::config::MigrateReport;
use payplane_api::names::{ANNOTATION_BOOKS_ID, LABEL_TENANT, ROLE_GATEWAY, ROLE_LEDGER, ROLE_VAULT};
use payplane_crds::condition::Reason;
use serde_json::Value;

use crate::tenant::validate::{Refused, Tenant};

/// Says for which tenant, not just which name, a namespace was made.
pub const ANNOTATION_TENANT_UID: &str = "payplane.io/tenant-uid";

/// May the namespace be used? It was made for this very tenant, or it holds
/// books that a tenant of this name left behind.
pub fn namespace(live: Option<&Value>, tenant: &str, uid: &str) -> Result<(), Refused> {
    let Some(live) = live else { return Ok(()) };
    let metadata = &live["metadata"];
    let made_for_it = metadata["annotations"][ANNOTATION_TENANT_UID] == uid;
    let holds_books = metadata["annotations"][ANNOTATION_BOOKS_ID].is_string();
    if metadata["labels"][LABEL_TENANT] == tenant && (made_for_it || holds_books) {
        return Ok(());
    }
    let name = metadata["name"].as_str().unwrap_or_default();
    Err(Refused::new(Reason::NamespaceNotOurs, format!("Namespace {name}.")))
}

/// When a Job ended so.
#[must_use]
pub fn job_ended(job: &Value, how: &str) -> Option<Timestamp> {
    let conditions = job["status"]["conditions"].as_array()?;
    let ended = conditions.iter().find(|c| c["type"] == how && c["status"] == "True")?;
    ended["lastTransitionTime"].as_str()?.parse().ok()
}

/// Does the managed database serve, and are its login roles made?
pub fn database(cluster: &Value) -> Result<(), Refused> {
    let status = &cluster["status"];
    let waiting = |detail: &str| Err(Refused::new(Reason::DatabaseNotReady, detail));
    if status["readyInstances"].as_i64().unwrap_or(0) < 1 || !status["currentPrimary"].is_string() {
        return waiting("No instance is ready.");
    }
    let roles = &status["managedRolesStatus"];
    // Why is said there: other people's texts have no place in a status.
    if let Some((role, _)) = roles["cannotReconcile"].as_object().and_then(|map| map.iter().next()) {
        return waiting(&format!("Role {role} cannot be made: see its status.managedRolesStatus."));
    }
    let made: Vec<_> = roles["byStatus"]["reconciled"].as_array().into_iter().flatten().collect();
    if ![ROLE_LEDGER, ROLE_GATEWAY, ROLE_VAULT].iter().all(|role| made.iter().any(|name| *name == role)) {
        return waiting("The login roles are being made.");
    }
    Ok(())
}

/// CloudNativePG has nothing left to do: no instance is joining, or being replaced
/// because its pod is to look different.
#[must_use]
pub fn database_settled(cluster: &Value) -> bool {
    database_complete(cluster) && cluster["status"]["phase"] == "Cluster in healthy state"
}

/// Commits wait for as many standbys as the tenant is to have.
#[must_use]
pub fn database_guarded(cluster: &Value, tenant: &Tenant) -> bool {
    let wanted = tenant.managed().is_some_and(|managed| managed.synchronous_standbys > 0);
    !wanted || cluster["spec"]["postgresql"]["synchronous"].is_object()
}

/// Every declared instance is ready.
#[must_use]
pub fn database_complete(cluster: &Value) -> bool {
    let ready = cluster["status"]["readyInstances"].as_i64().unwrap_or(0);
    ready >= cluster["spec"]["instances"].as_i64().unwrap_or(1)
}

/// What the newest migration pod said at its end.
#[must_use]
pub fn migration(pods: &[Value]) -> Option<MigrateReport> {
    let mut ended: Vec<_> = pods
        .iter()
        .filter_map(|pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            let message = state["message"].as_str()?;
            let report = serde_json::from_str(message.trim()).ok()?;
            Some((state["finishedAt"].as_str().unwrap_or_default().to_owned(), report))
        })
        .collect();
    ended.sort_by(|a, b| a.0.cmp(&b.0));
    ended.pop().map(|(_, report)| report)
}

/// Is a Deployment rolled out?
pub fn deployment(live: &Value) -> Result<(), Refused> {
    let name = live["metadata"]["name"].as_str().unwrap_or_default();
    let status = &live["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let wanted = live["spec"]["replicas"].as_i64().unwrap_or(1);
    if status["observedGeneration"] != live["metadata"]["generation"] || number("updatedReplicas") < wanted {
        return Err(Refused::new(Reason::RollingOut, format!("Deployment {name}.")));
    }
    if number("replicas") > wanted {
        return Err(Refused::new(Reason::RollingOut, format!("Deployment {name}: former pods are ending.")));
    }
    if number("availableReplicas") < wanted {
        return Err(Refused::new(Reason::PodsNotReady, format!("Deployment {name}.")));
    }
    Ok(())
}
