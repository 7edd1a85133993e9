//! UnionPay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sm3::Digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::stage::{Key, Stage, WAIT, fields, form, joined, read_form, runtime, verifies_der};

#[path = "unionpay_tokens.rs"]
mod tokens;

const MERCHANT: &str = "777290058110048";

type Fields = BTreeMap<String, String>;

struct Merchant {
    stage: Stage,
    key: Key,
    cert_id: String,
}

fn sha256(text: &str) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

fn sm3_hex(text: &str) -> String {
    hex::encode(sm3::Sm3::digest(text.as_bytes()))
}

fn now() -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8));
    jiff::Timestamp::now().to_zoned(zone).strftime("%Y%m%d%H%M%S").to_string()
}

/// The network's answer as its kits split it: nothing in it is escaped, and an `&` in braces
/// belongs to its value.
fn split(text: &str) -> Fields {
    let mut pieces: Vec<String> = vec![];
    for piece in text.split('&') {
        match pieces.last_mut().filter(|last| last.contains('{') && !last.ends_with('}')) {
            Some(open) => *open = format!("{open}&{piece}"),
            None => pieces.push(piece.to_owned()),
        }
    }
    let pair = |pair: &String| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    pieces.iter().map(pair).collect()
}

impl Merchant {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let key = Key::read(&stage.file("unionpay/merchant.key"));
        let cert_id = stage.ids("unionpay")["certId"].as_str().unwrap().to_owned();
        Self { stage, key, cert_id }
    }

    fn secret(&self) -> String {
        String::from_utf8(self.stage.file("unionpay/secure.key")).unwrap()
    }

    fn keyed(&self, text: &str, method: &str) -> String {
        match method {
            "11" => sha256(&format!("{text}&{}", sha256(&self.secret()))),
            _ => sm3_hex(&format!("{text}&{}", sm3_hex(&self.secret()))),
        }
    }

    fn sign(&self, fields: &mut Fields) {
        let method = fields["signMethod"].clone();
        if method == "01" {
            fields.insert("certId".into(), self.cert_id.clone());
        }
        let text = joined(fields, &["signature"]);
        let signature =
            if method == "01" { self.key.sign(&sha256(&text)) } else { self.keyed(&text, &method) };
        fields.insert("signature".into(), signature);
    }

    /// Verifies a message of the network; its certificate must lead to the chain.
    fn is_right(&self, told: &Fields) -> bool {
        let text = joined(told, &["signature"]);
        match told["signMethod"].as_str() {
            "01" => {
                let leaf = CertificateDer::from_pem_slice(told["signPubKeyCert"].as_bytes()).unwrap();
                let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
                let chain = self.stage.file("unionpay/network-ca.crt");
                let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).map(Result::unwrap).collect();
                let (_, root) = X509Certificate::from_der(&chain[0]).unwrap();
                let (_, middle) = X509Certificate::from_der(&chain[1]).unwrap();
                for (below, above) in [(&leaf, &middle), (&middle, &root), (&root, &root)] {
                    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
                        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
                        above.public_key().raw,
                    );
                    key.verify(below.tbs_certificate.as_ref(), &below.signature_value.data).unwrap();
                }
                verifies_der(leaf.public_key().raw, &sha256(&text), &told["signature"])
            }
            method => self.keyed(&text, method) == told["signature"],
        }
    }

    async fn send(&self, path: &str, fields: &Fields) -> Result<(bool, Fields), reqwest::Error> {
        let request = self
            .stage
            .client
            .post(format!("{}/gateway/api/{path}.do", self.stage.base))
            .timeout(WAIT)
            .header("content-type", "application/x-www-form-urlencoded;charset=UTF-8")
            .body(form(fields));
        let told = split(&request.send().await?.text().await?);
        Ok((self.is_right(&told), told))
    }

    fn message(&self, kind: (&str, &str), number: &str, time: &str, more: &[(&str, &str)]) -> Fields {
        let mut message = fields(&[
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("signMethod", "01"),
            ("txnType", kind.0),
            ("txnSubType", kind.1),
            ("bizType", "000000"),
            ("accessType", "0"),
            ("merId", MERCHANT),
            ("orderId", number),
            ("txnTime", time),
        ]);
        message.extend(fields(more));
        message
    }

    fn money(&self, kind: (&str, &str), number: &str, amount: &str, more: &[(&str, &str)]) -> Fields {
        let hook = self.stage.hook(&format!("/{number}"));
        let base = [("txnAmt", amount), ("backUrl", &hook), ("channelType", "08"), ("currencyCode", "156")];
        self.message(kind, number, &now(), &[&base[..], more].concat())
    }

    async fn try_call(&self, path: &str, mut message: Fields) -> Result<(bool, Fields), reqwest::Error> {
        self.sign(&mut message);
        self.send(path, &message).await
    }

    async fn call(&self, path: &str, message: Fields) -> Fields {
        let (right, told) = self.try_call(path, message).await.unwrap();
        assert!(right, "{told:?}");
        told
    }

    async fn order(&self, number: &str, amount: &str) -> Result<(bool, Fields), reqwest::Error> {
        self.try_call("backTransReq", self.money(("01", "07"), number, amount, &[])).await
    }

    async fn query(&self, number: &str, time: &str) -> Fields {
        self.call("queryTrans", self.message(("00", "00"), number, time, &[])).await
    }

    async fn paid(&self, number: &str, time: &str) -> Fields {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.query(number, time).await;
            if told.get("origRespCode").map(String::as_str) == Some("00") {
                return told;
            }
            assert!(Instant::now() < deadline, "{number}: {told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn refund(&self, kind: &str, number: &str, amount: &str, of: &str) -> Fields {
        self.call("backTransReq", self.money((kind, "00"), number, amount, &[("origQryId", of)])).await
    }
}

