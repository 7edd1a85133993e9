//! A bank's own PostgreSQL, outside the cluster.

use payplane_testkit::Postgres;
use serde_json::{Value, json};

use crate::outside::Outside;
use crate::tenant;

/// The bank's server, where it is reached, and what the tenant is told of it.
pub struct Bank {
    pub server: Postgres,
    outside: Outside,
}

impl Bank {
    /// Starts it, with the three login roles and their passwords.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn open(cluster: &str) -> Self {
        let outside = Outside::make(cluster);
        let server = Postgres::start_at(&outside.address.to_string()).await.expect("PostgreSQL starts");
        let bank = Self { server, outside };
        for role in ["payplane_owner", "ledger", "gateway", "payplane_vault"] {
            bank.sql(&format!("ALTER ROLE {role} PASSWORD 'of-{role}'")).await;
        }
        bank
    }

    /// As the bank's own administrator, on the server itself.
    ///
    /// # Panics
    /// With what the server said.
    pub async fn sql(&self, statement: &str) -> Vec<String> {
        let admin = self.server.connect("postgres").await.expect("the administrator is let in");
        let rows = admin.simple_query(statement).await.expect("the statement is right");
        rows.iter()
            .filter_map(|row| match row {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some(row.get(0).unwrap_or_default().to_owned())
                }
                _ => None,
            })
            .collect()
    }

    /// Gives the server a certificate in its own name, or in another's.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn present(&self, own: bool) {
        let address = self.outside.address.to_string();
        let names = if own { address.as_str() } else { "another-bank.example" };
        self.server.present(&[names]).expect("a certificate is made");
    }

    /// A tenant that keeps its books there.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Value {
        let mut outer = tenant::development(name);
        outer["spec"]["network"]["egressCidrs"] = json!([format!("{}/32", self.outside.address)]);
        outer["spec"]["database"] = json!({"external": {
            "host": self.outside.address.to_string(), "port": self.server.config("ledger").port,
            "database": "payplane", "ca": {"name": "bank-ca"}, "credentials": {"name": "bank-logins"},
        }});
        outer
    }

    /// The certificate that the server's leads to.
    ///
    /// # Panics
    /// Where it cannot be read.
    #[must_use]
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.server.pki.trust().join("ca.crt")).expect("the CA can be read")
    }
}

/// A Secret of the type that an external database's logins and CA have.
#[must_use]
pub fn secret(tenant: &str, name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "payplane.io/database-credentials",
        "metadata": {"name": name, "namespace": format!("ptn-{tenant}")}, "stringData": data,
    })
}
