//! What a database needs before it is made or called: a managed one its volume's
//! class, an external one an address and Secrets.

use payplane_api::config::MigrateReport;
use payplane_crds::SECRET_TYPE_DATABASE_CREDENTIALS;
use payplane_crds::condition::Reason;
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::{Object, contains, resource};
use crate::settings::Settings;
use crate::tenant::dereference::{World, clusters};
use crate::tenant::validate::{Refused, Tenant};
use crate::tenant::{credentials, endpoint};

/// Puts the managed database to rest.
pub async fn hibernate(writer: &Cluster, tenant: &Tenant) -> Result<(), ClusterError> {
    let patch = serde_json::json!({"metadata": {"annotations": {"cnpg.io/hibernation": "on"}}});
    let live = writer.get(&clusters(), Some(&tenant.namespace), "database").await?;
    if live.is_none_or(|l| l["metadata"]["annotations"]["cnpg.io/hibernation"] == "on") {
        return Ok(());
    }
    writer.merge(&clusters(), Some(&tenant.namespace), "database", &patch).await
}

/// A former tenant's database whose books this one has yet to agree with.
#[must_use]
pub fn adopted<'a>(tenant: &Tenant, world: &'a World, said: &Option<MigrateReport>) -> Option<&'a Value> {
    let agreed = tenant.books_id.is_some() || matches!(said, Some(MigrateReport::Migrated { .. }));
    world.cluster.as_ref().filter(|_| !agreed && world.facts.books_marked.is_some())
}

/// What a database needs to run at all, wherever it is to run now.
const PLACE: [&str; 4] = ["affinity", "topologySpreadConstraints", "imageName", "imagePullSecrets"];

/// Wakes a database as it was left, but for its place: a successor that does not
/// agree with the books changes nothing else about what holds them.
pub async fn wake(
    writer: &Cluster,
    tenant: &Tenant,
    books: &Value,
    wanted: &Object,
) -> Result<Value, ClusterError> {
    writer.record(wanted);
    let mut patch = serde_json::json!({});
    if books["metadata"]["annotations"]["cnpg.io/hibernation"] == "on" {
        patch["metadata"] = serde_json::json!({"annotations": {"cnpg.io/hibernation": "off"}});
    }
    for field in PLACE.into_iter().filter(|field| !contains(&books["spec"][field], &wanted.0["spec"][field]))
    {
        patch["spec"][field] = wanted.0["spec"][field].clone();
    }
    if patch != serde_json::json!({}) {
        writer.merge(&clusters(), Some(&tenant.namespace), "database", &patch).await?;
    }
    Ok(books.clone())
}

/// A volume of a class that is not there would wait without a word.
pub async fn storage_class(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
) -> Result<Result<(), Refused>, ClusterError> {
    let class = tenant.managed().and_then(|m| m.storage.class_name.as_ref());
    let Some(class) = class.filter(|_| world.cluster.is_none()) else { return Ok(Ok(())) };
    let live = writer.get(&resource("storage.k8s.io/v1", "StorageClass"), None, class).await?;
    let detail = format!("spec.database.managed.storage.className: StorageClass {class}.");
    Ok(live.map(|_| ()).ok_or(Refused::new(Reason::StorageClassMissing, detail)))
}

/// What an external database needs before anybody calls it.
pub async fn external(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
    settings: &Settings,
) -> Result<Result<(), Refused>, ClusterError> {
    match endpoint::check(tenant, &world.external, settings) {
        Ok(()) => external_secrets(writer, tenant).await,
        refused => Ok(refused),
    }
}

async fn external_secrets(writer: &Cluster, tenant: &Tenant) -> Result<Result<(), Refused>, ClusterError> {
    let Some(external) = tenant.external() else { return Ok(Ok(())) };
    for (field, name, keys) in [
        ("ca", &external.ca.name, &["ca.crt"][..]),
        ("credentials", &external.credentials.name, &["payplane_owner", "ledger", "gateway", "vault"]),
    ] {
        let refused = |reason, what: &str| {
            let detail = format!("spec.database.external.{field}: Secret {name} {what}.");
            Ok(Err(Refused::new(reason, detail)))
        };
        let live = writer.look(&resource("v1", "Secret"), Some(&tenant.namespace), name).await?;
        let Some(live) = live else {
            let what = format!("does not exist in {}", tenant.namespace);
            return refused(Reason::CredentialsMissing, &what);
        };
        if live["type"] != SECRET_TYPE_DATABASE_CREDENTIALS {
            let what = format!("is not of type {SECRET_TYPE_DATABASE_CREDENTIALS}");
            return refused(Reason::CredentialsInvalid, &what);
        }
        if let Some(key) = keys.iter().find(|key| !live["data"][**key].is_string()) {
            return refused(Reason::CredentialsInvalid, &format!("has no key {key}"));
        }
        if field == "ca"
            && !credentials::bytes(&live, "ca.crt").is_some_and(|pem| credentials::are_certificates(&pem))
        {
            return refused(Reason::CredentialsInvalid, "holds no certificate (PEM) under ca.crt");
        }
    }
    Ok(Ok(()))
}
