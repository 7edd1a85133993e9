//! TLS from mounted files, followed while they change: certificates rotate
//! without a restart. aws-lc-rs is the only provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use snafu::{ResultExt, Snafu};

const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Snafu)]
pub enum TlsError {
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("{} holds no usable PEM", path.display()))]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[snafu(display("{} holds no certificate", path.display()))]
    Empty { path: PathBuf },
    #[snafu(display("certificate and key cannot be used"))]
    Unusable { source: rustls::Error },
    #[snafu(display("client certificates cannot be verified"))]
    Verifier { source: rustls::server::VerifierBuilderError },
}

/// The files of one identity. `tls.crt` and `tls.key` lie in `identity`,
/// `ca.crt` in `trust`.
#[derive(Clone, Debug)]
pub struct Files {
    pub identity: Option<PathBuf>,
    pub trust: Option<PathBuf>,
}

impl Files {
    fn chain(&self) -> Option<PathBuf> {
        self.identity.as_ref().map(|folder| folder.join("tls.crt"))
    }

    fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|d| [d.join("tls.crt"), d.join("tls.key")]);
        identity.chain(self.trust.iter().map(|d| d.join("ca.crt"))).collect()
    }

    fn contents(&self) -> Vec<Vec<u8>> {
        self.paths().iter().map(|path| std::fs::read(path).unwrap_or_default()).collect()
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
        let Some((chain, folder)) = self.chain().zip(self.identity.as_ref()) else { return Ok(None) };
        let key = folder.join("tls.key");
        let key = PrivateKeyDer::from_pem_slice(&file(&key)?).context(PemSnafu { path: key })?;
        Ok(Some((certificates(&chain)?, key)))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(folder) = &self.trust {
            for certificate in certificates(&folder.join("ca.crt"))? {
                roots.add(certificate).context(UnusableSnafu)?;
            }
        }
        Ok(roots)
    }
}

/// Reads every certificate of a PEM file; none is an error.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = file(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.context(PemSnafu { path })?;
    if read.is_empty() {
        return EmptySnafu { path }.fail();
    }
    Ok(read)
}

fn file(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).context(ReadSnafu { path })
}

/// A TLS config that follows its files. Connections that stand keep theirs.
pub struct Followed<C> {
    files: Files,
    current: ArcSwap<C>,
    build: fn(&Files) -> Result<C, TlsError>,
}

impl<C: Send + Sync + 'static> Followed<C> {
    fn new(files: Files, build: fn(&Files) -> Result<C, TlsError>) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(build(&files)?);
        Ok(Arc::new(Self { files, current, build }))
    }

    /// The config for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<C> {
        self.current.load_full()
    }

    /// Follows the files until the future is dropped. A half-written pair is
    /// left alone: the next look finds it whole.
    pub async fn follow(self: Arc<Self>) {
        let mut known = self.files.contents();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.files.contents();
            if now == known {
                continue;
            }
            match (self.build)(&self.files) {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    known = now;
                    tracing::info!(files = ?self.files, "certificates loaded");
                }
                Err(error) => {
                    tracing::debug!(error = crate::telemetry::chain(&error), "certificates not usable yet");
                }
            }
        }
    }
}

/// A server's TLS. With `files.trust` set, clients must present a certificate
/// that leads to it; without, none is asked for.
pub fn server(files: Files) -> Result<Arc<Followed<ServerConfig>>, TlsError> {
    Followed::new(files, build_server)
}

/// A client's TLS. `files.trust` says which servers to believe; with
/// `files.identity` set it presents a certificate.
pub fn client(files: Files) -> Result<Arc<Followed<ClientConfig>>, TlsError> {
    Followed::new(files, build_client)
}

fn build_server(files: &Files) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder();
    let builder = match files.trust {
        Some(_) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(files.roots()?)).build();
            builder.with_client_cert_verifier(verifier.context(VerifierSnafu)?)
        }
        None => builder.with_no_client_auth(),
    };
    let Some((chain, key)) = files.identity()? else {
        return EmptySnafu { path: PathBuf::from("tls.crt") }.fail();
    };
    let mut config = builder.with_single_cert(chain, key).context(UnusableSnafu)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn build_client(files: &Files) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder().with_root_certificates(files.roots()?);
    Ok(match files.identity()? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).context(UnusableSnafu)?,
        None => builder.with_no_client_auth(),
    })
}

/// Makes aws-lc-rs the process's provider. A second call is ignored.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
