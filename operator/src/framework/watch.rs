//! Watches that end in names to reconcile, and in a picture of what there is.
//! Objects are taken as they come: one that our types cannot read still names
//! its tenant.

use std::time::Duration;

use futures_util::StreamExt;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;

use super::queue::Queue;
use super::seen::{Scope, Seen};

/// Bursts of one name become one reconcile.
const GATHER: Duration = Duration::from_millis(50);

/// Watches a kind until the future is dropped. `name` says whom an object is about.
pub async fn follow(
    client: Client,
    resource: ApiResource,
    namespace: Option<String>,
    labels: Option<&'static str>,
    queue: Queue,
    seen: Seen,
    name: impl Fn(&DynamicObject) -> Option<String>,
) {
    let scope = Scope::new(&resource, namespace.as_deref());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = labels.map_or_else(watcher::Config::default, |l| watcher::Config::default().labels(l));
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let wake = |object: &DynamicObject| {
        if let Some(name) = name(object) {
            queue.add(&name, GATHER);
        }
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => seen.list_begins(&scope),
            Ok(watcher::Event::InitApply(object)) => {
                wake(&object);
                seen.list_names(&scope, json(object, &resource));
            }
            Ok(watcher::Event::InitDone) => seen.list_ends(&scope),
            Ok(watcher::Event::Apply(object)) => {
                wake(&object);
                seen.changed(&scope, json(object, &resource));
            }
            Ok(watcher::Event::Delete(object)) => {
                wake(&object);
                seen.deleted(&scope, &json(object, &resource));
            }
            // A kind that is not installed yet, or an API server that is away: the back-off retries.
            Err(error) => tracing::debug!(kind = resource.kind, %error, "watch interrupted"),
        }
    }
}

/// Members of a list do not say what they are.
fn json(object: DynamicObject, resource: &ApiResource) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = resource.api_version.as_str().into();
    value["kind"] = resource.kind.as_str().into();
    value
}
