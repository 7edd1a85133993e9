//! What the gateway tells the operator over mutual TLS (JSON on the admin port).

use serde::{Deserialize, Serialize};

/// `GET /control/v1/status`: what this pod runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    pub config_hash: String,
    pub config_epoch: u64,
    /// Why the newest config on disk is not in use, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_error: Option<String>,
}

/// `GET /control/v1/roundtrip`: a read-only trip through gateway and ledger to
/// the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundTrip {
    pub books_id: String,
    pub synchronous_required: bool,
    pub synchronous_standbys: u32,
    pub timeline: u32,
    pub schema_version: u32,
    pub config_epoch_min: u64,
}

/// The problem's code where a round trip ends at the gateway's database; at any
/// other code but the next it ends at the ledger.
pub const CODE_DATABASE_UNREACHABLE: &str = "DatabaseUnreachable";
/// The problem's code where the database answers and takes no writes.
pub const CODE_DATABASE_READ_ONLY: &str = "DatabaseReadOnly";

/// `POST /control/v1/probe`: books and reverses 1 XTS between reserved accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRequest {
    /// Names what changed; the same fingerprint books once.
    pub fingerprint: String,
}

/// `GET /control/v1/channels/{name}/open`: payments whose outcome is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPayments {
    pub pending: u64,
    pub unknown: u64,
}
