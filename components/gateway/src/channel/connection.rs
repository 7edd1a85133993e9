//! An https connection to a network: a request is sent once, and its answer is read
//! within bounds. Whether the answer is believed, the network's folder decides.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use payplane_common::trace::Trace;
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, Url};
use snafu::ResultExt;

use super::PrepareError;
use super::credentials::{ClientSnafu, SetupError};
use super::endpoint::{self, DeniedNetworks, reason};
use super::record;
use super::resolver::GuardedResolver;

const ANSWER_MAX: Duration = Duration::from_secs(5);
/// While no connection was made nothing has left, so a moment without DNS or a
/// route to the network need not fail a payment.
const CONNECT_TRIES: u32 = 3;
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// More than all tries take. A process that was frozen between two of them makes no
/// connection later for a request that is this old.
const CONNECT_MAX: SignedDuration = SignedDuration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub struct Connection {
    endpoint: Url,
    client: Client,
}

/// What came back, not yet believed.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer.
pub enum Silence {
    /// No byte of the request can have left.
    NotSent(String),
    Unknown(String),
}

impl Connection {
    pub fn new(
        endpoint: &str,
        roots: Vec<Certificate>,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        Self::showing(None, endpoint, roots, denied)
    }

    /// The same, with what we show in TLS where the network asks for it.
    pub fn showing(
        identity: Option<Identity>,
        endpoint: &str,
        roots: Vec<Certificate>,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let endpoint = endpoint::parse(endpoint, &denied).map_err(|why| SetupError::Endpoint { why })?;
        let client = endpoint::client(roots, GuardedResolver::new(&endpoint, denied));
        let client = match identity {
            Some(identity) => client.identity(identity),
            None => client,
        };
        let client = client.timeout(ANSWER_MAX).pool_max_idle_per_host(64).build().context(ClientSnafu)?;
        Ok(Self { endpoint, client })
    }

    /// A request to a path of the network.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, PrepareError> {
        let url = self.endpoint.join(path).map_err(|e| PrepareError { why: e.to_string() })?;
        Ok(self.client.request(method, url))
    }

    /// How long an answer may take: by as much a network may have looked before it
    /// stamped one.
    #[must_use]
    pub fn answer_max() -> SignedDuration {
        SignedDuration::try_from(ANSWER_MAX).unwrap_or(SignedDuration::MAX)
    }

    /// Sends a request once. Whoever keeps what passes is told.
    pub async fn send(&self, mut request: reqwest::Request, trace: Trace) -> Result<Answer, Silence> {
        let sent = record::begin(&request);
        trace.put(request.headers_mut());
        let answer = self.exchange(request).await;
        record::end(sent, &answer);
        answer
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, Silence> {
        let mut response = match self.connect_and_send(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(Silence::NotSent(reason(&error))),
            Err(error) => return Err(Silence::Unknown(reason(&error))),
        };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= ANSWER_BYTES_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => return Err(Silence::Unknown("the answer is too long".to_owned())),
                Ok(None) => break,
                Err(error) => return Err(Silence::Unknown(reason(&error))),
            }
        }
        Ok(Answer { status, headers: std::mem::take(response.headers_mut()), body })
    }

    async fn connect_and_send(&self, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
        let begun = Timestamp::now();
        for _ in 1..CONNECT_TRIES {
            let Some(copy) = request.try_clone() else { break };
            match self.client.execute(copy).await {
                Err(error) if error.is_connect() => {
                    tokio::time::sleep(CONNECT_AGAIN).await;
                    if Timestamp::now().duration_since(begun) > CONNECT_MAX {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
        self.client.execute(request).await
    }
}

/// One header, where it is there once.
#[must_use]
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
