//! Names that the operator writes and the components, clients and suites read.

/// Label with the tenant's name, on every object and pod of a tenant.
pub const LABEL_TENANT: &str = "payplane.io/tenant";
/// Label with the component's name (`gateway`, `ledger`, `database`, `migrate`).
pub const LABEL_COMPONENT: &str = "payplane.io/component";
/// Annotation that says which books an object holds.
pub const ANNOTATION_BOOKS_ID: &str = "payplane.io/books-id";

/// Prefix of a tenant's namespace.
pub const NAMESPACE_PREFIX: &str = "ptn-";

/// The app API: server TLS plus signed requests.
pub const PORT_APP: u16 = 8443;
/// The gateway's admin and control API: mutual TLS.
pub const PORT_ADMIN: u16 = 9443;
/// The ledger's gRPC: mutual TLS.
pub const PORT_LEDGER: u16 = 8443;
/// /livez, /readyz and /metrics, plain.
pub const PORT_HEALTH: u16 = 8080;
/// PostgreSQL.
pub const PORT_DATABASE: u16 = 5432;

/// Common names of client certificates: they are identities.
pub const CN_GATEWAY: &str = "gateway";
pub const CN_LEDGER: &str = "ledger";
pub const CN_OPERATOR: &str = "operator";
pub const CN_ADMIN_CLIENT: &str = "admin-client";
/// The second person: what one of the two applies for, the other approves.
pub const CN_ADMIN_CHECKER: &str = "admin-checker";

/// Database roles; a role's client certificate bears its name.
pub const ROLE_OWNER: &str = "payplane_owner";
pub const ROLE_LEDGER: &str = "ledger";
pub const ROLE_GATEWAY: &str = "gateway";
/// The gateway's other login, which reaches the vault and nothing else.
pub const ROLE_VAULT: &str = "payplane_vault";

/// Where a component finds its rendered config (one file, swapped atomically).
pub const CONFIG_FILE: &str = "/etc/payplane/config/config.json";
/// Where a component finds its server and client certificate (`tls.crt`,
/// `tls.key`) and the tenant's trust bundle (`ca.crt`).
pub const TLS_DIR: &str = "/etc/payplane/tls";
/// The trust bundle's folder (`ca.crt`).
pub const TRUST_DIR: &str = "/etc/payplane/trust";
/// The database client certificate's folder (`tls.crt`, `tls.key`).
pub const DATABASE_TLS_DIR: &str = "/etc/payplane/database";
/// The same for [`ROLE_VAULT`].
pub const VAULT_TLS_DIR: &str = "/etc/payplane/vault";
/// The database's CA (`ca.crt`).
pub const DATABASE_TRUST_DIR: &str = "/etc/payplane/database-trust";

/// The key that the ledger signs heads of the books with.
pub const SEAL_KEY_FILE: &str = "/etc/payplane/seal/seal.key";

/// Its public part, in the trust bundle.
pub const SEAL_PUBLIC_FILE: &str = "/etc/payplane/trust/seal.pub";

/// The key that the gateway signs notifications with.
pub const NOTIFY_KEY_FILE: &str = "/etc/payplane/notify/notify.key";

/// The key that the gateway seals apps' secrets with.
pub const DATA_KEY_FILE: &str = "/etc/payplane/data/data.key";

/// Code prefix of the accounts that the operator's probe moves money between.
/// They stay outside statements and the trial balance.
pub const RESERVED_ACCOUNTS: &str = "reserved:";
/// ISO 4217's code for testing; its amounts are whole units here.
pub const PROBE_CURRENCY: &str = "XTS";

/// The namespace of a tenant.
#[must_use]
pub fn namespace(tenant: &str) -> String {
    format!("{NAMESPACE_PREFIX}{tenant}")
}
