//! Alipay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::{Key, Stage, WAIT, fields, form, joined, read_form, runtime, verifies};

const APP: &str = "2021000000000001";

struct Merchant {
    stage: Stage,
    key: Key,
}

#[derive(Debug)]
struct Reply {
    verified: bool,
    node: Value,
}

impl Reply {
    fn code(&self) -> (bool, &str, &str) {
        let text = |name: &str| self.node[name].as_str().unwrap_or_default();
        (self.verified, text("code"), text("sub_code"))
    }
}

impl Merchant {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let key = Key::read(&stage.file("alipay/merchant.key"));
        Self { stage, key }
    }

    fn fields(&self, method: &str, biz: &Value, hook: &str) -> BTreeMap<String, String> {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8)));
        let (now, biz) = (now.strftime("%Y-%m-%d %H:%M:%S").to_string(), biz.to_string());
        fields(&[
            ("app_id", APP),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &now),
            ("version", "1.0"),
            ("notify_url", hook),
            ("biz_content", &biz),
        ])
    }

    fn sign(&self, fields: &mut BTreeMap<String, String>) {
        fields.insert("sign".into(), self.key.sign(&joined(fields, &["sign"])));
    }

    async fn send(&self, fields: &BTreeMap<String, String>) -> Result<Reply, reqwest::Error> {
        // Some of it in the address, some in the form, as the network's kits do it.
        let (biz, address): (BTreeMap<_, _>, BTreeMap<_, _>) =
            fields.clone().into_iter().partition(|(name, _)| name == "biz_content");
        let request = self
            .stage
            .client
            .post(format!("{}/gateway.do?{}", self.stage.base, form(&address)))
            .timeout(WAIT)
            .header("content-type", "application/x-www-form-urlencoded;charset=utf-8")
            .body(form(&biz));
        let text = request.send().await?.text().await?;
        let whole: Value = serde_json::from_str(&text).unwrap();
        let node = whole.as_object().unwrap().iter().find(|(name, _)| name.ends_with("_response")).unwrap();
        // The node's own text, from its colon to the signature.
        let start = text.find(':').unwrap() + 1;
        let end = text.rfind(",\"sign\"").unwrap_or(text.len() - 1);
        let sign = whole["sign"].as_str().unwrap_or_default();
        let verified = verifies(&self.stage.file("alipay/network.pub"), &text[start..end], sign);
        Ok(Reply { verified, node: node.1.clone() })
    }

    async fn try_call(&self, method: &str, biz: &Value, hook: &str) -> Result<Reply, reqwest::Error> {
        let mut fields = self.fields(method, biz, hook);
        self.sign(&mut fields);
        self.send(&fields).await
    }

    async fn call(&self, method: &str, biz: &Value) -> Reply {
        self.try_call(method, biz, "").await.unwrap()
    }

    async fn precreate(&self, number: &str, amount: &str) -> Result<Reply, reqwest::Error> {
        let biz = json!({"out_trade_no": number, "total_amount": amount, "subject": "Iphone6 16G"});
        self.try_call("alipay.trade.precreate", &biz, &self.stage.hook(&format!("/{number}"))).await
    }

    async fn query(&self, number: &str) -> Reply {
        self.call("alipay.trade.query", &json!({"out_trade_no": number})).await
    }

    async fn refund(&self, number: &str, request: &str, amount: &str) -> Reply {
        let biz = json!({"out_trade_no": number, "out_request_no": request, "refund_amount": amount});
        self.call("alipay.trade.refund", &biz).await
    }

    async fn refund_query(&self, number: &str, request: &str) -> Reply {
        let biz = json!({"out_trade_no": number, "out_request_no": request});
        self.call("alipay.trade.fastpay.refund.query", &biz).await
    }

    async fn until(&self, number: &str, status: &str) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let reply = self.query(number).await;
            assert!(reply.verified, "{reply:?}");
            if reply.node["trade_status"] == status {
                return reply;
            }
            assert!(Instant::now() < deadline, "{number}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn is_right(&self, told: &BTreeMap<String, String>) -> bool {
        let text = joined(told, &["sign", "sign_type"]);
        verifies(&self.stage.file("alipay/network.pub"), &text, &told["sign"])
    }
}

