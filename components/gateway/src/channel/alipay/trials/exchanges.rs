//! Whole exchanges, with a network that answers what a script says.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use payplane_common::trace::Trace;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::super::{Alipay, QR};
use super::{NUMBER, ORIGINAL, TRADE_NO, at, body, cny, payment, refund};
use crate::channel::{Channel, Found, Kind, Outcome, Pay, Sent};

const NO_TRADE: &str = r#"{"code":"40004","msg":"Business Failed","sub_code":"ACQ.TRADE_NOT_EXIST"}"#;

/// A channel, and its network, which answers each method with a node, in this order. It
/// ends well once all of it was asked for.
async fn network(script: Vec<(&'static str, String)>) -> (Alipay, JoinHandle<()>) {
    let bodies = script.into_iter().map(|(method, node)| {
        let name = format!("{}_response", method.replace('.', "_"));
        (method, body(&name, &node))
    });
    raw_network(bodies.collect()).await
}

async fn raw_network(script: Vec<(&'static str, String)>) -> (Alipay, JoinHandle<()>) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let alipay = super::alipay(&endpoint, Some(&own.cert.pem()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let served = tokio::spawn(async move {
        for (method, body) in script {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = acceptor.accept(socket).await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"%7D") {
                assert_ne!(socket.read_buf(&mut asked).await.unwrap(), 0);
            }
            let asked = String::from_utf8(asked).unwrap();
            assert!(asked.contains(&format!("&method={method}&")), "{asked}");
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    (alipay, served)
}

fn trade(state: &str) -> String {
    trade_with(state, &json!({}))
}

fn trade_with(state: &str, extra: &Value) -> String {
    let mut node = json!({"code": "10000", "out_trade_no": NUMBER, "trade_no": TRADE_NO,
        "trade_status": state, "total_amount": "12.34"});
    node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    node.to_string()
}

/// A payment whose code runs out so many seconds from now.
fn expiring(seconds: i64) -> Sent {
    let expires_at = Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap();
    Sent { kind: Kind::Payment { expires_at }, ..payment() }
}

#[tokio::test]
async fn an_order_is_accepted_and_its_answer_is_about_it() {
    let url = "https://qr.alipay.com/bavh4wjlxf12tper3a";
    let made = |number: &str| json!({"code": "10000", "out_trade_no": number, "qr_code": url}).to_string();
    let script = vec![("alipay.trade.precreate", made(NUMBER)), ("alipay.trade.precreate", made(ORIGINAL))];
    let (alipay, served) = network(script).await;
    let pay = Pay {
        number: NUMBER,
        amount: cny(1234),
        method: QR,
        description: "Tea",
        payer: None,
        expires_at: at("2099-01-01T00:00:00Z"),
    };
    let first = alipay.send(alipay.prepare_pay(&pay).unwrap(), Trace::new()).await;
    let action = Some(json!({"type": "QrCode", "qrCode": url}));
    assert_eq!(first, Outcome::Processing { network_id: None, action });
    let second = alipay.send(alipay.prepare_pay(&pay).unwrap(), Trace::new()).await;
    assert!(matches!(second, Outcome::Unknown { .. }), "{second:?}");
    served.await.unwrap();
}

#[tokio::test]
async fn an_order_nobody_scanned_is_never_paid_only_once_its_code_has_run_out() {
    let query = || ("alipay.trade.query", NO_TRADE.to_owned());
    let (alipay, served) = network(vec![query(), query(), query()]).await;
    // It can still be paid; and so it may be by a clock that is a little behind ours.
    for seconds in [60, -290] {
        let (sent, before) = (expiring(seconds), Timestamp::now());
        let found = alipay.query(&sent, Trace::new()).await;
        assert!(!found.is_never(&alipay, &sent), "{seconds} {found:?}");
        assert!(matches!(found, Found::NotFound { at } if at >= before && at <= Timestamp::now()));
    }
    // Closed, and not "not received": it may have been accepted.
    assert_eq!(alipay.query(&expiring(-301), Trace::new()).await, Found::Outcome(Outcome::Closed));
    served.await.unwrap();
}

#[tokio::test]
async fn an_unsigned_answer_is_none() {
    let bare = |node: &str| ("alipay.trade.query", format!("{{\"alipay_trade_query_response\":{node}}}"));
    let forged = body("alipay_trade_query_response", NO_TRADE).replace("40004", "40005");
    let script = vec![bare(NO_TRADE), bare(&trade("TRADE_SUCCESS")), ("alipay.trade.query", forged)];
    let count = script.len();
    let (alipay, served) = raw_network(script).await;
    for _ in 0..count {
        let found = alipay.query(&expiring(-301), Trace::new()).await;
        assert!(matches!(found, Found::Outcome(Outcome::Unknown { .. })), "{found:?}");
    }
    served.await.unwrap();
}

#[tokio::test]
async fn what_has_an_end_is_not_closed() {
    let paid = json!({"send_pay_date": "2026-11-30 09:59:01"});
    let succeeded = Outcome::succeeded(TRADE_NO, at("2026-11-30T01:59:01Z"), Some(1234));
    let unknown = Outcome::Unknown { why: String::new() };
    // Nothing but the query is asked: the network of the script has no more.
    for (answer, expected) in [
        (trade_with("TRADE_SUCCESS", &paid), succeeded.clone()),
        (trade_with("TRADE_FINISHED", &paid), succeeded),
        (trade("TRADE_CLOSED"), Outcome::Closed),
        (trade_with("TRADE_CLOSED", &paid), unknown.clone()),
        (r#"{"code":"20000","sub_code":"isp.unknow-error"}"#.to_owned(), unknown),
    ] {
        let (alipay, served) = network(vec![("alipay.trade.query", answer)]).await;
        let outcome = alipay.close(&expiring(60), Trace::new()).await;
        let is_unknown = |outcome: &Outcome| matches!(outcome, Outcome::Unknown { .. });
        assert!(outcome == expected || (is_unknown(&outcome) && is_unknown(&expected)), "{outcome:?}");
        served.await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_for_its_payer_is_closed() {
    let closed = json!({"code": "10000", "out_trade_no": NUMBER, "trade_no": TRADE_NO}).to_string();
    let refused = |code: &str| json!({"code": "40004", "sub_code": code}).to_string();
    for (answer, is_closed) in [(closed, true), (refused("ACQ.TRADE_STATUS_ERROR"), false)] {
        let script = vec![("alipay.trade.query", trade("WAIT_BUYER_PAY")), ("alipay.trade.close", answer)];
        let (alipay, served) = network(script).await;
        let outcome = alipay.close(&expiring(60), Trace::new()).await;
        assert_eq!(outcome == Outcome::Closed, is_closed, "{outcome:?}");
        served.await.unwrap();
    }
    // Nobody has scanned it: there is nothing to close, and it can still be paid.
    let (alipay, served) = network(vec![("alipay.trade.query", NO_TRADE.to_owned())]).await;
    let outcome = alipay.close(&expiring(60), Trace::new()).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    served.await.unwrap();
}

#[tokio::test]
async fn a_refund_is_asked_for_by_its_own_number() {
    let known = json!({"code": "10000", "out_request_no": NUMBER, "out_trade_no": ORIGINAL,
        "trade_no": TRADE_NO, "refund_amount": "12.34", "refund_status": "REFUND_SUCCESS",
        "gmt_refund_pay": "2026-11-30 09:59:01"});
    let none = json!({"code": "10000", "msg": "Success"});
    let method = "alipay.trade.fastpay.refund.query";
    let (alipay, served) = network(vec![(method, known.to_string()), (method, none.to_string())]).await;
    let id = format!("{TRADE_NO}-{NUMBER}");
    let succeeded = Outcome::succeeded(&id, at("2026-11-30T01:59:01Z"), Some(1234));
    assert_eq!(alipay.query(&refund(), Trace::new()).await, Found::Outcome(succeeded));
    // It may still be on its way, for a day.
    let sent = Sent { signed_at: Timestamp::now(), ..refund() };
    let found = alipay.query(&sent, Trace::new()).await;
    assert!(matches!(found, Found::NotFound { .. }) && !found.is_never(&alipay, &sent), "{found:?}");
    served.await.unwrap();
}
