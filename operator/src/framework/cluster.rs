//! Reading and writing objects: one field manager, and no write that changes nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::Value;
use snafu::{OptionExt, ResultExt, Snafu};

use super::object::{Object, resource};
use super::reign::Reign;
use super::seen::Seen;

/// The one field manager of the operator.
pub const FIELD_MANAGER: &str = "payplane-operator";
/// How long a write waits for a busy API server, try by try.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1_500)];

#[derive(Debug, Snafu)]
pub enum ClusterError {
    #[snafu(display("cannot read {kind} {name}"))]
    Read { kind: String, name: String, source: kube::Error },
    #[snafu(display("cannot apply {kind} {name}"))]
    Apply { kind: String, name: String, source: kube::Error },
    #[snafu(display("cannot delete {kind} {name}"))]
    Delete { kind: String, name: String, source: kube::Error },
    #[snafu(display("the API server's {kind} {name} is no JSON"))]
    Json { kind: String, name: String, source: serde_json::Error },
    #[snafu(display("{kind} {name} is not written: another replica may lead by now"))]
    Deposed { kind: String, name: String },
}

impl ClusterError {
    /// What failed, for a condition: the object, the API server's word for it, and
    /// the fields. Its sentences may hold times and counters: they are in the log.
    #[must_use]
    pub fn said(&self) -> String {
        let (Self::Read { kind, name, source }
        | Self::Apply { kind, name, source }
        | Self::Delete { kind, name, source }) = self
        else {
            return self.to_string();
        };
        let kube::Error::Api(status) = source else { return format!("{self}.") };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let fields: BTreeSet<_> =
            causes.map(|cause| cause.field.as_str()).filter(|f| !f.is_empty()).collect();
        let fields = fields.into_iter().take(8).map(|field| format!(" {field}")).collect::<String>();
        format!("{kind} {name} was refused: {}{fields}.", status.reason)
    }
}

/// The API server, as the controllers use it.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    writer: Client,
    pub seen: Seen,
    writes: bool,
    reign: Reign,
    recorded: Arc<Mutex<BTreeSet<String>>>,
}

impl Cluster {
    /// `writer` tries nothing again by itself: each try of a write asks whether it may.
    #[must_use]
    pub fn new(client: Client, writer: Client, reign: Reign) -> Self {
        Self { client, writer, seen: Seen::default(), writes: true, reign, recorded: Arc::default() }
    }

