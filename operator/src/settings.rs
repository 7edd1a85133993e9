//! What the chart tells the operator.

use std::net::SocketAddr;

/// This very machine and its link: closed to tenants whatever the chart says.
const NEVER: [&str; 5] = ["127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "::/127", "fe80::/10"];

/// Settings, by flag or environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Image of the components.
    #[arg(long, env = "PAYPLANE_IMAGE")]
    pub payplane_image: String,
    /// Image of PostgreSQL for CloudNativePG.
    #[arg(long, env = "POSTGRESQL_IMAGE")]
    pub postgresql_image: String,
    /// Names of pull secrets that pods refer to, by commas.
    #[arg(long, env = "IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// The cluster's own networks, which no channel may call, by commas.
    #[arg(long, env = "DENIED_CIDRS", value_delimiter = ',')]
    pub denied_cidrs: Vec<String>,
    /// Lifetime of the certificates that the operator issues, in seconds.
    #[arg(long, env = "LEAF_LIFETIME_SECONDS", default_value_t = 90 * 24 * 3600)]
    pub leaf_lifetime_seconds: i64,
    /// Where CloudNativePG's operator runs: it must reach the database's pods.
    #[arg(long, env = "CNPG_NAMESPACE", default_value = "cnpg-system")]
    pub cnpg_namespace: String,
    /// Whose pods may read /metrics.
    #[arg(long, env = "MONITORING_NAMESPACE", default_value = "monitoring")]
    pub monitoring_namespace: String,
    /// Where this operator runs.
    #[arg(long, env = "POD_NAMESPACE", default_value = "payplane-system")]
    pub pod_namespace: String,
    /// This replica's name, for the Lease.
    #[arg(long, env = "POD_NAME", default_value = "operator")]
    pub pod_name: String,
    /// The ServiceAccount that tenants' bindings name.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "payplane-operator")]
    pub service_account: String,
    /// Plain port for /livez, /readyz and /metrics.
    #[arg(long, env = "HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    pub health: SocketAddr,
}

impl Settings {
    /// Every network that no tenant may call by address.
    pub fn closed(&self) -> impl Iterator<Item = &str> {
        let own = self.denied_cidrs.iter().map(String::as_str).filter(|cidr| !cidr.is_empty());
        own.chain(NEVER)
    }
}
