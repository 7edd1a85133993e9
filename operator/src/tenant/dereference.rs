//! The first step: what the API server holds.

use std::net::IpAddr;

use payplane_crds::Channel;
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::tenant::build::Facts;
use crate::tenant::endpoint;
use crate::tenant::unreadable::{self, Unreadable};
use crate::tenant::validate::{Refused, Tenant};

/// What there is, beside the tenant itself.
pub struct World {
    pub namespace: Option<Value>,
    pub database_operator: bool,
    pub cluster: Option<Value>,
    pub channels: Vec<Channel>,
    /// Channels that our types cannot read.
    pub unreadable: Vec<Unreadable>,
    /// Where an external database is just now.
    pub external: Vec<IpAddr>,
    pub facts: Facts,
    /// The ledger books nothing that was decided on an older config.
    pub config_epoch_min: u64,
    /// What the last migration found wrong.
    pub verdict: Option<Refused>,
}

/// CloudNativePG's resource.
#[must_use]
pub fn clusters() -> kube::core::ApiResource {
    resource("postgresql.cnpg.io/v1", "Cluster")
}

/// Reads everything that the build needs.
pub async fn dereference(
    cluster: &Cluster,
    tenant: &Tenant,
    config_epoch_min: u64,
    verdict: Option<Refused>,
) -> Result<World, ClusterError> {
    let namespace = cluster.get(&resource("v1", "Namespace"), None, &tenant.namespace).await?;
    let database = cluster.look(&clusters(), Some(&tenant.namespace), "database").await?;
    let database_operator = match database {
        Some(_) => true,
        None => cluster.serves(&clusters()).await?,
    };
    let books = namespace
        .as_ref()
        .and_then(|n| n["metadata"]["annotations"][payplane_api::names::ANNOTATION_BOOKS_ID].as_str());
    let (channels, unreadable) = channels(cluster, &tenant.namespace).await?;
    Ok(World {
        config_epoch_min,
        verdict,
        facts: Facts {
            api_servers: api_servers(cluster).await?,
            standbys_stream: standbys_stream(tenant, database.as_ref()),
            books_marked: tenant.books_id.clone().or_else(|| books.map(str::to_owned)),
        },
        channels,
        unreadable,
        external: endpoint::resolve(tenant).await,
        namespace,
        database_operator,
        cluster: database,
    })
}

/// The channels of a tenant's namespace, and those that our types cannot read:
/// they must not stop the others.
pub async fn channels(
    cluster: &Cluster,
    namespace: &str,
) -> Result<(Vec<Channel>, Vec<Unreadable>), ClusterError> {
    let kind = resource("payplane.io/v1alpha1", "Channel");
    let (mut channels, mut odd_ones) = (Vec::new(), Vec::new());
    for live in cluster.list(&kind, Some(namespace), "").await? {
        match unreadable::read(&live) {
            Ok(channel) => channels.push(channel),
            Err(odd) => odd_ones.push(odd),
        }
    }
    Ok((channels, odd_ones))
}

/// Where the API server really listens: policies see addresses behind Services.
async fn api_servers(cluster: &Cluster) -> Result<Vec<(String, i64)>, ClusterError> {
    let slices = resource("discovery.k8s.io/v1", "EndpointSlice");
    let slices = cluster.list(&slices, Some("default"), "kubernetes.io/service-name=kubernetes").await?;
    let mut found = Vec::new();
    for slice in &slices {
        let port = slice["ports"][0]["port"].as_i64().unwrap_or(6443);
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let addresses = endpoints.flat_map(|e| e["addresses"].as_array().into_iter().flatten());
        found.extend(addresses.filter_map(|a| a.as_str()).map(|a| (a.to_owned(), port)));
    }
    found.sort();
    Ok(found)
}

/// Commits may wait for a standby from the moment on when all are there, and
/// for ever after: otherwise the first base backup would block every commit.
fn standbys_stream(tenant: &Tenant, database: Option<&Value>) -> bool {
    let (Some(managed), Some(database)) = (tenant.managed(), database) else { return false };
    let ready = database["status"]["readyInstances"].as_i64().unwrap_or(0);
    database["spec"]["postgresql"]["synchronous"].is_object() || ready >= i64::from(managed.instances)
}