    /// Writes, again where the server is busy, unless the time of this leader is over.
    pub async fn write<T, F>(
        &self,
        kind: &str,
        name: &str,
        request: impl Fn() -> F,
    ) -> Result<kube::Result<T>, ClusterError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let mut waits = AGAIN_AFTER.iter();
        loop {
            let turn = self.reign.turn().await.context(DeposedSnafu { kind, name })?;
            let written = request().await;
            drop(turn);
            match (&written, waits.next()) {
                (Err(kube::Error::Api(status)), Some(wait)) if matches!(status.code, 429 | 503 | 504) => {
                    tokio::time::sleep(*wait).await;
                }
                _ => return Ok(written),
            }
        }
    }

    /// May this process still write?
    #[must_use]
    pub fn leads(&self) -> bool {
        self.reign.left().is_some()
    }

    /// The same API server, noting from now on what is applied.
    #[must_use]
    pub fn recording(&self) -> Self {
        Self { recorded: Arc::default(), ..self.clone() }
    }

    /// Notes an object as wanted that needs no apply just now.
    pub fn record(&self, object: &Object) {
        self.record_name(object.kind(), object.name());
    }

    /// The same for one that was made before.
    pub fn record_name(&self, kind: &str, name: &str) {
        let part = format!("{kind}/{name}");
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).insert(part);
    }

    /// What was applied, as `Kind/name`.
    #[must_use]
    pub fn recorded(&self) -> Vec<String> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The same API server for a paused tenant: applies, merges and deletes do nothing.
    #[must_use]
    pub fn reader(&self) -> Self {
        Self { writes: false, ..self.clone() }
    }

    /// The same, writing again.
    #[must_use]
    pub fn writing(&self) -> Self {
        Self { writes: true, ..self.clone() }
    }

    #[must_use]
    pub fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        api(&self.client, resource, namespace)
    }

    /// The same for [`Cluster::write`].
    #[must_use]
    pub fn writer(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        api(&self.writer, resource, namespace)
    }

    /// Reads an object as a watch saw it, or as it is where no watch has seen it.
    /// For what the next event may correct, not for what cannot be taken back.
    pub async fn look(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        match self.seen.get(resource, namespace, name) {
            Some(seen) => Ok(Some(seen.as_ref().clone())),
            None => self.get(resource, namespace, name).await,
        }
    }

    /// The pods of a namespace that bear labels, in the same sense.
    pub async fn look_for_pods(
        &self,
        namespace: &str,
        labels: &[(&str, &str)],
    ) -> Result<Vec<Value>, ClusterError> {
        let pods = resource("v1", "Pod");
        if let Some(seen) = self.seen.list(&pods, namespace, labels) {
            return Ok(seen.iter().map(|pod| pod.as_ref().clone()).collect());
        }
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.list(&pods, Some(namespace), &labels.join(",")).await
    }

    /// Reads an object as JSON. None also where its kind is not installed.
    pub async fn get(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let kind = &resource.kind;
        match self.api(resource, namespace).get(name).await {
            Ok(found) => Ok(Some(json(found, kind)?)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(source) => Err(source).context(ReadSnafu { kind, name }),
        }
    }

    /// Lists objects of a namespace by label. Empty also where the kind is not installed.
    pub async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let kind = &resource.kind;
        let params = ListParams::default().labels(labels);
        match self.api(resource, namespace).list(&params).await {
            Ok(found) => found.items.into_iter().map(|item| json(item, kind)).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(source) => Err(source).context(ReadSnafu { kind, name: labels }),
        }
    }

    /// Is a kind served at all? An API server that cannot say is an error, not a no.
    pub async fn serves(&self, resource: &ApiResource) -> Result<bool, ClusterError> {
        let (kind, name) = (&resource.kind, &resource.group);
        let path = format!("/apis/{}/{}", resource.group, resource.version);
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(kube::Error::HttpError).context(ReadSnafu { kind, name })?;
        match self.client.request::<Value>(request).await {
            Ok(listed) => {
                let mut kinds = listed["resources"].as_array().into_iter().flatten();
                Ok(kinds.any(|served| served["kind"] == kind.as_str()))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(source) => Err(source).context(ReadSnafu { kind, name }),
        }
    }

    /// Makes the live object as wanted, and gives it back. Writes only where it
    /// differs: what the watches saw may only say that it does not.
    pub async fn apply(&self, object: &Object) -> Result<Value, ClusterError> {
        let resource = object.resource();
        self.record(object);
        let seen = self.seen.get(&resource, object.namespace(), object.name());
        if let Some(seen) = seen.filter(|seen| object.is_met_by(seen)) {
            return Ok(seen.as_ref().clone());
        }
        let live = self.get(&resource, object.namespace(), object.name()).await?;
        if !self.writes {
            return Ok(live.unwrap_or_else(|| object.0.clone()));
        }
        if let Some(live) = live.filter(|live| object.is_met_by(live)) {
            return Ok(live);
        }
        let (kind, name) = (object.kind(), object.name());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.writer(&resource, object.namespace()), Patch::Apply(&object.0));
        let written = self.write(kind, name, || api.patch(name, &params, &patch)).await?;
        tracing::info!(kind, name, namespace = object.namespace(), ok = written.is_ok(), "applied");
        json(written.context(ApplySnafu { kind, name })?, kind)
    }

    /// Merges a patch into an object.
    pub async fn merge(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<(), ClusterError> {
        if !self.writes {
            return Ok(());
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, patch) = (self.writer(resource, namespace), Patch::Merge(patch));
        let patched = self.write(&resource.kind, name, || api.patch(name, &params, &patch)).await?;
        patched.map(|_| ()).context(ApplySnafu { kind: &resource.kind, name })
    }

    /// Deletes exactly the object that was read: another one of its name stays.
    pub async fn delete(&self, resource: &ApiResource, live: &Value) -> Result<(), ClusterError> {
        if !self.writes {
            return Ok(());
        }
        let text = |field: &str| live["metadata"][field].as_str().map(str::to_owned);
        let (name, namespace) = (text("name").unwrap_or_default(), text("namespace"));
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: text("uid"), resource_version: None }),
            ..DeleteParams::background()
        };
        let api = self.writer(resource, namespace.as_deref());
        match self.write(&resource.kind, &name, || api.delete(&name, &params)).await? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(source) => Err(source).context(DeleteSnafu { kind: &resource.kind, name }),
        }
    }
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn json(object: DynamicObject, kind: &str) -> Result<Value, ClusterError> {
    let name = object.name_any();
    serde_json::to_value(object).context(JsonSnafu { kind, name })
}
