//! The controllers, started together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kube::api::DynamicObject;
use kube::{Client, ResourceExt};

use crate::framework::cluster::Cluster;
use crate::framework::health::Metrics;
use crate::framework::object::resource;
use crate::framework::queue::Queue;
use crate::framework::reign::Reign;
use crate::framework::watch;
use crate::poller::Poller;
use crate::settings::Settings;
use crate::tenant;
use crate::tenant::context::Context;
use crate::tenant::controller::reconcile;

/// Kinds whose objects bear the tenant's label, and are watched everywhere.
/// Secrets are not among them.
const OWNED: [(&str, &str); 12] = [
    ("v1", "Namespace"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("batch/v1", "Job"),
];

/// Runs every controller until the future is dropped. Nothing is written after the reign.
pub async fn run(client: Client, writer: Client, settings: Settings, metrics: Metrics, reign: Reign) {
    let (queue, poller) = (Queue::default(), Poller::default());
    let cluster = Cluster::new(client.clone(), writer, reign);
    let seen = cluster.seen.clone();
    let context = Arc::new(Context::new(cluster, settings, queue.clone(), poller.clone(), metrics));
    let by_label = |object: &DynamicObject| object.labels().get(payplane_api::names::LABEL_TENANT).cloned();
    let by_namespace = |object: &DynamicObject| {
        let namespace = object.namespace()?;
        let tenant = namespace.strip_prefix(payplane_api::names::NAMESPACE_PREFIX).map(str::to_owned);
        // Such a channel is nobody's: the slash keeps it apart from tenants.
        Some(tenant.unwrap_or_else(|| format!("/{namespace}")))
    };
    let follow = |kind, labels, name: fn(&DynamicObject) -> Option<String>| -> BoxFuture<'static, ()> {
        Box::pin(watch::follow(client.clone(), kind, None, labels, queue.clone(), seen.clone(), name))
    };
    let mut tasks: Vec<BoxFuture<'static, ()>> = vec![
        follow(resource("payplane.io/v1alpha1", "PaymentTenant"), None, |object| {
            object.metadata.name.clone()
        }),
        follow(resource("payplane.io/v1alpha1", "Channel"), None, by_namespace),
        follow(tenant::dereference::clusters(), Some(payplane_api::names::LABEL_TENANT), by_label),
        Box::pin(poller.run(queue.clone())),
    ];
    for (api_version, kind) in OWNED {
        tasks.push(follow(resource(api_version, kind), Some(payplane_api::names::LABEL_TENANT), by_label));
    }
    let work = queue.run(move |name| {
        let limit = tokio::time::timeout(Duration::from_secs(120), reconcile(context.clone(), name));
        async move { limit.await.unwrap_or(Some(Duration::from_secs(5))) }
    });
    tokio::select! {
        () = work => {}
        _ = futures_util::future::select_all(tasks) => {}
    }
}
