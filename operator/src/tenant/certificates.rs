//! The tenant's CA, its trust bundle, and every leaf.

use jiff::{SignedDuration, Timestamp};
use payplane_api::names::{
    CN_ADMIN_CHECKER, CN_ADMIN_CLIENT, CN_GATEWAY, CN_LEDGER, CN_OPERATOR, ROLE_GATEWAY, ROLE_LEDGER,
    ROLE_OWNER, ROLE_VAULT,
};
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu};

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::{Object, resource};
use crate::pki::{self, Leaf, Pair, PkiError, Signs};
use crate::tenant::build::{database, metadata};
use crate::tenant::credentials;
use crate::tenant::validate::Tenant;

/// Former CA certificates and signing keys that stay trusted beside the current one.
const FORMER_MAX: usize = 2;

#[derive(Debug, Snafu)]
pub enum CertificateError {
    #[snafu(display("certificates of tenant {tenant}"))]
    Issue { tenant: String, source: PkiError },
    #[snafu(context(false), display("certificates are not stored"))]
    Store { source: ClusterError },
}

/// What the operator itself speaks with, and when the first leaf is due.
pub struct Certificates {
    pub bundle: String,
    pub operator: Pair,
    pub renew_at: Timestamp,
    /// Every leaf, by the name of its Secret: the certificate.
    pub leaves: Vec<(&'static str, String)>,
}

/// Makes what is missing, renews what is due, and leaves the rest alone.
pub async fn ensure(
    cluster: &Cluster,
    tenant: &Tenant,
    lifetime: SignedDuration,
) -> Result<Certificates, CertificateError> {
    let authority = ensure_authority(cluster, tenant).await?;
    let seal = ensure_signing_key(cluster, tenant, "seal", Signs::Heads).await?;
    let notify = ensure_signing_key(cluster, tenant, "notify", Signs::Notifications).await?;
    let bundle = ensure_bundle(cluster, tenant, &authority.certificate, &seal, &notify).await?;
    let mut renew_at = pki::due(&authority.certificate).unwrap_or(Timestamp::MAX);
    let (mut operator, mut all) = (None, Vec::new());
    for (name, component, leaf) in leaves(tenant) {
        let (pair, due) =
            ensure_leaf(cluster, tenant, &authority, name, component, &leaf, lifetime, &bundle).await?;
        renew_at = renew_at.min(due);
        all.push((name, pair.certificate.clone()));
        if name == "operator-client" {
            operator = Some(pair);
        }
    }
    let operator = operator.unwrap_or_else(|| authority.clone());
    Ok(Certificates { bundle, operator, renew_at, leaves: all })
}

/// What is there to speak with, where nothing is to be made: as after a restart
/// while the tenant's spec is refused.
pub async fn standing(cluster: &Cluster, namespace: &str) -> Result<Option<Certificates>, ClusterError> {
    let leaf = cluster.look(&resource("v1", "Secret"), Some(namespace), "operator-client").await?;
    let bundle = believed(cluster, namespace).await?;
    let pair = leaf.as_ref().and_then(pair_of);
    Ok(pair.zip(bundle).map(|(operator, bundle)| Certificates {
        bundle,
        operator,
        leaves: Vec::new(),
        renew_at: Timestamp::MAX,
    }))
}

/// The CAs to believe in; where somebody deleted what tells, the present one.
async fn believed(cluster: &Cluster, namespace: &str) -> Result<Option<String>, ClusterError> {
    let secrets = resource("v1", "Secret");
    let trust = cluster.look(&secrets, Some(namespace), "trust").await?;
    if let Some(bundle) = trust.as_ref().and_then(|trust| text(trust, "ca.crt")) {
        return Ok(Some(bundle));
    }
    let authority = cluster.look(&secrets, Some(namespace), "tenant-ca").await?;
    Ok(authority.as_ref().and_then(|authority| text(authority, "tls.crt")))
}

/// Every leaf that a tenant may have.
const LEAVES: [&str; 11] = [
    "gateway-tls",
    "ledger-tls",
    "operator-client",
    "admin-client",
    "admin-checker",
    "db-owner",
    "db-ledger",
    "db-gateway",
    "db-vault",
    "database-server",
    "database-replication",
];

/// Renews what is due, as it is, where nothing else may be done: while a spec is
/// refused or cannot be read, or a deletion waits. Payments go on meanwhile. Says
/// when the next one is due.
pub async fn renew(
    cluster: &Cluster,
    namespace: &str,
    lifetime: SignedDuration,
) -> Result<Timestamp, CertificateError> {
    let (secrets, home) = (resource("v1", "Secret"), Some(namespace));
    let authority = cluster.look(&secrets, home, "tenant-ca").await?.as_ref().and_then(pair_of);
    let bundle = believed(cluster, namespace).await?;
    let Some((authority, bundle)) = authority.zip(bundle) else { return Ok(Timestamp::MAX) };
    let mut next = Timestamp::MAX;
    for name in LEAVES {
        let live = cluster.get(&secrets, home, name).await?;
        let Some(pair) = live.as_ref().and_then(pair_of) else { continue };
        let Some(leaf) = pki::said(&pair.certificate) else { continue };
        // What leads to none of our CAs is not ours to renew.
        let Some(mut due) = pki::renewal(&pair.certificate, &bundle, &leaf) else { continue };
        if due <= Timestamp::now() {
            let renewed =
                pki::issue(&authority, &leaf, lifetime).context(IssueSnafu { tenant: namespace })?;
            let data = json!({"tls.crt": encode(&renewed.certificate), "tls.key": encode(&renewed.key)});
            cluster.merge(&secrets, home, name, &json!({"data": data})).await?;
            tracing::info!(namespace, secret = name, "certificate renewed");
            due = pki::due(&renewed.certificate).unwrap_or(due);
        }
        next = next.min(due);
    }
    Ok(next)
}

fn leaves(tenant: &Tenant) -> Vec<(&'static str, &'static str, Leaf)> {
    let client = |name: &str| Leaf { common_name: name.to_owned(), dns_names: Vec::new() };
    let server = |name: &str| {
        let full = format!("{name}.{}", tenant.namespace);
        let dns_names =
            vec![name.to_owned(), full.clone(), format!("{full}.svc"), format!("{full}.svc.cluster.local")];
        Leaf { common_name: name.to_owned(), dns_names }
    };
    let mut all = vec![
        ("gateway-tls", "gateway", server(CN_GATEWAY)),
        ("ledger-tls", "ledger", server(CN_LEDGER)),
        ("operator-client", "tenant", client(CN_OPERATOR)),
        ("admin-client", "tenant", client(CN_ADMIN_CLIENT)),
        ("admin-checker", "tenant", client(CN_ADMIN_CHECKER)),
    ];
    if tenant.managed().is_some() {
        let name = Leaf { common_name: "database-rw".to_owned(), dns_names: database::names(tenant) };
        all.extend([
            ("db-owner", "database", client(ROLE_OWNER)),
            ("db-ledger", "database", client(ROLE_LEDGER)),
            ("db-gateway", "database", client(ROLE_GATEWAY)),
            ("db-vault", "database", client(ROLE_VAULT)),
            ("database-server", "database", name),
            ("database-replication", "database", client("streaming_replica")),
        ]);
    }
    all
}

async fn ensure_authority(cluster: &Cluster, tenant: &Tenant) -> Result<Pair, CertificateError> {
    let good = |secret: &Value| {
        let pair = pair_of(secret)?;
        pki::due(&pair.certificate).filter(|due| *due > Timestamp::now()).map(|_| pair)
    };
    let pair = match stored(cluster, tenant, "tenant-ca", good).await? {
        Some(pair) => pair,
        None => pki::authority(&tenant.name).context(IssueSnafu { tenant: &tenant.name })?,
    };
    // It opens the database, so it is kept with the books.
    let object = tls_secret(tenant, "database", "tenant-ca", &pair, None);
    cluster.apply(&object).await?;
    Ok(pair)
}

/// A Secret's content, where it is good.
async fn stored<T>(
    cluster: &Cluster,
    tenant: &Tenant,
    name: &str,
    good: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, ClusterError> {
    let (secrets, home) = (resource("v1", "Secret"), Some(tenant.namespace.as_str()));
    let found = cluster.look(&secrets, home, name).await?.as_ref().and_then(&good);
    if found.is_some() {
        return Ok(found);
    }
    // The watch may not have told of the last write yet.
    Ok(cluster.get(&secrets, home, name).await?.as_ref().and_then(&good))
}

/// A key that signs what others keep; returns its public part. Whoever trusts what was
/// signed trusts it, so it is made once and kept with the books.
async fn ensure_signing_key(
    cluster: &Cluster,
    tenant: &Tenant,
    name: &str,
    signs: Signs,
) -> Result<String, CertificateError> {
    let (secret, file) = (format!("{name}-key"), format!("{name}.key"));
    let good = |secret: &Value| {
        let key = text(secret, &file)?;
        signs.public(&key).map(|public| (key, public))
    };
    let (key, public) = match stored(cluster, tenant, &secret, good).await? {
        Some(found) => found,
        None => signs.make().context(IssueSnafu { tenant: &tenant.name })?,
    };
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": metadata(tenant, "database", &secret, false), "data": {file: encode(&key)},
    });
    cluster.apply(&Object::new(object)).await?;
    Ok(public)
}

