//! PaymentTenant: one payment stack with its own books.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod access;
mod calendar;
mod component;
mod database;
mod network;
pub mod parameters;
mod placement;
mod risk;
mod status;
mod step_up;

pub use access::Access;
pub use calendar::Calendar;
pub use component::{Component, Components, Quota};
pub use database::{Database, ExternalDatabase, ManagedDatabase, SecretName, Storage};
pub use network::{IngressFrom, Network};
pub use placement::{Placement, TaintEffect, Toleration, TolerationOperator, ZoneSpread};
pub use risk::{
    AmountRange, BlockList, NewMerchant, Risk, RiskAction, RiskAmount, RiskMode, RiskPolicy, RiskPolicyType,
    RiskSubject, SplitOrder, TimeOfDay, Velocity,
};
pub use status::*;
pub use step_up::{RiskOnError, RiskStepUp};

/// A payment stack of one business line or partner bank: a namespace with its
/// own gateway, ledger, database, certificates and books.
///
/// The least manifest has a name, a display name and currencies. What is left
/// out is resolved by the operator and shown in `status.effective`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "payplane.io",
    version = "v1alpha1",
    kind = "PaymentTenant",
    plural = "paymenttenants",
    shortname = "ptn",
    category = "payments",
    status = "PaymentTenantStatus",
    derive = "PartialEq",
    selectable = ".spec.environment",
    selectable = ".spec.profile",
    printcolumn(name = "Ready", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, type_ = "string",
        description = "Money can move and the whole spec is rolled out."),
    printcolumn(name = "Available", json_path = r#".status.conditions[?(@.type=="Available")].status"#, type_ = "string",
        description = "Money can move."),
    printcolumn(name = "Reason", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#, type_ = "string",
        description = "Why it is ready, or is not."),
    printcolumn(name = "Display-Name", json_path = ".spec.displayName", type_ = "string",
        description = "The name that people know it by."),
    printcolumn(name = "Environment", json_path = ".spec.environment", type_ = "string",
        description = "Whether the money is real."),
    printcolumn(name = "Age", json_path = ".metadata.creationTimestamp", type_ = "date"),
    printcolumn(name = "Profile", json_path = ".spec.profile", type_ = "string", priority = 1,
        description = "The size of the stack."),
    printcolumn(name = "Paused", json_path = ".spec.paused", type_ = "boolean", priority = 1,
        description = "The operator changes nothing but certificates and status."),
    printcolumn(name = "Namespace", json_path = ".status.namespace", type_ = "string", priority = 1,
        description = "Where the stack runs."),
    printcolumn(name = "Message", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, type_ = "string", priority = 1,
        description = "What it waits for and what to do about it."),
    validation = Rule::new("!oldSelf.?status.?booksId.hasValue() || (oldSelf.?status.?effective.?currencies.hasValue() ? oldSelf.status.effective.currencies.all(c, c in self.spec.currencies) : oldSelf.spec.currencies.all(c, c in self.spec.currencies))")
        .field_path(".spec.currencies")
        .message("once the books exist, currencies may only be added: those in a removed one would be stranded"),
    validation = Rule::new("!oldSelf.?status.?booksId.hasValue() || self.spec.timezone == oldSelf.spec.timezone")
        .field_path(".spec.timezone")
        .message("once the books exist, timezone is immutable: they are cut by its days"),
    validation = Rule::new("!oldSelf.?status.?booksId.hasValue() || !self.?spec.?database.?external.hasValue() || !oldSelf.?spec.?database.?external.hasValue() || (self.spec.database.external.host == oldSelf.spec.database.external.host && self.spec.database.external.port == oldSelf.spec.database.external.port && self.spec.database.external.database == oldSelf.spec.database.external.database)")
        .field_path(".spec.database.external.host")
        .message("once the books exist, host, port and database are immutable: running pods would go on writing to the old ones"),
    validation = Rule::new("self.spec.deletionPolicy != 'Delete' || (self.?spec.?destroyBooks.hasValue() && self.?status.?booksId.hasValue() && self.spec.destroyBooks == self.status.booksId)")
        .field_path(".spec.destroyBooks")
        .message("deletionPolicy Delete needs destroyBooks to equal status.booksId, so it can only be set once the books exist"),
    validation = Rule::new("!self.?spec.?database.?managed.?storage.?size.hasValue() || !self.?status.?effective.?database.?managed.?storage.?size.hasValue() || quantity(string(self.spec.database.managed.storage.size)).compareTo(quantity(string(self.status.effective.database.managed.storage.size))) >= 0")
        .field_path(".spec.database.managed.storage.size")
        .message("storage may only grow: see status.effective for the present size")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.profile != 'Production' || self.?database.?managed.?instances.orValue(3) >= 3")
        .field_path(".database.managed.instances")
        .message("a Production tenant needs at least 3 instances: one required synchronous standby must be able to fail"),
    validation = Rule::new("oldSelf.?database.?managed.?instances.orValue(0) <= self.?database.?managed.?instances.orValue(0)")
        .field_path(".database.managed.instances")
        .message("instances may only grow: a removed instance takes its copy of the books with it"),
    validation = Rule::new("!oldSelf.?database.?managed.?storage.?size.hasValue() || (self.?database.?managed.?storage.?size.hasValue() && quantity(string(self.database.managed.storage.size)).compareTo(quantity(string(oldSelf.database.managed.storage.size))) >= 0)")
        .field_path(".database.managed.storage.size")
        .message("storage may only grow, and a size once given must stay given"),
    validation = Rule::new("self.?database.?managed.?storage.?className.hasValue() == oldSelf.?database.?managed.?storage.?className.hasValue() && (!self.?database.?managed.?storage.?className.hasValue() || self.database.managed.storage.className == oldSelf.database.managed.storage.className)")
        .field_path(".database.managed.storage.className")
        .message("the storage class is immutable: volumes cannot move between classes"),
    validation = Rule::new("self.?database.?external.hasValue() == oldSelf.?database.?external.hasValue()")
        .field_path(".database")
        .message("a managed and an external database are never exchanged: the books would stay behind"),
    validation = Rule::new("!self.?database.?external.hasValue() || self.?network.?egressCidrs.orValue([]).size() > 0")
        .field_path(".network.egressCidrs")
        .message("an external database needs network.egressCidrs that hold its addresses"),
    validation = Rule::new("!self.?database.?external.hasValue() || !isIP(self.database.external.host) || self.?network.?egressCidrs.hasValue() && self.network.egressCidrs.exists(c, isCIDR(c) && cidr(c).containsIP(self.database.external.host))")
        .field_path(".database.external.host")
        .message("the database's address must lie in network.egressCidrs"),
    validation = Rule::new("self.profile != 'Production' || (self.?components.?gateway.?replicas.orValue(2) >= 2 && self.?components.?ledger.?replicas.orValue(2) >= 2)")
        .field_path(".components")
        .message("a Production tenant needs at least 2 replicas of gateway and ledger, so that a node can be drained"),
    validation = Rule::new("self.deletionPolicy == 'Delete' || !has(self.destroyBooks)")
        .field_path(".destroyBooks")
        .message("destroyBooks goes only with deletionPolicy Delete"),
    validation = Rule::new("self.deletionPolicy != 'Delete' || !self.?database.?external.hasValue()")
        .field_path(".deletionPolicy")
        .message("deletionPolicy Delete is not possible with an external database: only its owner may destroy it")
)]
pub struct PaymentTenantSpec {
    /// The name that people see in lists of tenants. 1 to 64 characters.
    #[schemars(length(min = 1, max = 64))]
    pub display_name: String,

