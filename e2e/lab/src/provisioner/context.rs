//! What both reconcilers share, and how they retry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};

use super::NAME;
use super::directory::Directories;
use crate::paths::ClusterPaths;

/// The first pause after a failure; each further one doubles it.
const PAUSE_SECONDS: u64 = 1;
const PAUSE_DOUBLINGS_MAX: u32 = 6;

pub(super) struct Context {
    pub client: Client,
    pub directories: Directories,
    recorder: Recorder,
    /// How often each object failed in a row, by uid. It only paces retries.
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    pub(super) fn new(client: Client, paths: ClusterPaths) -> Self {
        let nodes = paths.nodes.into_iter().map(|node| node.name).collect();
        let reporter = Reporter { controller: NAME.to_owned(), instance: None };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            directories: Directories { root: paths.volumes, nodes },
            failures: Mutex::default(),
        }
    }

    /// Tells the owner of an object why nothing happens. Best effort: an event
    /// that is lost changes nothing.
    pub(super) async fn warn(&self, object: &impl Resource<DynamicType = ()>, reason: &str, note: String) {
        let (action, type_) = ("Provision".to_owned(), EventType::Warning);
        let event = Event { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None };
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::info!(%error, "an event was not taken");
        }
    }

    pub(super) fn succeeded(&self, object: &impl ResourceExt) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&object.uid().unwrap_or_default());
    }

    /// Tries again after 1, 2, 4 ... 64 seconds, or at once when the object changes.
    pub(super) fn retry<K: ResourceExt, E: std::error::Error>(
        object: Arc<K>,
        error: &E,
        context: Arc<Self>,
    ) -> Action {
        let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.entry(object.uid().unwrap_or_default()).or_default();
        let pause = PAUSE_SECONDS << (*failed).min(PAUSE_DOUBLINGS_MAX);
        *failed = failed.saturating_add(1);
        let cause = error.source().map(ToString::to_string);
        tracing::info!(name = object.name_any(), %error, cause, pause_seconds = pause, "will try again");
        Action::requeue(Duration::from_secs(pause))
    }
}
