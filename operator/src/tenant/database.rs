//! What a database needs before it is made or called: a managed one its volume's
//! class, an external one an address and Secrets.

use payplane_crds::SECRET_TYPE_DATABASE_CREDENTIALS;
use payplane_crds::condition::Reason;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::settings::Settings;
use crate::tenant::dereference::{World, clusters};
use crate::tenant::endpoint;
use crate::tenant::validate::{Refused, Tenant};

/// Puts the managed database to rest.
pub async fn hibernate(writer: &Cluster, tenant: &Tenant) -> Result<(), ClusterError> {
    let patch = serde_json::json!({"metadata": {"annotations": {"cnpg.io/hibernation": "on"}}});
    let live = writer.get(&clusters(), Some(&tenant.namespace), "database").await?;
    if live.is_none_or(|l| l["metadata"]["annotations"]["cnpg.io/hibernation"] == "on") {
        return Ok(());
    }
    writer.merge(&clusters(), Some(&tenant.namespace), "database", &patch).await
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
        ("credentials", &external.credentials.name, &["payplane_owner", "ledger", "gateway"]),
    ] {
        let live = writer.look(&resource("v1", "Secret"), Some(&tenant.namespace), name).await?;
        let Some(live) = live else {
            let detail = format!(
                "spec.database.external.{field}: Secret {name} does not exist in {}.",
                tenant.namespace
            );
            return Ok(Err(Refused::new(Reason::CredentialsMissing, detail)));
        };
        if live["type"] != SECRET_TYPE_DATABASE_CREDENTIALS {
            let detail = format!("Secret {name} is not of type {SECRET_TYPE_DATABASE_CREDENTIALS}.");
            return Ok(Err(Refused::new(Reason::CredentialsInvalid, detail)));
        }
        if let Some(key) = keys.iter().find(|key| !live["data"][**key].is_string()) {
            return Ok(Err(Refused::new(
                Reason::CredentialsInvalid,
                format!("Secret {name} has no key {key}."),
            )));
        }
    }
    Ok(Ok(()))
}
