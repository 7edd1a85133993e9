//! The counters of pods, read at their plain health port through the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEALTH: u16 = 8080;

/// The sum of the series whose line begins so, by pod of a component.
///
/// # Panics
/// Where a pod does not answer.
#[must_use]
pub fn of_pods(namespace: &str, component: &str, series: &str) -> BTreeMap<String, u64> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        // Another test of the process may have done it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_default().await.expect("KUBECONFIG works");
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let labels = format!("payplane.io/component={component}");
        let found =
            pods.list(&kube::api::ListParams::default().labels(&labels)).await.expect("pods are listed");
        let mut counts = BTreeMap::new();
        for pod in found.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let text = page(&pods, &pod.name_any()).await.expect("/metrics answers");
            counts.insert(pod.name_any(), sum(&text, series));
        }
        counts
    })
}

async fn page(pods: &Api<Pod>, name: &str) -> anyhow::Result<String> {
    let mut forward = pods.portforward(name, &[HEALTH]).await?;
    let mut stream = forward.take_stream(HEALTH).expect("the port was asked for");
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: pod\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn sum(text: &str, series: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn series_of_one_name_are_summed() {
        let text = "# TYPE a counter\na_total{x=\"1\",s=\"200\"} 3\na_total{x=\"1\",s=\"409\"} 4\na_total{x=\"2\"} 9\n";
        assert_eq!(super::sum(text, "a_total{x=\"1\""), 7);
    }
}
