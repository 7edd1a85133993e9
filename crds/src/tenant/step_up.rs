//! Who brings one-time codes to payers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bank's own sender of one-time codes, e.g. the front of its SMS gateway. docs/step-up.md says
/// what it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RiskStepUp {
    /// Where codes are posted: https, host and perhaps a path, on port 443 or 8443. It lies outside
    /// of the cluster, and the tenant's `network.egressCidrs` must let it through.
    #[schemars(
        length(min = 9, max = 512),
        regex(
            pattern = "^https://(([A-Za-z0-9-]+[.])*[A-Za-z][A-Za-z0-9-]*|[0-9]{1,3}([.][0-9]{1,3}){3})(:(443|8443))?(/[A-Za-z0-9._~-]*)*$"
        )
    )]
    pub url: String,
    /// The CA certificates (PEM) that it is believed by, at most 16 KiB. Left out, the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub ca_pem: Option<String>,
}

/// What becomes of a payment where no code can be sent: nobody is named to send it to, the sender
/// does not reach him, or is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskOnError {
    /// It goes on without a code.
    Allow,
    /// It fails with `StepUpFailed`.
    Block,
    /// It waits, and a code is sent again in growing intervals, until the order expires.
    Hold,
}