#[test]
fn an_order_is_paid_told_queried_refunded_and_undone() {
    runtime().block_on(async {
        let mut merchant = Merchant::new().await;
        let (right, made) = merchant.order("order0001", "1000").await.unwrap();
        assert!(right);
        assert_eq!((made["respCode"].as_str(), made["respMsg"].as_str()), ("00", "成功[0000000]"));
        assert!(made["qrCode"].starts_with("https://qr.95516.com/"));
        let time = made["txnTime"].clone();
        let told = read_form(&merchant.stage.told("/order0001", 1).await[0].body);
        assert!(merchant.is_right(&told));
        assert_eq!(
            (told["respCode"].as_str(), told["txnAmt"].as_str(), told["txnType"].as_str()),
            ("00", "1000", "01")
        );
        let queried = merchant.query("order0001", &time).await;
        for name in
            ["queryId", "traceNo", "traceTime", "settleDate", "settleAmt", "txnAmt", "orderId", "txnTime"]
        {
            assert_eq!(queried[name], told[name], "{name}");
        }
        assert_eq!((queried["txnType"].as_str(), queried["txnSubType"].as_str()), ("01", "07"));
        assert_eq!(merchant.order("order0001", "1000").await.unwrap().1["respCode"], "12");

        let id = told["queryId"].as_str();
        let refund = merchant.refund("04", "refund0001", "600", id).await;
        assert_eq!((refund["respCode"].as_str(), refund["origQryId"].as_str()), ("00", id));
        assert_eq!(merchant.query("refund0001", &refund["txnTime"]).await["origRespCode"], "00");
        let told_refund = read_form(&merchant.stage.told("/refund0001", 1).await[0].body);
        assert!(merchant.is_right(&told_refund));
        assert_eq!((told_refund["txnType"].as_str(), told_refund["origQryId"].as_str()), ("04", id));
        assert_eq!(merchant.refund("04", "refund0001", "600", id).await["respCode"], "12");
        assert_eq!(merchant.refund("04", "refund0002", "401", id).await["respCode"], "36");
        assert_eq!(merchant.refund("31", "undo00001", "1000", id).await["respCode"], "36");
        assert_eq!(merchant.refund("04", "refund0002", "400", id).await["respCode"], "00");
        assert_eq!(merchant.refund("04", "refund0003", "1", "000000000000000000000").await["respCode"], "35");

        let app = merchant.money(("01", "01"), "order0002", "700", &[("bizType", "000201")]);
        let app = merchant.call("appTransReq", app).await;
        assert_eq!(app["tn"].len(), 21);
        let paid = merchant.paid("order0002", &app["txnTime"]).await;
        assert_eq!(merchant.refund("31", "undo00001", "699", &paid["queryId"]).await["respCode"], "36");
        assert_eq!(merchant.refund("31", "undo00001", "700", &paid["queryId"]).await["respCode"], "00");
        assert_eq!(merchant.refund("04", "refund0003", "1", &paid["queryId"]).await["respCode"], "36");

        merchant.stage.kill_and_restart().await;
        assert_eq!(merchant.query("order0001", &time).await["queryId"], id);
        assert_eq!(merchant.refund("04", "refund0004", "1", id).await["respCode"], "36");
        assert_eq!(merchant.stage.record().await[0]["network"], "UnionPay");
    });
}

