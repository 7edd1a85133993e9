//! The fourth step: the tenant's parts in order, each behind what it needs.
//! What comes first and is missing is what the status says.

use jiff::SignedDuration;
use payplane_api::config::MigrateReport;
use payplane_crds::condition::Reason;
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::{Object, resource};
use crate::settings::Settings;
use crate::tenant::build::{self, Facts, Foundation, Services, config, namespace, network, workload};
use crate::tenant::certificates::{self, CertificateError, Certificates};
use crate::tenant::channels::{self, Resolved};
use crate::tenant::delete::ANNOTATION_BOOKS_STATE;
use crate::tenant::dereference::World;
use crate::tenant::unreadable::Unreadable;
use crate::tenant::validate::{Refused, Tenant};
use crate::tenant::{credentials, database, endpoint, epoch, gates, migration, stuck};

#[derive(Debug, snafu::Snafu)]
pub enum ApplyError {
    #[snafu(context(false), display("objects of the tenant are not applied"))]
    Objects { source: ClusterError },
    #[snafu(context(false), display("certificates of the tenant are not in place"))]
    Certificates { source: CertificateError },
}

impl ApplyError {
    /// What the API server said, where it was the one that refused.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        match self {
            Self::Objects { source } | Self::Certificates { source: CertificateError::Store { source } } => {
                Some(source.said())
            }
            Self::Certificates { .. } => None,
        }
    }
}

/// How far it went.
#[derive(Default)]
pub struct Progress {
    /// The namespace is there, and the operator has its rights in it.
    pub home: bool,
    pub blocked: Option<Refused>,
    pub degraded: Option<Refused>,
    pub certificates: Option<Certificates>,
    pub channels: Vec<Resolved>,
    /// The gateway's config: hash and epoch.
    pub config: Option<(String, u64)>,
    pub books_id: Option<String>,
    /// Books were here before, this tenant's or those that it may yet take up.
    pub marked: bool,
    pub schema_version: Option<u32>,
}

impl Progress {
    fn block(&mut self, refused: Refused) {
        self.blocked.get_or_insert(refused);
    }
}

