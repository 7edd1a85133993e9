//! Channels whose namespace belongs to no tenant: they say so. Deleted ones go,
//! unless the namespace keeps books: payments in them may still need the channel.

use payplane_api::names::ANNOTATION_BOOKS_ID;
use payplane_crds::Channel;
use payplane_crds::condition::Reason;
use serde_json::Value;

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
    let found = cluster.list(&channels, Some(namespace), "").await?;
    let is_deleted = |live: &Value| live["metadata"]["deletionTimestamp"].is_string();
    let kept = found.iter().any(is_deleted) && keeps_books(cluster, namespace).await?;
    for live in found {
        let deleted = is_deleted(&live);
        if deleted && !kept {
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
        let needed = "Payments on it may be open in the books that are kept here: a tenant of that name counts them and lets it go.";
        let detail = if deleted { needed } else { "" };
        let refused = Some(Refused::new(Reason::TenantMissing, detail));
        write_channel(
            cluster,
            &Resolved { channel, usable: None, serves: false, refused },
            &Surroundings::default(),
        )
        .await?;
    }
    Ok(())
}

async fn keeps_books(cluster: &Cluster, namespace: &str) -> Result<bool, ClusterError> {
    let home = cluster.get(&resource("v1", "Namespace"), None, namespace).await?;
    Ok(home.is_some_and(|home| home["metadata"]["annotations"][ANNOTATION_BOOKS_ID].is_string()))
}