#[test]
fn every_amount_does_what_the_manual_says() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let resp = |told: &Fields| told["respCode"].clone();
        let time = now();
        let order = async |amount: &str| {
            let number = format!("number{amount}");
            let mut message = merchant.money(("01", "07"), &number, amount, &[]);
            message.insert("txnTime".into(), time.clone());
            merchant.try_call("backTransReq", message).await
        };
        assert_eq!(resp(&order("9001").await.unwrap().1), "30");
        order("9002").await.unwrap();
        assert_eq!(merchant.query("number9002", &time).await["origRespCode"], "05");
        assert!(order("9003").await.unwrap_err().is_timeout());
        assert_eq!(resp(&merchant.query("number9003", &time).await), "34");
        merchant.paid("number9002", &time).await;
        assert!(order("9004").await.unwrap_err().is_timeout());
        merchant.paid("number9004", &time).await;
        assert_eq!(resp(&order("9005").await.unwrap().1), "06");
        assert_eq!(resp(&merchant.query("number9005", &time).await), "34");
        let (right, forged) = order("9006").await.unwrap();
        assert_eq!((right, forged["respCode"].as_str()), (false, "00"));
        let start = Instant::now();
        order("9007").await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1));
        order("9008").await.unwrap();
        let start = Instant::now();
        for amount in ["9009", "9010", "9011", "9012"] {
            order(amount).await.unwrap();
        }
        let read =
            |got: Vec<crate::stage::Got>| got.iter().map(|got| read_form(&got.body)).collect::<Vec<_>>();
        assert!(read(merchant.stage.told("/number9010", 5).await).iter().all(|told| merchant.is_right(told)));
        let told = read(merchant.stage.told("/number9011", 4).await);
        let right: Vec<_> = told.iter().map(|told| merchant.is_right(told)).collect();
        assert_eq!(right, [false, true, true, true]);
        assert_eq!((told[1]["txnAmt"].as_str(), told[3]["txnAmt"].as_str()), ("9012", "9011"));
        assert!(told[2]["merId"] != MERCHANT && told[3]["merId"] == MERCHANT);
        assert!(merchant.stage.told("/number9012", 1).await[0].at - start >= Duration::from_secs(5));
        merchant.paid("number9009", &time).await;
        assert!(merchant.stage.got("/number9009").is_empty());
        assert_eq!(merchant.query("number9008", &time).await["origRespCode"], "05");

        let (_, made) = merchant.order("order0001", "50000").await.unwrap();
        let id = merchant.paid("order0001", &made["txnTime"]).await["queryId"].clone();
        assert_eq!(resp(&merchant.refund("04", "refund9001", "9001", &id).await), "30");
        let slow = merchant.refund("04", "refund9002", "9002", &id).await;
        assert_eq!(merchant.query("refund9002", &slow["txnTime"]).await["origRespCode"], "05");
        merchant.paid("refund9002", &slow["txnTime"]).await;
        assert_eq!(resp(&merchant.refund("04", "refund9005", "9005", &id).await), "06");
    });
}

#[test]
fn an_order_expires_and_keys_may_be_shared_ones() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(8));
        let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_zoned(zone);
        let soon = soon.strftime("%Y%m%d%H%M%S").to_string();
        let message = merchant.money(("01", "07"), "order0001", "9008", &[("payTimeout", &soon)]);
        let made = merchant.call("backTransReq", message).await;
        assert_eq!(merchant.query("order0001", &made["txnTime"]).await["origRespCode"], "05");
        for (method, number) in [("11", "order0011"), ("12", "order0012")] {
            let message = merchant.money(("01", "07"), number, "100", &[("signMethod", method)]);
            let made = merchant.call("backTransReq", message).await;
            assert_eq!((made["respCode"].as_str(), made["signMethod"].as_str()), ("00", method));
            let told = read_form(&merchant.stage.told(&format!("/{number}"), 1).await[0].body);
            assert!(merchant.is_right(&told) && told["signMethod"] == method);
        }
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(merchant.query("order0001", &made["txnTime"]).await["origRespCode"], "01");
    });
}

#[test]
fn only_what_the_merchant_signed_is_believed() {
    runtime().block_on(async {
        let merchant = Merchant::new().await;
        let mut good = merchant.money(("01", "07"), "order0001", "9008", &[]);
        merchant.sign(&mut good);
        for (name, value, resigned, expected) in [
            ("txnAmt", "9009", false, "11"),
            ("signature", "!", false, "11"),
            ("signature", "", false, "13"),
            ("certId", "1", false, "11"),
            ("merId", "777290058199999", true, "31"),
            ("signMethod", "02", false, "10"),
            ("version", "5.0.0", true, "10"),
            ("encoding", "GBK", true, "10"),
            ("txnType", "02", true, "10"),
            ("bizType", "000201", true, "10"),
            ("orderId", "short", true, "10"),
            ("orderId", "with-sign", true, "10"),
            ("txnTime", "20261301000000", true, "10"),
            ("txnAmt", "0", true, "10"),
            ("txnAmt", "1.5", true, "10"),
            ("backUrl", "http://127.0.0.1/", true, "10"),
            ("backUrl", "", true, "13"),
            ("currencyCode", "840", true, "10"),
            ("payTimeout", "20180608103456", true, "39"),
        ] {
            let mut message = good.clone();
            message.insert(name.into(), value.into());
            if resigned {
                merchant.sign(&mut message);
            }
            let (right, told) = merchant.send("backTransReq", &message).await.unwrap();
            assert_eq!((right, told["respCode"].as_str()), (true, expected), "{name}={value}");
        }
        assert!(merchant.stage.record().await.is_empty(), "none of them had an effect");
        assert_eq!(merchant.send("backTransReq", &good).await.unwrap().1["respCode"], "00");
        // The time is part of the order's name.
        assert_eq!(merchant.query("order0001", "20180608103456").await["respCode"], "34");
        assert_eq!(merchant.query("nobody00", "20180608103456").await["respCode"], "34");
    });
}
