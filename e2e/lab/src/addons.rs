//! What runs inside every cluster: DNS, and CloudNativePG where it is wanted.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};
use snafu::{ResultExt, Snafu};

use crate::cluster::Cluster;
use crate::kubeapi::{self, until};
use crate::programs::Programs;
use crate::{images, provisioner, sys};

const CNPG_NAMESPACE: &str = "cnpg-system";
const CNPG_DEPLOYMENT: &str = "cnpg-controller-manager";
const WAIT: Duration = Duration::from_secs(120);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Api { source: kubeapi::Error },
    #[snafu(transparent)]
    Sys { source: sys::Error },
    #[snafu(display("CloudNativePG's manifest is not what this tool knows"))]
    Manifest { source: serde_json::Error },
}

/// Applies the StorageClass and CoreDNS: two replicas where two nodes can hold them, on different ones.
pub async fn apply_base(client: &Client, cluster: &Cluster) -> Result<(), Error> {
    let replicas = cluster.spec.nodes.min(2);
    let manifest = include_str!("addons/coredns.yaml")
        .replace("IMAGE", &images::coredns_name())
        .replace("CLUSTER_IP", &cluster.plan.dns_ip())
        .replace("replicas: 1", &format!("replicas: {replicas}"));
    kubeapi::apply(client, &kubeapi::objects(&manifest)?).await?;
    Ok(kubeapi::apply(client, &kubeapi::objects(provisioner::MANIFEST)?).await?)
}

/// Waits until DNS answers on every node: ready pods are not enough, kube-proxy must know them.
pub async fn dns_answers(cluster: &Cluster) -> Result<(), Error> {
    for k in cluster.numbers() {
        let what = format!("DNS does not answer on {}", cluster.plan.node_name(k));
        until(&what, WAIT, async || {
            let mut probe = sys::in_netns(&cluster.netns(k), cluster.tool());
            probe.args(["internal-dns", &cluster.plan.dns_ip()]);
            sys::finish(&mut probe).map(|_| true).map_err(|error| error.to_string())
        })
        .await?;
    }
    Ok(())
}

/// Asks a DNS server for the Service `kubernetes`. True means an answer with an address.
pub fn dns_probe(server: &str) -> std::io::Result<bool> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["kubernetes", "default", "svc", "cluster", "local"] {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, (server, 53))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    // Response code 0 and at least one answer record.
    Ok(length > 12 && answer[3] & 0x0f == 0 && answer[7] > 0)
}

/// Applies CloudNativePG from its own manifest, with the local image.
pub async fn apply_cnpg(client: &Client, cluster: &Cluster, programs: &Programs) -> Result<(), Error> {
    let text = sys::read(Path::new(&programs.cnpg_manifest()))?;
    let mut objects = kubeapi::objects(&text)?;
    let replicas = cluster.spec.nodes.min(2);
    for object in &mut objects {
        if object.types.as_ref().is_some_and(|types| types.kind == "Deployment") {
            localize(&mut object.data, replicas);
        }
    }
    Ok(kubeapi::apply(client, &objects).await?)
}

/// Its operator puts its own image into every instance, so both places name the local one.
fn localize(deployment: &mut Value, replicas: u8) {
    let image = images::cnpg_name();
    deployment["spec"]["replicas"] = replicas.into();
    let pod = &mut deployment["spec"]["template"]["spec"];
    // Replicas on one node would die together with it.
    pod["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "cloudnative-pg"}},
    }]}});
    let Some(containers) = pod["containers"].as_array_mut() else { return };
    for container in containers {
        container["image"] = image.clone().into();
        container["imagePullPolicy"] = "IfNotPresent".into();
        let Some(variables) = container["env"].as_array_mut() else { continue };
        for variable in variables.iter_mut().filter(|v| v["name"] == "OPERATOR_IMAGE_NAME") {
            variable["value"] = image.clone().into();
        }
    }
}

/// Waits until CloudNativePG's webhooks answer: they fail closed, so a dry run tells.
pub async fn cnpg_answers(client: &Client) -> Result<(), Error> {
    kubeapi::deployment_ready(client, CNPG_NAMESPACE, CNPG_DEPLOYMENT, WAIT).await?;
    let probe = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "probe", "namespace": CNPG_NAMESPACE},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}},
    });
    let probe: DynamicObject = serde_json::from_value(probe).context(ManifestSnafu)?;
    let kind = kube::core::GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster");
    let resource = kube::core::ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), CNPG_NAMESPACE, &resource);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    Ok(until("CloudNativePG's webhooks do not answer", WAIT, async || {
        api.create(&params, &probe).await.map(|_| true).map_err(|error| error.to_string())
    })
    .await?)
}
