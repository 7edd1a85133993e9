//! The two folders outside the clone: a cache that survives, a state that does not.

use std::path::PathBuf;

/// Built programs and images, keyed by their content: `$PAYPLANE_CACHE`, by default `~/.cache/payplane`.
pub fn cache() -> PathBuf {
    match std::env::var_os("PAYPLANE_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/payplane")
        }
    }
}

/// What the running clusters consist of: `$PAYPLANE_STATE`, by default
/// `/var/lib/payplane-lab`. It exists as long as a cluster does.
pub fn state() -> PathBuf {
    std::env::var_os("PAYPLANE_STATE").map_or_else(|| PathBuf::from("/var/lib/payplane-lab"), PathBuf::from)
}
