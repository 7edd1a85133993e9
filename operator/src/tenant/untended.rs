//! Channels of a tenant on whose spec nothing can be done just now. One that
//! serves goes on; one that is new or was edited says what it waits for.

use payplane_crds::Channel;
use payplane_crds::condition::Reason;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::tenant::channels::Resolved;
use crate::tenant::status::{Surroundings, write_channel};
use crate::tenant::validate::Refused;

/// Tells every channel. `unavailable` is why money cannot move, where it cannot.
pub async fn tell(
    cluster: &Cluster,
    channels: Vec<Channel>,
    unavailable: Option<&Refused>,
) -> Result<(), ClusterError> {
    for channel in channels {
        let (told, ready) = (told(&channel), says(&channel, "Ready"));
        let serves = says(&channel, "Available");
        // Its own fault stays told, and it stays to be mended.
        if told && !ready {
            continue;
        }
        let refused = (!told).then(|| Refused::new(Reason::TenantNotReady, ""));
        let around = Surroundings { unavailable: unavailable.cloned(), ..Surroundings::default() };
        write_channel(cluster, &Resolved { channel, usable: None, serves, refused }, &around).await?;
    }
    Ok(())
}

/// Was the present generation looked at?
fn told(channel: &Channel) -> bool {
    let observed = channel.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == channel.metadata.generation
}

fn says(channel: &Channel, condition: &str) -> bool {
    let conditions = channel.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|c| c.type_ == condition && c.status == "True")
}
