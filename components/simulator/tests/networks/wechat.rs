//! WeChat Pay.

use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::stage::{Got, Key, Stage, WAIT, runtime, verifies};

const MCHID: &str = "1900000109";
const APPID: &str = "wxd678efh567hg6787";

struct Merchant {
    stage: Stage,
    key: Key,
    serial: String,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    verified: bool,
    body: Value,
}

impl Merchant {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let key = Key::read(&stage.file("wechat/merchant.key"));
        let serial = stage.ids("wechat")["merchantSerial"].as_str().unwrap().to_owned();
        Self { stage, key, serial }
    }

    fn authorization(&self, method: &str, path: &str, body: &str, time: i64) -> String {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let signature = self.key.sign(&format!("{method}\n{path}\n{time}\n{nonce}\n{body}\n"));
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{MCHID}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{time}\",serial_no=\"{}\"",
            self.serial
        )
    }

    fn verified(&self, headers: &HeaderMap, body: &str) -> bool {
        let header = |name: &str| headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default();
        assert!(
            ["", self.stage.ids("wechat")["publicKeyId"].as_str().unwrap()]
                .contains(&header("wechatpay-serial"))
        );
        let text = format!("{}\n{}\n{body}\n", header("wechatpay-timestamp"), header("wechatpay-nonce"));
        let key = self.stage.file("wechat/network.pub");
        verifies(&key, &text, header("wechatpay-signature"))
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        authorization: &str,
    ) -> Result<Reply, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .stage
            .client
            .request(method, format!("{}{path}", self.stage.base))
            .timeout(WAIT)
            .header("authorization", authorization)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(body.to_owned());
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await?;
        let verified = self.verified(&headers, &body);
        Ok(Reply { status, verified, body: serde_json::from_str(&body).unwrap_or(Value::Null) })
    }

    async fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Reply, reqwest::Error> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let now = jiff::Timestamp::now().as_second();
        self.send(method, path, &body, &self.authorization(method, path, &body, now)).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.try_call(method, path, body).await.unwrap()
    }

    fn body(&self, number: &str, total: i64) -> Value {
        json!({
            "appid": APPID, "mchid": MCHID, "description": "腾讯充值中心-QQ会员充值",
            "out_trade_no": number, "notify_url": self.stage.hook(&format!("/{number}")),
            "attach": "深圳分店", "amount": {"total": total, "currency": "CNY"},
        })
    }

    async fn order(&self, number: &str, total: i64) -> Result<Reply, reqwest::Error> {
        self.try_call("POST", "/v3/pay/transactions/native", &self.body(number, total)).await
    }

    async fn query(&self, number: &str) -> Reply {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={MCHID}");
        self.call("GET", &path, &Value::Null).await
    }

    async fn close(&self, number: &str) -> Reply {
        let path = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        self.call("POST", &path, &json!({"mchid": MCHID})).await
    }

    async fn refund(&self, number: &str, of: &str, refund: i64, total: i64) -> Reply {
        let hook = self.stage.hook(&format!("/{number}"));
        let amount = json!({"refund": refund, "total": total, "currency": "CNY"});
        let body = json!({"out_trade_no": of, "out_refund_no": number, "notify_url": hook, "amount": amount});
        self.call("POST", "/v3/refund/domestic/refunds", &body).await
    }

    async fn refund_query(&self, number: &str) -> Reply {
        self.call("GET", &format!("/v3/refund/domestic/refunds/{number}"), &Value::Null).await
    }

    async fn paid(&self, number: &str) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let reply = self.query(number).await;
            assert!(reply.verified, "{reply:?}");
            if reply.body["trade_state"] != "NOTPAY" {
                return reply;
            }
            assert!(Instant::now() < deadline, "{number} is not paid");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A notification's event type and what its resource holds.
    fn open(&self, got: &Got) -> (bool, String, Value) {
        let body: Value = serde_json::from_str(&got.body).unwrap();
        let resource = &body["resource"];
        let text = |name: &str| resource[name].as_str().unwrap();
        assert_eq!(text("algorithm"), "AEAD_AES_256_GCM");
        let key =
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.stage.file("wechat/apiv3.key")).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
        let mut sealed = STANDARD.decode(text("ciphertext")).unwrap();
        let plain =
            key.open_in_place(nonce, Aad::from(text("associated_data").as_bytes()), &mut sealed).unwrap();
        let plain = serde_json::from_slice(plain).unwrap();
        (self.verified(&got.headers, &got.body), body["event_type"].as_str().unwrap().to_owned(), plain)
    }
}

