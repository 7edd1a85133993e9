//! Hostile requests in the style of sorted parameters, and what mixes both styles.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use payplane_client::key::Algorithm;
use payplane_client::message::PaymentStatus;
use payplane_client::sign::Signer;
use reqwest::Url;
use serde_json::{Map, Value, json};

use crate::harness::{DATE, Stack, payment, refund};
use crate::hostile::{INSIDE, odd_values, written};

const PAY: &str = "/v1/payments";

struct Enemy<'a> {
    stack: &'a Stack,
    client: reqwest::Client,
    signer: Signer,
    sent: usize,
}

/// What a refusal must be: its status, its code, and the field that it names.
type Refusal<'a> = (u16, &'a str, Option<&'a str>);

impl Enemy<'_> {
    fn signed(&self, path: &str, body: &Value) -> Result<Map<String, Value>> {
        let url: Url = format!("{}{path}", self.stack.url(0)).parse()?;
        let signed = self.signer.sign_sorted("POST", url, &serde_json::to_vec(body)?);
        Ok(serde_json::from_slice(&signed.context("signing")?.1)?)
    }

    async fn answer(&mut self, request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let is_problem =
            answer.headers().get("content-type").is_some_and(|t| t == "application/problem+json");
        let text = answer.text().await?;
        self.sent += 1;
        ensure!((400..500).contains(&status) && is_problem, "{status} {text}");
        ensure!(INSIDE.iter().all(|word| !text.contains(word)), "it tells {text}");
        Ok((status, serde_json::from_str(&text)?))
    }

    async fn refused(&mut self, path: &str, body: &str, expected: Refusal<'_>) -> Result<()> {
        let url = format!("{}{path}", self.stack.url(self.sent % 2));
        let request = self.client.post(url).body(body.to_owned());
        let (status, problem) = self.answer(request).await.with_context(|| body.to_owned())?;
        let shown: String = body.chars().take(400).collect();
        let got = (status, problem["code"].as_str().unwrap_or_default(), problem["field"].as_str());
        ensure!(got == expected, "{path} {shown}: {got:?}, not {expected:?}: {problem}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_sorted_requests_are_refused_and_write_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let secret = "c2hvcCBzaG9wIHNob3Agc2hvcCBzaG9wIHNob3Agc2g=";
    let keys = json!([{"keyId": "k1", "algorithm": "hmac-sha256", "secret": secret}]);
    for app in ["shop", "other"] {
        let body = json!({"displayName": app, "keys": keys});
        let (status, answer) =
            stack.admin("admin-client", "PUT", &format!("/admin/v1/apps/{app}"), &body).await?;
        ensure!(status == 200, "{answer}");
        stack.bind(app, "M1").await?;
    }
    let path = stack.folder.path().join("shop.secret");
    std::fs::write(&path, secret)?;
    let signer = Signer::with("shop", "k1", &path, Algorithm::Hmac)?;
    let mut enemy = Enemy { stack: &stack, client: stack.https(None)?, signer, sent: 0 };

    // A good one, whose nonce others will use.
    let good = enemy.signed(PAY, &serde_json::to_value(payment("good", 10_000))?)?;
    let paid = enemy.client.post(format!("{}{PAY}", stack.url(0))).body(json!(good).to_string());
    assert_eq!(paid.send().await?.status().as_u16(), 201);

    let before = (written(&stack.postgres).await?, stack.count("SELECT count(*) FROM gateway.nonces").await?);
    odd_fields(&mut enemy).await?;
    odd_signatures(&mut enemy).await?;
    replays(&mut enemy, &good).await?;
    swapped(&mut enemy).await?;
    fuzzed(&mut enemy).await?;
    both_styles(&mut enemy).await?;
    let nonces = stack.count("SELECT count(*) FROM gateway.nonces").await?;
    assert_eq!((written(&stack.postgres).await?, nonces), before, "something was written");

    // A query that verifies uses its nonce up, whatever it finds.
    queries(&mut enemy).await?;
    assert_eq!(written(&stack.postgres).await?, before.0, "something was written");
    ensure!(enemy.sent >= 300, "only {} requests", enemy.sent);
    for gateway in 0..2 {
        let log = std::fs::read_to_string(stack.folder.path().join(format!("gateway-{gateway}.log")))?;
        for word in [secret, "panicked", "SELECT ", "sign="] {
            ensure!(!log.contains(word), "the log tells {word}");
        }
    }
    // And the gateway serves on.
    let again = enemy.signed(PAY, &serde_json::to_value(payment("after", 500))?)?;
    let paid =
        enemy.client.post(format!("{}{PAY}", stack.url(1))).body(json!(again).to_string()).send().await?;
    let paid: payplane_client::message::Payment = serde_json::from_slice(&paid.bytes().await?)?;
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    stack.check_agreement().await
}

/// Each field with each odd value, signed where that can be signed.
async fn odd_fields(enemy: &mut Enemy<'_>) -> Result<()> {
    let mut pay = serde_json::to_value(payment("evil", 100))?;
    pay["description"] = "a".into();
    let fields =
        ["orderDate", "orderNumber", "merchantId", "method", "amountMinor", "currency", "description"];
    odd(enemy, PAY, &pay, &fields.map(|name| (name, name))).await?;
    let refunds = format!("{PAY}/{DATE}/good/refunds");
    let fields = [("refundNumber", "refundNumber"), ("amountMinor", "refundAmount")];
    odd(enemy, &refunds, &serde_json::to_value(refund("r1", 1))?, &fields).await?;
    for (field, value) in [
        ("description", json!("Tom & Jerry")),
        ("orderNumber", json!("a&amountMinor=1")),
        ("extra", json!("x")),
        ("__proto__", json!("x")),
        ("terminalId", json!("T1")),
        ("tenant", json!("other")),
    ] {
        let mut body = pay.clone();
        body[field] = value;
        let signed = json!(enemy.signed(PAY, &body)?).to_string();
        enemy.refused(PAY, &signed, (400, "InvalidField", Some(field))).await?;
    }
    Ok(())
}

async fn odd(enemy: &mut Enemy<'_>, path: &str, good: &Value, fields: &[(&str, &str)]) -> Result<()> {
    for (field, kind) in fields {
        for value in odd_values(kind) {
            let mut body = good.clone();
            let odd = serde_json::from_str::<Value>(&value);
            body[field] = odd.as_ref().map_or("\u{1}".into(), Clone::clone);
            let signed = enemy.signed(path, &body).or_else(|_| {
                body[field] = "\u{1}".into();
                enemy.signed(path, &body)
            })?;
            let text = json!(signed).to_string().replace("\"\\u0001\"", &value);
            let parses = serde_json::from_str::<Value>(&text).is_ok();
            enemy.refused(path, &text, (400, "InvalidField", parses.then_some(*field))).await?;
        }
    }
    Ok(())
}

/// Each of the signature's own fields: left out, of another type, and wrong.
async fn odd_signatures(enemy: &mut Enemy<'_>) -> Result<()> {
    let good = enemy.signed(PAY, &serde_json::to_value(payment("evil", 100))?)?;
    let now = jiff::Timestamp::now().as_second();
    for field in ["appId", "keyId", "nonce", "sign", "signType", "timestamp"] {
        for value in
            [json!(null), json!(""), json!("\u{455}h\u{43e}p"), json!("a\u{200b}b"), json!("\u{202e}a")]
        {
            let text = with(&good, field, value);
            enemy.refused(PAY, &text, (401, "BadSignature", Some(field))).await?;
        }
        for value in [json!([]), json!({}), json!(true), json!(1.5)] {
            let code = if field == "sign" { (401, "BadSignature") } else { (400, "InvalidField") };
            enemy.refused(PAY, &with(&good, field, value), (code.0, code.1, Some(field))).await?;
        }
        let mut without = good.clone();
        without.remove(field);
        enemy.refused(PAY, &json!(without).to_string(), (401, "BadSignature", Some(field))).await?;
        let twice = json!(good).to_string().replacen('{', &format!("{{\"{field}\":\"x\","), 1);
        enemy.refused(PAY, &twice, (400, "InvalidField", None)).await?;
    }
    for (field, value, code, named) in [
        ("signType", json!("MD5"), "BadSignature", Some("signType")),
        ("signType", json!("RSA"), "BadSignature", Some("signType")),
        ("signType", json!("RSA2"), "BadSignature", None),
        ("signType", json!("SM3"), "BadSignature", None),
        ("signType", json!("none"), "BadSignature", Some("signType")),
        ("sign", json!("AAAA"), "BadSignature", None),
        ("sign", json!("A".repeat(44)), "BadSignature", None),
        ("sign", json!("A".repeat(43)), "BadSignature", Some("sign")),
        ("sign", json!("A".repeat(4_000)), "BadSignature", Some("sign")),
        ("keyId", json!("k2"), "UnknownKey", None),
        ("keyId", json!("../k1"), "BadSignature", Some("keyId")),
        ("appId", json!("nobody"), "UnknownKey", None),
        // Another app's key: even the same secret signs for one app only.
        ("appId", json!("other"), "BadSignature", None),
        ("appId", json!("app1"), "BadSignature", None),
        ("nonce", json!("0123456789abcdef"), "BadSignature", None),
        ("timestamp", json!(now - 7), "BadSignature", None),
        ("timestamp", json!(i64::MAX), "BadSignature", Some("timestamp")),
        ("timestamp", json!(-1), "BadSignature", Some("timestamp")),
        ("timestamp", json!("2026-11-24 10:00:00"), "BadSignature", Some("timestamp")),
        ("amountMinor", json!(101), "BadSignature", None),
        ("merchantId", json!("M2"), "BadSignature", None),
        ("orderNumber", json!("evil2"), "BadSignature", None),
        ("description", json!("added"), "BadSignature", None),
    ] {
        enemy.refused(PAY, &with(&good, field, value), (401, code, named)).await?;
    }
    // What is signed for one path does not serve another, and a query is no part of it.
    let text = json!(good).to_string();
    let refunds = format!("{PAY}/{DATE}/good/refunds");
    enemy.refused(&refunds, &text, (401, "BadSignature", None)).await?;
    enemy.refused(&format!("{PAY}/{DATE}/good/close"), &text, (401, "BadSignature", None)).await?;
    enemy.refused(&format!("{PAY}?a=b"), &text, (400, "InvalidField", None)).await?;
    enemy.refused(PAY, "{}", (401, "BadSignature", None)).await?;
    enemy.refused(PAY, "", (401, "BadSignature", None)).await
}

/// A nonce stands for one content, and a time for 300 s.
async fn replays(enemy: &mut Enemy<'_>, good: &Map<String, Value>) -> Result<()> {
    let now = jiff::Timestamp::now().as_second();
    let request = serde_json::to_value(payment("replay", 100))?;
    for (field, value, code) in [
        ("nonce", good["nonce"].clone(), "ReplayedNonce"),
        ("timestamp", json!(now - 400), "StaleRequest"),
        ("timestamp", json!(now + 400), "StaleRequest"),
        ("timestamp", json!(1), "StaleRequest"),
    ] {
        let text = resigned(enemy, &request, field, value)?;
        enemy.refused(PAY, &text, (401, code, None)).await?;
    }
    Ok(())
}

/// Signs with a field of one's own choice.
fn resigned(enemy: &Enemy<'_>, request: &Value, field: &str, value: Value) -> Result<String> {
    use base64::Engine;
    let mut all = enemy.signed(PAY, request)?;
    all.insert(field.into(), value);
    let text = payplane_client::sorted::text("POST", PAY, &all).context("text")?;
    let sign = enemy.signer.sign_text(text.as_bytes()).context("signing")?;
    all.insert("sign".into(), base64::engine::general_purpose::STANDARD.encode(sign).into());
    Ok(json!(all).to_string())
}

/// Merchants and methods that are nobody's.
async fn swapped(enemy: &mut Enemy<'_>) -> Result<()> {
    for (field, value, code) in [
        ("merchantId", json!("M2"), "UnknownMerchant"),
        ("merchantId", json!("m1"), "UnknownMerchant"),
        ("method", json!("wallet"), "NoChannel"),
        ("amountMinor", json!(10_000_001), "NoChannel"),
        ("amountMinor", json!(9_007_199_254_740_991_i64), "NoChannel"),
        ("currency", json!("USD"), "NoChannel"),
    ] {
        let mut body = serde_json::to_value(payment("swapped", 100))?;
        body[field] = value;
        let text = json!(enemy.signed(PAY, &body)?).to_string();
        enemy.refused(PAY, &text, (422, code, None)).await?;
    }
    Ok(())
}

/// Bytes of a signed body, changed: always the same ones.
async fn fuzzed(enemy: &mut Enemy<'_>) -> Result<()> {
    let good = json!(enemy.signed(PAY, &serde_json::to_value(payment("fuzz", 100))?)?).to_string();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..120 {
        let mut body = good.clone().into_bytes();
        let at = next(body.len());
        match next(4) {
            0 => body[at] ^= 1 << next(7),
            1 => drop(body.drain(at..(at + 1 + next(8)).min(good.len()))),
            2 => body.insert(at, u8::try_from(next(256)).unwrap_or(0)),
            _ => body.truncate(at),
        }
        // A space between two parts of JSON says nothing.
        if body == good.as_bytes()
            || serde_json::from_slice::<Value>(&body).ok() == serde_json::from_str(&good).ok()
        {
            continue;
        }
        let request =
            enemy.client.post(format!("{}{PAY}", enemy.stack.url(enemy.sent % 2))).body(body.clone());
        let (status, problem) = enemy.answer(request).await?;
        ensure!([400, 401].contains(&status), "{}: {problem}", String::from_utf8_lossy(&body));
    }
    let mut deep = String::new();
    write!(deep, "{{\"appId\":{}", "[".repeat(5_000))?;
    enemy.refused(PAY, &deep, (400, "InvalidField", None)).await?;
    let many: String = (0..100).map(|n| format!("\"f{n}\":1,")).collect();
    let many = good.replacen('{', &format!("{{{many}"), 1);
    enemy.refused(PAY, &many, (400, "InvalidField", None)).await?;
    enemy.refused(PAY, &good.replacen("fuzz", &"x".repeat(70_000), 1), (400, "InvalidField", None)).await
}

/// A request has one signature.
async fn both_styles(enemy: &mut Enemy<'_>) -> Result<()> {
    let signer = Signer::load("app1", "k1", &enemy.stack.key("app1"))?;
    let sorted = json!(enemy.signed(PAY, &serde_json::to_value(payment("both", 100))?)?).to_string();
    let plain = serde_json::to_string(&payment("both", 100))?;
    for (query, body, status) in [
        ("", sorted.as_str(), 400),
        ("?sign=x", &plain, 401),
        ("?signType=RSA2&appId=shop", &plain, 401),
        ("?%73ign=x", &plain, 401),
    ] {
        let url: Url = format!("{}{PAY}{query}", enemy.stack.url(0)).parse()?;
        let signed = signer.sign("POST", &url, body.as_bytes()).context("signing")?;
        let request = enemy.client.post(url).body(body.to_owned());
        let request = request.header("content-digest", signed.content_digest);
        let request = request.header("signature-input", signed.signature_input);
        let (got, problem) = enemy.answer(request.header("signature", signed.signature)).await?;
        ensure!(got == status, "{query} {body}: {problem}");
    }
    for name in ["signature", "signature-input", "content-digest"] {
        let request = enemy.client.post(format!("{}{PAY}", enemy.stack.url(0))).body(sorted.clone());
        assert_eq!(enemy.answer(request.header(name, "x")).await?.0, 401, "{name}");
    }
    Ok(())
}

/// Queries: of others' orders, by changed parameters, and by paths that are none.
async fn queries(enemy: &mut Enemy<'_>) -> Result<()> {
    for (path, status) in [
        (format!("{PAY}/{DATE}/nobody"), 404),
        (format!("{PAY}/2026-11-25/good"), 404),
        (format!("{PAY}/{DATE}/good/refunds/nobody"), 404),
        (format!("{PAY}/{DATE}/good%00"), 404),
        (format!("{PAY}/{DATE}/%ff"), 404),
        (format!("{PAY}/{DATE}/%c0%ae%c0%ae"), 404),
        (format!("{PAY}/{DATE}/g%D0%BE%D0%BEd"), 404),
        (format!("{PAY}/{DATE}//good"), 404),
        (format!("{PAY}/24.11.2026/good"), 400),
        (format!("{PAY}/{DATE}/good?a=b"), 401),
        ("/v1/merchants/M1/statement?account=debt".to_owned(), 401),
    ] {
        let url: Url = format!("{}{path}", enemy.stack.url(0)).parse()?;
        let (base, query) = (url.path().to_owned(), url.query().map(str::to_owned));
        let mut bare = url.clone();
        bare.set_query(None);
        let (mut signed, _) = enemy.signer.sign_sorted("GET", bare, b"").context(base)?;
        if let Some(query) = query {
            signed.set_query(Some(&format!("{}&{query}", signed.query().unwrap_or_default())));
        }
        let (got, problem) = enemy.answer(enemy.client.get(signed)).await?;
        ensure!(got == status, "{path}: {problem}");
    }
    let url: Url = format!("{}{PAY}/{DATE}/good", enemy.stack.url(0)).parse()?;
    let (signed, _) = enemy.signer.sign_sorted("GET", url.clone(), b"").context("signing")?;
    let query = signed.query().unwrap_or_default().to_owned();
    for (from, to) in [
        ("appId=shop", "appId=other"),
        ("appId=shop", "appId=shop&appId=shop"),
        ("appId=shop", "appId=app1"),
        ("sign=", "sign=A"),
        ("sign=", "sing="),
        ("&timestamp=", "&timestamp=1&x="),
        ("nonce=", "nonce=a"),
        ("HMAC-SHA256", "SM3"),
        ("HMAC-SHA256", "hmac-sha256"),
    ] {
        let mut bad = url.clone();
        bad.set_query(Some(&query.replacen(from, to, 1)));
        let (status, problem) = enemy.answer(enemy.client.get(bad)).await?;
        ensure!([400, 401].contains(&status), "{from} {to}: {problem}");
    }
    // The number of another request; this uses its nonce up as well.
    let other = serde_json::to_value(payment("good", 10_001))?;
    let text = json!(enemy.signed(PAY, &other)?).to_string();
    enemy.refused(PAY, &text, (409, "OrderConflict", None)).await?;
    // Nobody's: not signed at all.
    for path in
        ["/v1/payments/2026-11-24/%ff", "/v1/payments/2026-11-24/good", "/v1/channels/%ff/notifications"]
    {
        let url = format!("{}{path}", enemy.stack.url(0));
        enemy.answer(enemy.client.get(&url)).await?;
        enemy.answer(enemy.client.post(&url)).await?;
    }
    Ok(())
}

fn with(good: &Map<String, Value>, field: &str, value: Value) -> String {
    let mut all = good.clone();
    all.insert(field.into(), value);
    json!(all).to_string()
}
