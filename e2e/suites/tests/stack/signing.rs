//! Every way in which an app may sign: each pays, asks and refunds; a key is replaced
//! without a gap; nobody else's key, and no secret, gets anywhere.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use payplane_client::call::{App, AppArgs, Style};
use payplane_client::key::Algorithm;
use payplane_client::message::PaymentStatus;
use payplane_client::sign::Signer;
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, code, payment, refund};

/// The app of these tests.
pub(crate) const APP: &str = "every";
/// Algorithms, and the openssl command that makes such a key.
pub(crate) const KEYS: [(Algorithm, &[&str]); 6] = [
    (Algorithm::Ecdsa, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    (Algorithm::RsaPss, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (Algorithm::RsaV15, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (Algorithm::Hmac, &["rand", "-base64", "32"]),
    (Algorithm::Sm2, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2"]),
    (Algorithm::HmacSm3, &["rand", "-base64", "48"]),
];

/// Keys of every algorithm, made as a merchant makes them.
pub(crate) struct Keys<'a> {
    pub(crate) stack: &'a Stack,
}

impl Keys<'_> {
    pub(crate) fn path(&self, algorithm: Algorithm, generation: u8) -> PathBuf {
        self.stack.folder.path().join(Self::id(algorithm, generation))
    }

    pub(crate) fn id(algorithm: Algorithm, generation: u8) -> String {
        format!("{}.{generation}", algorithm.name())
    }

    pub(crate) fn make(&self, generation: u8) -> Result<()> {
        for (algorithm, command) in KEYS {
            let path = self.path(algorithm, generation);
            std::fs::write(&path, openssl(command)?)?;
        }
        Ok(())
    }

    /// A key as an administrator registers it.
    pub(crate) fn entry(&self, algorithm: Algorithm, generation: u8) -> Result<Value> {
        let path = self.path(algorithm, generation);
        let (id, name) = (Self::id(algorithm, generation), algorithm.name());
        if matches!(algorithm, Algorithm::Hmac | Algorithm::HmacSm3) {
            let secret = std::fs::read_to_string(path)?;
            return Ok(json!({"keyId": id, "algorithm": name, "secret": secret.trim()}));
        }
        let pem = openssl(&["pkey", "-in", &path.to_string_lossy(), "-pubout"])?;
        Ok(json!({"keyId": id, "algorithm": name, "publicKeyPem": pem}))
    }

    pub(crate) async fn register(&self, keys: Vec<Value>) -> Result<Value> {
        let body = json!({"displayName": "Every way", "keys": keys});
        let (status, answer) =
            self.stack.admin("admin-client", "PUT", &format!("/admin/v1/apps/{APP}"), &body).await?;
        ensure!(status == 200, "{answer}");
        self.stack.bind(APP, "M1").await?;
        Ok(answer)
    }

    fn app(&self, algorithm: Algorithm, generation: u8, style: Style) -> Result<App> {
        self.app_as(&Self::id(algorithm, generation), algorithm, generation, style)
    }

    /// Signs with a key, and says that it is the one of this id.
    fn app_as(&self, key_id: &str, algorithm: Algorithm, generation: u8, style: Style) -> Result<App> {
        Ok(App::new(&AppArgs {
            gateway: vec![self.stack.url(0), self.stack.url(1)],
            ca: self.stack.postgres.pki.trust().join("ca.crt"),
            app: APP.into(),
            key: self.path(algorithm, generation),
            key_id: key_id.into(),
            algorithm,
            style,
            timeout: Duration::from_secs(30),
            silence: Duration::from_secs(8),
            connections: 1,
        })?)
    }
}

fn openssl(arguments: &[&str]) -> Result<String> {
    let done = Command::new("openssl").args(arguments).output()?;
    ensure!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}

/// Every algorithm in each style that has it.
fn ways() -> Vec<(Algorithm, Style)> {
    let sorted = KEYS.iter().filter(|(algorithm, _)| algorithm.sign_type().is_some());
    let sorted = sorted.map(|(algorithm, _)| (*algorithm, Style::Sorted));
    KEYS.iter().map(|(algorithm, _)| (*algorithm, Style::Headers)).chain(sorted).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_signing_pays() -> Result<()> {
    let mut stack = Stack::start().await?;
    let keys = Keys { stack: &stack };
    keys.make(1)?;
    keys.make(2)?;
    let all = |generation| KEYS.map(|(algorithm, _)| keys.entry(algorithm, generation));
    let first = all(1).into_iter().collect::<Result<Vec<_>>>()?;
    let answer = keys.register(first.clone()).await?;
    secrets_stay_inside(&stack, &keys, &answer).await?;

    for (number, (algorithm, style)) in ways().into_iter().enumerate() {
        let app = keys.app(algorithm, 1, style)?;
        pays(&app, &format!("w{number}")).await.with_context(|| format!("{algorithm:?} {style:?}"))?;
    }
    // One order, whoever of the app signs for it, and however.
    let other = keys.app(Algorithm::HmacSm3, 1, Style::Sorted)?;
    assert_eq!(other.pay(&payment("w0", 1_000)).await?.status, PaymentStatus::Succeeded);
    assert_eq!(code(other.pay(&payment("w0", 1_001)).await), "OrderConflict");
    foreign_keys(&keys).await?;
    idempotency_keys(&keys).await?;
    overlap(&keys, first).await?;

    // What guards against replays and tells requests apart outlives the process.
    let (path, body) = ("/v1/payments", serde_json::to_vec(&payment("restart", 700))?);
    let signer = Signer::with(APP, "hmac-sha256.2", &keys.path(Algorithm::Hmac, 2), Algorithm::Hmac)?;
    let url = format!("{}{path}", stack.url(0)).parse()?;
    let (_, bytes) = signer.sign_sorted("POST", url, &body).context("signing")?;
    assert_eq!(post(&stack, path, bytes.clone()).await?.0, 201);
    stack.gateways[0].restart().await?;
    assert_eq!(post(&stack, path, bytes).await?.0, 200);
    stack.check_agreement().await
}

/// Pays, asks, refunds and closes; a repetition changes nothing.
async fn pays(app: &App, number: &str) -> Result<()> {
    let request = payment(number, 1_000);
    let paid = app.pay(&request).await?;
    ensure!(paid.status == PaymentStatus::Succeeded, "{paid:?}");
    assert_eq!(app.pay(&request).await?.order_id, paid.order_id);
    let refunded = app.refund(DATE, number, &refund("r1", 10)).await?;
    assert_eq!(app.refund_of(DATE, number, "r1").await?.refund_id, refunded.refund_id);
    assert_eq!(app.payment(DATE, number).await?.refunded_minor, 10);
    assert_eq!(app.close(DATE, number).await?.status, PaymentStatus::Succeeded);
    let page = "/v1/merchants/M1/statement?account=pending&currency=CNY&limit=1&after=";
    assert_eq!(app.read(page).await?["account"], "pending", "with parameters of its own");
    Ok(())
}

/// A shared secret is in no answer, in no log, and not readable in the database.
async fn secrets_stay_inside(stack: &Stack, keys: &Keys<'_>, answer: &Value) -> Result<()> {
    let (_, again) =
        stack.admin("admin-client", "GET", &format!("/admin/v1/apps/{APP}"), &Value::Null).await?;
    assert_eq!(&again, answer);
    let listed = again["keys"].as_array().context("no keys")?;
    assert_eq!(listed.len(), KEYS.len());
    for algorithm in [Algorithm::Hmac, Algorithm::HmacSm3] {
        let secret = std::fs::read_to_string(keys.path(algorithm, 1))?;
        let log = std::fs::read_to_string(stack.folder.path().join("gateway-0.log"))?;
        ensure!(!answer.to_string().contains(secret.trim()) && !log.contains(secret.trim()));
        let stored = "SELECT count(*) FROM gateway.app_keys
            WHERE algorithm LIKE 'hmac%' AND position(decode($1, 'base64') IN public_key) > 0";
        let client = stack.postgres.connect("postgres").await?;
        let count: i64 = client.query_one(stored, &[&secret.trim()]).await?.get(0);
        assert_eq!(count, 0, "it is sealed");
    }
    Ok(())
}

/// The key decides on the algorithm: no other key, and no other way, verifies.
async fn foreign_keys(keys: &Keys<'_>) -> Result<()> {
    let orders = "SELECT count(*) FROM gateway.orders";
    let before = keys.stack.count(orders).await?;
    for (algorithm, style) in ways() {
        // Another's key of the same algorithm, and what another key's id says.
        let wrong = keys.app_as(&Keys::id(algorithm, 1), algorithm, 2, style)?;
        assert_eq!(code(wrong.pay(&payment("wrong", 1)).await), "BadSignature", "{algorithm:?}");
        for (other, _) in KEYS.iter().filter(|(other, _)| *other != algorithm) {
            let wrong = keys.app_as(&Keys::id(*other, 1), algorithm, 1, style)?;
            let refused = code(wrong.pay(&payment("wrong", 1)).await);
            assert_eq!(refused, "BadSignature", "{algorithm:?} as {other:?}");
        }
        let unknown = keys.app_as("nobody", algorithm, 1, style)?;
        assert_eq!(code(unknown.pay(&payment("wrong", 1)).await), "UnknownKey");
    }
    assert_eq!(keys.stack.count(orders).await?, before, "nothing was written");
    Ok(())
}

/// Old and new keys both work until the old ones are withdrawn, each at most 2 s later.
async fn overlap(keys: &Keys<'_>, first: Vec<Value>) -> Result<()> {
    // An administrator has no secret to give again: without one, it stays.
    let without = |mut key: Value| {
        key.as_object_mut().map(|fields| fields.remove("secret"));
        key
    };
    let old: Vec<_> = first.into_iter().map(without).collect();
    let second = KEYS.map(|(algorithm, _)| keys.entry(algorithm, 2));
    let second = second.into_iter().collect::<Result<Vec<_>>>()?;
    // An app has at most eight keys.
    for part in [0..2, 2..4, 4..6] {
        let now = old.iter().chain(&second[part.clone()]).cloned();
        keys.register(now.collect()).await?;
        for (algorithm, _) in &KEYS[part] {
            for generation in [1, 2] {
                let app = keys.app(*algorithm, generation, Style::Headers)?;
                app.payment(DATE, "w0").await.with_context(|| format!("{algorithm:?} {generation}"))?;
            }
        }
    }
    keys.register(second).await?;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    for (algorithm, _) in KEYS {
        let (former, new) =
            (keys.app(algorithm, 1, Style::Headers)?, keys.app(algorithm, 2, Style::Headers)?);
        for _ in 0..2 {
            assert_eq!(code(former.payment(DATE, "w0").await), "UnknownKey", "{algorithm:?}");
            new.payment(DATE, "w0").await?;
        }
    }
    // What should stay and is not there is named, and nothing is changed.
    let missing = json!({"displayName": "Every way", "keys": old});
    let path = format!("/admin/v1/apps/{APP}");
    let (status, problem) = keys.stack.admin("admin-client", "PUT", &path, &missing).await?;
    assert_eq!((status, &problem["field"]), (400, &json!("keys[3].secret")), "{problem}");
    keys.app(Algorithm::Sm2, 2, Style::Headers)?.payment(DATE, "w0").await?;
    Ok(())
}

/// `Idempotency-Key` names the write itself, or the request is refused.
async fn idempotency_keys(keys: &Keys<'_>) -> Result<()> {
    let stack = keys.stack;
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    let body = serde_json::to_string(&payment("idem", 500))?;
    for (key, expected) in [
        (format!("\"{DATE}/other\""), 400),
        ("9c5b94b1-35ad-49bb-b118-8e8fc24abf80".to_owned(), 400),
        (format!("\"{DATE}/idem\""), 201),
        (format!("{DATE}/idem"), 200),
        (format!("\"{DATE}/other\""), 400),
    ] {
        let with = |mut request: reqwest::Request| {
            let value = key.parse().unwrap_or(reqwest::header::HeaderValue::from_static("x"));
            request.headers_mut().insert("idempotency-key", value);
            request
        };
        let (status, answer) = stack.signed(&signer, &body, with).await?;
        assert_eq!(status, expected, "{key}: {answer}");
        assert!(status != 400 || answer["field"] == "Idempotency-Key", "{answer}");
    }
    Ok(())
}

async fn post(stack: &Stack, path: &str, body: Vec<u8>) -> Result<(u16, Value)> {
    let answer = stack.https(None)?.post(format!("{}{path}", stack.url(0))).body(body).send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
}
