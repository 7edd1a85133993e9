//! Calls of the app API: each signed, over TLS that believes one CA, on as many
//! connections as are asked for. Nothing is sent twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Client, Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snafu::{OptionExt, ResultExt, Snafu};

use crate::key::{Algorithm, KeyError};
use crate::message::{PayRequest, Payment, Payout, PayoutRequest, Problem, Refund, RefundRequest};
use crate::sign::Signer;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(3);
/// A connection whose peer is silent for so long is given up.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(8);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// Whom to call, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct AppArgs {
    /// The gateway's address, e.g. `https://gateway.ptn-demo.svc:8443`; several
    /// are called in turn
    #[arg(long, required = true)]
    pub gateway: Vec<String>,
    /// The CA certificates (PEM) that the gateway's must lead to
    #[arg(long)]
    pub ca: PathBuf,
    /// The app's id
    #[arg(long)]
    pub app: String,
    /// The app's private key (PKCS#8 PEM), or its secret (base64)
    #[arg(long)]
    pub key: PathBuf,
    /// How the key signs
    #[arg(long, value_enum, default_value_t)]
    pub algorithm: Algorithm,
    /// How requests carry their signature
    #[arg(long, value_enum, default_value_t)]
    pub style: Style,
    /// The key's id
    #[arg(long, default_value = "k1")]
    pub key_id: String,
    /// How long to wait for an answer
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// How long a connection may be silent, pings included, until it is given up
    #[arg(long, default_value = "8s", value_parser = duration)]
    pub silence: Duration,
    /// Connections to each gateway
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
}

/// How requests carry their signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// In headers, by RFC 9421
    #[default]
    Headers,
    /// In sorted parameters
    Sorted,
}

/// Reads `250ms`, `30s`, `5m`, as people write them.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(span).map_err(|error| error.to_string())
}

#[derive(Debug, Snafu)]
pub enum CallError {
    #[snafu(display("{address:?} is not an https address"))]
    Address { address: String },
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("{} holds no usable certificates or key", path.display()))]
    Certificates { path: PathBuf, source: reqwest::Error },
    #[snafu(display("the app's key cannot be used"))]
    Key { source: KeyError },
    #[snafu(display("the https client cannot be built"))]
    Build { source: reqwest::Error },
    #[snafu(display("signing failed"))]
    Sign,
    #[snafu(display("the request cannot be written as JSON"))]
    Encode { source: serde_json::Error },
    /// The request never left.
    #[snafu(display("no connection"))]
    Connect { source: reqwest::Error },
    /// It may have been carried out.
    #[snafu(display("no answer"))]
    NoAnswer { source: reqwest::Error },
    #[snafu(display("the answer is longer than {ANSWER_BYTES_MAX} bytes"))]
    Long,
    #[snafu(display("the answer cannot be read: {text}"))]
    Unreadable { text: String, source: serde_json::Error },
    #[snafu(display("refused with {status} {problem}"))]
    Refused { status: u16, problem: Box<Problem> },
}

/// An app's connections to its gateways.
pub struct App {
    signer: Signer,
    style: Style,
    gateways: Vec<Url>,
    clients: Vec<Client>,
    turn: AtomicUsize,
}

impl App {
    pub fn new(args: &AppArgs) -> Result<Self, CallError> {
        let signer = Signer::with(&args.app, &args.key_id, &args.key, args.algorithm).context(KeySnafu)?;
        let gateways: Vec<_> = args.gateway.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        let count = args.connections.clamp(1, CONNECTIONS_MAX);
        let clients = (0..count)
            .map(|_| client(&args.ca, None, args.timeout, args.silence))
            .collect::<Result<_, _>>()?;
        Ok(Self { signer, style: args.style, gateways, clients, turn: AtomicUsize::new(0) })
    }

    pub async fn pay(&self, request: &PayRequest) -> Result<Payment, CallError> {
        self.call(Method::POST, "/v1/payments", &body(request)?).await
    }

    pub async fn payment(&self, date: &str, number: &str) -> Result<Payment, CallError> {
        self.call(Method::GET, &format!("/v1/payments/{date}/{number}"), b"").await
    }

    /// Asks that the order be paid no more; what it is then is answered.
    pub async fn close(&self, date: &str, number: &str) -> Result<Payment, CallError> {
        self.call(Method::POST, &format!("/v1/payments/{date}/{number}/close"), b"").await
    }

