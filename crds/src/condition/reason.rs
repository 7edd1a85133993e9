//! The reasons of conditions, each with its meaning and remedy.

/// What brings a reason about, which says how it is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A step of the operator's normal work, or its good end.
    Course,
    /// Something that a manifest says or refers to. The suites must show each.
    Manifest,
    /// Something outside the manifests: a pod, the database, the cluster.
    World,
}

macro_rules! reasons {
    ($($name:ident: $cause:ident, $meaning:literal, $remedy:literal;)+) => {
        /// Why a condition has its status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason as the status has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What a person should do, one sentence; empty where there is nothing to do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }

            /// What brings it about.
            #[must_use]
            pub const fn cause(self) -> Cause {
                match self { $(Self::$name => Cause::$cause,)+ }
            }
        }
    };
}

reasons! {
    Pending: Course, "The operator has not looked at the object yet.",
        "If this stays, check that the operator runs: kubectl -n payplane-system get pods.";
    Reconciling: Course, "Objects are being created or changed.", "";
    Migrating: Course, "The migration brings the database's schema up to date.", "";
    RollingOut: Course, "Pods are being replaced.", "";
    Probing: Course, "The operator books and reverses a test amount through gateway and ledger.", "";
    Serving: Course, "Everything that was declared is in place and works.", "";
    UpToDate: Course, "No change is pending.", "";
    Complete: Course, "Every part is there.", "";
    NotPaused: Course, "The operator works on the object.", "";
    PausedBySpec: Course, "spec.paused is true: nothing but certificates and status is written.",
        "Set spec.paused to false to let changes through.";
    Disabled: Course, "spec.enabled is false: no new payment is routed here.",
        "Set spec.enabled to true to take payments again.";
    NotConfigured: Course, "Nothing is configured that would tell.", "";
    Deleting: Course, "The object is being deleted.",
        "If this stays, the conditions of its namespace say what holds it.";

    CurrencyUnknown: Manifest, "A currency is not in ISO 4217, or not one of the tenant's.",
        "Correct the currency, or add it to the tenant's spec.currencies.";
    TimezoneUnknown: Manifest, "The time zone is not in the IANA database.",
        "Set spec.timezone to a zone like Asia/Shanghai.";
    CalendarWithoutWorkingDay: Manifest, "The calendar leaves too few working days for payments of today to settle.",
        "Correct spec.calendar: of the next 90 days 30 have to be working days.";
    NodeMissing: Manifest, "No node has the labels that an edit asks for, so the pods that serve are left where they are.",
        "Correct spec.placement.nodeSelector, or label a node; it is looked for again by itself.";
    PodsUnschedulable: Manifest, "A pod has found no node for half a minute: none has room for its size, or spec.placement rules all out.",
        "Correct resources or spec.placement, or add nodes; it goes on by itself.";
    EndpointRefused: Manifest, "An endpoint lies in a network that is closed to tenants, or outside network.egressCidrs.",
        "Use an address inside network.egressCidrs that is not the cluster's own, loopback or link-local.";
    SimulatorInLiveTenant: Manifest, "A Simulator moves play money, and the tenant's environment is Live.",
        "Delete the Channel, or use it in a tenant with environment Test.";
    TenantMissing: Manifest, "The Channel's namespace belongs to no tenant.",
        "Create the tenant, or the Channel in a tenant's namespace, ptn-<tenant>.";
    CredentialsMissing: Manifest, "A Secret that the spec names does not exist.",
        "Create the Secret in the tenant's namespace; it is picked up by itself.";
    CredentialsInvalid: Manifest, "A Secret that the spec names has another type, lacks a key, or holds something unreadable.",
        "Correct the Secret as the message says; it is picked up by itself.";
    QuotaTooSmall: Manifest, "The quota cannot hold the declared pods and one more of each for a rolling update.",
        "Raise spec.quota to at least what the message says, or lower replicas or resources.";
    ParameterOutOfRange: Manifest, "PostgreSQL could not start again with a setting's value.",
        "Correct the setting that the message names; the field reference has its range.";
    NamespaceNotOurs: Manifest, "The tenant's namespace exists and was not made for this tenant or its books.",
        "Remove the namespace, or give the tenant another name.";
    BooksConflict: Manifest, "The database holds other books, or books that disagree with the spec.",
        "Give the tenant the environment, currencies and timezone of the books, or another name.";
    DeletionPaused: Manifest, "The tenant is to be deleted while spec.paused is true.",
        "Set spec.paused to false to let the deletion go on.";
    DatabaseUnfit: Manifest, "The database must not hold books: its version, durability settings or rights are not as required.",
        "Correct on the database what the message names; it is checked again by itself.";
    DatabaseUnreachable: Manifest, "The database does not answer, or refuses the login.",
        "Check host, port, credentials, ca and network.egressCidrs, and that the server runs.";
    StorageClassMissing: Manifest, "The StorageClass that the spec names does not exist.",
        "Create the StorageClass, or recreate the tenant with another one.";

    InvalidSpec: World, "The spec says something that cannot work, and was stored before a rule refused it.",
        "Correct the field that the message names.";
    Unreadable: World, "The object holds something that this release cannot read: it is left as it is, and not deleted.",
        "Correct the field that the message names, or run the release that wrote it.";
    DestroyBooksMismatch: Manifest, "destroyBooks is not the id of the books, so nothing is destroyed.",
        "Set spec.destroyBooks to status.booksId, or spec.deletionPolicy to Retain.";
    DatabaseOperatorMissing: World, "CloudNativePG is not installed.",
        "Install CloudNativePG, or use database.external; it is picked up by itself.";
    DatabaseNotReady: World, "The managed database is not ready.",
        "If this stays, look at it: kubectl -n <namespace> describe cluster database.";
    DataKeyMissing: World, "The Secret data-key holds no key, and there are books that one sealed: none is made in its place.",
        "Bring the Secret data-key back from where its copy is kept; gateways that run go on.";
    MigrationFailed: World, "The migration gave up and is tried again.",
        "If this stays, read its log: kubectl -n <namespace> logs job/migrate.";
    // Memory with which pods cannot run is refused on entry.
    PodsNotReady: World, "Pods are missing, not ready, or end again and again.",
        "If this stays, look at them: kubectl -n <namespace> get pods.";
    PodsOutdated: World, "Not every pod works by the current config.",
        "If this stays, look at the pods that the message names.";
    GatewayUnreachable: World, "No gateway pod answers.",
        "Look at the gateway's pods and logs.";
    LedgerUnreachable: World, "No ledger pod answers the gateway.",
        "Look at the ledger's pods and logs.";
    DatabaseReadOnly: World, "The database answers but takes no writes.",
        "If this stays, look whether the server is a standby, its disk is full, or default_transaction_read_only is set.";
    StandbyMissing: World, "The required synchronous standby does not stream.",
        "Look at the database's instances; commits wait until a standby streams.";
    ProbeFailed: World, "The test booking did not go through.",
        "Look at the logs of gateway and ledger for the probe's trace.";
    TenantNotReady: World, "The Channel waits for its tenant.",
        "Look at the PaymentTenant.";
    TenantPaused: Manifest, "The tenant is paused, so the Channel's spec is not applied.",
        "Set spec.paused of the PaymentTenant to false.";
    OpenPayments: Manifest, "The Channel is to be deleted, and payments on it are not final.",
        "Wait, or resolve the payments that the message counts.";
    HibernationPending: World, "The tenant is to be deleted, and its database is being put to rest.",
        "If this stays, look at the cluster database in its namespace, and at CloudNativePG.";
    BooksUnhibernated: World, "The tenant's database was unhealthy and is kept without hibernation.",
        "Repair the database before a new tenant takes it up.";
    ApplyFailed: World, "The API server refused an object of the tenant.",
        "Read the operator's events and log; it is tried again.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