fn code(reply: &Reply) -> (u16, bool, &str) {
    (reply.status, reply.verified, reply.body["code"].as_str().unwrap_or_default())
}

/// Refunds of an order of 1000, in parts.
async fn refund_in_parts(merchant: &Merchant) {
    let refund = merchant.refund("refund-1", "order-0001", 600, 1000).await;
    assert_eq!((refund.status, refund.verified, &refund.body["status"]), (200, true, &json!("SUCCESS")));
    assert_eq!(merchant.refund("refund-1", "order-0001", 600, 1000).await.body, refund.body);
    assert_eq!(merchant.refund_query("refund-1").await.body, refund.body);
    let other = merchant.refund("refund-1", "order-0001", 601, 1000).await;
    assert_eq!(code(&other), (400, true, "INVALID_REQUEST"));
    let over = merchant.refund("refund-2", "order-0001", 401, 1000).await;
    assert_eq!(code(&over), (400, true, "INVALID_REQUEST"));
    assert_eq!(
        code(&merchant.refund("refund-2", "order-0001", 400, 999).await),
        (400, true, "INVALID_REQUEST")
    );
    // A refund's number may be an order's number too.
    let rest = merchant.refund("order-0001", "order-0001", 400, 1000).await;
    assert_eq!(rest.body["status"], "SUCCESS");
    let (verified, event, told) = merchant.open(&merchant.stage.told("/refund-1", 1).await[0]);
    assert_eq!(
        (verified, event.as_str(), &told["refund_status"]),
        (true, "REFUND.SUCCESS", &json!("SUCCESS"))
    );
    assert_eq!((&told["out_refund_no"], &told["amount"]["refund"]), (&json!("refund-1"), &json!(600)));
    assert_eq!(merchant.query("order-0001").await.body["trade_state"], "REFUND");
    let declined = merchant.refund("refund-3", "order-0001", 9001, 10_000).await;
    assert_eq!(code(&declined), (403, true, "USER_ACCOUNT_ABNORMAL"));
    assert_eq!(code(&merchant.refund_query("refund-3").await), (404, true, "RESOURCE_NOT_EXISTS"));
    assert_eq!(code(&merchant.refund("refund-3", "nobody", 1, 1).await), (404, true, "RESOURCE_NOT_EXISTS"));

    let counted = merchant.stage.metrics().await;
    let told = "payplane_simulator_notifications_total{network=\"wechat_pay\",result=\"accepted\"}";
    assert!(counted.contains(told), "{counted}");
}

