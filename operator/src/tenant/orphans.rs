//! Channels whose namespace belongs to no tenant: they say so, and their
//! deletion waits for nobody.

use payplane_crds::Channel;
use payplane_crds::condition::Reason;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::finalizer;
use crate::framework::object::resource;
use crate::tenant::channels::Resolved;
use crate::tenant::status::{Surroundings, write_channel};
use crate::tenant::unreadable;
use crate::tenant::validate::Refused;

/// Looks after the channels of a namespace without a tenant.
pub async fn reconcile(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    let channels = resource("payplane.io/v1alpha1", "Channel");
    for live in cluster.list(&channels, Some(namespace), "").await? {
        if live["metadata"]["deletionTimestamp"].is_string() {
            // No gateway is left that could bring a payment to its end.
            finalizer::remove(cluster, &channels, &live).await?;
            continue;
        }
        let channel: Channel = match unreadable::read(&live) {
            Ok(channel) => channel,
            Err(odd) => {
                odd.tell(cluster).await;
                continue;
            }
        };
        let refused = Some(Refused::new(Reason::TenantMissing, ""));
        write_channel(
            cluster,
            &Resolved { channel, usable: None, serves: false, refused },
            &Surroundings::default(),
        )
        .await?;
    }
    Ok(())
}