#[test]
fn a_trade_is_scanned_paid_told_queried_and_refunded() {
    runtime().block_on(async {
        let mut merchant = Merchant::new().await;
        let made = merchant.precreate("trade_1", "10.00").await.unwrap();
        assert_eq!(made.code(), (true, "10000", ""));
        assert!(made.node["qr_code"].as_str().unwrap().starts_with("https://qr.alipay.com/bax"));
        let told = read_form(&merchant.stage.told("/trade_1", 1).await[0].body);
        assert!(merchant.is_right(&told));
        assert_eq!(
            (told["trade_status"].as_str(), told["total_amount"].as_str()),
            ("TRADE_SUCCESS", "10.00")
        );
        assert_eq!((told["app_id"].as_str(), told["sign_type"].as_str()), (APP, "RSA2"));
        let queried = merchant.query("trade_1").await;
        assert_eq!(queried.node["trade_status"], "TRADE_SUCCESS");
        assert_eq!(queried.node["trade_no"], told["trade_no"].as_str());
        let by_id = merchant.call("alipay.trade.query", &json!({"trade_no": told["trade_no"]})).await;
        assert_eq!(by_id.node, queried.node);

        let refund = merchant.refund("trade_1", "r1", "6").await;
        assert_eq!(refund.code(), (true, "10000", ""));
        assert_eq!((&refund.node["fund_change"], &refund.node["refund_fee"]), (&json!("Y"), &json!("6.00")));
        let again = merchant.refund("trade_1", "r1", "6.00").await;
        assert_eq!((&again.node["fund_change"], &again.node["refund_fee"]), (&json!("N"), &json!("6.00")));
        assert_eq!(merchant.refund("trade_1", "r1", "6.01").await.code().2, "ACQ.DISCORDANT_REPEAT_REQUEST");
        assert_eq!(merchant.refund("trade_1", "r2", "4.01").await.code().2, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
        let asked = merchant.refund_query("trade_1", "r1").await;
        assert_eq!(
            (&asked.node["refund_status"], &asked.node["refund_amount"]),
            (&json!("REFUND_SUCCESS"), &json!("6.00"))
        );
        // One that is not known is told by what is missing.
        assert_eq!(
            merchant.refund_query("trade_1", "r9").await.node,
            json!({"code": "10000", "msg": "Success"})
        );
        assert_eq!(merchant.query("trade_1").await.node["trade_status"], "TRADE_SUCCESS");
        // A number belongs to its trade; the sum grows.
        let rest = merchant.refund("trade_1", "r2", "4.00").await;
        assert_eq!(
            (&rest.node["refund_fee"], &rest.node["send_back_fee"]),
            (&json!("10.00"), &json!("4.00"))
        );
        assert_eq!(merchant.query("trade_1").await.node["trade_status"], "TRADE_CLOSED");
        assert_eq!(merchant.refund("nobody", "r1", "1").await.code().2, "ACQ.TRADE_NOT_EXIST");

        let before = merchant.query("trade_1").await.node;
        merchant.stage.kill_and_restart().await;
        assert_eq!(merchant.query("trade_1").await.node, before);
        assert_eq!(merchant.refund("trade_1", "r3", "0.01").await.code().2, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
        assert_eq!(merchant.stage.record().await[0]["network"], "Alipay");
    });
}

#[test]
fn unpaid_trades_are_closed_and_any_is_cancelled() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let number = |number: &str| json!({"out_trade_no": number});
        assert_eq!(
            merchant.call("alipay.trade.close", &number("nobody")).await.code().2,
            "ACQ.TRADE_NOT_EXIST"
        );
        let cancelled = merchant.call("alipay.trade.cancel", &number("nobody")).await;
        assert_eq!((cancelled.code(), cancelled.node.get("action")), ((true, "10000", ""), None));

        // Before it is scanned it does not exist, and yet can be cancelled.
        merchant.precreate("trade_1", "90.08").await.unwrap();
        assert_eq!(merchant.query("trade_1").await.code(), (true, "40004", "ACQ.TRADE_NOT_EXIST"));
        assert_eq!(
            merchant.call("alipay.trade.close", &number("trade_1")).await.code().2,
            "ACQ.TRADE_NOT_EXIST"
        );
        let cancelled = merchant.call("alipay.trade.cancel", &number("trade_1")).await;
        assert_eq!(
            (&cancelled.node["action"], &cancelled.node["retry_flag"]),
            (&json!("close"), &json!("N"))
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(merchant.query("trade_1").await.code().2, "ACQ.TRADE_NOT_EXIST");
        assert_eq!(merchant.precreate("trade_1", "90.08").await.unwrap().code().2, "ACQ.TRADE_HAS_CLOSE");

        let first = merchant.precreate("trade_2", "90.08").await.unwrap();
        assert_eq!(merchant.precreate("trade_2", "90.08").await.unwrap().node, first.node);
        assert_eq!(
            merchant.precreate("trade_2", "190.08").await.unwrap().code().2,
            "ACQ.CONTEXT_INCONSISTENT"
        );
        merchant.until("trade_2", "WAIT_BUYER_PAY").await;
        assert_eq!(merchant.refund("trade_2", "r1", "1").await.code().2, "ACQ.TRADE_STATUS_ERROR");
        assert_eq!(merchant.call("alipay.trade.close", &number("trade_2")).await.code().1, "10000");
        assert_eq!(merchant.query("trade_2").await.node["trade_status"], "TRADE_CLOSED");
        assert_eq!(
            merchant.call("alipay.trade.close", &number("trade_2")).await.code().2,
            "ACQ.TRADE_STATUS_ERROR"
        );

        merchant.precreate("trade_3", "5").await.unwrap();
        merchant.until("trade_3", "TRADE_SUCCESS").await;
        assert_eq!(
            merchant.call("alipay.trade.close", &number("trade_3")).await.code().2,
            "ACQ.TRADE_STATUS_ERROR"
        );
        assert_eq!(merchant.precreate("trade_3", "5").await.unwrap().code().2, "ACQ.TRADE_HAS_SUCCESS");
        for _ in 0..2 {
            let cancelled = merchant.call("alipay.trade.cancel", &number("trade_3")).await;
            assert_eq!(cancelled.node["action"], "refund");
        }
        assert_eq!(merchant.query("trade_3").await.node["trade_status"], "TRADE_CLOSED");
        let refunds = merchant.stage.record().await.into_iter().filter(|p| p["kind"] == "Refund").count();
        assert_eq!(refunds, 1);
    });
}