#[test]
fn an_order_is_paid_told_queried_and_refunded() {
    runtime().block_on(async {
        let mut merchant = Merchant::new().await;
        let made = merchant.order("order-0001", 1000).await.unwrap();
        assert_eq!((made.status, made.verified), (200, true));
        assert!(made.body["code_url"].as_str().unwrap().starts_with("weixin://wxpay/bizpayurl?pr="));
        let got = merchant.stage.told("/order-0001", 1).await;
        let (verified, event, told) = merchant.open(&got[0]);
        assert!(verified);
        assert_eq!(event, "TRANSACTION.SUCCESS");
        let queried = merchant.query("order-0001").await;
        assert!(queried.verified);
        assert_eq!(queried.body, told);
        assert_eq!((&told["trade_state"], &told["amount"]["payer_total"]), (&json!("SUCCESS"), &json!(1000)));
        assert_eq!(
            (&told["attach"], &told["mchid"], &told["appid"]),
            (&json!("深圳分店"), &json!(MCHID), &json!(APPID))
        );
        let id = told["transaction_id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 28);
        let by_id =
            merchant.call("GET", &format!("/v3/pay/transactions/id/{id}?mchid={MCHID}"), &Value::Null).await;
        assert_eq!(by_id.body, told);

        refund_in_parts(&merchant).await;

        // All of it is there after a kill.
        let before = (merchant.query("order-0001").await.body, merchant.refund_query("refund-1").await.body);
        merchant.order("unpaid-1", 9008).await.unwrap();
        merchant.stage.kill_and_restart().await;
        let after = (merchant.query("order-0001").await.body, merchant.refund_query("refund-1").await.body);
        assert_eq!(after, before);
        assert_eq!(
            code(&merchant.refund("refund-2", "order-0001", 1, 1000).await),
            (400, true, "INVALID_REQUEST")
        );
        assert_eq!(merchant.query("unpaid-1").await.body["trade_state"], "NOTPAY");
        let record = merchant.stage.record().await;
        assert_eq!(record[0]["network"], "WechatPay");
        assert_eq!(record[0]["details"]["trade_type"], "NATIVE");
    });
}

#[test]
fn orders_are_idempotent_closed_and_paid_once() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        assert_eq!(code(&merchant.query("nobody").await), (404, true, "ORDER_NOT_EXIST"));
        assert_eq!(code(&merchant.close("nobody").await), (404, true, "ORDER_NOT_EXIST"));
        let first = merchant.order("order-0001", 9008).await.unwrap();
        assert_eq!(merchant.order("order-0001", 9008).await.unwrap().body, first.body);
        let other = merchant.order("order-0001", 19_008).await.unwrap();
        assert_eq!(code(&other), (403, true, "OUT_TRADE_NO_USED"));
        let unpaid = merchant.query("order-0001").await;
        assert_eq!(
            (&unpaid.body["trade_state"], unpaid.body.get("transaction_id")),
            (&json!("NOTPAY"), None)
        );
        assert_eq!(
            code(&merchant.refund("refund-1", "order-0001", 1, 9008).await),
            (404, true, "RESOURCE_NOT_EXISTS")
        );
        let closed = merchant.close("order-0001").await;
        assert_eq!((closed.status, closed.verified), (204, true));
        assert_eq!(merchant.query("order-0001").await.body["trade_state"], "CLOSED");
        assert_eq!(code(&merchant.close("order-0001").await), (400, true, "ORDER_CLOSED"));
        assert_eq!(code(&merchant.order("order-0001", 9008).await.unwrap()), (400, true, "ORDER_CLOSED"));

        let mut jsapi = merchant.body("order-0002", 500);
        let path = "/v3/pay/transactions/jsapi";
        assert_eq!(code(&merchant.call("POST", path, &jsapi).await), (400, true, "PARAM_ERROR"));
        jsapi["payer"] = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"});
        let made = merchant.call("POST", path, &jsapi).await;
        assert_eq!(made.body["prepay_id"].as_str().unwrap().len(), 36);
        assert_eq!(merchant.paid("order-0002").await.body["trade_type"], "JSAPI");
        assert_eq!(code(&merchant.close("order-0002").await), (400, true, "ORDERPAID"));
        assert_eq!(code(&merchant.call("POST", path, &jsapi).await), (400, true, "ORDERPAID"));
    });
}

#[test]
fn every_amount_does_what_the_manual_says() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        assert_eq!(code(&merchant.order("number-9001", 9001).await.unwrap()), (403, true, "TRADE_ERROR"));
        assert_eq!(merchant.query("number-9001").await.status, 404);

        merchant.order("number-9002", 9002).await.unwrap();
        assert!(merchant.order("number-9003", 9003).await.unwrap_err().is_timeout());
        assert_eq!(merchant.query("number-9003").await.status, 404);
        assert_eq!(merchant.paid("number-9002").await.body["trade_state"], "SUCCESS");
        assert!(merchant.order("number-9004", 9004).await.unwrap_err().is_timeout());
        assert_eq!(merchant.paid("number-9004").await.body["trade_state"], "SUCCESS");
        assert_eq!(code(&merchant.order("number-9005", 9005).await.unwrap()), (500, true, "SYSTEM_ERROR"));
        assert_eq!(merchant.query("number-9005").await.status, 404);
        let forged = merchant.order("number-9006", 9006).await.unwrap();
        assert_eq!((forged.status, forged.verified), (200, false));
        assert_eq!(merchant.paid("number-9006").await.body["trade_state"], "SUCCESS");
        let start = Instant::now();
        merchant.order("number-9007", 9007).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));

        let start = Instant::now();
        for number in ["number-9009", "number-9010", "number-9011", "number-9012"] {
            let amount = number.strip_prefix("number-").unwrap().parse().unwrap();
            merchant.order(number, amount).await.unwrap();
        }
        assert_eq!(merchant.paid("number-9009").await.body["trade_state"], "SUCCESS");
        let five = merchant.stage.told("/number-9010", 5).await;
        assert!(five.iter().all(|got| merchant.open(got).0));
        let four = merchant.stage.told("/number-9011", 4).await;
        let opened: Vec<_> = four.iter().map(|got| merchant.open(got)).collect();
        assert_eq!(opened.iter().map(|told| told.0).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(opened[1].2["amount"]["total"], 9012);
        assert_ne!(opened[2].2["mchid"], MCHID);
        assert_eq!(opened[3].2, merchant.query("number-9011").await.body);
        let late = merchant.stage.told("/number-9012", 1).await;
        assert!(late[0].at - start >= Duration::from_secs(5));
        assert!(merchant.stage.got("/number-9009").is_empty());

        merchant.order("order-0001", 50_000).await.unwrap();
        merchant.paid("order-0001").await;
        let slow = merchant.refund("refund-9002", "order-0001", 9002, 50_000).await;
        assert_eq!(slow.body["status"], "PROCESSING");
        merchant.stage.told("/refund-9002", 1).await;
        assert_eq!(merchant.refund_query("refund-9002").await.body["status"], "SUCCESS");
        assert_eq!(
            code(&merchant.refund("refund-9005", "order-0001", 9005, 50_000).await),
            (500, true, "SYSTEM_ERROR")
        );
        assert!(!merchant.refund("refund-9006", "order-0001", 9006, 50_000).await.verified);
    });
}

