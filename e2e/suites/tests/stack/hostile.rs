//! Requests that somebody sends who means no good: each is refused clearly, says nothing
//! about the inside, and writes nothing.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use payplane_client::message::PaymentStatus;
use payplane_client::sign::Signer;
use payplane_testkit::Postgres;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::harness::{DATE, Stack, payment, refund};
use crate::payout_stage::payout;

/// What answers must never hold.
pub(crate) const INSIDE: [&str; 8] =
    ["SELECT", "gateway.", "ledger.", "postgres", "/root", "/tmp", "panicked", "src/"];

struct Enemy<'a> {
    stack: &'a Stack,
    client: reqwest::Client,
    signer: Signer,
    sent: usize,
}

impl Enemy<'_> {
    /// Signs and sends, with headers as `change` leaves them.
    async fn sends(
        &mut self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        change: impl FnOnce(&mut HeaderMap),
    ) -> Result<(u16, Value)> {
        let url: reqwest::Url = format!("{}{path}", self.stack.url(self.sent % 2)).parse()?;
        let signed = self.signer.sign(method, &url, &body).context("signing")?;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-digest", signed.content_digest),
            ("signature-input", signed.signature_input),
            ("signature", signed.signature),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse()?);
        }
        change(&mut headers);
        let request = self.client.request(method.parse()?, url).headers(headers).body(body);
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let problem = answer.headers().get("content-type").is_some_and(|t| t == "application/problem+json");
        let text = answer.text().await?;
        self.sent += 1;
        ensure!((400..500).contains(&status), "{method} {path}: {status} {text}");
        ensure!(INSIDE.iter().all(|word| !text.contains(word)), "{method} {path} tells {text}");
        let read: Value = serde_json::from_str(&text).unwrap_or_default();
        ensure!(problem && read["code"].is_string() && read["detail"].is_string(), "{method} {path}: {text}");
        Ok((status, read))
    }

    async fn refused(&mut self, path: &str, body: &[u8], field: Option<&str>) -> Result<()> {
        let (status, problem) = self.sends("POST", path, body.to_vec(), |_| {}).await?;
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        ensure!(status == 400 && problem["field"].as_str() == field, "{shown}: {status} {problem}");
        Ok(())
    }
}

/// Values that no field takes that is an id.
fn odd_ids() -> Vec<String> {
    let long = format!("\"{}\"", "a".repeat(65));
    [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "[]",
        "{}",
        "\"\"",
        "\" \"",
        "\"a b\"",
        "\"a/b\"",
        "\"../a\"",
        "\"a\\u0000\"",
        "\"\\u0430\"",
        "\"\u{ff21}\"",
        "\"a\\n\"",
        "\"%41\"",
        "\"a'--\"",
        "\"\\ud800\"",
        "[\"a\"]",
        &long,
    ]
    .map(str::to_owned)
    .to_vec()
}

