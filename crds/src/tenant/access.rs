//! Who may work in a tenant's namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Everybody and every workload would be let in by these; a namespace's own
/// service accounts may be named.
const NO_SYSTEM_GROUP: &str =
    "self.all(g, !g.startsWith('system:') || g.startsWith('system:serviceaccounts:'))";
const NO_SYSTEM_GROUP_MESSAGE: &str =
    "groups of the system are not a tenant's team, but system:serviceaccounts:<namespace> may be named";

/// Groups, as the cluster's authentication names them, and what they may do in
/// the tenant's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Groups that may write Channels and Secrets of type
    /// `payplane.io/channel-credentials`, and read the `admin-client`
    /// certificate. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(NO_SYSTEM_GROUP).message(NO_SYSTEM_GROUP_MESSAGE)
    )]
    pub tenant_admin_groups: Vec<String>,
    /// Groups that may read everything but Secrets. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(NO_SYSTEM_GROUP).message(NO_SYSTEM_GROUP_MESSAGE)
    )]
    pub tenant_viewer_groups: Vec<String>,
}