#[test]
fn a_payer_who_was_about_to_pay_does_so_after_a_restart() {
    runtime().block_on(async {
        let mut merchant = Merchant::new().await;
        merchant.order("order-0001", 500).await.unwrap();
        merchant.stage.told("/order-0001", 1).await;
        merchant.order("number-9002", 9002).await.unwrap();
        merchant.stage.kill_and_restart().await;
        assert!(merchant.open(&merchant.stage.told("/number-9002", 1).await[0]).0);
        assert_eq!(merchant.query("number-9002").await.body["trade_state"], "SUCCESS");
        assert_eq!(merchant.stage.got("/order-0001").len(), 1, "what was told is not told again");
    });
}

#[test]
fn merchants_and_the_trust_for_notifications_are_followed() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let file = merchant.stage.path("network/networks.json");
        let listed = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, listed.replace(APPID, "wx2")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while code(&merchant.order("order-0001", 9008).await.unwrap()).2 != "APPID_MCHID_NOT_MATCH" {
            assert!(Instant::now() < deadline, "the list is not followed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::fs::write(&file, listed).unwrap();
        // Another CA is believed now: the merchant's server is not.
        let (ca, other) = (merchant.stage.path("ca/ca.crt"), merchant.stage.file("ca/unionpay-root.crt"));
        let old = std::fs::read(&ca).unwrap();
        std::fs::write(&ca, other).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        merchant.order("order-0002", 500).await.unwrap();
        merchant.paid("order-0002").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(merchant.stage.got("/order-0002").is_empty());
        std::fs::write(&ca, old).unwrap();
        merchant.stage.told("/order-0002", 1).await;
    });
}

#[test]
fn a_notification_that_is_refused_comes_again() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        merchant.stage.refuse("/order-0001", 2);
        merchant.order("order-0001", 500).await.unwrap();
        let got = merchant.stage.told("/order-0001", 3).await;
        assert!(got[1].at - got[0].at >= Duration::from_millis(900));
        assert!(got[2].at - got[1].at >= Duration::from_millis(1900));
        assert!(got.iter().all(|got| merchant.open(got).0));
    });
}

#[test]
fn only_a_fresh_signature_over_exactly_this_request_is_believed() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let (path, now) = ("/v3/pay/transactions/native", jiff::Timestamp::now().as_second());
        let body = merchant.body("order-0001", 9008).to_string();
        let good = merchant.authorization("POST", path, &body, now);
        for (why, path, body, authorization) in [
            ("another body", path, body.replace("9008", "9108"), good.clone()),
            ("another path", "/v3/pay/transactions/jsapi", body.clone(), good.clone()),
            ("an old one", path, body.clone(), merchant.authorization("POST", path, &body, now - 302)),
            ("one to come", path, body.clone(), merchant.authorization("POST", path, &body, now + 305)),
            ("another merchant", path, body.clone(), good.replace(MCHID, "1900000110")),
            ("another serial", path, body.clone(), good.replace(&merchant.serial, "00")),
            ("another scheme", path, body.clone(), good.replace("RSA2048", "RSA2049")),
            ("a part twice", path, body.clone(), format!("{good},mchid=\"{MCHID}\"")),
            ("a part less", path, body.clone(), good.replace("nonce_str", "nonce")),
        ] {
            let reply = merchant.send("POST", path, &body, &authorization).await.unwrap();
            // Who proved nothing gets no signature.
            assert_eq!(code(&reply), (401, false, "SIGN_ERROR"), "{why}");
        }
        assert!(merchant.stage.record().await.is_empty(), "none of them had an effect");
        assert_eq!(merchant.send("POST", path, &body, &good).await.unwrap().status, 200);
    });
}