    /// The currencies that the books are kept in, as ISO 4217 codes, e.g.
    /// `[CNY, USD]`. 1 to 16. Once the books exist, they may be added, never removed.
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = "^[A-Z]{3}$"), length(max = 3)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("!self.exists(c, c in ['XTS', 'XXX'])").message("XTS and XXX are no money: XTS is the operator's probe")
    )]
    pub currencies: Vec<String>,

    /// Whether the money is real. Immutable. A Simulator Channel never routes in
    /// a Live tenant.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("environment is immutable: test money never becomes real"))]
    pub environment: Environment,

    /// The size of the stack and nothing else. It may grow from Development to
    /// Production, not shrink.
    #[serde(default)]
    #[x_kube(validation = Rule::new("oldSelf != 'Production' || self == 'Production'").message("profile may grow, not shrink"))]
    pub profile: Profile,

    /// The IANA time zone in which the tenant's days begin and end, e.g.
    /// `Asia/Shanghai`. Immutable once the books exist, because they are cut by it.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), regex(pattern = "^[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}$"))]
    pub timezone: String,

    /// The local time `HH:MM` from which a payment belongs to the next
    /// settlement day. `00:00` keeps to calendar days.
    #[serde(default = "midnight")]
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub settlement_cutoff: String,

    /// The days on which settlement works or rests, beside the usual week. A
    /// payment settles so many working days after its settlement day as its merchant
    /// has: T+n, T+1 where nothing else was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,

    /// Where the books are kept. Left out: a managed database of the profile's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// The scale of the payment services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<Components>,

    /// What the whole tenant may ask of the cluster. Left out: enough for what is
    /// deployed, with room for a rolling update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,

    /// Who may work in the tenant's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// On which nodes the tenant's pods run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// Whom the tenant's pods may talk to, beyond each other. What is not
    /// declared is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// What payments are held against before a network is called. Left out, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,

    /// True: the operator writes nothing but renewed certificates and status.
    /// Payments go on; a deletion waits.
    #[serde(default)]
    pub paused: bool,

    /// What becomes of the books when the tenant is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// The id of the books (`status.booksId`) that a deletion is to destroy, a
    /// UUID. It must accompany `deletionPolicy: Delete`, so that nobody destroys books by a
    /// manifest made for other ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36), regex(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"))]
    pub destroy_books: Option<String>,
}

/// Is the money real?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Environment {
    /// Real money.
    #[default]
    Live,
    /// Play money: Simulator Channels route.
    Test,
}

/// How much the stack can bear and lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Profile {
    /// Three database instances on distinct nodes with one required synchronous
    /// standby, two replicas of each service.
    #[default]
    Production,
    /// One of everything.
    Development,
}

/// What becomes of the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeletionPolicy {
    /// The database is hibernated and kept, marked with the id of its books; a
    /// new tenant of the same name can take it up again.
    #[default]
    Retain,
    /// The database is destroyed with everything else.
    Delete,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn midnight() -> String {
    "00:00".to_owned()
}
