//! The verbs.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use payplane_lab::cluster::Cluster;
use payplane_lab::node::init;
use payplane_lab::pod::Fault;
use payplane_lab::policy::{plugin, switch};
use payplane_lab::{addons, snapshot};

mod clusters;
mod faults;
mod programs;

/// Makes and breaks real Kubernetes clusters on this machine.
#[derive(Parser)]
#[command(name = "lab", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Build the third-party programs that the clusters run, and print where they are.
    Programs {
        /// One program only: kube, etcd, coredns, cnpg or helm.
        #[arg(long)]
        only: Option<String>,
        /// Print the path of one executable instead, such as kubectl.
        #[arg(long)]
        path: Option<String>,
    },
    /// Write OCI image archives.
    #[command(subcommand)]
    Image(Image),
    /// Clusters.
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Nodes.
    #[command(subcommand)]
    Node(NodeVerb),
    /// Faults of single pods.
    #[command(subcommand)]
    Pod(PodVerb),
    /// Print the state of the machine as sorted lines, to compare before and after.
    Snapshot,
    /// The network between nodes.
    #[command(subcommand)]
    Link(LinkVerb),
    /// Enforcement of NetworkPolicies.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Run one of the tool's own daemons; `cluster up` starts them.
    #[command(hide = true)]
    Daemon { daemon: String, cluster: String },
    #[command(name = "cni-policy", hide = true)]
    CniPolicy,
    #[command(name = "internal-node", hide = true)]
    InternalNode { boot: PathBuf },
    #[command(name = "internal-dns", hide = true)]
    InternalDns { server: String },
}

#[derive(Subcommand)]
pub(crate) enum Image {
    /// Make an image that the clusters need, and print its archive: pause, coredns, cnpg or postgresql.
    System { name: String },
    /// Write an image FROM scratch that holds one static binary.
    Product {
        #[arg(long)]
        binary: PathBuf,
        /// Full name, such as localhost/payplane:TAG.
        #[arg(long)]
        name: String,
        #[arg(long)]
        out: PathBuf,
        /// A bundle of public certificate authorities to put into it.
        #[arg(long)]
        ca_bundle: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum ClusterVerb {
    /// Make a cluster and wait until it works.
    Up(UpArgs),
    /// Remove a cluster, or all.
    Down {
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        #[arg(long)]
        all: bool,
    },
    /// Remove every cluster that does not run any more: its tool or its machine was killed.
    Prune,
    /// List the clusters.
    List,
    /// Load image archives into every node.
    Load {
        name: String,
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig { name: String },
    /// Print the path of the audit log, or its lines as they are written.
    Audit {
        name: String,
        #[arg(long)]
        follow: bool,
    },
    /// Kill a cluster's API server and start it again: whoever watches must list anew.
    RestartApi { name: String },
    /// Wait until every node is Ready and DNS answers.
    Wait { name: String },
}

#[derive(Args)]
pub(crate) struct UpArgs {
    name: String,
    #[arg(long, default_value_t = 1)]
    nodes: u8,
    /// Notice a dead node in 10 s instead of Kubernetes' 50 s, and move its pods at once.
    #[arg(long)]
    fast_node_failure: bool,
    /// Restart crashed containers after at most 2 s.
    #[arg(long)]
    cap_crash_backoff: bool,
    /// Leave CloudNativePG and the PostgreSQL image out.
    #[arg(long)]
    no_cnpg: bool,
}

#[derive(Subcommand)]
pub(crate) enum NodeVerb {
    /// Cut a node's power.
    Kill { node: String },
    /// Shut a node down in order.
    Stop { node: String },
    /// Start a node again.
    Start { node: String },
}

#[derive(Subcommand)]
pub(crate) enum PodVerb {
    /// SIGKILL every process of its containers.
    Kill(PodArgs),
    /// SIGSTOP them: they keep memory, locks and connections, and do nothing.
    Freeze(PodArgs),
    /// SIGCONT them.
    Thaw(PodArgs),
}

#[derive(Args)]
pub(crate) struct PodArgs {
    /// NAMESPACE/NAME
    pod: String,
    /// One container only.
    #[arg(long)]
    container: Option<String>,
    /// The cluster; by default the one that KUBECONFIG names, or the only one.
    #[arg(long)]
    cluster: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum LinkVerb {
    /// Drop every packet between a node and the rest, or one other node.
    Cut {
        node: String,
        /// A node of the same cluster, or `control-plane`.
        #[arg(long)]
        from: Option<String>,
    },
    /// Undo a cut, or all of the node's cuts.
    Heal {
        node: String,
        #[arg(long)]
        from: Option<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum PolicyVerb {
    /// Enforce the cluster's NetworkPolicies again.
    On { cluster: String },
    /// Let every packet through.
    Off { cluster: String },
}

impl Cli {
    pub(crate) async fn run(self) -> Result<()> {
        match self.verb {
            Verb::Programs { only, path } => programs::list(only.as_deref(), path.as_deref()),
            Verb::Image(verb) => programs::image(verb),
            Verb::Cluster(verb) => clusters::run(verb).await,
            Verb::Node(verb) => faults::node(verb),
            Verb::Pod(PodVerb::Kill(args)) => faults::pod(args, Fault::Kill).await,
            Verb::Pod(PodVerb::Freeze(args)) => faults::pod(args, Fault::Freeze).await,
            Verb::Pod(PodVerb::Thaw(args)) => faults::pod(args, Fault::Thaw).await,
            Verb::Snapshot => {
                snapshot::lines()?.iter().for_each(say);
                Ok(())
            }
            Verb::Link(verb) => faults::link(verb).await,
            Verb::Policy(PolicyVerb::On { cluster }) => {
                Ok(switch::turn_on(&Cluster::open(&cluster)?.paths()).await?)
            }
            Verb::Policy(PolicyVerb::Off { cluster }) => {
                Ok(switch::turn_off(&Cluster::open(&cluster)?.paths()).await?)
            }
            Verb::Daemon { daemon, cluster } => clusters::daemon(&daemon, &Cluster::open(&cluster)?).await,
            Verb::CniPolicy => {
                Ok(plugin::run(&plugin::Call::from_environment(), std::io::stdin(), std::io::stdout())?)
            }
            Verb::InternalNode { boot } => Ok(init::run(&boot)?),
            Verb::InternalDns { server } => {
                anyhow::ensure!(addons::dns_probe(&server)?, "{server} has no answer");
                Ok(())
            }
        }
    }
}

/// Prints a line: results belong on standard output.
#[expect(clippy::print_stdout, reason = "a command's result")]
fn say(text: impl std::fmt::Display) {
    println!("{text}");
}