#[test]
fn bad_fields_are_refused_by_name() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let long = "x".repeat(128);
        for (field, value, expected) in [
            ("/appid", json!("wx1234"), "APPID_MCHID_NOT_MATCH"),
            ("/mchid", json!("1900000110"), "INVALID_REQUEST"),
            ("/description", json!(long), "PARAM_ERROR"),
            ("/description", json!(""), "PARAM_ERROR"),
            ("/out_trade_no", json!("short"), "PARAM_ERROR"),
            ("/out_trade_no", json!("with space"), "PARAM_ERROR"),
            ("/notify_url", json!("http://127.0.0.1/"), "PARAM_ERROR"),
            ("/notify_url", json!("https://127.0.0.1/?a=b"), "PARAM_ERROR"),
            ("/notify_url", Value::Null, "PARAM_ERROR"),
            ("/time_expire", json!("2018-06-08T10:34:56+08:00"), "PARAM_ERROR"),
            ("/time_expire", json!("tomorrow"), "PARAM_ERROR"),
            ("/amount/total", json!(0), "PARAM_ERROR"),
            ("/amount/total", json!("100"), "PARAM_ERROR"),
            ("/amount/total", json!(1.5), "PARAM_ERROR"),
            ("/amount/currency", json!("USD"), "PARAM_ERROR"),
            ("/more", json!(1), "PARAM_ERROR"),
        ] {
            let mut body = merchant.body("order-0001", 100);
            match field.rsplit_once('/').unwrap() {
                ("", name) => body[name] = value.clone(),
                (outer, name) => *body.pointer_mut(outer).unwrap().get_mut(name).unwrap() = value.clone(),
            }
            let reply = merchant.call("POST", "/v3/pay/transactions/native", &body).await;
            assert_eq!(code(&reply), (400, true, expected), "{field}: {value}");
        }
        let path = "/v3/pay/transactions/out-trade-no/order-0001";
        assert_eq!(code(&merchant.call("GET", path, &Value::Null).await), (400, true, "PARAM_ERROR"));
        let other = merchant.call("GET", &format!("{path}?mchid=1"), &Value::Null).await;
        assert_eq!(code(&other), (400, true, "INVALID_REQUEST"));
        assert_eq!(merchant.call("GET", "/v3/certificates", &Value::Null).await.status, 404);
    });
}

/// What an order costs the simulator, from its arrival to its notification.
#[test]
#[ignore = "a measurement, run by hand"]
fn measure_an_order() {
    runtime().block_on(async {
        let merchant = std::sync::Arc::new(Merchant::new().await);
        let (workers, each) = (16, 1000);
        let (before, held) = (merchant.stage.cpu_seconds(), merchant.stage.memory_bytes());
        let start = Instant::now();
        let tasks: Vec<_> = (0..workers)
            .map(|worker| {
                let merchant = merchant.clone();
                tokio::spawn(async move {
                    for n in 0..each {
                        let mut body = merchant.body(&format!("order-{worker}-{n}"), 100);
                        body["notify_url"] = json!(merchant.stage.hook("/load"));
                        let path = "/v3/pay/transactions/native";
                        assert_eq!(merchant.call("POST", path, &body).await.status, 200);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let took = start.elapsed();
        merchant.stage.told("/load", workers * each).await;
        let orders = u32::try_from(workers * each).unwrap();
        let cpu = (merchant.stage.cpu_seconds() - before) / f64::from(orders);
        println!("figure: wechat_order_cpu={:.3} ms", cpu * 1000.0);
        let held = (merchant.stage.memory_bytes() - held) / f64::from(orders);
        println!("figure: wechat_order_memory={held:.0} B");
        println!("figure: wechat_orders={:.0} 1/s", f64::from(orders) / took.as_secs_f64());
    });
}
