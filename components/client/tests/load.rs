//! The load client against a gateway that stalls, refuses, answers late or
//! never: a small https server that keeps its own book of what it did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use payplane_client::load::{Entry, Outcome, Record};
use payplane_common::shutdown::Shutdown;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: payplane_client::Args,
}

#[derive(Default)]
struct Book {
    orders: Mutex<HashMap<String, Value>>,
    calls: Mutex<u32>,
}

fn payment(request: &Value, status: &str) -> Value {
    let mut answer = request.clone();
    let more = json!({"orderId": format!("id-{}", request["orderNumber"]), "status": status, "feeMinor": 1,
        "configEpoch": 7, "ledgerTransactionId": "t", "createdAt": "2026-11-24T00:00:00Z", "refundedMinor": 0});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer
}

/// Every 10th pay succeeds without an answer, every 10th plus one is refused,
/// plus two is lost, plus three is decided later.
async fn pay(State(book): State<Arc<Book>>, Json(request): Json<Value>) -> Response {
    let call = {
        let mut calls = book.calls.lock().unwrap();
        *calls += 1;
        *calls
    };
    let number = request["orderNumber"].as_str().unwrap().to_owned();
    let keep = |answer: &Value| book.orders.lock().unwrap().insert(number.clone(), answer.clone());
    match call % 10 {
        0 => {
            keep(&payment(&request, "Succeeded"));
            tokio::time::sleep(Duration::from_secs(5)).await;
            axum::http::StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        1 => (
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            Json(json!({"code": "NoChannel", "title": "t", "detail": "d"})),
        )
            .into_response(),
        2 => axum::http::StatusCode::BAD_GATEWAY.into_response(),
        3 => {
            keep(&payment(&request, "Succeeded"));
            Json(payment(&request, "Processing")).into_response()
        }
        _ => {
            let answer = payment(&request, "Succeeded");
            keep(&answer);
            Json(answer).into_response()
        }
    }
}

async fn query(State(book): State<Arc<Book>>, UrlPath((_, number)): UrlPath<(String, String)>) -> Response {
    match book.orders.lock().unwrap().get(&number) {
        Some(answer) => Json(answer.clone()).into_response(),
        None => (axum::http::StatusCode::NOT_FOUND, Json(json!({"code": "NotFound"}))).into_response(),
    }
}

async fn refund(UrlPath((_, _)): UrlPath<(String, String)>, Json(request): Json<Value>) -> Response {
    let mut answer = request.clone();
    let more = json!({"refundId": "r", "currency": "CNY", "status": "Succeeded", "createdAt": "2026-11-24T00:00:00Z"});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Json(answer).into_response()
}

struct Gateway {
    folder: tempfile::TempDir,
    address: String,
    book: Arc<Book>,
    shutdown: Shutdown,
}

impl Gateway {
    async fn start() -> Self {
        payplane_common::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
        let book = Arc::new(Book::default());
        let router = Router::new()
            .route("/v1/payments", post(pay))
            .route("/v1/payments/{date}/{number}", get(query))
            .route("/v1/payments/{date}/{number}/refunds", post(refund))
            .with_state(book.clone());
        let files = payplane_common::tls::Files { identity: Some(folder.path().to_owned()), trust: None };
        let config = payplane_common::tls::server(files).unwrap();
        let listener = payplane_common::serve::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::default();
        tokio::spawn(payplane_common::serve::tls(listener, config, router, shutdown.clone()));
        let gateway = Self { folder, address, book, shutdown };
        let (key, public) = (gateway.path("app.key"), gateway.path("app.pub"));
        gateway.client(&["keygen", "--key", text(&key), "--public", text(&public)]).await.unwrap();
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn client(&self, args: &[&str]) -> Result<(), payplane_client::Error> {
        let cli = <Cli as clap::Parser>::parse_from([&["client"], args].concat());
        payplane_client::run(cli.args).await
    }

    async fn load(&self, record: &Path, more: &[&str]) -> Result<(), payplane_client::Error> {
        let (ca, key) = (self.path("ca.crt"), self.path("app.key"));
        let fixed = [
            "load",
            "run",
            "--gateway",
            &self.address,
            "--ca",
            text(&ca),
            "--app",
            "app1",
            "--key",
            text(&key),
            "--record",
            text(record),
            "--timeout",
            "1s",
            "--connections",
            "2",
        ];
        self.client(&[&fixed, more].concat()).await
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn read(path: &Path) -> Vec<Entry> {
    let record = Record::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(record.run.is_some());
    record.entries.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_agrees_with_the_gateways_book_both_ways() {
    let gateway = Gateway::start().await;
    let record = gateway.path("record.jsonl");
    let args = ["--rate", "40", "--duration", "3s", "--settle", "20s", "--seed", "1", "--refund-share", "10"];
    gateway.load(&record, &args).await.unwrap();
    let entries = read(&record);
    assert_eq!(entries.len(), 120, "open loop: every request was sent");
    let late = entries.iter().map(|e| e.sent.sent_at.duration_since(e.sent.intended_at).as_millis());
    assert!(late.max().unwrap() < 500, "at its time, though others waited a second for nothing");

    let pays: Vec<_> = entries.iter().filter(|entry| entry.sent.refund_number.is_none()).collect();
    assert!(pays.len() < 120 && pays.len() > 90, "{} pays", pays.len());
    let book = gateway.book.orders.lock().unwrap().clone();
    for entry in &pays {
        let known = book.contains_key(&entry.sent.order_number);
        assert_eq!(entry.outcome() == Outcome::Succeeded, known, "{entry:?}");
        assert!(!entry.outcome().is_open(), "{entry:?}");
        if known {
            let last = entry.last().unwrap();
            assert_eq!((last.fee_minor, last.config_epoch), (Some(1), Some(7)));
        }
    }
    let ours: Vec<_> = pays.iter().map(|entry| &entry.sent.order_number).collect();
    assert!(book.keys().all(|number| ours.contains(&number)));
    for wanted in [Outcome::Succeeded, Outcome::Refused, Outcome::Absent] {
        assert!(pays.iter().any(|entry| entry.outcome() == wanted), "no {wanted:?}");
    }
    for wanted in [Outcome::Unknown, Outcome::Processing] {
        let at_once = |e: &&&Entry| e.answered.as_ref().unwrap().outcome == wanted;
        assert!(pays.iter().filter(at_once).count() > 5, "no {wanted:?} at once");
    }
    let unanswered = pays.iter().filter(|e| e.answered.as_ref().unwrap().latency_micros >= 1_000_000).count();
    assert!(unanswered > 5, "time-outs count with their whole length");

    let again = gateway.load(&record, &args).await;
    assert!(again.is_err(), "a record is never written over");
    gateway.shutdown.closing.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_file_ends_a_run_early_and_well() {
    let gateway = Gateway::start().await;
    let record = gateway.path("record.jsonl");
    let args = ["--rate", "20", "--duration", "600s", "--settle", "0s"];
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        gateway.client(&["load", "stop", text(&record)]).await.unwrap();
    };
    let both = async { tokio::join!(gateway.load(&record, &args), stop).0 };
    let ended = tokio::time::timeout(Duration::from_secs(20), both).await;
    ended.expect("in time").unwrap();
    let entries = read(&record);
    assert!(entries.len() >= 10 && entries.len() < 200, "{}", entries.len());
    assert!(entries.iter().all(|entry| entry.answered.is_some()), "what was open was waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_not_believed() {
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let (ca, key) = (other.path("ca.crt"), gateway.path("app.key"));
    let pay = [
        "pay",
        "--gateway",
        &gateway.address,
        "--ca",
        text(&ca),
        "--app",
        "app1",
        "--key",
        text(&key),
        "--order-number",
        "o1",
        "--merchant",
        "M1",
        "--amount-minor",
        "100",
    ];
    let refused = gateway.client(&pay).await.unwrap_err();
    let said = payplane_api::error::chain(&refused);
    assert!(said.contains("certificate"), "{said}");
    assert!(gateway.book.orders.lock().unwrap().is_empty());
}
