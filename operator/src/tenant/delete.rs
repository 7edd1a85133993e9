//! The end of a tenant. Books are kept unless they were named to be destroyed.

use kube::ResourceExt;
use payplane_api::config::MigrateReport;
use payplane_api::names::ANNOTATION_BOOKS_ID;
use payplane_crds::PaymentTenant;
use payplane_crds::condition::Reason;
use payplane_crds::tenant::DeletionPolicy;
use serde_json::{Value, json};

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::tenant::dereference::clusters;
use crate::tenant::validate::Refused;
use crate::tenant::{destroy, gates};

/// On a namespace: in which state its books were left, where they were not put to rest.
pub const ANNOTATION_BOOKS_STATE: &str = "payplane.io/books-state";

/// Removes what is to go. `Err` says what the deletion waits for.
pub async fn delete(cluster: &Cluster, object: &PaymentTenant) -> Result<Result<(), Refused>, ClusterError> {
    if object.spec.paused {
        return Ok(Err(Refused::new(Reason::DeletionPaused, "")));
    }
    let namespace = payplane_api::names::namespace(&object.name_any());
    let live = cluster.get(&resource("v1", "Namespace"), None, &namespace).await?;
    let Some(live) = live else { return Ok(Ok(())) };
    let uid = object.uid().unwrap_or_default();
    if gates::namespace(Some(&live), &object.name_any(), &uid).is_err() {
        return Ok(Ok(()));
    }
    if live["metadata"]["deletionTimestamp"].is_string() {
        return Ok(Err(Refused::new(Reason::Deleting, "Its namespace is being removed.")));
    }
    let Some(books) = books(cluster, object, &live, &namespace).await? else {
        return destroy::destroy(cluster, &live, &namespace).await.map(Err);
    };
    match (object.spec.deletion_policy, &object.spec.destroy_books) {
        (DeletionPolicy::Delete, Some(named)) if *named == books => {
            destroy::destroy(cluster, &live, &namespace).await.map(Err)
        }
        (DeletionPolicy::Delete, _) => {
            let detail = format!("The books are {books}.");
            Ok(Err(Refused::new(Reason::DestroyBooksMismatch, detail)))
        }
        (DeletionPolicy::Retain, _) => retain(cluster, &live, &namespace, &books).await,
    }
}

/// The books' id. The mark says it before the status: nobody but the operator
/// can change it, so a forged status destroys nothing.
async fn books(
    cluster: &Cluster,
    object: &PaymentTenant,
    live: &Value,
    namespace: &str,
) -> Result<Option<String>, ClusterError> {
    let known = object.status.as_ref().and_then(|s| s.books_id.clone());
    let marked = live["metadata"]["annotations"][ANNOTATION_BOOKS_ID].as_str().map(str::to_owned);
    if let Some(id) = marked.or(known) {
        return Ok(Some(id));
    }
    let pods = cluster.list(&resource("v1", "Pod"), Some(namespace), "payplane.io/component=migrate").await?;
    Ok(match gates::migration(&pods) {
        Some(MigrateReport::Migrated { books_id, .. }) => Some(books_id),
        _ => None,
    })
}

/// Stops the services, marks what holds the books and puts the database to rest.
/// The owner references of everything else do the rest.
async fn retain(
    cluster: &Cluster,
    live: &Value,
    namespace: &str,
    books: &str,
) -> Result<Result<(), Refused>, ClusterError> {
    let mark = json!({"metadata": {"annotations": {ANNOTATION_BOOKS_ID: books}}});
    if live["metadata"]["annotations"][ANNOTATION_BOOKS_ID] != books {
        cluster.merge(&resource("v1", "Namespace"), None, namespace, &mark).await?;
    }
    let waiting = destroy::stop(cluster, namespace).await?;
    let pending = || Err(Refused::new(Reason::HibernationPending, ""));
    let Some(database) = cluster.get(&clusters(), Some(namespace), "database").await? else {
        return Ok(if waiting { pending() } else { Ok(()) });
    };
    mark_volumes(cluster, namespace, &mark).await?;
    let hibernation = &database["metadata"]["annotations"]["cnpg.io/hibernation"];
    if hibernation != "on" {
        if !healthy(&database) {
            if database["metadata"]["annotations"][ANNOTATION_BOOKS_ID].is_null() {
                cluster.merge(&clusters(), Some(namespace), "database", &mark).await?;
            }
            return unhibernated(cluster, live, namespace, waiting).await;
        }
        let mut patch = mark;
        patch["metadata"]["annotations"]["cnpg.io/hibernation"] = "on".into();
        cluster.merge(&clusters(), Some(namespace), "database", &patch).await?;
        if live["metadata"]["annotations"][ANNOTATION_BOOKS_STATE].is_string() {
            let healed = json!({"metadata": {"annotations": {ANNOTATION_BOOKS_STATE: null}}});
            cluster.merge(&resource("v1", "Namespace"), None, namespace, &healed).await?;
        }
        return Ok(pending());
    }
    let conditions = database["status"]["conditions"].as_array().into_iter().flatten();
    let asleep = conditions.into_iter().any(|c| c["type"] == "cnpg.io/hibernation" && c["status"] == "True");
    Ok(if asleep && !waiting { Ok(()) } else { pending() })
}

/// Lets go of a database that cannot be put to rest: first the status and the
/// namespace say so, then the tenant goes.
async fn unhibernated(
    cluster: &Cluster,
    live: &Value,
    namespace: &str,
    waiting: bool,
) -> Result<Result<(), Refused>, ClusterError> {
    let state = Reason::BooksUnhibernated.as_str();
    let told = live["metadata"]["annotations"][ANNOTATION_BOOKS_STATE] == state;
    if !told {
        let said = json!({"metadata": {"annotations": {ANNOTATION_BOOKS_STATE: state}}});
        cluster.merge(&resource("v1", "Namespace"), None, namespace, &said).await?;
    }
    if told && !waiting { Ok(Ok(())) } else { Ok(Err(Refused::new(Reason::BooksUnhibernated, ""))) }
}

/// CloudNativePG starts to hibernate only from a healthy cluster.
fn healthy(database: &Value) -> bool {
    let conditions = database["status"]["conditions"].as_array().into_iter().flatten();
    gates::database_complete(database)
        && conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

async fn mark_volumes(cluster: &Cluster, namespace: &str, mark: &Value) -> Result<(), ClusterError> {
    let claims = resource("v1", "PersistentVolumeClaim");
    for claim in cluster.list(&claims, Some(namespace), "cnpg.io/cluster=database").await? {
        if claim["metadata"]["annotations"][ANNOTATION_BOOKS_ID].is_null() {
            cluster
                .merge(&claims, Some(namespace), claim["metadata"]["name"].as_str().unwrap_or_default(), mark)
                .await?;
        }
    }
    Ok(())
}
