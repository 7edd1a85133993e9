//! Verbs that break things.

use anyhow::{Context, Result};
use payplane_lab::cluster::Cluster;
use payplane_lab::link::{self, Peer};
use payplane_lab::pod::{self, Fault};
use payplane_lab::{images, node, programs, template};

use super::{LinkVerb, NodeVerb, PodArgs, say};

pub(crate) fn node(verb: NodeVerb) -> Result<()> {
    match verb {
        NodeVerb::Kill { node } => {
            let (cluster, k) = Cluster::of_node(&node)?;
            node::power_off(&cluster, k)?;
        }
        NodeVerb::Stop { node } => {
            let (cluster, k) = Cluster::of_node(&node)?;
            node::stop(&cluster, k)?;
        }
        NodeVerb::Start { node } => {
            let (cluster, k) = Cluster::of_node(&node)?;
            let programs = programs::ensure(None)?;
            let store = template::ensure(&images::ensure(&programs, cluster.spec.cnpg)?)?;
            node::start(&cluster, k, &programs, &store)?;
        }
    }
    Ok(())
}

pub(crate) async fn pod(args: PodArgs, fault: Fault) -> Result<()> {
    let cluster = match args.cluster {
        Some(name) => Cluster::open(&name)?,
        None => {
            pod::default_cluster(Cluster::all()?).context("several clusters run: name one with --cluster")?
        }
    };
    let met = pod::inflict(&cluster, &args.pod, args.container.as_deref(), fault).await?;
    say(format!("{met} processes"));
    Ok(())
}

pub(crate) async fn link(verb: LinkVerb) -> Result<()> {
    let (node, from, cuts) = match verb {
        LinkVerb::Cut { node, from } => (node, from, true),
        LinkVerb::Heal { node, from } => (node, from, false),
    };
    let (cluster, k) = Cluster::of_node(&node)?;
    let peer = from.map(|from| peer(&cluster, &from)).transpose()?;
    let net = cluster.node_net(k);
    if cuts {
        link::cut(&net, peer.as_ref()).await?
    } else {
        link::heal(&net, peer.as_ref()).await?
    }
    Ok(())
}

fn peer(cluster: &Cluster, name: &str) -> Result<Peer> {
    let plan = &cluster.plan;
    if name == "control-plane" {
        return Ok(Peer { name: name.to_owned(), ranges: vec![plan.ip(0)] });
    }
    let k = cluster.node(name)?;
    Ok(Peer { name: plan.node_name(k), ranges: vec![plan.ip(k), plan.node_pod_range(k)] })
}