pub(crate) fn odd_values(field: &str) -> Vec<String> {
    let values: &[&str] = match field {
        "amountMinor" | "refundAmount" => &[
            "null",
            "true",
            "\"1\"",
            "[]",
            "{}",
            "0",
            "-1",
            "1.0",
            "1e2",
            "0.1",
            "9007199254740992",
            "1e400",
            "-0",
            "99999999999999999999",
            "0x10",
            "NaN",
            "01",
        ],
        "currency" => &[
            "null",
            "1",
            "[]",
            "\"\"",
            "\"cny\"",
            "\"CNYX\"",
            "\"XTS\"",
            "\"EUR\"",
            "\"C\u{147}Y\"",
            "\"CN\"",
        ],
        "orderDate" => &[
            "null",
            "20261124",
            "\"\"",
            "\"2026-1-1\"",
            "\"2026-02-30\"",
            "\"20261124\"",
            "\"2026-11-24Z\"",
            "\"1999-01-01\"",
            "\"3000-01-01\"",
            "\"\u{ff12}026-11-24\"",
            "\"-2026-11-24\"",
            "[]",
        ],
        "description" => &["1", "true", "[]", "{}", "\"\"", "\"a\\u0000b\"", "\"\\u007f\"", "\"\\r\\n\""],
        "payeeAccount" => {
            &["null", "1", "[]", "{}", "\"\"", "\"a b\"", "\"\\u0430\"", "\"a\\n\"", "\"\\u0000\""]
        }
        "payeeName" => &["null", "1", "[]", "{}", "\"\"", "\"a\\u0000b\"", "\"\\u007f\"", "\"\\r\\n\""],
        _ => return odd_ids(),
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Each field of a good body with each of its odd values.
async fn odd_fields(enemy: &mut Enemy<'_>, path: &str, good: &Value, kinds: &[(&str, &str)]) -> Result<()> {
    for (field, kind) in kinds {
        for odd in odd_values(kind) {
            let mut body = good.clone();
            body[field] = Value::String("\u{1}".into());
            let body = body.to_string().replace("\"\\u0001\"", &odd);
            // What is no JSON at all names no field.
            let parses = serde_json::from_str::<Value>(&body).is_ok();
            enemy.refused(path, body.as_bytes(), parses.then_some(*field)).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_and_write_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    assert_eq!(app.pay(&payment("good", 10_000)).await?.status, PaymentStatus::Succeeded);
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    let before = written(&stack.postgres).await?;
    let mut enemy = Enemy { stack: &stack, client: stack.https(None)?, signer, sent: 0 };

    let mut pay = serde_json::to_value(payment("evil", 100))?;
    pay["description"] = "a".into();
    let kinds =
        ["orderDate", "orderNumber", "merchantId", "method", "amountMinor", "currency", "description"];
    odd_fields(&mut enemy, "/v1/payments", &pay, &kinds.map(|name| (name, name))).await?;
    let refunds = format!("/v1/payments/{DATE}/good/refunds");
    let repay = serde_json::to_value(refund("r1", 1))?;
    let kinds = [("refundNumber", "refundNumber"), ("amountMinor", "refundAmount")];
    odd_fields(&mut enemy, &refunds, &repay, &kinds).await?;
    let pay_out = serde_json::to_value(payout("evil", 100))?;
    let kinds =
        ["orderDate", "payoutNumber", "merchantId", "amountMinor", "currency", "payeeAccount", "payeeName"];
    odd_fields(&mut enemy, "/v1/payouts", &pay_out, &kinds.map(|name| (name, name))).await?;
    let sign = crate::agreement_stage::request("evil", "6228");
    let kinds = [
        ("agreementDate", "orderDate"),
        ("agreementNumber", "payoutNumber"),
        ("merchantId", "merchantId"),
        ("method", "method"),
        ("accountNumber", "payeeAccount"),
        ("accountName", "payeeName"),
    ];
    odd_fields(&mut enemy, "/v1/agreements", &sign, &kinds).await?;
    bodies(&mut enemy, &pay.to_string()).await?;
    paths(&mut enemy).await?;
    signatures(&mut enemy, pay.to_string().as_bytes()).await?;
    let slow = slow_ones(&stack).await?;

    let sent = enemy.sent + slow;
    ensure!(sent >= 250, "only {sent} requests");
    assert_eq!(written(&stack.postgres).await?, before, "something was written");
    stack.check_agreement().await
}

/// How many rows each table of the gateway and the ledger's transactions have. A nonce of a
/// query that was answered is none of what an enemy writes.
pub(crate) async fn written(postgres: &Postgres) -> Result<Vec<i64>> {
    let client = postgres.connect("postgres").await?;
    let mut counts = vec![];
    for table in [
        "gateway.orders",
        "gateway.attempts",
        "gateway.refunds",
        "gateway.outbox",
        "gateway.deliveries",
        "gateway.apps",
        "gateway.app_keys",
        "gateway.merchants",
        "gateway.app_merchants",
        "gateway.terminals",
        "gateway.registry_audit",
        "gateway.surpluses",
        "gateway.payouts",
        "gateway.agreements",
        "gateway.risk_entries",
        "gateway.risk_journal",
        "gateway.risk_windows",
        "gateway.decisions",
        "gateway.contradictions",
        "ledger.transactions",
        "ledger.refusals",
    ] {
        counts.push(client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0));
    }
    Ok(counts)
}

/// Bodies that are no such object.
async fn bodies(enemy: &mut Enemy<'_>, good: &str) -> Result<()> {
    for end in (0..good.len()).step_by(4) {
        enemy.refused("/v1/payments", &good.as_bytes()[..end], None).await?;
    }
    let deep = "[".repeat(5_000);
    let many: String = (0..100).map(|n| format!("\"f{n}\":1,")).collect();
    for body in [
        &format!("{good}{good}"),
        &format!("{good} x"),
        &format!("\u{feff}{good}"),
        &format!("[{good}]"),
        &good.replacen('{', "{\"amountMinor\":1,", 1),
        &good.replacen('{', &format!("{{{many}"), 1),
        &format!("{{\"a\":{deep}"),
        &good.replace("\"CNY\"", "'CNY'"),
        &"x".repeat(70_000),
    ] {
        enemy.refused("/v1/payments", body.as_bytes(), None).await?;
    }
    enemy.refused("/v1/payments", &[0xff, 0xfe, b'{', b'}'], None).await?;
    enemy
        .refused("/v1/payments", good.replacen('{', "{\"__proto__\":1,", 1).as_bytes(), Some("__proto__"))
        .await
}

/// What is not there, not this app's, or not for apps.
async fn paths(enemy: &mut Enemy<'_>) -> Result<()> {
    let long = format!("/v1/payments/{DATE}/{}", "a".repeat(4_000));
    for path in [
        "/",
        "/v1",
        "/v2/payments",
        "/v1/payments/",
        "/v1/payments/2026-11-24",
        "/v1/payments//",
        "/admin/v1/apps/app1",
        "/admin/v1/trial-balance",
        "/control/v1/status",
        "/metrics",
        "/readyz",
        "/v1/payments/2026-11-24/nobody",
        "/v1/payments/2026-11-24/nobody/refunds/r",
        "/v1/payments/2026-11-24/good/refunds/nobody",
        "/v1/payments/2026-11-25/good",
        "/v1/payments/24-11-2026/good",
        "/v1/payments/2026-11-24/good%00",
        "/v1/payments/2026-11-24/%2e%2e%2fgood",
        "/v1/payments/2026-11-24/good'--",
        "/v1/payments/2026-11-24/%ff",
        "/v1/payments/%ff/good",
        "/v1/payments/2026-11-24/good/refunds/%ff",
        &long,
    ] {
        enemy.sends("GET", path, vec![], |_| {}).await?;
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        enemy.sends(method, "/v1/payments", vec![], |_| {}).await?;
    }
    // Another app's order is not there, whatever is asked of it.
    let other = Signer::load("app2", "k1", &enemy.stack.key("app2"))?;
    let own = std::mem::replace(&mut enemy.signer, other);
    let body = serde_json::to_vec(&refund("r1", 1))?;
    for (method, end, body) in [
        ("GET", "", vec![]),
        ("POST", "/close", vec![]),
        ("POST", "/refunds", body),
        ("GET", "/refunds/r1", vec![]),
    ] {
        let path = format!("/v1/payments/{DATE}/good{end}");
        assert_eq!(enemy.sends(method, &path, body, |_| {}).await?.0, 404, "{path}");
    }
    enemy.signer = own;
    // A query and a closing have no body.
    for (method, end) in [("POST", "/close"), ("GET", "")] {
        enemy.sends(method, &format!("/v1/payments/{DATE}/good{end}"), b"{}".to_vec(), |_| {}).await?;
    }
    Ok(())
}

/// What makes a Signature-Input another one.
const INPUTS: [(&str, &str); 32] = [
    (";created=", ";created=1"),
    (";created=", ";created=-"),
    (";created=", ";created=0;x="),
    (";created=", ";expires="),
    (";created=", ";created=1;created="),
    (";nonce=", ";nonse="),
    (";nonce=\"", ";nonce=\"a b"),
    (";nonce=\"", ";nonce=\"\";x=\""),
    ("app1/k1", "app2/k1"),
    ("app1/k1", "app1/k2"),
    ("app1/k1", "app1"),
    ("app1/k1", "/k1"),
    ("app1/k1", "app1/k1/"),
    ("app1/k1", "\u{61}pp1/k1 "),
    ("ecdsa-p256-sha256", "hmac-sha256"),
    ("ecdsa-p256-sha256", "none"),
    (";alg=\"ecdsa-p256-sha256\"", ""),
    ("\"@method\" ", ""),
    ("\"@path\" ", ""),
    ("\"@query\" ", ""),
    (" \"content-digest\"", ""),
    ("\"@method\" \"@path\"", "\"@path\" \"@method\""),
    ("\"@query\"", "\"@query\" \"@query\""),
    ("\"@path\"", "\"@target-uri\""),
    ("sig1=", "sig2="),
    ("sig1=", ""),
    ("sig1=", "sig1=sig1="),
    ("(", "(("),
    (")", ""),
    ("sig1=", "sig1=(), sig2="),
    ("\"@method\"", "\"@method\";req"),
    ("\"@method\"", "@method"),
];
/// What makes the other two headers others.
const OTHERS: [(&str, &str, &str); 8] = [
    ("signature", "sig1=:", "sig1=:A"),
    ("signature", "sig1=:", "sig1="),
    ("signature", "sig1", "sig2"),
    ("signature", "=:", "=:="),
    ("content-digest", "sha-256", "sha-512"),
    ("content-digest", "sha-256", "md5"),
    ("content-digest", "=:", "=:A"),
    ("content-digest", "sha-256=:", ""),
];

/// Headers that do not carry the one signature that is taken.
async fn signatures(enemy: &mut Enemy<'_>, body: &[u8]) -> Result<()> {
    for (from, to) in INPUTS {
        let change = |headers: &mut HeaderMap| spoil(headers, "signature-input", from, to);
        let (status, problem) = enemy.sends("POST", "/v1/payments", body.to_vec(), change).await?;
        ensure!(status == 401, "{from} -> {to}: {problem}");
    }
    for (name, from, to) in OTHERS {
        let change = |headers: &mut HeaderMap| spoil(headers, name, from, to);
        assert_eq!(enemy.sends("POST", "/v1/payments", body.to_vec(), change).await?.0, 401, "{name}: {to}");
    }
    for name in ["signature", "signature-input", "content-digest"] {
        for value in [None, Some(""), Some("x"), Some("sig1=::"), Some("sig1=()")] {
            let change = |headers: &mut HeaderMap| {
                headers.remove(name);
                headers.extend(
                    value.map(|value| (HeaderName::from_static(name), HeaderValue::from_static(value))),
                );
            };
            assert_eq!(
                enemy.sends("POST", "/v1/payments", body.to_vec(), change).await?.0,
                401,
                "{name} {value:?}"
            );
        }
        let change = |headers: &mut HeaderMap| {
            let value = headers[name].clone();
            headers.append(name, value);
        };
        assert_eq!(enemy.sends("POST", "/v1/payments", body.to_vec(), change).await?.0, 401, "{name} twice");
    }
    Ok(())
}

fn spoil(headers: &mut HeaderMap, name: &'static str, from: &str, to: &str) {
    let text = headers[name].to_str().unwrap_or_default().replacen(from, to, 1);
    headers.insert(name, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("x")));
}

/// Senders that never come to an end are let go.
async fn slow_ones(stack: &Stack) -> Result<usize> {
    let address = stack.url(0).trim_start_matches("https://").to_owned();
    let ca = std::fs::read(stack.postgres.pki.trust().join("ca.crt"))?;
    let halves = [
        "",
        "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\nx: ",
        "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
        "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ];
    let all = halves.map(|half| {
        let (address, ca) = (address.clone(), ca.clone());
        tokio::task::spawn_blocking(move || lingers(&address, &ca, half))
    });
    for slow in all {
        let took = slow.await??;
        ensure!(took < Duration::from_secs(20), "it was let in for {took:?}");
    }
    Ok(halves.len())
}

/// Sends a half and waits for the end of the connection, or an answer; says how long.
fn lingers(address: &str, ca: &[u8], half: &str) -> Result<Duration> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca)?)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connection = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let socket = std::net::TcpStream::connect(address.replace("localhost", "127.0.0.1"))?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    stream.write_all(half.as_bytes())?;
    stream.flush()?;
    let (began, mut answer) = (Instant::now(), [0; 1024]);
    let _ = stream.read(&mut answer);
    Ok(began.elapsed())
}
