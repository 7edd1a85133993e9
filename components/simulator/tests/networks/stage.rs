//! A simulator in a process of its own, and a merchant's server for its notifications.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_common::shutdown::Shutdown;
use payplane_common::tls::Files;
use payplane_testkit::port;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;

const FOLDER: &str = "SIMULATOR_TEST_FOLDER";
pub(crate) const WAIT: Duration = Duration::from_secs(3);

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: payplane_simulator::Args,
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Not a test of its own: what the other tests start as a process.
#[test]
#[ignore = "started by the other tests"]
fn simulator_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let ports = std::fs::read_to_string(Path::new(&folder).join("ports")).unwrap();
    let (listen, health) = ports.split_once(' ').unwrap();
    let file = |name: &str| format!("{folder}/{name}");
    let args = [
        ("--listen", format!("127.0.0.1:{listen}")),
        ("--health", format!("127.0.0.1:{health}")),
        ("--state", file("journal.jsonl")),
        ("--tls-cert", file("network/tls.crt")),
        ("--tls-key", file("network/tls.key")),
        ("--network-key", file("network/network.key")),
        ("--merchants", file("network/merchants.json")),
        ("--networks", file("network/networks.json")),
        ("--notify-ca", file("ca/ca.crt")),
        ("--payer-after-ms", "100".to_owned()),
    ];
    let args = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    let cli = <Cli as clap::Parser>::parse_from(["simulator".to_owned()].into_iter().chain(args));
    runtime().block_on(payplane_simulator::run(cli.args)).unwrap();
}

/// What the merchant's server was told.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

#[derive(Default)]
struct Mailbox {
    got: Vec<Got>,
    /// How many more notifications of a path are refused.
    refuse: HashMap<String, u32>,
}

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    process: Child,
    health: String,
    mailbox: Arc<Mutex<Mailbox>>,
    hook: String,
    shutdown: Shutdown,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.closing.cancel();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "stage::simulator_process"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// What `init` made, once for all tests: RSA keys take their time.
fn made() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let init = payplane_simulator::init::InitArgs {
            dir: folder.path().to_owned(),
            dns: vec!["127.0.0.1".into()],
            merchant: "M1".into(),
            ids: payplane_simulator::init::NetworkIds::default(),
        };
        payplane_simulator::init::run(&init).unwrap();
        folder
    });
    folder.path()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            std::fs::create_dir(to.join(&name)).unwrap();
            copy(&path, &to.join(&name));
        } else {
            std::fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

async fn take(
    State(mailbox): State<Arc<Mutex<Mailbox>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let mut mailbox = mailbox.lock().unwrap();
    let path = uri.path().to_owned();
    let body = String::from_utf8(body.to_vec()).unwrap();
    mailbox.got.push(Got { path: path.clone(), headers, body, at: Instant::now() });
    match mailbox.refuse.get_mut(&path) {
        Some(left) if *left > 0 => {
            *left -= 1;
            (StatusCode::INTERNAL_SERVER_ERROR, "no")
        }
        _ => (StatusCode::OK, "success"),
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        payplane_common::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        copy(made(), folder.path());
        let (port, health) = (port::free().unwrap(), port::free().unwrap());
        std::fs::write(folder.path().join("ports"), format!("{port} {health}")).unwrap();
        let roots = std::fs::read(folder.path().join("ca/ca.crt")).unwrap();
        let roots = reqwest::Certificate::from_pem_bundle(&roots).unwrap();
        let mailbox = Arc::new(Mutex::new(Mailbox::default()));
        let shutdown = Shutdown::default();
        let listener = payplane_common::serve::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let hook = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let identity = Some(folder.path().join("network"));
        let tls = payplane_common::tls::server(Files { identity, trust: None }).unwrap();
        let router = axum::Router::new().fallback(take).with_state(mailbox.clone());
        tokio::spawn(payplane_common::serve::tls(listener, tls, router, shutdown.clone()));
        let stage = Self {
            process: start(folder.path()),
            base: format!("https://127.0.0.1:{port}"),
            health: format!("http://127.0.0.1:{health}"),
            client: reqwest::Client::builder()
                .tls_certs_only(roots)
                .no_proxy()
                .user_agent("test")
                .build()
                .unwrap(),
            folder,
            mailbox,
            hook,
            shutdown,
        };
        stage.ready().await;
        stage
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.client.get(format!("{}/readyz", self.health)).send().await.is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the simulator did not start: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn kill_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = start(self.folder.path());
        self.ready().await;
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ids(&self, network: &str) -> Value {
        serde_json::from_slice(&self.file(&format!("{network}/ids.json"))).unwrap()
    }

    /// An address of the merchant's server.
    pub(crate) fn hook(&self, path: &str) -> String {
        format!("{}{path}", self.hook)
    }

    pub(crate) fn refuse(&self, path: &str, times: u32) {
        self.mailbox.lock().unwrap().refuse.insert(path.to_owned(), times);
    }

    pub(crate) fn got(&self, path: &str) -> Vec<Got> {
        self.mailbox.lock().unwrap().got.iter().filter(|got| got.path == path).cloned().collect()
    }

    /// Waits for as many notifications on a path.
    pub(crate) async fn told(&self, path: &str, count: usize) -> Vec<Got> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let got = self.got(path);
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < deadline, "{path}: {} of {count} came", got.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn record(&self) -> Vec<Value> {
        let answer = self.client.get(format!("{}/sim/v1/record", self.health)).send().await.unwrap();
        let record: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        record["payments"].as_array().unwrap().clone()
    }

    /// What the simulator's process used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// What the simulator's process holds.
    pub(crate) fn memory_bytes(&self) -> f64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
    }

    pub(crate) async fn metrics(&self) -> String {
        self.client.get(format!("{}/metrics", self.health)).send().await.unwrap().text().await.unwrap()
    }
}

/// A merchant's key.
pub(crate) struct Key(RsaKeyPair);

impl Key {
    pub(crate) fn read(pem: &[u8]) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Self(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap())
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        STANDARD.encode(signature)
    }
}

/// Does this public key (PEM) verify?
pub(crate) fn verifies(public_pem: &[u8], text: &str, signature: &str) -> bool {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem).unwrap();
    verifies_der(&der, text, signature)
}

pub(crate) fn verifies_der(spki: &[u8], text: &str, signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki).verify(text.as_bytes(), &signature).is_ok()
}

/// Writes a form, in any order.
pub(crate) fn form(fields: &BTreeMap<String, String>) -> String {
    let escape = |text: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*".contains(&b);
        text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let pairs: Vec<_> = fields.iter().map(|(n, v)| format!("{}={}", escape(n), escape(v))).collect();
    pairs.join("&")
}

/// Reads a form.
pub(crate) fn read_form(text: &str) -> BTreeMap<String, String> {
    let unescape = |text: &str| -> String {
        let (mut bytes, mut rest) = (Vec::new(), text.replace('+', " ").into_bytes().into_iter());
        while let Some(byte) = rest.next() {
            bytes.push(if byte == b'%' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            } else {
                byte
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (unescape(name), unescape(value))
    };
    text.split('&').map(pair).collect()
}

/// `name=value` joined by `&`, by name, without some and without empty ones.
pub(crate) fn joined(fields: &BTreeMap<String, String>, left_out: &[&str]) -> String {
    let signed = fields.iter().filter(|(n, v)| !v.is_empty() && !left_out.contains(&n.as_str()));
    signed.map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}
