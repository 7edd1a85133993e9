//! What was said on the wire, for programs that check it: one JSON line per
//! exchange, a request with our answer or a notification with the merchant's.
//! It holds what merchants sent, so it is written only where it is asked for.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode};
use serde::Serialize;
use snafu::{ResultExt, Snafu};

use crate::book::NetworkName;

/// The record ends here: a disk is not filled by a simulator that somebody forgot.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// More than any network's own bound, so that its own refusal is recorded.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Snafu)]
#[snafu(display("cannot write the traffic to {}", path.display()))]
pub struct TrafficError {
    path: PathBuf,
    source: std::io::Error,
}

/// The file, and how many bytes may still be written.
#[derive(Debug)]
pub struct Traffic(Mutex<(File, usize)>);

/// One exchange. It is written when it is dropped, also where nobody waited for
/// the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    #[serde(skip)]
    traffic: Arc<Traffic>,
    /// `request` or `notification`.
    pub direction: &'static str,
    pub network: NetworkName,
    pub method: String,
    /// The path with its query; of a notification the whole address.
    pub target: String,
    #[serde(flatten)]
    pub asked: Said,
    pub answer: Option<Answer>,
}

#[derive(Debug, Serialize)]
pub struct Answer {
    status: u16,
    #[serde(flatten)]
    said: Said,
}

/// Headers and body. A body that is no text stands in base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Said {
    pub fn new(headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let body_base64 = std::str::from_utf8(body).is_err().then(|| STANDARD.encode(body));
        let body = body_base64.is_none().then(|| text(body));
        Self { headers: headers.collect(), body, body_base64 }
    }
}

impl Traffic {
    /// Starts a record, in place of one that is there.
    pub fn create(path: &Path) -> Result<Arc<Self>, TrafficError> {
        Self::bounded(path, RECORD_BYTES_MAX)
    }

    fn bounded(path: &Path, bytes_max: usize) -> Result<Arc<Self>, TrafficError> {
        let file = File::create(path).context(TrafficSnafu { path })?;
        Ok(Arc::new(Self(Mutex::new((file, bytes_max)))))
    }

    /// Writes a whole line, or none once the record is full.
    fn write(&self, exchange: &Exchange) {
        let Ok(mut line) = serde_json::to_vec(exchange) else { return };
        line.push(b'\n');
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, left) = &mut *record;
        match left.checked_sub(line.len()) {
            Some(rest) if file.write_all(&line).is_ok() => *left = rest,
            // One that was left out would make the rest look like all.
            _ => *left = 0,
        }
    }
}

impl Exchange {
    pub fn new(
        traffic: &Arc<Traffic>,
        (direction, network): (&'static str, NetworkName),
        (method, target): (&str, &str),
        asked: Said,
    ) -> Self {
        let (traffic, method, target) = (traffic.clone(), method.to_owned(), target.to_owned());
        Self { traffic, direction, network, method, target, asked, answer: None }
    }

    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        self.answer = Some(Answer { status: status.as_u16(), said: Said::new(headers, body) });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.traffic.write(self);
    }
}

/// A network's addresses with what is said there recorded, where that is asked for.
pub fn recorded(router: Router, traffic: Option<&Arc<Traffic>>, network: NetworkName) -> Router {
    match traffic {
        Some(traffic) => router.layer(from_fn_with_state((traffic.clone(), network), record)),
        None => router,
    }
}

async fn record(
    State((traffic, network)): State<(Arc<Traffic>, NetworkName)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return refusal() };
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let what = (parts.method.as_str(), target);
    let mut exchange = Exchange::new(&traffic, ("request", network), what, Said::new(&parts.headers, &body));
    let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = answer.into_parts();
    // Our own answers are whole and short.
    let body: Bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    exchange.answered(parts.status, &parts.headers, &body);
    Response::from_parts(parts, Body::from(body))
}

fn refusal() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
