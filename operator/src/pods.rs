//! What pods say over mutual TLS. They are called by address, and verified by
//! the name of their Service.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use payplane_api::control::{OpenPayments, PodStatus, ProbeRequest, RoundTrip};
use payplane_api::ledger::v1::RaiseConfigEpochRequest;
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::names::{PORT_ADMIN, PORT_LEDGER};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use snafu::{OptionExt, ResultExt, Snafu};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tenant::certificates::Certificates;

const CALL_MAX: Duration = Duration::from_secs(5);
const PROBE_MAX: Duration = Duration::from_secs(15);
const BODY_MAX: usize = 256 * 1024;

#[derive(Debug, Snafu)]
pub enum PodError {
    #[snafu(display("the operator's certificate cannot be used"))]
    Certificate,
    #[snafu(display("pod {address} cannot be reached"))]
    Reach { address: String, source: std::io::Error },
    #[snafu(display("pod {address} did not answer in time"))]
    Late { address: String },
    #[snafu(display("pod {address} broke off"))]
    Http { address: String, source: hyper::Error },
    #[snafu(display("pod {address} answered {status}: {code}"))]
    Refused { address: String, status: u16, code: String },
    #[snafu(display("pod {address} answered something unreadable"))]
    Unreadable { address: String },
    #[snafu(display("the ledger at {address} refused"))]
    Ledger { address: String, source: tonic::Status },
    #[snafu(display("the ledger at {address} cannot be reached"))]
    LedgerReach { address: String, source: tonic::transport::Error },
}

/// Calls one tenant's pods.
#[derive(Clone)]
pub struct Caller {
    namespace: String,
    tls: Arc<ClientConfig>,
    tls_h2: Arc<ClientConfig>,
}

impl Caller {
    pub fn new(namespace: &str, certificates: &Certificates) -> Result<Self, PodError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(certificates.bundle.as_bytes()).flatten() {
            roots.add(certificate).ok().context(CertificateSnafu)?;
        }
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(certificates.operator.certificate.as_bytes()).flatten().collect();
        let key = PrivateKeyDer::from_pem_slice(certificates.operator.key.as_bytes())
            .ok()
            .context(CertificateSnafu)?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let tls = builder.with_client_auth_cert(chain, key).ok().context(CertificateSnafu)?;
        let mut tls_h2 = tls.clone();
        tls_h2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { namespace: namespace.to_owned(), tls: Arc::new(tls), tls_h2: Arc::new(tls_h2) })
    }

    /// What config a gateway pod runs.
    pub async fn status(&self, address: &str) -> Result<PodStatus, PodError> {
        bounded(address, CALL_MAX, self.request(address, "GET", "/control/v1/status", &())).await
    }

    /// A read-only trip through gateway and ledger to the primary.
    pub async fn round_trip(&self, address: &str) -> Result<RoundTrip, PodError> {
        bounded(address, CALL_MAX, self.request(address, "GET", "/control/v1/roundtrip", &())).await
    }

    /// Payments on a channel whose outcome is owed.
    pub async fn open_payments(&self, address: &str, channel: &str) -> Result<OpenPayments, PodError> {
        bounded(
            address,
            CALL_MAX,
            self.request(address, "GET", &format!("/control/v1/channels/{channel}/open"), &()),
        )
        .await
    }

    /// Books and reverses 1 XTS.
    pub async fn probe(&self, address: &str, fingerprint: &str) -> Result<(), PodError> {
        let request = ProbeRequest { fingerprint: fingerprint.to_owned() };
        let call = self.request::<serde_json::Value>(address, "POST", "/control/v1/probe", &request);
        bounded(address, PROBE_MAX, call).await.map(|_| ())
    }

    /// From here on the ledger refuses what was decided on an older config.
    pub async fn raise_config_epoch(&self, address: &str, config_epoch: u64) -> Result<u64, PodError> {
        let (caller, host) = (self.clone(), address.to_owned());
        let connector = tower::service_fn(move |_: http::Uri| {
            let (caller, host) = (caller.clone(), host.clone());
            async move {
                let stream = caller.dial(&host, PORT_LEDGER, "ledger", &caller.tls_h2).await;
                stream.map(TokioIo::new).map_err(std::io::Error::other)
            }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://ledger")
            .timeout(CALL_MAX)
            .connect_timeout(CALL_MAX);
        let channel =
            endpoint.connect_with_connector(connector).await.context(LedgerReachSnafu { address })?;
        let mut ledger = LedgerClient::new(channel);
        let answer = ledger.raise_config_epoch(RaiseConfigEpochRequest { config_epoch }).await;
        Ok(answer.context(LedgerSnafu { address })?.into_inner().config_epoch_min)
    }

    async fn request<T: serde::de::DeserializeOwned>(
        &self,
        address: &str,
        method: &str,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<T, PodError> {
        let stream = self.dial(address, PORT_ADMIN, "gateway", &self.tls).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .context(HttpSnafu { address })?;
        let driver = tokio::spawn(connection);
        let bytes = if method == "GET" { Vec::new() } else { serde_json::to_vec(body).unwrap_or_default() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("gateway.{}.svc", self.namespace))
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(bytes)))
            .ok()
            .context(UnreadableSnafu { address })?;
        let response = sender.send_request(request).await.context(HttpSnafu { address })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        driver.abort();
        let bytes = body.ok().context(UnreadableSnafu { address })?.to_bytes();
        if !status.is_success() {
            let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let code = problem["code"].as_str().unwrap_or("Unknown").to_owned();
            return RefusedSnafu { address, status: status.as_u16(), code }.fail();
        }
        serde_json::from_slice(&bytes).ok().context(UnreadableSnafu { address })
    }

    async fn dial(
        &self,
        address: &str,
        port: u16,
        service: &str,
        tls: &Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, PodError> {
        let name = format!("{service}.{}.svc", self.namespace);
        let name = ServerName::try_from(name).ok().context(CertificateSnafu)?;
        let ip: std::net::IpAddr = address.parse().ok().context(UnreadableSnafu { address })?;
        let stream = TcpStream::connect((ip, port)).await.context(ReachSnafu { address })?;
        let connector = tokio_rustls::TlsConnector::from(tls.clone());
        connector.connect(name, stream).await.context(ReachSnafu { address })
    }
}

/// A pod that does not answer within the time is late.
async fn bounded<T>(
    address: &str,
    at_most: Duration,
    call: impl Future<Output = Result<T, PodError>>,
) -> Result<T, PodError> {
    tokio::time::timeout(at_most, call).await.ok().context(LateSnafu { address })?
}
