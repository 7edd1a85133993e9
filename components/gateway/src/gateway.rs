//! What every part of the gateway works with.

use std::sync::Arc;
use std::time::Duration;

use payplane_common::config::{Live, Loaded};
use payplane_common::trace::Trace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::api::problem::{Code, Problem};
use crate::books::Books;
use crate::breaker::Breakers;
use crate::data_key::DataKeys;
use crate::keys::KeyCache;
use crate::metrics::Metrics;
use crate::notify::sign::FollowedKey;
use crate::patience::Patience;
use crate::rates::Rates;
use crate::settings::Settings;
use crate::shares::{Share, Shares};
use crate::store::nonces::Nonce;
use crate::store::vault::VaultTable;
use crate::store::{Store, StoreError};

/// How long a posting waits for a config that the ledger says is in force.
const NEWER_CONFIG_MAX: Duration = Duration::from_secs(3);

pub struct Gateway {
    pub settings: Arc<Live<Settings>>,
    pub store: Store,
    pub books: Books,
    pub keys: KeyCache,
    pub data_keys: DataKeys,
    pub vault: VaultTable,
    pub breakers: Breakers,
    pub rates: Rates,
    pub metrics: Metrics,
    /// Payments and refunds under way. They end even where the caller went away,
    /// and the drain waits for them.
    pub work: TaskTracker,
    /// Places for requests; without a free one a request is refused at once.
    pub places: Arc<Semaphore>,
    /// How many of the places are used while work gets done.
    pub shares: Shares,
    /// The same for notifications of networks: anybody may send to that address.
    pub network_places: Arc<Semaphore>,
    /// One-time codes that are being sent.
    pub code_places: Semaphore,
    /// Signs what is sent to apps, and to the sender of codes.
    pub notify_key: FollowedKey,
    /// Apps that read the books at the same time.
    pub book_reads: Semaphore,
}

/// A place among those that are served at once.
pub type Place = Arc<OwnedSemaphorePermit>;

/// A caller's place, and the one that it takes of its app's.
pub type Held = Arc<(Place, Share)>;

/// Who sent a verified request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub nonce: Nonce,
    pub trace: Trace,
    /// Its place among those that are served at once. Work that outlives the
    /// request holds it too.
    pub place: Held,
    /// How long it waits, from the request's arrival.
    pub patience: Patience,
}

impl Caller {
    #[must_use]
    pub fn app(&self) -> &str {
        &self.nonce.app
    }
}

impl Gateway {
    /// The config in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Loaded<Settings>> {
        self.settings.current()
    }

    /// Waits, bounded, for a config of at least this epoch.
    pub async fn settings_from(&self, epoch: u64) -> Option<Arc<Loaded<Settings>>> {
        let mut changes = self.settings.subscribe();
        self.settings.look_now();
        let newer = changes.wait_for(|loaded| loaded.value.epoch >= epoch);
        match tokio::time::timeout(NEWER_CONFIG_MAX, newer).await {
            Ok(Ok(loaded)) => Some(loaded.clone()),
            _ => None,
        }
    }
}

impl From<StoreError> for Problem {
    /// A database that is away is worth another try; anything else is ours.
    fn from(error: StoreError) -> Self {
        let text = payplane_common::telemetry::chain(&error);
        if error.is_transient() {
            tracing::info!(error = text, "the database did not answer");
            return Self::overloaded("the database did not answer in time");
        }
        tracing::error!(error = text, "the database refused what we asked of it");
        Self::new(Code::Internal, "it is logged")
    }
}