/// What gateways seal with. What is sealed in the database needs it, so it is made once, kept with
/// the books, and left alone where somebody put more keys into it. False: there are books, or
/// somebody tried to bring a key back, and no key; another one would hide that.
pub async fn ensure_data_key(
    cluster: &Cluster,
    tenant: &Tenant,
    has_books: bool,
) -> Result<bool, CertificateError> {
    let good = |secret: &Value| text(secret, "data.key").filter(|keys| !keys.trim().is_empty());
    let keys = match stored(cluster, tenant, "data-key", good).await? {
        Some(found) => found,
        None => {
            let live = cluster.get(&resource("v1", "Secret"), Some(&tenant.namespace), "data-key").await?;
            if !may_make_data_key(live.as_ref(), has_books) {
                return Ok(false);
            }
            pki::data_key().context(IssueSnafu { tenant: &tenant.name })?
        }
    };
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": metadata(tenant, "database", "data-key", false), "data": {"data.key": encode(&keys)},
    });
    cluster.apply(&Object::new(object)).await?;
    Ok(true)
}

/// Only where nothing can be sealed yet, and nothing is there.
fn may_make_data_key(live: Option<&Value>, has_books: bool) -> bool {
    let is_there = live.and_then(|live| credentials::bytes(live, "data.key")).is_some_and(|b| !b.is_empty());
    !has_books && !is_there
}

