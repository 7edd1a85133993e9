//! Live config: a mounted file that is read again when it changes.
//!
//! The kubelet swaps a mounted volume by one symbolic link, so the file is
//! opened through its real folder: the config and the key files beside it are
//! always of one version. A file that cannot be used leaves the last good one
//! in force and says why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tokio::sync::{Notify, watch};

/// How often the file is looked at. It is small and in the page cache.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A config of hundreds of channels is far smaller than this.
const SIZE_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, Snafu)]
pub enum ConfigError {
    #[snafu(display("cannot read config {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("config {} is larger than {SIZE_MAX} bytes", path.display()))]
    TooLarge { path: PathBuf },
    #[snafu(display("config {} cannot be used: {reason}", path.display()))]
    Unusable { path: PathBuf, reason: String },
}

/// A config in force, and the hash of the bytes that it was made from.
#[derive(Debug)]
pub struct Loaded<T> {
    pub value: T,
    pub hash: String,
}

/// Builds a value from a config's bytes and the folder that it lies in.
pub type Parse<T> = dyn Fn(&Path, &[u8]) -> Result<T, String> + Send + Sync;

/// The config in force; it follows the file while [`Live::follow`] runs.
pub struct Live<T> {
    path: PathBuf,
    parse: Box<Parse<T>>,
    current: watch::Sender<Arc<Loaded<T>>>,
    refused: Mutex<Option<(String, String)>>,
    look: Notify,
}

impl<T: Send + Sync + 'static> Live<T> {
    /// Reads the file for the first time; without a good one nothing starts.
    pub fn load(
        path: &Path,
        parse: impl Fn(&Path, &[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, ConfigError> {
        let (folder, bytes) = read(path)?;
        let value = parse(&folder, &bytes)
            .map_err(|reason| ConfigError::Unusable { path: path.to_owned(), reason })?;
        let loaded = Loaded { value, hash: payplane_api::config::hash(&bytes) };
        Ok(Arc::new(Self {
            path: path.to_owned(),
            parse: Box::new(parse),
            current: watch::Sender::new(Arc::new(loaded)),
            refused: Mutex::new(None),
            look: Notify::new(),
        }))
    }

    /// The config in force.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded<T>> {
        self.current.borrow().clone()
    }

    /// Tells of every new config.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Loaded<T>>> {
        self.current.subscribe()
    }

    /// Why the file on disk is not the one in force, where it is not.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, why)| why.clone())
    }

    /// Looks at the file now rather than at the next turn.
    pub fn look_now(&self) {
        self.look.notify_one();
    }

    /// Follows the file until the future is dropped.
    pub async fn follow(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(LOOK_EVERY, self.look.notified()).await;
            self.look();
        }
    }

    fn look(&self) {
        match read(&self.path) {
            Ok((folder, bytes)) => self.take(&folder, &bytes),
            // The link is being swapped, or the volume is going: the next look tells.
            Err(error) => tracing::debug!(error = crate::telemetry::chain(&error), "config not readable"),
        }
    }

    fn take(&self, folder: &Path, bytes: &[u8]) {
        let hash = payplane_api::config::hash(bytes);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current.borrow().hash == hash {
            *refused = None;
            return;
        }
        if refused.as_ref().is_some_and(|(known, _)| *known == hash) {
            return;
        }
        match (self.parse)(folder, bytes) {
            Ok(value) => {
                tracing::info!(config_hash = hash, "config loaded");
                *refused = None;
                self.current.send_replace(Arc::new(Loaded { value, hash }));
            }
            Err(reason) => {
                tracing::error!(config_hash = hash, reason, "config refused; the last good one stays");
                *refused = Some((hash, reason));
            }
        }
    }
}

fn read(path: &Path) -> Result<(PathBuf, Vec<u8>), ConfigError> {
    let real = path.canonicalize().context(ReadSnafu { path })?;
    let size = std::fs::metadata(&real).context(ReadSnafu { path })?.len();
    if size > SIZE_MAX {
        return TooLargeSnafu { path }.fail();
    }
    let bytes = std::fs::read(&real).context(ReadSnafu { path })?;
    let folder = real.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((folder, bytes))
}
