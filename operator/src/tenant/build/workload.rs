//! Deployments, Services, budgets and the migration Job.

use payplane_api::names::{
    PORT_ADMIN, PORT_APP, PORT_HEALTH, PORT_LEDGER, ROLE_OWNER, ROLE_VAULT, VAULT_TLS_DIR,
};
use payplane_crds::tenant::EffectiveComponent;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::{PASSWORDS, build_migrate_config};
use super::database::{pull_secrets, spread, tolerations};
use super::{labels, metadata, selector};
use crate::framework::object::Object;
use crate::settings::Settings;
use crate::tenant::validate::Tenant;

/// For so long a pod must have been ready before it counts: kube-proxy on the
/// callers' nodes learns of it up to a second or two later.
const MIN_READY_SECONDS: u32 = 3;

/// A service that runs all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ledger,
    Gateway,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Gateway => "gateway",
        }
    }

    fn scale(self, tenant: &Tenant) -> &EffectiveComponent {
        match self {
            Self::Ledger => &tenant.effective.components.ledger,
            Self::Gateway => &tenant.effective.components.gateway,
        }
    }

    fn ports(self) -> Vec<(&'static str, u16)> {
        match self {
            Self::Ledger => vec![("grpc", PORT_LEDGER)],
            Self::Gateway => vec![("app", PORT_APP), ("admin", PORT_ADMIN)],
        }
    }
}

#[must_use]
pub fn build_service(tenant: &Tenant, kind: Kind) -> Object {
    let port = |(name, port): (&str, u16)| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(tenant, kind.name(), kind.name(), true),
        "spec": {
            "selector": selector(tenant, kind.name()),
            "ports": kind.ports().into_iter().map(port).collect::<Vec<_>>(),
        },
    }))
}

/// With one replica the budget never holds up a drain.
#[must_use]
pub fn build_budget(tenant: &Tenant, kind: Kind) -> Object {
    Object::new(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(tenant, kind.name(), kind.name(), true),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(tenant, kind.name())},
        },
    }))
}

#[must_use]
pub fn build_deployment(tenant: &Tenant, settings: &Settings, kind: Kind) -> Object {
    let (name, scale) = (kind.name(), kind.scale(tenant));
    let config = match kind {
        Kind::Ledger => json!({"configMap": {"name": "ledger-config"}}),
        Kind::Gateway => json!({"secret": {"secretName": "gateway-config"}}),
    };
    let mut ports: Vec<_> = kind.ports().into_iter().map(|(name, port)| port_of(name, port)).collect();
    ports.push(port_of("health", PORT_HEALTH));
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "health"},
            "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures,
        })
    };
    let mut container = container(settings, name, &scale.resources);
    container["ports"] = json!(ports);
    container["readinessProbe"] = probe("/readyz", 2, 2);
    container["livenessProbe"] = probe("/livez", 10, 6);
    container["startupProbe"] = probe("/livez", 1, 60);
    let mut pod = pod(tenant, settings, name, config, Some(&format!("{name}-tls")), container);
    pod["terminationGracePeriodSeconds"] = 30.into();
    let mut constraints = spread(tenant, &selector(tenant, name));
    // Where zones do not part them, nodes should.
    constraints.push(json!({
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(tenant, name)},
    }));
    pod["topologySpreadConstraints"] = constraints.into();
    Object::new(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(tenant, name, name, true),
        "spec": {
            "replicas": scale.replicas,
            "minReadySeconds": MIN_READY_SECONDS,
            "selector": {"matchLabels": selector(tenant, name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels(tenant, name)}, "spec": pod},
        },
    }))
}

/// The migration. An annotation says from what it was made: with another image
/// or config it is another one. The books' id is left out, since a tenant only
/// learns it from its first migration.
#[must_use]
pub fn build_migrate_job(tenant: &Tenant, settings: &Settings) -> Object {
    let resources = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}});
    let config = build_migrate_config(tenant, None);
    let input = format!("{}\n{}", settings.payplane_image, config.0["data"]);
    let digest = hex::encode(&Sha256::digest(input)[..8]);
    let mut container = container(settings, "migrate", &resources);
    container["terminationMessagePolicy"] = "File".into();
    let volume = json!({"configMap": {"name": "migrate-config"}});
    let mut pod = pod(tenant, settings, "migrate", volume, None, container);
    pod["restartPolicy"] = "Never".into();
    let mut own = metadata(tenant, "migrate", "migrate", true);
    own["annotations"]["payplane.io/input"] = digest.as_str().into();
    Object::new(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": own,
        "spec": {
            // The operator starts it again sooner than the Job controller would.
            "backoffLimit": 0,
            "activeDeadlineSeconds": 600,
            "template": {"metadata": {"labels": labels(tenant, "migrate")}, "spec": pod},
        },
    }))
}

