//! The https client of notifications: it believes public CAs, or those of a
//! file that is followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use payplane_common::config::{ConfigError, Live};
use snafu::{ResultExt, Snafu};

use super::SENDING_MAX;

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4096;

#[derive(Debug, Snafu)]
pub enum NotifyError {
    #[snafu(display("the CA for notifications cannot be used"))]
    Ca { source: ConfigError },
    #[snafu(display("an https client cannot be made"))]
    Client { source: reqwest::Error },
}

pub(super) enum Client {
    Fixed(reqwest::Client),
    Followed(Arc<Live<reqwest::Client>>),
}

impl Client {
    pub(super) fn new(ca: Option<&PathBuf>) -> Result<Self, NotifyError> {
        let Some(path) = ca else {
            let roots = public_roots().context(ClientSnafu)?;
            return Ok(Self::Fixed(client(roots).context(ClientSnafu)?));
        };
        let parse = |_: &Path, pem: &[u8]| {
            let roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?;
            if roots.is_empty() {
                return Err("no certificate is in it".to_owned());
            }
            client(roots).map_err(|error| error.to_string())
        };
        Ok(Self::Followed(Live::load(path, parse).context(CaSnafu)?))
    }

    /// Follows the CAs until the future is dropped.
    pub(super) async fn follow(&self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Followed(live) => live.clone().follow().await,
        }
    }

    pub(super) fn current(&self) -> reqwest::Client {
        match self {
            Self::Fixed(client) => client.clone(),
            Self::Followed(live) => live.current().value.clone(),
        }
    }
}

/// An answer's body, where it is of a sane length.
pub(super) async fn body(mut answer: reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return None;
        }
    }
    Some(body)
}

fn client(roots: Vec<reqwest::Certificate>) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_certs_only(roots)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(SENDING_MAX)
        .user_agent("Mozilla/4.0")
        .build()
}

fn public_roots() -> Result<Vec<reqwest::Certificate>, reqwest::Error> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| reqwest::Certificate::from_der(der)).collect()
}
