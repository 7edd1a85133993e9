//! Schemathesis calls the app API as its OpenAPI document has it, rightly and wrongly: no
//! answer may be another one than the document says.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::harness::{Stack, payment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_what_its_document_says() -> Result<()> {
    let stack = Stack::start().await?;
    stack.app("app1", 1)?.pay(&payment("known", 1000)).await?;
    let url = format!("{}/v1/openapi.json", stack.url(0));
    let answer = stack.https(None)?.get(url).send().await?.error_for_status()?;
    let document: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let currencies = &document["components"]["schemas"]["PayRequest"]["properties"]["currency"]["enum"];
    ensure!(*currencies == serde_json::json!(["CNY", "USD"]), "{currencies}");

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.sh");
    let ran = tokio::process::Command::new(script)
        .arg(stack.url(0))
        .arg(stack.postgres.pki.trust().join("ca.crt"))
        .arg("app1")
        .arg(stack.key("app1"))
        .stdin(Stdio::null())
        .output();
    let ran = ran.await.context("e2e/openapi/openapi.sh")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    // It got as far as the networks: one order was there before. How many it makes varies.
    for (what, least) in [("orders", 2), ("refunds", 1)] {
        let count = stack.count(&format!("SELECT count(*) FROM gateway.{what}")).await?;
        ensure!(count >= least, "{count} {what}");
    }
    stack.check_agreement().await
}
