//! What a database needs before it is made or called: a managed one its volume's
//! class, an external one an address and Secrets.

use payplane_api::config::MigrateReport;
use payplane_api::names::{ROLE_GATEWAY, ROLE_LEDGER, ROLE_OWNER, ROLE_VAULT};
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

/// Wakes a database as it was left, but for its place and for logins that a release before this one
/// did not have: without them no migration begins. A successor that does not agree with the books
/// changes nothing else about what holds them.
pub async fn wake(
    writer: &Cluster,
    tenant: &Tenant,
    books: &Value,
    wanted: &Object,
) -> Result<Value, ClusterError> {
    writer.record(wanted);
    let patch = waking(books, &wanted.0);
    if patch != serde_json::json!({}) {
        writer.merge(&clusters(), Some(&tenant.namespace), "database", &patch).await?;
    }
    Ok(books.clone())
}

/// What a database that was left is changed in; nothing, where it is awake and this release left it.
fn waking(books: &Value, wanted: &Value) -> Value {
    let mut patch = serde_json::json!({});
    if books["metadata"]["annotations"]["cnpg.io/hibernation"] == "on" {
        patch["metadata"] = serde_json::json!({"annotations": {"cnpg.io/hibernation": "off"}});
    }
    let (books, wanted) = (&books["spec"], &wanted["spec"]);
    for field in PLACE.into_iter().filter(|field| !contains(&books[field], &wanted[field])) {
        patch["spec"][field] = wanted[field].clone();
    }
    for (path, part, field) in
        [("/managed/roles", "managed", "roles"), ("/postgresql/pg_hba", "postgresql", "pg_hba")]
    {
        if lacks(books.pointer(path), wanted.pointer(path)) {
            patch["spec"][part][field] = wanted[part][field].clone();
        }
    }
    patch
}

/// Is there a role, or a line, that is wanted and not there?
fn lacks(have: Option<&Value>, wanted: Option<&Value>) -> bool {
    let names = |list: Option<&Value>| -> Vec<Value> {
        let name = |item: &Value| item.get("name").unwrap_or(item).clone();
        list.and_then(Value::as_array).into_iter().flatten().map(name).collect()
    };
    let have = names(have);
    names(wanted).iter().any(|name| !have.contains(name))
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
        ("credentials", &external.credentials.name, &[ROLE_OWNER, ROLE_LEDGER, ROLE_GATEWAY, ROLE_VAULT]),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tenant::gates;

    fn role(name: &str) -> Value {
        json!({"name": name, "login": true})
    }

    fn cluster(roles: &[&str], image: &str) -> Value {
        let roles: Vec<_> = roles.iter().map(|name| role(name)).collect();
        let lines = roles.iter().map(|role| format!("hostssl payplane {} all cert", role["name"]));
        json!({
            "metadata": {"annotations": {"cnpg.io/hibernation": "off"}},
            "spec": {"imageName": image, "instances": 1, "managed": {"roles": roles},
                "postgresql": {"pg_hba": lines.collect::<Vec<_>>(), "parameters": {"work_mem": "4MB"}}},
            "status": {"readyInstances": 1, "currentPrimary": "database-1",
                "managedRolesStatus": {"byStatus": {"reconciled": ["ledger", "gateway"]}}},
        })
    }

    #[test]
    fn books_that_were_left_get_the_logins_that_they_lack_and_else_are_left_alone() {
        let wanted = cluster(&[ROLE_LEDGER, ROLE_GATEWAY, ROLE_VAULT], "pg:18");
        let mut left = cluster(&[ROLE_LEDGER, ROLE_GATEWAY], "pg:18");
        left["metadata"]["annotations"]["cnpg.io/hibernation"] = "on".into();
        left["spec"]["instances"] = 3.into();
        left["spec"]["postgresql"]["parameters"]["work_mem"] = "8MB".into();
        let spec = &wanted["spec"];
        let logins = json!({
            "managed": {"roles": spec["managed"]["roles"]},
            "postgresql": {"pg_hba": spec["postgresql"]["pg_hba"]},
        });
        assert_eq!(
            waking(&left, &wanted),
            json!({"metadata": {"annotations": {"cnpg.io/hibernation": "off"}}, "spec": logins})
        );
        // The gate waits for the role, and opens once CloudNativePG has made it.
        assert!(gates::database(&left).is_err());
        left["status"]["managedRolesStatus"]["byStatus"]["reconciled"] =
            json!([ROLE_GATEWAY, ROLE_LEDGER, ROLE_VAULT]);
        assert!(gates::database(&left).is_ok());

        // Of this release: also what CloudNativePG adds to a role changes nothing.
        let mut same = wanted.clone();
        same["spec"]["managed"]["roles"][0]["connectionLimit"] = (-1).into();
        assert_eq!(waking(&same, &wanted), json!({}));
        same["spec"]["imageName"] = "pg:17".into();
        assert_eq!(waking(&same, &wanted), json!({"spec": {"imageName": "pg:18"}}));
    }
}
