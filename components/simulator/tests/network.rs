//! The network as its callers see it: a real process over real TLS, killed for
//! real. The payplane binary is not needed: this test's own process is started
//! again as the simulator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_testkit::port;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

const FOLDER: &str = "SIMULATOR_TEST_FOLDER";

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: payplane_simulator::Args,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Not a test of its own: what the other tests start as a process.
#[test]
#[ignore = "started by the other tests"]
fn simulator_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let ports = std::fs::read_to_string(Path::new(&folder).join("ports")).unwrap();
    let (listen, health) = ports.split_once(' ').unwrap();
    let keys = |name: &str| format!("{folder}/network/{name}");
    let args: [String; 15] = [
        "simulator".into(),
        "--listen".into(),
        format!("127.0.0.1:{listen}"),
        "--health".into(),
        format!("127.0.0.1:{health}"),
        "--state".into(),
        format!("{folder}/journal.jsonl"),
        "--tls-cert".into(),
        keys("tls.crt"),
        "--tls-key".into(),
        keys("tls.key"),
        "--network-key".into(),
        keys("network.key"),
        "--merchants".into(),
        keys("merchants.json"),
    ];
    let cli = <Cli as clap::Parser>::parse_from(args);
    runtime().block_on(payplane_simulator::run(cli.args)).unwrap();
}

