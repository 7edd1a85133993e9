//! W3C trace context: taken from the caller, in every log line about its request,
//! handed on to whoever is called for it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument;
use tracing::field::Empty;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    sampled: bool,
}

impl Trace {
    /// The trace that a request came with, or was given on arrival by [`span`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().copied().unwrap_or_else(Self::new)
    }

    /// The caller's trace; a new one where it names none, or not properly.
    fn received(headers: &HeaderMap) -> Self {
        let given = headers.get(TRACEPARENT).and_then(|v| v.to_str().ok()).and_then(Self::parse);
        given.unwrap_or_else(Self::new)
    }

    /// A trace that starts here.
    #[must_use]
    pub fn new() -> Self {
        Self { id: uuid::Uuid::new_v4().as_u128(), sampled: true }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, digits: usize| {
            let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (text.len() == digits && lower).then(|| u128::from_str_radix(text, 16).ok()).flatten()
        };
        let (version, flags) = (hex(version, 2)?, hex(flags, 2)?);
        let (id, parent) = (hex(id, 32)?, hex(parent, 16)?);
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || id == 0 || parent == 0 {
            return None;
        }
        Some(Self { id, sampled: flags & 1 == 1 })
    }

    /// The header for a call that this request makes, with a span of its own.
    #[must_use]
    pub fn child(&self) -> String {
        let span = uuid::Uuid::new_v4().as_u64_pair().0 | 1;
        format!("00-{:032x}-{span:016x}-{:02x}", self.id, u8::from(self.sampled))
    }

    /// Adds the header to an outgoing request.
    pub fn put(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.child()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// Middleware: what is logged about a request names its trace. Handlers may
/// record the `operation`.
pub async fn span(mut request: Request, next: Next) -> Response {
    let trace = Trace::received(request.headers());
    request.extensions_mut().insert(trace);
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", trace_id = %trace, operation = Empty);
    let answered = async {
        let response = next.run(request).await;
        tracing::debug!(path, status = response.status().as_u16(), "answered");
        response
    };
    answered.instrument(span).await
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn the_callers_trace_is_kept_and_a_bad_one_is_not() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::parse(good).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(trace.child().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(trace.child().ends_with("-01") && Trace::parse(&trace.child()) == Some(trace));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }
}