#[test]
fn every_amount_does_what_the_manual_says() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let gone = "ACQ.TRADE_NOT_EXIST";
        assert_eq!(
            merchant.precreate("t9001", "90.01").await.unwrap().code(),
            (true, "40004", "ACQ.TOTAL_FEE_EXCEED")
        );
        merchant.precreate("t9002", "90.02").await.unwrap();
        merchant.until("t9002", "WAIT_BUYER_PAY").await;
        assert!(merchant.precreate("t9003", "90.03").await.unwrap_err().is_timeout());
        assert_eq!(merchant.query("t9003").await.code().2, gone);
        merchant.until("t9002", "TRADE_SUCCESS").await;
        assert!(merchant.precreate("t9004", "90.04").await.unwrap_err().is_timeout());
        merchant.until("t9004", "TRADE_SUCCESS").await;
        let failed = merchant.precreate("t9005", "90.05").await.unwrap();
        assert_eq!(failed.code(), (true, "20000", "aop.ACQ.SYSTEM_ERROR"));
        assert_eq!(merchant.query("t9005").await.code().2, gone);
        let forged = merchant.precreate("t9006", "90.06").await.unwrap();
        assert_eq!(forged.code(), (false, "10000", ""));
        let start = Instant::now();
        merchant.precreate("t9007", "90.07").await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));

        let start = Instant::now();
        for (number, amount) in
            [("t9009", "90.09"), ("t9010", "90.10"), ("t9011", "90.11"), ("t9012", "90.12")]
        {
            merchant.precreate(number, amount).await.unwrap();
        }
        let read =
            |got: Vec<crate::stage::Got>| got.iter().map(|got| read_form(&got.body)).collect::<Vec<_>>();
        assert!(read(merchant.stage.told("/t9010", 5).await).iter().all(|told| merchant.is_right(told)));
        let told = read(merchant.stage.told("/t9011", 4).await);
        let right: Vec<_> = told.iter().map(|told| merchant.is_right(told)).collect();
        assert_eq!(right, [false, true, true, true]);
        assert_eq!((told[1]["total_amount"].as_str(), told[3]["total_amount"].as_str()), ("90.12", "90.11"));
        assert!(told[2]["app_id"] != APP && told[3]["app_id"] == APP);
        assert!(merchant.stage.told("/t9012", 1).await[0].at - start >= Duration::from_secs(5));
        merchant.until("t9009", "TRADE_SUCCESS").await;
        assert!(merchant.stage.got("/t9009").is_empty());

        merchant.precreate("plain", "500").await.unwrap();
        merchant.until("plain", "TRADE_SUCCESS").await;
        assert_eq!(merchant.refund("plain", "r1", "90.01").await.code().2, "ACQ.TRADE_NOT_ALLOW_REFUND");
        assert_eq!(merchant.refund("plain", "r2", "90.02").await.node["fund_change"], "N");
        let slow = merchant.refund_query("plain", "r2").await;
        assert_eq!((&slow.node["refund_amount"], slow.node.get("refund_status")), (&json!("90.02"), None));
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert_eq!(merchant.refund_query("plain", "r2").await.node["refund_status"], "REFUND_SUCCESS");
        assert_eq!(merchant.refund("plain", "r5", "90.05").await.code().1, "20000");
        assert!(!merchant.refund("plain", "r6", "90.06").await.verified);
    });
}

