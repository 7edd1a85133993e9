//! What the daemons must know about a cluster: where its files are and which
//! network namespace is which node.

use std::path::PathBuf;

/// The files and namespaces of one cluster, as its daemons see them.
#[derive(Debug, Clone)]
pub struct ClusterPaths {
    /// A kubeconfig with the rights of a cluster administrator.
    pub kubeconfig: PathBuf,
    /// The folder that holds every dynamically provisioned volume.
    pub volumes: PathBuf,
    /// The folder for sockets and marks that live as long as the cluster.
    pub run: PathBuf,
    /// Every node that the cluster was made with.
    pub nodes: Vec<NodeNet>,
}

/// One node and its place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeNet {
    /// The name of the node in Kubernetes.
    pub name: String,
    /// The file that keeps its network namespace, or a name below `/run/netns`.
    pub netns: String,
    /// The node's interface towards the other nodes. Every other interface
    /// leads to one pod.
    pub uplink: String,
}