/// Applies what can be applied now. `writer` writes nothing while the tenant is
/// paused; certificates are renewed all the same. What was found out before a
/// failure stays in `progress`.
pub async fn apply(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(), ApplyError> {
    if let Err(refused) = gates::namespace(world.namespace.as_ref(), &tenant.name, &tenant.uid) {
        progress.block(refused);
        return Ok(());
    }
    if tenant.spec.paused && world.namespace.is_none() {
        progress.block(Refused::new(Reason::PausedBySpec, ""));
        return Ok(());
    }
    progress.marked = world.facts.books_marked.is_some();
    writer.apply(&namespace::build_namespace(tenant, world.facts.books_marked.as_deref())).await?;
    writer.apply(&namespace::build_operator_binding(tenant, settings)).await?;
    progress.home = true;
    let secrets = resource("v1", "Secret");
    let live_config = writer.get(&secrets, Some(&tenant.namespace), "gateway-config").await?;
    progress.channels =
        channels::resolve(writer, tenant, &world.channels, (live_config.as_ref(), settings)).await?;
    foundation(writer, build::foundation(tenant, &world.facts, settings)).await?;
    let lifetime = SignedDuration::from_secs(settings.leaf_lifetime_seconds);
    // Certificates are renewed for a paused tenant too.
    progress.certificates = Some(certificates::ensure(&writer.writing(), tenant, lifetime).await?);
    let has_books = tenant.books_id.is_some() || progress.marked;
    if !certificates::ensure_data_key(&writer.writing(), tenant, has_books).await? {
        progress.block(Refused::new(Reason::DataKeyMissing, ""));
    }
    // An edit is delivered whatever the database does; the first config waits for the books.
    if tenant.books_id.is_some() {
        gateway_config(writer, tenant, world, settings, live_config.as_ref(), progress).await?;
    }
    if let Err(refused) = books(writer, tenant, world, settings, progress).await? {
        progress.block(refused);
    }
    if let Some(books_id) = &progress.books_id {
        mark(writer, tenant, world, settings, books_id).await?;
        taken_up(writer, tenant, world).await?;
        if progress.config.is_none() {
            gateway_config(writer, tenant, world, settings, live_config.as_ref(), progress).await?;
        }
    }
    // What already served goes on being kept in shape, also while the database is away.
    if progress.books_id.is_some() || tenant.books_id.is_some() {
        let conflict = progress.blocked.as_ref().is_some_and(|b| b.reason == Reason::BooksConflict);
        if !conflict {
            services(writer, tenant, settings, progress).await?;
        }
    }
    Ok(())
}

/// What holds books says so before anything is booked.
async fn mark(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
    settings: &Settings,
    books_id: &str,
) -> Result<(), ClusterError> {
    if world.facts.books_marked.is_some() {
        return Ok(());
    }
    let facts = Facts { books_marked: Some(books_id.to_owned()), ..world.facts.clone() };
    writer.apply(&namespace::build_namespace(tenant, Some(books_id))).await?;
    if let Some(database) = build::database::build_cluster(tenant, &facts, settings) {
        writer.apply(&database).await?;
    }
    Ok(())
}

/// Books that were left unhibernated serve again: their namespace says so no more.
async fn taken_up(writer: &Cluster, tenant: &Tenant, world: &World) -> Result<(), ClusterError> {
    let annotations = world.namespace.as_ref().map(|n| &n["metadata"]["annotations"]);
    if annotations.is_none_or(|a| a[ANNOTATION_BOOKS_STATE].is_null()) {
        return Ok(());
    }
    let patch = serde_json::json!({"metadata": {"annotations": {ANNOTATION_BOOKS_STATE: null}}});
    writer.merge(&resource("v1", "Namespace"), None, &tenant.namespace, &patch).await
}

async fn foundation(writer: &Cluster, foundation: Foundation) -> Result<(), ClusterError> {
    let Foundation { quota, limits, service_accounts, bindings, policies } = foundation;
    for object in [quota, limits].iter().chain(&service_accounts).chain(&bindings).chain(&policies) {
        writer.apply(object).await?;
    }
    Ok(())
}

/// The channels' flows and the gateway's config.
async fn gateway_config(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
    settings: &Settings,
    live: Option<&Value>,
    progress: &mut Progress,
) -> Result<(), ClusterError> {
    let refused = endpoint::check_step_up(tenant, settings).err();
    if tenant.spec.paused || refused.is_some() {
        refused.into_iter().for_each(|refused| progress.block(refused));
        // What pods have is what is wanted of them.
        let live = live.and_then(live_config);
        progress.config = live.map(|(text, epoch)| (payplane_api::config::hash(text.as_bytes()), epoch));
        return Ok(());
    }
    for resolved in &progress.channels {
        channel_flow(writer, tenant, resolved).await?;
    }
    // What our types cannot read goes on as it was: payments on it may be open.
    for name in world.unreadable.iter().map(Unreadable::name) {
        writer.record_name("NetworkPolicy", &network::channel_policy_name(name));
    }
    let unread = world.unreadable.iter().filter_map(|odd| channels::last_good(live?, odd.name()));
    let mut usable: Vec<_> =
        progress.channels.iter().filter_map(|c| c.usable.clone()).chain(unread).collect();
    usable.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    let render = |epoch| config::gateway_config(tenant, settings, &usable, epoch);
    let (text, epoch) =
        epoch::next(live.and_then(live_config), tenant.config.as_ref(), world.config_epoch_min, render);
    writer.apply(&config::build_gateway_config(tenant, &text, &usable)).await?;
    progress.config = Some((payplane_api::config::hash(text.as_bytes()), epoch));
    Ok(())
}

/// The way to a channel's network. One that cannot work leaves the last good
/// entry the flow that it has.
async fn channel_flow(writer: &Cluster, tenant: &Tenant, resolved: &Resolved) -> Result<(), ClusterError> {
    let policy = network::build_channel_policy(tenant, &resolved.channel);
    match policy.filter(|_| resolved.refused.is_none()) {
        Some(policy) => {
            writer.apply(&policy).await?;
        }
        None if resolved.serves => {
            let name = resolved.channel.metadata.name.as_deref().unwrap_or_default();
            writer.record_name("NetworkPolicy", &network::channel_policy_name(name));
        }
        None => {}
    }
    Ok(())
}

fn live_config(secret: &Value) -> Option<(String, u64)> {
    let text = String::from_utf8(credentials::bytes(secret, "config.json")?).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    let epoch = config["epoch"].as_u64()?;
    Some((text, epoch))
}

/// Database and migration: from here on there are books.
async fn books(
    writer: &Cluster,
    tenant: &Tenant,
    world: &World,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Result<(), Refused>, ClusterError> {
    let config = config::build_migrate_config(tenant, world.facts.books_marked.as_deref());
    let job = workload::build_migrate_job(tenant, settings);
    writer.record(&job);
    let said = migration::said(writer, tenant, &job).await?;
    if let Some(wanted) = build::database::build_cluster(tenant, &world.facts, settings) {
        if !world.database_operator {
            return Ok(Err(Refused::new(Reason::DatabaseOperatorMissing, "")));
        }
        if let Some(MigrateReport::BooksConflict { message }) = &said.report {
            database::hibernate(writer, tenant).await?;
            return Ok(Err(Refused::new(Reason::BooksConflict, message.clone())));
        }
        if let Err(refused) = database::storage_class(writer, tenant, world).await? {
            return Ok(Err(refused));
        }
        let adopted = database::adopted(tenant, world, &said.report);
        let live = match adopted {
            Some(books) => database::wake(writer, tenant, books, &wanted).await?,
            None => writer.apply(&wanted).await?,
        };
        if !gates::database_settled(&live) {
            progress.degraded =
                Some(Refused::new(Reason::DatabaseNotReady, "Instances are missing or being replaced."));
        }
        if let Err(refused) = gates::database(&live) {
            return Ok(Err(stuck::rollout(writer, tenant, "database", refused).await?));
        }
        // Nothing is acknowledged before the standby that it is promised to.
        if tenant.books_id.is_none() && adopted.is_none() && !gates::database_guarded(&live, tenant) {
            return Ok(Err(Refused::new(Reason::DatabaseNotReady, "Its standbys are joining.")));
        }
    } else if let Err(refused) = database::external(writer, tenant, world, settings).await? {
        return Ok(Err(refused));
    }
    migration::write_config(writer, tenant, config, said.report.as_ref()).await?;
    match said.report {
        Some(MigrateReport::Migrated { books_id, schema_version }) => {
            migration::keep_in_shape(writer, &job, said.live.as_ref()).await?;
            progress.books_id = Some(books_id);
            progress.schema_version = Some(schema_version);
            Ok(Ok(()))
        }
        Some(MigrateReport::BooksConflict { message }) => {
            Ok(Err(Refused::new(Reason::BooksConflict, message)))
        }
        report => {
            migration::start(writer, tenant, &job, &said.live, report.is_some()).await?;
            Ok(Err(match report {
                Some(MigrateReport::DatabaseUnfit { message }) => {
                    Refused::new(Reason::DatabaseUnfit, message)
                }
                Some(MigrateReport::Failed { message }) if tenant.external().is_some() => {
                    Refused::new(Reason::DatabaseUnreachable, message)
                }
                Some(_) => Refused::new(Reason::MigrationFailed, ""),
                // The run before has said what is wrong; this one has yet to say that it is not.
                None => world.verdict.clone().unwrap_or(Refused::new(Reason::Migrating, "")),
            }))
        }
    }
}

async fn services(
    writer: &Cluster,
    tenant: &Tenant,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(), ClusterError> {
    let Services { ledger_config, deployments, services, budgets } = build::services(tenant, settings);
    for object in [&ledger_config].into_iter().chain(&services).chain(&budgets) {
        writer.apply(object).await?;
    }
    let migrated = progress.books_id.is_some();
    for deployment in &deployments {
        // Another image starts only on the schema that it was made for.
        if !migrated && other_image(writer, deployment).await? {
            progress.block(Refused::new(Reason::Migrating, ""));
            continue;
        }
        let live = writer.apply(deployment).await?;
        if let Err(refused) = gates::deployment(&live) {
            progress.block(stuck::rollout(writer, tenant, deployment.name(), refused).await?);
        }
    }
    Ok(())
}

async fn other_image(writer: &Cluster, deployment: &Object) -> Result<bool, ClusterError> {
    let image = |value: &Value| value["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let live = writer.look(&deployment.resource(), deployment.namespace(), deployment.name()).await?;
    Ok(live.is_some_and(|live| image(&live) != image(&deployment.0)))
}
