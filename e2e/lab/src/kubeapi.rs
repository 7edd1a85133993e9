//! The tool's own access to a cluster: apply objects, wait until they work.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use snafu::{OptionExt, ResultExt, Snafu};

const MANAGER: &str = "payplane-lab";
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the manifest cannot be read"))]
    Manifest { source: serde_yaml::Error },
    #[snafu(display("an object of the manifest has no kind or name"))]
    Nameless,
    #[snafu(display("cannot apply {kind} {name}"))]
    Apply {
        kind: String,
        name: String,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    #[snafu(display("{what} not within {seconds} s{last}"))]
    TooLate { what: String, seconds: u64, last: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Asks again until the answer is yes, or time is up: then the last answer says why.
pub async fn until<F>(what: &str, within: Duration, mut ask: F) -> Result<()>
where
    F: AsyncFnMut() -> Result<bool, String>,
{
    let deadline = Instant::now() + within;
    loop {
        let answer = ask().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let last = answer.err().map(|error| format!(": {error}")).unwrap_or_default();
            return TooLateSnafu { what, seconds: within.as_secs(), last }.fail();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub async fn api_ready(client: &Client, within: Duration) -> Result<()> {
    until("the API server is not ready", within, async || {
        let request = http::Request::get("/readyz").body(Vec::new()).map_err(|e| e.to_string())?;
        client.request_text(request).await.map(|text| text == "ok").map_err(|e| e.to_string())
    })
    .await
}

/// Waits until `count` nodes are Ready.
pub async fn nodes_ready(client: &Client, count: usize, within: Duration) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    until(&format!("{count} nodes are not Ready"), within, async || {
        let list = nodes.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let ready = list.items.iter().filter(|node| is_ready(node)).map(ResourceExt::name_any);
        let ready: Vec<_> = ready.collect();
        if ready.len() >= count { Ok(true) } else { Err(format!("Ready are {ready:?}")) }
    })
    .await
}

pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Waits until all replicas of a Deployment are available.
pub async fn deployment_ready(client: &Client, namespace: &str, name: &str, within: Duration) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    until(&format!("Deployment {namespace}/{name} is not available"), within, async || {
        let found = deployments.get(name).await.map_err(|e| e.to_string())?;
        let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = found.status.unwrap_or_default();
        Ok(status.observed_generation >= found.metadata.generation
            && status.available_replicas >= Some(wanted))
    })
    .await
}

/// Splits a manifest of several documents.
pub fn objects(manifest: &str) -> Result<Vec<DynamicObject>> {
    let mut list = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifest) {
        let value = serde_yaml::Value::deserialize(document).context(ManifestSnafu)?;
        if !value.is_null() {
            list.push(serde_yaml::from_value(value).context(ManifestSnafu)?);
        }
    }
    Ok(list)
}

/// Applies objects on the server's side, in the order given.
pub async fn apply(client: &Client, objects: &[DynamicObject]) -> Result<()> {
    for object in objects {
        let types = object.types.as_ref().context(NamelessSnafu)?;
        let (kind, name) = (types.kind.clone(), object.name_any());
        let kinded = kube::core::GroupVersionKind::try_from(types).ok().context(NamelessSnafu)?;
        let resource = kube::core::ApiResource::from_gvk(&kinded);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let params = PatchParams::apply(MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(object)).await.context(ApplySnafu { kind, name })?;
    }
    Ok(())
}
