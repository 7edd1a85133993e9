//! Many callers at work, and the proxy before them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use payplane_api::ledger::v1::OpenAccountsRequest;
use payplane_client::load::journal::Journal;
use payplane_common::tls::{self, Files};
use payplane_lab::pod;
use payplane_testkit::ledger;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use super::caller::{CALL_MAX, Caller, Shared};
use super::counts::Counts;
use super::plan;
use super::proxy::{Fault, Proxy};
use super::record::Record;
use crate::random::Random;

const CALLERS: u32 = 64;
/// An even number: of two ledgers each gets half.
const CONNECTIONS: usize = 8;
/// Of all callers together, at most.
const PER_SECOND: u32 = 500;
const CONNECT_MAX: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(2);

/// Where the callers are, and whom they call.
pub struct Place {
    /// The network that they send from.
    pub network: std::fs::File,
    pub ledgers: Vec<SocketAddr>,
    /// In the ledger's certificate.
    pub name: String,
    /// The caller's certificate, and the CA that it trusts.
    pub files: Files,
    /// In the tenant's zone.
    pub date: String,
}

/// Callers at work.
pub struct Callers {
    runtime: Runtime,
    proxies: Vec<Proxy>,
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    record: PathBuf,
}

impl Callers {
    /// Opens the accounts and starts. The record is written into the folder.
    ///
    /// # Panics
    /// Where the ledger does not open the accounts.
    #[must_use]
    pub fn start(place: Place, folder: &Path, random: &mut Random) -> Self {
        let network = place.network;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || pod::enter(&network).expect("the pod's network is there"))
            .build()
            .expect("a runtime");
        let start =
            |ledger| runtime.block_on(runtime.spawn(Proxy::start(vec![ledger]))).expect("the task ends");
        let proxies: Vec<_> = place.ledgers.iter().map(|ledger| start(*ledger).expect("a proxy")).collect();
        // The connections' TLS is their own affair: this is plain HTTP/2 to tonic.
        let endpoint = Endpoint::from_static("http://ledger")
            .timeout(CALL_MAX)
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        let tls = tls::client(place.files).expect("a certificate");
        let client = |n: usize| {
            let proxy = &proxies[n % proxies.len()];
            ledger::client(&endpoint, proxy.address, &place.name, tls.clone()).expect("a name")
        };
        let record = folder.join("record.jsonl");
        let shared = Arc::new(Shared {
            counts: Counts::new(place.ledgers.len()),
            stop: AtomicBool::new(false),
            journal: Journal::create(&record).expect("a record"),
            epoch: AtomicU64::new(1),
            date: place.date,
            every: Duration::from_secs(1) * CALLERS / PER_SECOND,
        });
        let inside = runtime.enter();
        let clients: Vec<_> = (0..CONNECTIONS).map(client).collect();
        let mut opens = clients[0].clone();
        let opened = runtime.block_on(runtime.spawn(async move {
            opens.open_accounts(OpenAccountsRequest { accounts: plan::accounts() }).await
        }));
        let opened = opened.expect("the task ends").expect("the ledger answers").into_inner();
        assert_eq!(opened.refusal, None, "accounts are opened");
        let caller = |n: u32| Caller {
            name: format!("chaos-{n}"),
            ledger: n as usize % CONNECTIONS % place.ledgers.len(),
            client: clients[n as usize % CONNECTIONS].clone(),
            random: Random::new(random.draw()),
            shared: shared.clone(),
        };
        let tasks = (0..CALLERS).map(caller).map(|caller| runtime.spawn(caller.run())).collect();
        drop(inside);
        Self { runtime, proxies, tasks, shared, record }
    }

    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Does it to all connections, for so long.
    pub fn suffer(&self, fault: Fault, during: Duration) {
        self.proxies.iter().for_each(|proxy| proxy.set(Some(fault)));
        std::thread::sleep(during);
        self.proxies.iter().for_each(|proxy| proxy.set(None));
    }

    /// Ends, once every request is answered, and reads the record.
    ///
    /// # Panics
    /// Where a caller failed.
    #[must_use]
    pub fn stop(self) -> Record {
        self.shared.stop.store(true, Ordering::Release);
        for task in self.tasks {
            self.runtime.block_on(task).expect("a caller ends well");
        }
        Record::read(&self.record)
    }
}