/// The current CA certificate and the last former ones: both sides believe both.
/// A leaf of a former CA lives out its time, so a new CA is known everywhere
/// before the first leaf of it is. They are kept in a Secret: whoever writes the
/// ConfigMap that pods read brings no CA of his own in.
async fn ensure_bundle(
    cluster: &Cluster,
    tenant: &Tenant,
    current: &str,
    seal: &str,
    notify: &str,
) -> Result<String, CertificateError> {
    let live = cluster.get(&resource("v1", "Secret"), Some(&tenant.namespace), "trust").await?;
    let former = |file: &str| live.as_ref().and_then(|live| text(live, file)).unwrap_or_default();
    let bundle = with_former(current, &former("ca.crt"), "-----END CERTIFICATE-----\n");
    // What a former key signed stays signed.
    let seals = with_former(seal, &former("seal.pub"), "-----END PUBLIC KEY-----\n");
    let notifies = with_former(notify, &former("notify.pub"), "-----END PUBLIC KEY-----\n");
    cluster
        .apply(&Object::new(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": metadata(tenant, "database", "trust", false),
            "data": {"ca.crt": encode(&bundle), "seal.pub": encode(&seals), "notify.pub": encode(&notifies)},
        })))
        .await?;
    cluster
        .apply(&Object::new(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(tenant, "tenant", "trust-bundle", true),
            "data": {"ca.crt": bundle, "seal.pub": seals, "notify.pub": notifies},
        })))
        .await?;
    if tenant.managed().is_some() {
        let mut own = metadata(tenant, "database", "database-ca", false);
        own["labels"]["cnpg.io/reload"] = "true".into();
        let data = json!({"ca.crt": encode(&bundle)});
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": own, "data": data});
        cluster.apply(&Object::new(object)).await?;
    }
    Ok(bundle)
}

