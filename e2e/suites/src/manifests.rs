//! Objects as JSON: applying them and reading what the API server says of them.

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, Status};
use kube::{Client, discovery};
use serde_json::Value;

/// The API of one kind in one namespace, found by discovery.
pub async fn api(client: &Client, object: &Value) -> anyhow::Result<Api<DynamicObject>> {
    let (resource, namespaced) = resource(client, object).await?;
    Ok(match (namespaced, object["metadata"]["namespace"].as_str()) {
        (true, namespace) => Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), &resource),
        (false, _) => Api::all_with(client.clone(), &resource),
    })
}

async fn resource(client: &Client, object: &Value) -> anyhow::Result<(ApiResource, bool)> {
    let text = |field: &str| object[field].as_str().context("an object has apiVersion and kind");
    let (group, version) = match text("apiVersion")?.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", text("apiVersion")?),
    };
    let kind = GroupVersionKind::gvk(group, version, text("kind")?);
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await?;
    Ok((resource, capabilities.scope == discovery::Scope::Namespaced))
}

/// What the API server says to a new object.
pub async fn create(client: &Client, object: &Value, dry_run: bool) -> anyhow::Result<Result<(), Status>> {
    let typed: DynamicObject = serde_json::from_value(object.clone())?;
    let params = PostParams { dry_run, ..PostParams::default() };
    said(api(client, object).await?.create(&params, &typed).await)
}

/// What the API server says to a merge patch.
pub async fn merge(
    client: &Client,
    object: &Value,
    patch: &Value,
    dry_run: bool,
) -> anyhow::Result<Result<(), Status>> {
    let params = PatchParams { dry_run, ..PatchParams::default() };
    said(api(client, object).await?.patch(name(object)?, &params, &Patch::Merge(patch)).await)
}

/// The same through the subresource `status`: nothing is written.
pub async fn would_merge_by_status(
    client: &Client,
    object: &Value,
    patch: &Value,
) -> anyhow::Result<Result<(), Status>> {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    said(api(client, object).await?.patch_status(name(object)?, &params, &Patch::Merge(patch)).await)
}

/// Merges into the status.
pub async fn merge_status(client: &Client, object: &Value, status: &Value) -> anyhow::Result<()> {
    let patch = serde_json::json!({ "status": status });
    api(client, object)
        .await?
        .patch_status(name(object)?, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// What the API server says to a deletion.
pub async fn delete(client: &Client, object: &Value, dry_run: bool) -> anyhow::Result<Result<(), Status>> {
    let params = kube::api::DeleteParams { dry_run, ..Default::default() };
    said(api(client, object).await?.delete(name(object)?, &params).await)
}

/// What the API server says to a server-side apply.
pub async fn apply(client: &Client, object: &Value) -> anyhow::Result<Result<(), Status>> {
    apply_with(client, object, PatchParams::apply("payplane-e2e").force()).await
}

/// What the API server would say to a server-side apply; nothing is written.
pub async fn would_apply(client: &Client, object: &Value) -> anyhow::Result<Result<(), Status>> {
    apply_with(client, object, PatchParams::apply("payplane-e2e").force().dry_run()).await
}

async fn apply_with(
    client: &Client,
    object: &Value,
    params: PatchParams,
) -> anyhow::Result<Result<(), Status>> {
    said(api(client, object).await?.patch(name(object)?, &params, &Patch::Apply(object)).await)
}

fn name(object: &Value) -> anyhow::Result<&str> {
    object["metadata"]["name"].as_str().context("an object has a name")
}

/// Only what the API server says is an answer; not reaching it is an error.
fn said<T>(answer: kube::Result<T>) -> anyhow::Result<Result<(), Status>> {
    match answer {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(*status)),
        Err(error) => Err(error.into()),
    }
}

/// Merges a patch as RFC 7386 says: null removes.
pub fn merged(base: &Value, patch: &Value) -> Value {
    let (Value::Object(base), Value::Object(patch)) = (base, patch) else { return patch.clone() };
    let mut result = base.clone();
    for (name, value) in patch {
        if value.is_null() {
            result.remove(name);
        } else {
            let before = result.get(name).cloned().unwrap_or_else(|| serde_json::json!({}));
            result.insert(name.clone(), merged(&before, value));
        }
    }
    Value::Object(result)
}
