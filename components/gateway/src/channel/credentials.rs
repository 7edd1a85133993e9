//! Keys of a channel: files beside the config, each named there with its digest.

use std::path::Path;

use payplane_api::config::{ClientIdentity, KeyFile};
use reqwest::{Certificate, Identity};
use snafu::{OptionExt, ResultExt, Snafu, ensure};

/// Why a channel cannot be set up.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum SetupError {
    #[snafu(display("{why}"))]
    Endpoint { why: String },
    #[snafu(display("key file {file:?} is not the name of a file beside the config"))]
    KeyName { file: String },
    #[snafu(display("cannot read key file {file}"))]
    KeyRead { file: String, source: std::io::Error },
    #[snafu(display("key file {file} is not the one that the config means: its SHA-256 differs"))]
    KeyDigest { file: String },
    #[snafu(display("key file {file} holds no {what}"))]
    Key { file: String, what: &'static str },
    #[snafu(display("the https client cannot be built"))]
    Client { source: reqwest::Error },
}

/// Reads a key file and compares it with the digest in the config.
pub fn read(folder: &Path, key: &KeyFile) -> Result<Vec<u8>, SetupError> {
    let file = &key.file;
    ensure!(!file.is_empty() && !file.contains('/') && file != "..", KeyNameSnafu { file });
    let bytes = std::fs::read(folder.join(file)).context(KeyReadSnafu { file })?;
    ensure!(payplane_api::config::hash(&bytes) == key.sha256, KeyDigestSnafu { file });
    Ok(bytes)
}

/// Reads a key file as what it should hold.
pub fn parse<T>(
    folder: &Path,
    key: &KeyFile,
    what: &'static str,
    read_as: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, SetupError> {
    read_as(&read(folder, key)?).context(KeySnafu { file: &key.file, what })
}

/// The CAs that a network's certificate must lead to: its own, or the public ones.
pub fn roots(folder: &Path, ca: Option<&KeyFile>) -> Result<Vec<Certificate>, SetupError> {
    let Some(ca) = ca else { return Ok(public_roots()) };
    let bundle = |pem: &[u8]| Certificate::from_pem_bundle(pem).ok().filter(|all| !all.is_empty());
    parse(folder, ca, "certificate (PEM)", bundle)
}

/// What we show in TLS, where the network asks for it.
pub fn identity(folder: &Path, client: Option<&ClientIdentity>) -> Result<Option<Identity>, SetupError> {
    let Some(ClientIdentity { certificate, key }) = client else { return Ok(None) };
    let pem = [read(folder, certificate)?, read(folder, key)?].join(&b'\n');
    let what = "certificate whose private key stands beside it (PEM)";
    Identity::from_pem(&pem).ok().context(KeySnafu { file: &certificate.file, what }).map(Some)
}

/// The CAs that the public web is believed by.
#[must_use]
pub fn public_roots() -> Vec<Certificate> {
    let certificates = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    certificates.filter_map(|der| Certificate::from_der(der).ok()).collect()
}