struct Network {
    folder: tempfile::TempDir,
    process: Child,
    base: String,
    record: String,
    client: reqwest::Client,
    key: EcdsaKeyPair,
    network: Vec<u8>,
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "simulator_process"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Network {
    async fn new() -> Self {
        payplane_common::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let init = payplane_simulator::init::InitArgs {
            dir: folder.path().to_owned(),
            dns: vec!["127.0.0.1".into()],
            merchant: "M1".into(),
            ids: payplane_simulator::init::NetworkIds::default(),
        };
        payplane_simulator::init::run(&init).unwrap();
        let (port, health) = (port::free().unwrap(), port::free().unwrap());
        std::fs::write(folder.path().join("ports"), format!("{port} {health}")).unwrap();
        let file = |name: &str| std::fs::read(folder.path().join("merchant").join(name)).unwrap();
        let der = PrivatePkcs8KeyDer::from_pem_slice(&file("merchant.key")).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).unwrap();
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(&file("network.pub")).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&file("ca.crt")).unwrap();
        let network = Self {
            process: start(folder.path()),
            base: format!("https://127.0.0.1:{port}"),
            record: format!("http://127.0.0.1:{health}"),
            client: reqwest::Client::builder().tls_certs_only(roots).no_proxy().build().unwrap(),
            key,
            network: spki[26..].to_vec(),
            folder,
        };
        network.ready().await;
        network
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.client.get(format!("{}/readyz", self.record)).send().await.is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the simulator did not start: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    async fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = start(self.folder.path());
        self.ready().await;
    }

    fn headers(&self, path: &str, body: &str, time: i64, nonce: &str) -> Vec<(&'static str, String)> {
        let text = format!("POST\n{path}\n{time}\n{nonce}\n{body}\n");
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        vec![
            ("sim-merchant", "M1".into()),
            ("sim-timestamp", time.to_string()),
            ("sim-nonce", nonce.into()),
            ("sim-signature", STANDARD.encode(signature)),
        ]
    }

    async fn send(
        &self,
        path: &str,
        body: &str,
        headers: Vec<(&'static str, String)>,
        wait: Duration,
    ) -> Result<(u16, bool, Value), reqwest::Error> {
        let mut request = self.client.post(format!("{}{path}", self.base)).timeout(wait);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.body(body.to_owned()).send().await?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (time, nonce) = (header("sim-timestamp"), header("sim-nonce"));
        let signature = STANDARD.decode(header("sim-signature")).unwrap();
        let body = response.text().await?;
        let text = format!("{status}\n{time}\n{nonce}\n{body}\n");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.network);
        let verified = key.verify(text.as_bytes(), &signature).is_ok();
        Ok((status, verified, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, bool, Value), reqwest::Error> {
        let (body, nonce) = (body.to_string(), uuid::Uuid::new_v4().simple().to_string());
        let headers = self.headers(path, &body, jiff::Timestamp::now().as_second(), &nonce);
        self.send(path, &body, headers, Duration::from_secs(5)).await
    }

    async fn pay(&self, number: &str, amount: i64) -> Result<(u16, bool, Value), reqwest::Error> {
        let body = json!({"number": number, "amountMinor": amount, "currency": "CNY", "method": "card"});
        self.post("/sim/v1/pay", &body).await
    }

    async fn query(&self, number: &str) -> (u16, bool, Value) {
        self.post("/sim/v1/query", &json!({"number": number})).await.unwrap()
    }

    async fn close(&self, number: &str) -> Value {
        self.post("/sim/v1/close", &json!({"number": number})).await.unwrap().2
    }

    async fn record(&self) -> Vec<Value> {
        let answer = self.client.get(format!("{}/sim/v1/record", self.record)).send().await.unwrap();
        let record: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        record["payments"].as_array().unwrap().clone()
    }
}

#[test]
fn every_fault_does_what_the_manual_says() {
    runtime().block_on(async {
        let network = Network::new().await;
        let (status, verified, plain) = network.pay("plain", 500).await.unwrap();
        assert_eq!((status, verified, &plain["state"]), (200, true, &json!("Succeeded")));
        assert_eq!(network.query("plain").await.2, plain);

        let declined = network.pay("n1", 9001).await.unwrap();
        assert_eq!((declined.0, declined.1, &declined.2["code"]), (200, true, &json!("Declined")));

        assert_eq!(network.pay("n2", 9002).await.unwrap().2["state"], "Processing");
        assert_eq!(network.query("n2").await.2["state"], "Processing");

        assert!(network.pay("n3", 9003).await.unwrap_err().is_timeout());
        let (status, verified, absent) = network.query("n3").await;
        assert_eq!((status, verified, &absent["code"]), (404, true, &json!("NotFound")));

        assert!(network.pay("n4", 9004).await.unwrap_err().is_timeout());
        assert_eq!(network.query("n4").await.2["state"], "Succeeded");

        let failed = network.pay("n5", 9005).await.unwrap();
        assert_eq!((failed.0, failed.1), (500, true));
        assert_eq!(network.query("n5").await.0, 404);

        let forged = network.pay("n6", 9006).await.unwrap();
        assert_eq!((forged.0, forged.1), (200, false));
        let (_, verified, faithful) = network.query("n6").await;
        assert!(verified && faithful["state"] == "Succeeded");

        let before = Instant::now();
        assert_eq!(network.pay("n7", 9007).await.unwrap().2["state"], "Succeeded");
        assert!(before.elapsed() >= Duration::from_secs(1));

        // Long enough after n2 by now: the two time-outs alone took ten seconds.
        assert_eq!(network.query("n2").await.2["state"], "Succeeded");
        let numbers: Vec<_> = network.record().await.iter().map(|p| p["number"].clone()).collect();
        assert_eq!(numbers, ["plain", "n1", "n2", "n4", "n6", "n7"]);
    });
}

#[test]
fn what_is_closed_takes_no_money_and_what_was_paid_stays_paid() {
    runtime().block_on(async {
        let mut network = Network::new().await;
        network.pay("paid", 500).await.unwrap();
        assert_eq!(network.pay("later", 9002).await.unwrap().2["state"], "Processing");
        assert_eq!(network.close("paid").await["state"], "Succeeded");
        for number in ["later", "never"] {
            let closed = network.close(number).await;
            assert_eq!((&closed["state"], &closed["code"]), (&json!("Declined"), &json!("Closed")));
            assert_eq!(network.close(number).await, closed);
        }
        network.kill_and_restart().await;
        // One that comes afterwards is declined, also where it was never known.
        assert_eq!(network.pay("later", 9002).await.unwrap().2["code"], "Closed");
        let late = network.pay("never", 500).await.unwrap();
        assert_eq!((late.0, &late.2["state"], &late.2["code"]), (200, &json!("Declined"), &json!("Closed")));
        assert_eq!(network.query("never").await.2["code"], "Closed");
        let refund = json!({"number": "never", "originalNumber": "paid", "amountMinor": 1});
        assert_eq!(network.post("/sim/v1/refund", &refund).await.unwrap().0, 409);
    });
}

#[test]
fn refunds_are_idempotent_and_bounded() {
    runtime().block_on(async {
        let network = Network::new().await;
        network.pay("n1", 1000).await.unwrap();
        let refund = |number: &str, amount: i64| {
            json!({"number": number, "originalNumber": "n1", "amountMinor": amount})
        };
        let first = network.post("/sim/v1/refund", &refund("r1", 600)).await.unwrap();
        assert_eq!((first.0, &first.2["state"]), (200, &json!("Succeeded")));
        assert_eq!(network.post("/sim/v1/refund", &refund("r1", 600)).await.unwrap().2, first.2);
        let other = network.post("/sim/v1/refund", &refund("r1", 601)).await.unwrap();
        assert_eq!((other.0, &other.2["code"]), (409, &json!("NumberConflict")));
        let over = network.post("/sim/v1/refund", &refund("r2", 401)).await.unwrap();
        assert_eq!(over.2["code"], "RefundExceedsOriginal");
    });
}

#[test]
fn only_a_fresh_signature_over_exactly_this_request_is_believed() {
    runtime().block_on(async {
        let network = Network::new().await;
        let body =
            json!({"number": "n1", "amountMinor": 100, "currency": "CNY", "method": "card"}).to_string();
        let (path, now, nonce) = ("/sim/v1/pay", jiff::Timestamp::now().as_second(), "0123456789abcdef");
        let good = network.headers(path, &body, now, nonce);
        let with = |name: &str, value: &str| -> Vec<(&'static str, String)> {
            let swap =
                |(n, v): &(&'static str, String)| (*n, if *n == name { value.into() } else { v.clone() });
            good.iter().map(swap).collect()
        };
        let forged = STANDARD.encode(
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .unwrap()
                .sign(&SystemRandom::new(), format!("POST\n{path}\n{now}\n{nonce}\n{body}\n").as_bytes())
                .unwrap(),
        );
        let changed = body.replace("100", "101");
        let twice = [good.clone(), vec![("sim-nonce", nonce.to_owned())]].concat();
        for (why, path, body, headers, code) in [
            ("another key", path, &body, with("sim-signature", &forged), "BadSignature"),
            ("another body", path, &changed, good.clone(), "BadSignature"),
            ("another path", "/sim/v1/refund", &body, good.clone(), "BadSignature"),
            ("a query", "/sim/v1/pay?a=b", &body, good.clone(), "BadSignature"),
            ("another merchant", path, &body, with("sim-merchant", "M2"), "BadSignature"),
            ("another nonce", path, &body, with("sim-nonce", "fedcba9876543210"), "BadSignature"),
            ("another time", path, &body, with("sim-timestamp", &(now - 1).to_string()), "BadSignature"),
            ("another spelling", path, &body, with("sim-timestamp", &format!("+{now}")), "BadHeaders"),
            ("no base64", path, &body, with("sim-signature", "!"), "BadSignature"),
            ("a short nonce", path, &body, network.headers(path, &body, now, "short"), "BadHeaders"),
            ("an old one", path, &body, network.headers(path, &body, now - 62, nonce), "StaleRequest"),
            ("one to come", path, &body, network.headers(path, &body, now + 65, nonce), "StaleRequest"),
            ("a nonce twice", path, &body, twice, "BadHeaders"),
            ("nothing signed", path, &body, good[..3].to_vec(), "BadHeaders"),
        ] {
            let answer = network.send(path, body, headers, Duration::from_secs(5)).await.unwrap();
            assert_eq!((answer.0, answer.1, &answer.2["code"]), (401, true, &json!(code)), "{why}");
        }
        assert!(network.record().await.is_empty(), "none of them had an effect");
        let (status, verified, _) = network.send(path, &body, good, Duration::from_secs(5)).await.unwrap();
        assert_eq!((status, verified), (200, true), "the same request, untouched, is taken");
    });
}

#[test]
fn killed_under_load_it_forgets_nothing_that_it_acknowledged() {
    runtime().block_on(async {
        let mut network = Network::new().await;
        let mut acknowledged: Vec<Value> = Vec::new();
        for round in 0..4 {
            let shared = Arc::new(network);
            let tasks: Vec<_> = (0..8)
                .map(|worker| {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let mut told = Vec::new();
                        for n in 0.. {
                            match shared.pay(&format!("k{round}-{worker}-{n}"), 100 + n).await {
                                Ok((200, true, payment)) => told.push(payment),
                                Ok(other) => panic!("{other:?}"),
                                Err(_) => break,
                            }
                        }
                        told
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(400)).await;
            let pid = nix::unistd::Pid::from_raw(i32::try_from(shared.process.id()).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            for task in tasks {
                acknowledged.extend(task.await.unwrap());
            }
            network = Arc::into_inner(shared).unwrap();
            network.kill_and_restart().await;
        }
        assert!(acknowledged.len() > 40, "only {} payments", acknowledged.len());
        let record = network.record().await;
        for told in &acknowledged {
            let kept = record.iter().filter(|p| p["number"] == told["number"]).collect::<Vec<_>>();
            assert_eq!(kept.len(), 1, "{told}");
            assert_eq!(kept[0]["networkId"], told["networkId"]);
        }
        // What is in the record beyond that was in flight: at most one per worker and round.
        assert!(record.len() - acknowledged.len() <= 4 * 8, "{} and {}", record.len(), acknowledged.len());
        let lines = std::fs::read_to_string(network.journal()).unwrap().lines().count();
        assert_eq!(lines, record.len());
    });
}

#[test]
fn a_journal_cut_anywhere_in_its_last_record_opens_again() {
    runtime().block_on(async {
        let mut network = Network::new().await;
        network.pay("n1", 100).await.unwrap();
        network.pay("n2", 100).await.unwrap();
        let whole = std::fs::read(network.journal()).unwrap();
        let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
        // Every byte is tried in the journal's own tests; here a few, with the process.
        for cut in [first + 1, first + 20, (first + whole.len()) / 2, whole.len() - 1] {
            network.process.kill().unwrap();
            network.process.wait().unwrap();
            std::fs::write(network.journal(), &whole[..cut]).unwrap();
            network.kill_and_restart().await;
            assert_eq!(network.query("n1").await.0, 200, "cut at {cut}");
            assert_eq!(network.query("n2").await.0, 404, "cut at {cut}");
            let log = std::fs::read_to_string(network.folder.path().join("log")).unwrap();
            assert!(log.contains("a torn end of the journal was cut off"));
        }
    });
}

#[test]
fn sigterm_drains_and_ends_well() {
    runtime().block_on(async {
        let mut network = Network::new().await;
        let slow = network.pay("n1", 9007);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(network.process.id()).unwrap());
        let (slow, ()) = tokio::join!(slow, async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        });
        assert_eq!(slow.unwrap().2["state"], "Succeeded");
        let deadline = Instant::now() + Duration::from_secs(15);
        let status = loop {
            if let Some(status) = network.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(status.success(), "{status}");
    });
}

#[test]
fn a_merchant_who_is_listed_later_is_known_without_a_restart() {
    runtime().block_on(async {
        let network = Network::new().await;
        let file = network.folder.path().join("network/merchants.json");
        let listed = std::fs::read_to_string(&file).unwrap();
        let query = json!({"number": "nobodys"}).to_string();
        let status = async |merchant: &str| {
            let (now, nonce) =
                (jiff::Timestamp::now().as_second(), uuid::Uuid::new_v4().simple().to_string());
            let mut headers = network.headers("/sim/v1/query", &query, now, &nonce);
            headers[0].1 = merchant.to_owned();
            network.send("/sim/v1/query", &query, headers, Duration::from_secs(5)).await.unwrap().0
        };
        assert_eq!(status("M2").await, 401);
        std::fs::write(&file, listed.replace("\"M1\"", "\"M2\"")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while status("M2").await != 404 {
            assert!(Instant::now() < deadline, "M2 is not known");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(status("M1").await, 401, "who is listed no more is not known");
    });
}
