//! A request can be followed through the logs of all who work on it.

use anyhow::{Context, Result};
use payplane_client::sign::Signer;
use serde_json::Value;

use crate::harness::{Stack, payment};

/// The trace that a log names with the answer to a path, the last one.
fn trace(stack: &Stack, log: &str, path: &str) -> Result<String> {
    let text = std::fs::read_to_string(stack.folder.path().join(log))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut answered = lines.filter(|line| line["message"] == "answered" && line["path"] == path);
    let last = answered.next_back().with_context(|| format!("{log} has no answer to {path}"))?;
    Ok(last["span"]["trace_id"].as_str().with_context(|| last.to_string())?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_logs_about_a_payment_name_its_trace() -> Result<()> {
    let stack = Stack::start().await?;
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    let given = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (number, header) in [("given", Some(format!("00-{given}-00f067aa0ba902b7-01"))), ("none", None)] {
        let body = serde_json::to_string(&payment(number, 100))?;
        let (status, answer) = stack
            .signed(&signer, &body, |mut request| {
                if let Some(header) = header.as_ref().and_then(|text| text.parse().ok()) {
                    request.headers_mut().insert("traceparent", header);
                }
                request
            })
            .await?;
        assert_eq!(status, 201, "{answer}");
        let gateway = trace(&stack, "gateway-0.log", "/v1/payments")?;
        assert_eq!(gateway == given, header.is_some(), "{gateway}");
        assert_eq!(trace(&stack, "simulator.log", "/sim/v1/pay")?, gateway);
        assert_eq!(trace(&stack, "ledger.log", "/payplane.ledger.v1.Ledger/Post")?, gateway);
    }
    Ok(())
}
