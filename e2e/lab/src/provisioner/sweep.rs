//! Directories that a killed daemon made for a claim that was deleted before
//! its volume existed. They are empty, because no pod ever had them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, ResourceExt, api::ListParams};

use super::context::Context;
use super::directory::PREFIX;

/// Runs once, at the start. A failure leaves empty directories, nothing worse.
pub(super) async fn remove_leftovers(context: &Context) {
    let parameters = ListParams::default();
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    let claims = Api::<PersistentVolumeClaim>::all(context.client.clone());
    let (Ok(volumes), Ok(claims)) = (volumes.list(&parameters).await, claims.list(&parameters).await) else {
        tracing::info!("leftovers of an earlier run were not looked for: the API server did not answer");
        return;
    };
    let mut used: BTreeSet<String> = volumes.iter().map(ResourceExt::name_any).collect();
    used.extend(claims.iter().filter_map(ResourceExt::uid).map(|uid| format!("{PREFIX}{uid}")));
    if let Err(error) = context.directories.remove_empty(&used) {
        tracing::info!(%error, "leftovers of an earlier run were not removed");
    }
}
