//! Logs: one JSON object a line, levels by `RUST_LOG` (default `info`).

pub use payplane_api::error::chain;
use tracing_subscriber::EnvFilter;

/// Starts logging. A second call in one process is ignored, for tests.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true);
    let _ = format.with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
