//! Hostile input on the admin port: addresses that point inside, keys that are none, and
//! callers who are not the administrator.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::harness::Stack;
use crate::hostile::{INSIDE, written};

const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n\
    w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n-----END PUBLIC KEY-----\n";

/// Networks that a tenant's gateway does not reach.
const DENIED: [&str; 6] =
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10", "0.0.0.0/8"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_registrations_are_refused_and_write_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    deny(&stack).await?;
    let before = written(&stack.postgres).await?;
    let mut sent = 0;
    let mut all = vec![];
    all.extend(addresses().into_iter().map(|url| {
        (json!({"displayName": "a", "keys": [], "notification": {"url": url}}), "notification.url")
    }));
    all.extend(keys().into_iter().map(|(keys, field)| (json!({"displayName": "a", "keys": keys}), field)));
    for (body, field) in &all {
        let (status, problem) = stack.admin("admin-client", "PUT", "/admin/v1/apps/evil", body).await?;
        let named = problem["field"].as_str().unwrap_or_default();
        ensure!((status, named) == (400, *field), "{body}: {status} {problem}");
        let text = problem.to_string();
        ensure!(INSIDE.iter().all(|word| !text.contains(word)), "{body}: {text}");
        sent += 1;
    }
    for id in ["a%20b", "%ff", "a%2f..%2fb", "%D0%B0", "%E2%80%8Bapp", "a'--", &"a".repeat(33)] {
        for kind in ["apps", "merchants"] {
            let body = json!({"displayName": "a", "keys": []});
            let path = format!("/admin/v1/{kind}/{id}");
            for method in ["PUT", "GET"] {
                let (status, problem) = stack.admin("admin-client", method, &path, &body).await?;
                ensure!([400, 404].contains(&status), "{method} {path}: {status} {problem}");
                ensure!(problem["code"].is_string(), "{method} {path}: {problem}");
                sent += 1;
            }
        }
    }
    // Whoever is not the administrator gets no further, whatever is asked.
    for name in ["operator", "gateway", "ledger", "app1", "admin-client2"] {
        for path in ["/admin/v1/apps/app1", "/admin/v1/merchants/M1", "/admin/v1/apps/%ff"] {
            let body = json!({"displayName": "mine", "keys": [{"keyId": "k1", "publicKeyPem": P256}]});
            let (status, problem) = stack.admin(name, "PUT", path, &body).await?;
            ensure!((status, &problem["code"]) == (403, &json!("Forbidden")), "{name} {path}: {problem}");
            sent += 1;
        }
    }
    ensure!(sent >= 80, "only {sent} requests");
    assert_eq!(written(&stack.postgres).await?, before, "something was written");
    let (status, answer) = stack.admin("admin-client", "GET", "/admin/v1/apps/app1", &Value::Null).await?;
    ensure!(status == 200 && answer["keys"][0]["keyId"] == "k1", "{answer}");
    Ok(())
}

/// Denies the networks that every tenant's gateway denies.
async fn deny(stack: &Stack) -> Result<()> {
    let folder = stack.config_folder()?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let epoch = config["epoch"].as_u64().unwrap_or(0) + 1;
    config["epoch"] = epoch.into();
    config["channels"] = json!([]);
    config["deniedCidrs"] = json!(DENIED);
    std::fs::write(folder.join("next"), config.to_string())?;
    std::fs::rename(folder.join("next"), folder.join("config.json"))?;
    let started = Instant::now();
    loop {
        let (_, status) = stack.admin("operator", "GET", "/control/v1/status", &Value::Null).await?;
        if status.to_string().contains(&format!("\"configEpoch\":{epoch}")) {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(20), "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where nobody is to be notified.
fn addresses() -> Vec<String> {
    let mut all: Vec<String> = [
        "http://shop.example/paid",
        "ftp://shop.example",
        "file:///etc/passwd",
        "gopher://shop.example",
        "//shop.example",
        "shop.example",
        "https://",
        "https://:443/",
        "https://shop.example/?a=b",
        "https://shop.example/#a",
        "https://user@shop.example/",
        "https://user:word@shop.example/",
        "https://gateway.ptn-test.svc:9443/admin/v1/apps/app1",
        "https://ledger.ptn-test.svc.cluster.local:8443",
        "https://LEDGER.ptn-test.SVC./",
        "https://kubernetes.default.svc/",
        "https://shop.example:99999/",
        "https://shop example/",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    // The same few places, in the spellings that some parsers take.
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "2852039166",
        "10.0.0.1",
        "012.0.0.1",
        "[fe80::1]",
        "0.0.0.0",
    ] {
        all.push(format!("https://{host}/paid"));
    }
    all
}

/// Lists of keys that are none, and the field that is wrong.
fn keys() -> Vec<(Value, &'static str)> {
    let key = |fields: Value| {
        let mut key = json!({"keyId": "k1"});
        for (name, value) in fields.as_object().into_iter().flatten() {
            key[name] = value.clone();
        }
        json!([key])
    };
    let many: Vec<_> = (0..9).map(|n| json!({"keyId": format!("k{n}"), "publicKeyPem": P256})).collect();
    let secret = "c2hvcCBzaG9wIHNob3Agc2hvcCBzaG9wIHNob3Agc2g=";
    vec![
        (json!({}), "keys"),
        (json!("k1"), "keys"),
        (json!(["k1"]), "keys[0]"),
        (json!(many), "keys"),
        (json!([many[0], many[0]]), "keys[1].keyId"),
        (json!([{"publicKeyPem": P256}]), "keys[0].keyId"),
        (json!([{"keyId": "\u{43a}1", "publicKeyPem": P256}]), "keys[0].keyId"),
        (json!([{"keyId": "k/1", "publicKeyPem": P256}]), "keys[0].keyId"),
        (key(json!({})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": ""})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256.replace("PUBLIC", "PRIVATE")})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256.replace("NnoXQ==", "NnoXg==")})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256, "algorithm": "sm2-sm3"})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256, "algorithm": "rsa-pss-sha512"})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256, "algorithm": "rsa-v1_5-sha256"})), "keys[0].publicKeyPem"),
        (key(json!({"publicKeyPem": P256, "algorithm": "none"})), "keys[0].algorithm"),
        (key(json!({"publicKeyPem": P256, "algorithm": "md5"})), "keys[0].algorithm"),
        (key(json!({"publicKeyPem": P256, "algorithm": 1})), "keys[0].algorithm"),
        (key(json!({"publicKeyPem": P256, "secret": secret})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sha256"})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sha256", "secret": ""})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sha256", "secret": "c2hvcnQ="})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sm3", "secret": secret.replace('=', "")})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sm3", "secret": "*".repeat(44)})), "keys[0].secret"),
        (key(json!({"algorithm": "hmac-sm3", "secret": "QUFB".repeat(200)})), "keys[0].secret"),
        (
            key(json!({"algorithm": "hmac-sm3", "secret": secret, "publicKeyPem": P256})),
            "keys[0].publicKeyPem",
        ),
        (key(json!({"publicKeyPem": P256, "admin": true})), "keys[0].admin"),
    ]
}