fn with_former(current: &str, former: &str, end: &str) -> String {
    let others = former.split_inclusive(end).filter(|pem| pem.ends_with(end) && pem.trim() != current.trim());
    std::iter::once(current).chain(others.take(FORMER_MAX)).collect()
}

#[expect(clippy::too_many_arguments, reason = "one leaf and what it is made from")]
async fn ensure_leaf(
    cluster: &Cluster,
    tenant: &Tenant,
    authority: &Pair,
    name: &str,
    component: &str,
    leaf: &Leaf,
    lifetime: SignedDuration,
    bundle: &str,
) -> Result<(Pair, Timestamp), CertificateError> {
    let good = |secret: &Value| {
        let pair = pair_of(secret)?;
        let due = pki::renewal(&pair.certificate, bundle, leaf)?;
        (due > Timestamp::now()).then_some((pair, due))
    };
    let (pair, due) = match stored(cluster, tenant, name, good).await? {
        Some(found) => found,
        None => {
            let pair = pki::issue(authority, leaf, lifetime).context(IssueSnafu { tenant: &tenant.name })?;
            tracing::info!(tenant = tenant.name, secret = name, "certificate issued");
            let due = pki::due(&pair.certificate);
            (pair, due.unwrap_or_else(Timestamp::now))
        }
    };
    let with_trust = (name == "admin-client").then_some(bundle);
    cluster.apply(&tls_secret(tenant, component, name, &pair, with_trust)).await?;
    Ok((pair, due))
}

fn tls_secret(tenant: &Tenant, component: &str, name: &str, pair: &Pair, trust: Option<&str>) -> Object {
    let mut own = metadata(tenant, component, name, component != "database");
    if component == "database" {
        own["labels"]["cnpg.io/reload"] = "true".into();
    }
    let mut data = json!({"tls.crt": encode(&pair.certificate), "tls.key": encode(&pair.key)});
    if let Some(trust) = trust {
        data["ca.crt"] = encode(trust).into();
    }
    Object::new(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": own, "data": data,
    }))
}

fn encode(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn pair_of(secret: &Value) -> Option<Pair> {
    Some(Pair { certificate: text(secret, "tls.crt")?, key: text(secret, "tls.key")? })
}

fn text(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(credentials::bytes(secret, key)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_is_made_only_where_nothing_can_be_sealed_yet() {
        let secret = |keys: &str| json!({"data": {"data.key": encode(keys)}});
        for (live, has_books, may) in [
            (None, false, true),
            (Some(secret("")), false, true),
            (Some(json!({})), false, true),
            (Some(secret("not a key, but somebody's")), false, false),
            (None, true, false),
            (Some(secret("")), true, false),
            (Some(json!({})), true, false),
        ] {
            assert_eq!(may_make_data_key(live.as_ref(), has_books), may, "{live:?}, books: {has_books}");
        }
    }
}
