//! Volumes on demand: StorageClass `standard`, provisioner [`NAME`].
//!
//! A volume is a directory of its own on this machine, offered as a `local`
//! volume of the node that the scheduler selected. It outlives the node's
//! processes: a node that was killed and started finds it as it was.
//!
//! Everything is read from the API server and the directory names, so the
//! daemon can be killed at any step and goes on where it was:
//! directory, then volume; and back: volume marked, directory, volume gone.

use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource};
use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;

use crate::kubeclient;
use crate::paths::ClusterPaths;

mod build;
mod claim;
mod context;
mod directory;
mod request;
mod sweep;
mod volume;

use context::Context;

/// The name that the StorageClass and every volume bear.
pub const NAME: &str = "payplane.io/lab-local";

/// Keeps a volume's object until its directory is gone.
const FINALIZER: &str = "payplane.io/lab-local";

/// What to apply before the first claim: the StorageClass.
pub const MANIFEST: &str = include_str!("provisioner/storageclass.yaml");

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot reach the cluster"))]
    Connect { source: kubeclient::Error },
}

/// Provisions, expands and deletes volumes until `stop`.
pub async fn run(paths: ClusterPaths, stop: CancellationToken) -> Result<(), Error> {
    let client = kubeclient::connect(&paths.kubeconfig).await.context(ConnectSnafu)?;
    let context = Arc::new(Context::new(client.clone(), paths));
    // Before the first claim is served: a new directory is empty as well.
    stop.run_until_cancelled(sweep::remove_leftovers(&context)).await;
    let claims = controller::<PersistentVolumeClaim>(&client, &stop)
        .run(claim::reconcile, Context::retry, Arc::clone(&context))
        .for_each(log);
    let volumes = controller::<PersistentVolume>(&client, &stop)
        .run(volume::reconcile, Context::retry, Arc::clone(&context))
        .for_each(log);
    tokio::join!(claims, volumes);
    Ok(())
}

fn controller<K>(client: &Client, stop: &CancellationToken) -> Controller<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    Controller::new(Api::<K>::all(client.clone()), watcher::Config::default())
        .graceful_shutdown_on(stop.clone().cancelled_owned())
}

/// An object's own failure is logged where its retry is decided.
async fn log<T, E: std::error::Error, W: std::error::Error>(
    result: Result<T, kube::runtime::controller::Error<E, W>>,
) {
    if let Err(kube::runtime::controller::Error::QueueError(error)) = result {
        tracing::info!(%error, "a watch broke off");
    }
}
