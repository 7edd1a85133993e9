//! What is refused, and that nothing is written then.

use anyhow::{Context, Result};
use payplane_client::sign::Signer;
use serde_json::json;

use crate::harness::{Stack, payment};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_clear_and_write_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let body = serde_json::to_string(&payment("n1", 100))?;
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    let wrong_key = Signer::load("app1", "k1", &stack.key("app2"))?;
    let no_key = Signer::load("app1", "k9", &stack.key("app1"))?;
    let same = |request| request;

    let (status, problem) = stack.signed(&wrong_key, &body, same).await?;
    assert_eq!((status, &problem["code"]), (401, &json!("BadSignature")));
    let (status, problem) = stack.signed(&no_key, &body, same).await?;
    assert_eq!((status, &problem["code"]), (401, &json!("UnknownKey")));
    for header in ["signature", "signature-input", "content-digest"] {
        let without = |mut request: reqwest::Request| {
            request.headers_mut().remove(header);
            request
        };
        let (status, problem) = stack.signed(&signer, &body, without).await?;
        assert_eq!((status, &problem["code"]), (401, &json!("BadSignature")), "{header}");
    }
    let other_body = |mut request: reqwest::Request| {
        *request.body_mut() = Some(body.replace("100", "900").into());
        request
    };
    assert_eq!(stack.signed(&signer, &body, other_body).await?.0, 401);

    for (from, to, field) in [
        ("\"amountMinor\":100", "\"amountMinor\":100,\"extra\":1", "extra"),
        ("\"amountMinor\":100", "\"amountMinor\":-100", "amountMinor"),
        ("\"amountMinor\":100", "\"amountMinor\":100.5", "amountMinor"),
        ("\"amountMinor\":100", "\"amountMinor\":99999999999999999999", "amountMinor"),
        ("\"CNY\"", "\"EUR\"", "currency"),
        ("\"M1\"", "\"\u{41c}1\"", "merchantId"),
        ("2026-11-24", "2026-13-24", "orderDate"),
    ] {
        let (status, problem) = stack.signed(&signer, &body.replace(from, to), same).await?;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    for (from, to, code) in [
        ("\"M1\"", "\"M2\"", "UnknownMerchant"),
        ("\"card\"", "\"wallet\"", "NoChannel"),
        ("\"amountMinor\":100", "\"amountMinor\":10000001", "NoChannel"),
    ] {
        let (status, problem) = stack.signed(&signer, &body.replace(from, to), same).await?;
        assert_eq!((status, &problem["code"]), (422, &json!(code)), "{problem}");
    }
    let huge = format!("{{\"description\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(stack.signed(&signer, &huge, same).await?.0, 400);
    assert_eq!(stack.count("SELECT count(*) FROM gateway.orders").await?, 0, "nothing was written");
    assert_eq!(stack.count("SELECT count(*) FROM gateway.nonces").await?, 0, "no nonce either");

    replays(&stack, &signer, &body).await?;
    certificates(&stack).await
}

/// The same signed bytes are the same request; the nonce with others is refused.
async fn replays(stack: &Stack, signer: &Signer, body: &str) -> Result<()> {
    let url = format!("{}/v1/payments", stack.url(1)).parse()?;
    let headers = signer.sign("POST", &url, body.as_bytes()).context("signing")?;
    let client = stack.https(None)?;
    let mut seen = Vec::new();
    for gateway in [0, 1, 0] {
        let request = client
            .post(format!("{}/v1/payments", stack.url(gateway)))
            .header("content-digest", &headers.content_digest)
            .header("signature-input", &headers.signature_input)
            .header("signature", &headers.signature)
            .body(body.to_owned());
        seen.push(request.send().await?.status().as_u16());
    }
    assert_eq!(seen, [201, 200, 200]);
    // A nonce that was used for other content: planted, since no honest signer does it.
    let nonce = "SELECT count(*) FROM gateway.nonces";
    let before = stack.count(nonce).await?;
    let postgres = stack.postgres.connect("postgres").await?;
    postgres.batch_execute("UPDATE gateway.nonces SET request_digest = sha256('other')").await?;
    let request = client
        .post(format!("{}/v1/payments", stack.url(0)))
        .header("content-digest", &headers.content_digest)
        .header("signature-input", &headers.signature_input)
        .header("signature", &headers.signature)
        .body(body.to_owned());
    let answer = request.send().await?;
    assert_eq!(answer.status().as_u16(), 401);
    assert!(String::from_utf8_lossy(&answer.bytes().await?).contains("ReplayedNonce"));
    assert_eq!(stack.count(nonce).await?, before);

    // Another app does not see the order.
    let other = stack.app("app2", 1)?;
    let answer = other.payment(crate::harness::DATE, "n1").await;
    assert_eq!(crate::harness::code(answer), "NotFound");
    Ok(())
}

/// The admin port tells callers apart by their certificates.
async fn certificates(stack: &Stack) -> Result<()> {
    let (admin, control) = ("/admin/v1/trial-balance", "/control/v1/roundtrip");
    for (name, path, status) in [
        ("admin-client", admin, 200),
        ("admin-checker", admin, 200),
        ("operator", admin, 403),
        ("gateway", admin, 403),
        ("operator", control, 200),
        ("admin-client", control, 403),
        ("admin-checker", control, 403),
        ("admin-checker2", admin, 403),
        ("ledger", control, 403),
    ] {
        let (got, answer) = stack.admin(name, "GET", path, &json!({})).await?;
        assert_eq!(got, status, "{name} {path}: {answer}");
    }
    for _ in 0..2 {
        let probe = json!({"fingerprint": "image-1.config-1"});
        let (status, answer) = stack.admin("operator", "POST", "/control/v1/probe", &probe).await?;
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(stack.count("SELECT count(*) FROM ledger.transactions WHERE key LIKE 'probe%'").await?, 2);
    let (_, open) = stack.admin("operator", "GET", "/control/v1/channels/sim/open", &json!({})).await?;
    assert_eq!(open, json!({"pending": 0, "unknown": 0}));
    let bad = json!({"displayName": "A", "keys": [{"keyId": "k", "publicKeyPem": "no"}]});
    let (status, problem) = stack.admin("admin-client", "PUT", "/admin/v1/apps/a", &bad).await?;
    assert_eq!((status, &problem["field"]), (400, &json!("keys[0].publicKeyPem")));
    Ok(())
}