    pub async fn refund(
        &self,
        date: &str,
        number: &str,
        request: &RefundRequest,
    ) -> Result<Refund, CallError> {
        let path = format!("/v1/payments/{date}/{number}/refunds");
        self.call(Method::POST, &path, &body(request)?).await
    }

    pub async fn refund_of(&self, date: &str, number: &str, refund: &str) -> Result<Refund, CallError> {
        self.call(Method::GET, &format!("/v1/payments/{date}/{number}/refunds/{refund}"), b"").await
    }

    /// Reads whatever a path, with its query, is answered with.
    pub async fn read(&self, path: &str) -> Result<serde_json::Value, CallError> {
        self.call(Method::GET, path, b"").await
    }

    /// Posts whatever a path takes.
    pub async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, CallError> {
        self.call(Method::POST, path, &body(request)?).await
    }

    /// Posts to a path that takes nothing.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::POST, path, b"").await
    }

    pub async fn pay_out(&self, request: &PayoutRequest) -> Result<Payout, CallError> {
        self.call(Method::POST, "/v1/payouts", &body(request)?).await
    }

    pub async fn payout(&self, date: &str, number: &str) -> Result<Payout, CallError> {
        self.call(Method::GET, &format!("/v1/payouts/{date}/{number}"), b"").await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<T, CallError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let pick = |length: usize, turn: usize| turn.checked_rem(length).unwrap_or(0);
        let base = &self.gateways[pick(self.gateways.len(), turn)];
        let client = &self.clients[pick(self.clients.len(), turn / self.gateways.len().max(1))];
        let url = base.join(path).ok().context(AddressSnafu { address: path })?;
        if self.style == Style::Sorted {
            let (url, body) = self.signer.sign_sorted(method.as_str(), url, body).context(SignSnafu)?;
            let request = client.request(method, url).header("content-type", "application/json");
            return answer(request.body(body)).await;
        }
        let signed = self.signer.sign(method.as_str(), &url, body).context(SignSnafu)?;
        let request = client
            .request(method, url)
            .header("content-type", "application/json")
            .header("content-digest", signed.content_digest)
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature)
            .body(body.to_vec());
        answer(request).await
    }
}

fn body(message: &impl Serialize) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(message).context(EncodeSnafu)
}

/// Reads a base address. Plain http is refused: keys and money go over TLS.
pub(crate) fn address(text: &str) -> Result<Url, CallError> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
    url.context(AddressSnafu { address: text })
}

/// An https client that believes one CA and shows a certificate, if it has one. It sends
/// again what the server says it has not processed (RFC 9113, 8.7: it is going away, or
/// refused the stream), as HTTP libraries do, and nothing else.
pub(crate) fn client(
    ca: &Path,
    identity: Option<(&Path, &Path)>,
    timeout: Duration,
    silence: Duration,
) -> Result<Client, CallError> {
    let read = |path: &Path| std::fs::read(path).context(ReadSnafu { path });
    let roots = Certificate::from_pem_bundle(&read(ca)?).context(CertificatesSnafu { path: ca })?;
    let mut builder = Client::builder()
        .https_only(true)
        .tls_certs_only(roots)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .timeout(timeout)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(silence.saturating_sub(PING_EVERY));
    if let Some((certificate, key)) = identity {
        let pem = [read(certificate)?, read(key)?].concat();
        let identity = reqwest::Identity::from_pem(&pem).context(CertificatesSnafu { path: certificate })?;
        builder = builder.identity(identity);
    }
    builder.build().context(BuildSnafu)
}

/// Sends a request and reads its answer, whole and bounded.
pub(crate) async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, CallError> {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(source) if source.is_connect() => return Err(CallError::Connect { source }),
        Err(source) => return Err(CallError::NoAnswer { source }),
    };
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.context(NoAnswerSnafu)? {
        if bytes.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return LongSnafu.fail();
        }
        bytes.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let problem = Box::new(serde_json::from_slice(&bytes).unwrap_or_default());
        return RefusedSnafu { status: status.as_u16(), problem }.fail();
    }
    let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
    serde_json::from_slice(&bytes).context(UnreadableSnafu { text })
}
