//! Claims: makes the volume that a claim waits for, and expands it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;
use snafu::{ResultExt, Snafu};

use super::build::{PROVISIONED_BY, build_volume};
use super::context::Context;
use super::directory;
use super::request::{self, NewVolume, Request};
use super::{NAME, volume};

#[derive(Debug, Snafu)]
pub(super) enum Error {
    #[snafu(display("no directory for volume {name}"))]
    Directory { name: String, source: directory::Error },
    #[snafu(display("cannot {action} {name}"))]
    Api {
        action: &'static str,
        name: String,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
}

pub(super) async fn reconcile(
    claim: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    match request::read(&claim) {
        Request::Nothing => {}
        Request::Refuse(why) => context.warn(claim.as_ref(), "ProvisioningFailed", why.to_owned()).await,
        Request::Provision(new) => provision(&claim, &new, &context).await?,
        Request::Expand { volume, storage } => expand(&claim, &volume, &storage, &context).await?,
    }
    context.succeeded(claim.as_ref());
    Ok(Action::await_change())
}

/// The volume's name is the claim's uid, so a repetition meets what exists.
async fn provision(claim: &PersistentVolumeClaim, new: &NewVolume, context: &Context) -> Result<(), Error> {
    let (directories, name) = (&context.directories, &new.name);
    if !directories.nodes.contains(&new.node) {
        let note = format!("node {} has no disk of this cluster", new.node);
        context.warn(claim, "ProvisioningFailed", note).await;
        return Ok(());
    }
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    if volumes.get_opt(name).await.context(ApiSnafu { action: "read", name })?.is_some() {
        return Ok(());
    }
    let classes = Api::<StorageClass>::all(context.client.clone());
    let class = classes.get(&new.class).await.context(ApiSnafu { action: "read class", name: &new.class })?;
    let reclaim_policy = class.reclaim_policy.as_deref().unwrap_or("Delete");
    let directory = directories.path(&new.node, name);
    directories.make(&directory).context(DirectorySnafu { name })?;
    let built = build_volume(new, &directory, reclaim_policy);
    match volumes.create(&PostParams::default(), &built).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error).context(ApiSnafu { action: "create", name }),
        Ok(_) => {
            tracing::info!(volume = name, node = new.node, claim = new.claim_name, "made a volume");
            Ok(())
        }
    }
}

/// A directory has no size, so growing means to say so: first on the volume,
/// last on the claim, whose status ends the expansion.
async fn expand(
    claim: &PersistentVolumeClaim,
    name: &str,
    storage: &Quantity,
    context: &Context,
) -> Result<(), Error> {
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    let Some(found) = volumes.get_opt(name).await.context(ApiSnafu { action: "read", name })? else {
        return Ok(());
    };
    if found.annotations().get(PROVISIONED_BY).map(String::as_str) != Some(NAME) {
        return Ok(());
    }
    if volume::capacity(&found) != Some(storage) {
        let patch = json!({"spec": {"capacity": {"storage": storage}}});
        let patched = volumes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.context(ApiSnafu { action: "expand volume", name })?;
    }
    let claims = Api::<PersistentVolumeClaim>::namespaced(
        context.client.clone(),
        &claim.namespace().unwrap_or_default(),
    );
    let status = claim.status.as_ref();
    let pending = ["Resizing", "FileSystemResizePending"];
    let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let conditions: Vec<_> = conditions.filter(|c| !pending.contains(&c.type_.as_str())).collect();
    let patch = json!({
        // Written on what was read: a claim that changed meanwhile is looked at again.
        "metadata": {"resourceVersion": claim.resource_version()},
        "status": {"capacity": {"storage": storage}, "conditions": conditions},
    });
    let name = claim.name_any();
    let patched = claims.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.context(ApiSnafu { action: "expand claim", name: &name })?;
    tracing::info!(claim = name, storage = storage.0, "expanded a volume");
    Ok(())
}