fn port_of(name: &str, port: u16) -> Value {
    json!({"name": name, "containerPort": port, "protocol": "TCP"})
}

/// For so long the allocator keeps what was freed, where its default is 10 ms: a twentieth of
/// the processor time of a payment.
const PURGE_DELAY_MS: &str = "1000";

fn container(settings: &Settings, name: &str, resources: &impl serde::Serialize) -> Value {
    json!({
        "name": name,
        "image": settings.payplane_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [name],
        "env": [
            {"name": "MIMALLOC_PURGE_DELAY", "value": PURGE_DELAY_MS},
            // A thread for each CPU that it asks for: as many as the node has cost a tenth of a
            // payment's processor time where several pods share it.
            {
                "name": "TOKIO_WORKER_THREADS",
                "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}},
            },
        ],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

fn pod(
    tenant: &Tenant,
    settings: &Settings,
    name: &str,
    config: Value,
    tls: Option<&str>,
    mut container: Value,
) -> Value {
    let mut volumes = vec![("config", "/etc/payplane/config".to_owned(), config)];
    if let Some(secret) = tls {
        volumes.push(("tls", "/etc/payplane/tls".to_owned(), json!({"secret": {"secretName": secret}})));
        volumes.push((
            "trust",
            "/etc/payplane/trust".to_owned(),
            json!({"configMap": {"name": "trust-bundle"}}),
        ));
    }
    let secret =
        |name: &str, key: &str| json!({"secret": {"secretName": name, "items": [{"key": key, "path": key}]}});
    if name == "ledger" {
        volumes.push(("seal", "/etc/payplane/seal".to_owned(), secret("seal-key", "seal.key")));
    }
    if name == "gateway" {
        volumes.push(("notify", "/etc/payplane/notify".to_owned(), secret("notify-key", "notify.key")));
        volumes.push(("data", "/etc/payplane/data".to_owned(), secret("data-key", "data.key")));
    }
    let login = if name == "migrate" { "owner" } else { name };
    // The migration tries the login before gateways need it.
    let has_vault = matches!(name, "gateway" | "migrate");
    match tenant.external() {
        Some(external) => {
            let role = if name == "migrate" { ROLE_OWNER } else { name };
            let roles = if has_vault { vec![role, ROLE_VAULT] } else { vec![role] };
            let items: Vec<_> = roles.iter().map(|role| json!({"key": role, "path": role})).collect();
            volumes.push((
                "database-trust",
                "/etc/payplane/database-trust".to_owned(),
                secret(&external.ca.name, "ca.crt"),
            ));
            volumes.push((
                "database-credentials",
                PASSWORDS.to_owned(),
                json!({"secret": {"secretName": external.credentials.name, "items": items}}),
            ));
        }
        None => {
            let login = json!({"secret": {"secretName": format!("db-{login}")}});
            volumes.push(("database", "/etc/payplane/database".to_owned(), login));
            if has_vault {
                volumes.push((
                    "vault",
                    VAULT_TLS_DIR.to_owned(),
                    json!({"secret": {"secretName": "db-vault"}}),
                ));
            }
            volumes.push((
                "database-trust",
                "/etc/payplane/database-trust".to_owned(),
                secret("database-ca", "ca.crt"),
            ));
        }
    }
    let mounts: Vec<_> = volumes
        .iter()
        .map(|(name, path, _)| json!({"name": name, "mountPath": path, "readOnly": true}))
        .collect();
    container["volumeMounts"] = json!(mounts);
    let volumes: Vec<_> = volumes
        .into_iter()
        .map(|(name, _, mut source)| {
            source["name"] = name.into();
            source
        })
        .collect();
    let placement = tenant.spec.placement.clone().unwrap_or_default();
    json!({
        "serviceAccountName": name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "imagePullSecrets": pull_secrets(settings),
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": placement.node_selector,
        "tolerations": tolerations(tenant),
        "containers": [container],
        "volumes": volumes,
    })
}
