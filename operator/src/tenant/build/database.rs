//! The managed database: a CloudNativePG `Cluster` with our certificates, roles
//! by client certificate only, and nothing that weakens durability.

use payplane_api::names::{ANNOTATION_BOOKS_ID, ROLE_GATEWAY, ROLE_LEDGER, ROLE_OWNER, ROLE_VAULT};
use payplane_crds::tenant::ZoneSpread;
use serde_json::{Value, json};

use super::{Facts, labels, metadata};
use crate::framework::object::Object;
use crate::settings::Settings;
use crate::tenant::validate::Tenant;

/// Names under which the database is called.
#[must_use]
pub fn names(tenant: &Tenant) -> Vec<String> {
    let forms = |name: &str| {
        let in_namespace = format!("{name}.{}", tenant.namespace);
        [
            name.to_owned(),
            in_namespace.clone(),
            format!("{in_namespace}.svc"),
            format!("{in_namespace}.svc.cluster.local"),
        ]
    };
    ["database-rw", "database-r", "database-ro"].into_iter().flat_map(forms).collect()
}

/// The `Cluster`. It has no owner: deleting the tenant must not reach it.
#[must_use]
pub fn build_cluster(tenant: &Tenant, facts: &Facts, settings: &Settings) -> Option<Object> {
    let managed = tenant.managed()?;
    let by_certificate = |role: &str| format!("hostssl payplane {role} all cert");
    let mut hba: Vec<String> = [ROLE_OWNER, ROLE_LEDGER, ROLE_GATEWAY, ROLE_VAULT].map(by_certificate).into();
    hba.push("host all all all reject".to_owned());
    let mut storage = json!({"size": managed.storage.size, "resizeInUseVolumes": true});
    if let Some(class) = &managed.storage.class_name {
        storage["storageClass"] = class.as_str().into();
    }
    let mut postgresql = json!({"parameters": managed.parameters, "pg_hba": hba});
    if managed.synchronous_standbys > 0 && facts.standbys_stream {
        postgresql["synchronous"] =
            json!({"method": "any", "number": managed.synchronous_standbys, "dataDurability": "required"});
    }
    let mut inherited = json!({"labels": labels(tenant, "database")});
    let mut own = metadata(tenant, "database", "database", false);
    if let Some(books) = &facts.books_marked {
        inherited["annotations"][ANNOTATION_BOOKS_ID] = books.as_str().into();
        own["annotations"][ANNOTATION_BOOKS_ID] = books.as_str().into();
    }
    own["annotations"]["cnpg.io/hibernation"] = "off".into();
    let mut cluster = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": own,
        "spec": {
            "instances": managed.instances,
            "imageName": settings.postgresql_image,
            "enableSuperuserAccess": false,
            "enablePDB": managed.instances > 1,
            "smartShutdownTimeout": 1,
            "stopDelay": 30,
            "switchoverDelay": 30,
            "bootstrap": {"initdb": {"database": "payplane", "owner": ROLE_OWNER, "encoding": "UTF8", "dataChecksums": true}},
            "certificates": {
                "serverCASecret": "database-ca", "serverTLSSecret": "database-server",
                "clientCASecret": "database-ca", "replicationTLSSecret": "database-replication",
            },
            // The ledger tells whether the required standby streams.
            "managed": {"roles": [
                role(ROLE_LEDGER, &["pg_read_all_stats"]), role(ROLE_GATEWAY, &[]), role(ROLE_VAULT, &[]),
            ]},
            "postgresql": postgresql,
            "storage": storage,
            "resources": managed.resources,
            "inheritedMetadata": inherited,
            "affinity": affinity(tenant),
            "topologySpreadConstraints": spread(tenant, &json!({"cnpg.io/cluster": "database"})),
        },
    });
    let secrets = pull_secrets(settings);
    if !secrets.is_empty() {
        cluster["spec"]["imagePullSecrets"] = secrets.into();
    }
    Some(Object::new(cluster))
}

fn role(name: &str, member_of: &[&str]) -> Value {
    let mut role = json!({
        "name": name, "ensure": "present", "login": true, "disablePassword": true, "superuser": false,
        "createdb": false, "createrole": false, "replication": false, "inherit": true,
    });
    if !member_of.is_empty() {
        role["inRoles"] = json!(member_of);
    }
    role
}

/// What is empty is left out: CloudNativePG takes an empty list and none for
/// different pods, and restarts the database for ever.
fn affinity(tenant: &Tenant) -> Value {
    let placement = tenant.spec.placement.clone().unwrap_or_default();
    let mut affinity = json!({
        "enablePodAntiAffinity": true,
        "podAntiAffinityType": if tenant.production() { "required" } else { "preferred" },
        "topologyKey": "kubernetes.io/hostname",
    });
    if !placement.node_selector.is_empty() {
        affinity["nodeSelector"] = json!(placement.node_selector);
    }
    let tolerations = tolerations(tenant);
    if !tolerations.is_empty() {
        affinity["tolerations"] = tolerations.into();
    }
    affinity
}

/// Taints that the tenant's pods bear.
#[must_use]
pub fn tolerations(tenant: &Tenant) -> Vec<Value> {
    let placement = tenant.spec.placement.clone().unwrap_or_default();
    placement
        .tolerations
        .iter()
        .filter_map(|t| serde_json::to_value(k8s_openapi::api::core::v1::Toleration::from(t)).ok())
        .collect()
}

/// Even zones, as strictly as the tenant wants them.
#[must_use]
pub fn spread(tenant: &Tenant, pods: &Value) -> Vec<Value> {
    let unsatisfiable = match tenant.effective.zone_spread {
        ZoneSpread::Required => "DoNotSchedule",
        ZoneSpread::Preferred => "ScheduleAnyway",
    };
    vec![json!({
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": unsatisfiable,
        "labelSelector": {"matchLabels": pods},
    })]
}

/// Pull secrets as pods name them.
#[must_use]
pub fn pull_secrets(settings: &Settings) -> Vec<Value> {
    let named = settings.image_pull_secrets.iter().filter(|name| !name.is_empty());
    named.map(|name| json!({"name": name})).collect()
}