#[test]
fn only_what_an_application_signed_is_believed() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let biz = json!({"out_trade_no": "trade_1", "total_amount": "90.08", "subject": "s"});
        let mut good = merchant.fields("alipay.trade.precreate", &biz, "");
        merchant.sign(&mut good);
        for (name, value, resigned, expected) in [
            ("biz_content", "{}", false, (true, "40002", "isv.invalid-signature")),
            ("timestamp", "2026-01-01 00:00:00", false, (true, "40002", "isv.invalid-signature")),
            ("sign", "!", false, (true, "40002", "isv.invalid-signature")),
            ("sign", "", false, (true, "40001", "isv.missing-signature")),
            ("method", "", true, (true, "40001", "isv.missing-method")),
            ("method", "alipay.trade.pay", true, (true, "40002", "isv.invalid-method")),
            ("sign_type", "RSA", true, (true, "40002", "isv.invalid-signature-type")),
            ("version", "2.0", true, (true, "40002", "isv.invalid-version")),
            ("charset", "GBK", true, (true, "40002", "isv.invalid-charset")),
            ("timestamp", "today", true, (true, "40002", "isv.invalid-timestamp")),
            ("app_id", "2021000000000002", true, (false, "40002", "isv.invalid-app-id")),
            ("notify_url", "http://127.0.0.1/", true, (true, "40004", "ACQ.INVALID_PARAMETER")),
        ] {
            let mut fields = good.clone();
            fields.insert(name.into(), value.into());
            if resigned {
                merchant.sign(&mut fields);
            }
            assert_eq!(merchant.send(&fields).await.unwrap().code(), expected, "{name}={value}");
        }
        for (name, value) in [
            ("out_trade_no", json!("with space")),
            ("out_trade_no", json!("x".repeat(65))),
            ("out_trade_no", Value::Null),
            ("total_amount", json!("0")),
            ("total_amount", json!("1.001")),
            ("total_amount", json!("-1")),
            ("subject", json!("a=b")),
            ("subject", Value::Null),
            ("timeout_express", json!("16d")),
        ] {
            let mut bad = biz.clone();
            bad[name] = value.clone();
            let reply = merchant.call("alipay.trade.precreate", &bad).await;
            assert_eq!(reply.code(), (true, "40004", "ACQ.INVALID_PARAMETER"), "{name}={value}");
        }
        let mut late = biz.clone();
        late["time_expire"] = json!("2018-06-08 10:34:56");
        let reply = merchant.call("alipay.trade.precreate", &late).await;
        assert_eq!(reply.code().2, "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR");
        assert!(merchant.stage.record().await.is_empty(), "none of them had an effect");
        assert_eq!(merchant.send(&good).await.unwrap().code(), (true, "10000", ""));
    });
}
