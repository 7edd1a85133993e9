//! Runs the network: TLS for merchants, the plain port for the kubelet and tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use payplane_common::config::{ConfigError, Live};
use payplane_common::shutdown::{Shutdown, SignalError};
use payplane_common::tls::{Files, TlsError};
use payplane_common::{health, telemetry, tls};
use prometheus_client::registry::Registry;
use snafu::{OptionExt, ResultExt, Snafu};

use crate::ServeArgs;
use crate::api::{self, Network};
use crate::book::{Book, BookError, NetworkName};
use crate::keys::{KeyError, MerchantKeys, NetworkKey};
use crate::networks::Networks;
use crate::notify::{Notifier, NotifyError};
use crate::sandbox::Sandbox;
use crate::traffic::{Traffic, TrafficError, recorded};
use crate::{alipay, bank, payer, unionpay, wechat};

/// Where the networks' file is looked for.
const NETWORKS: &str = "/keys/networks.json";

#[derive(Debug, Snafu)]
pub enum ServeError {
    #[snafu(display("cannot follow signals"))]
    Signals { source: SignalError },
    #[snafu(display("the certificate and its key must be tls.crt and tls.key of one folder"))]
    TlsNames,
    #[snafu(display("TLS cannot be served"))]
    Tls { source: TlsError },
    #[snafu(display("the keys cannot be used"))]
    Keys { source: KeyError },
    #[snafu(display("the merchants' file cannot be used"))]
    Merchants { source: ConfigError },
    #[snafu(display("the book cannot be opened"))]
    Open { source: BookError },
    #[snafu(display("cannot listen"))]
    Listen { source: payplane_common::serve::ServeError },
    #[snafu(display("the networks' file cannot be used"))]
    Networks { source: ConfigError },
    #[snafu(display("notifications cannot be sent"))]
    Notify { source: NotifyError },
    #[snafu(display("what is said cannot be recorded"))]
    Record { source: TrafficError },
    #[snafu(display("the journal failed"))]
    Journal,
}

/// Runs until a signal, or until the journal cannot be written any more.
pub(crate) async fn run(args: ServeArgs) -> Result<(), ServeError> {
    telemetry::init();
    tls::install_provider();
    let shutdown = Shutdown::on_signals().context(SignalsSnafu)?;
    let identity = tls_folder(&args.tls_cert, &args.tls_key)?;
    let server = tls::server(Files { identity: Some(identity), trust: args.client_trust.clone() })
        .context(TlsSnafu)?;
    let key = NetworkKey::load(&args.network_key).context(KeysSnafu)?;
    let listed = |_: &Path, json: &[u8]| MerchantKeys::parse(json).map_err(|error| telemetry::chain(&error));
    let listed = Live::load(&args.merchants, listed).context(MerchantsSnafu)?;
    let book = Arc::new(Book::open(&args.state).context(OpenSnafu)?);
    let network = Network::new(book.clone(), listed.clone(), key, &shutdown);
    let mut registry = Registry::default();
    let traffic = args.traffic.as_deref().map(Traffic::create).transpose().context(RecordSnafu)?;
    let sandbox = sandbox(&args, book, &shutdown, &mut registry, traffic.clone())?;
    if let Some(sandbox) = &sandbox {
        payer::resume(sandbox);
    }

    let listener = payplane_common::serve::listen(args.listen).await.context(ListenSnafu)?;
    let health_listener = payplane_common::serve::listen(args.health).await.context(ListenSnafu)?;
    let ready = {
        let network = network.clone();
        move || -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
            let open = network.book.journal().is_open();
            Box::pin(async move { if open { Ok(()) } else { Err("journal failed".to_owned()) } })
        }
    };
    let record = api::record_router(network.clone());
    let health = health::serve(health_listener, registry, &shutdown, ready, record);
    let mut router = api::router(network.clone());
    if let Some(sandbox) = &sandbox {
        let recorded = |router, network| recorded(router, traffic.as_ref(), network);
        router = router
            .merge(recorded(wechat::router(sandbox.clone()), NetworkName::WechatPay))
            .merge(recorded(alipay::router(sandbox.clone()), NetworkName::Alipay))
            .merge(recorded(unionpay::router(sandbox.clone()), NetworkName::UnionPay))
            .merge(recorded(bank::router(sandbox.clone()), NetworkName::BankDirect));
    }
    let merchants = payplane_common::serve::tls(listener, server, router, shutdown.clone());
    tracing::info!(listen = %args.listen, health = %args.health, "the network is open");
    tokio::select! {
        _ = async { tokio::join!(health, merchants) } => Ok(()),
        () = broken(&network) => JournalSnafu.fail(),
        () = listed.follow() => Ok(()),
        () = follow(sandbox) => Ok(()),
    }
}

/// The real networks, where they are configured.
fn sandbox(
    args: &ServeArgs,
    book: Arc<Book>,
    shutdown: &Shutdown,
    registry: &mut Registry,
    traffic: Option<Arc<Traffic>>,
) -> Result<Option<Arc<Sandbox>>, ServeError> {
    let usual = PathBuf::from(NETWORKS);
    let Some(path) = args.networks.clone().or_else(|| usual.exists().then_some(usual)) else {
        return Ok(None);
    };
    let parse =
        |folder: &Path, json: &[u8]| Networks::parse(folder, json).map_err(|error| telemetry::chain(&error));
    let networks = Live::load(&path, parse).context(NetworksSnafu)?;
    let notifier = Notifier::new(args.notify_ca.as_ref(), registry, traffic).context(NotifySnafu)?;
    let payer_after = Duration::from_millis(args.payer_after_ms);
    Ok(Some(Sandbox::new(book, networks, notifier, payer_after, shutdown)))
}

/// Follows the networks' files until the future is dropped.
async fn follow(sandbox: Option<Arc<Sandbox>>) {
    match sandbox {
        Some(sandbox) => {
            tokio::join!(sandbox.networks.clone().follow(), sandbox.notifier.follow());
        }
        None => std::future::pending().await,
    }
}

/// Memory is ahead of a disk that refused a write: only a restart tells what
/// stands.
async fn broken(network: &Arc<Network>) {
    network.book.journal().broken().await;
}

fn tls_folder(certificate: &Path, key: &Path) -> Result<PathBuf, ServeError> {
    let folder = certificate.parent().context(TlsNamesSnafu)?;
    let named = certificate == folder.join("tls.crt") && key == folder.join("tls.key");
    named.then(|| folder.to_owned()).context(TlsNamesSnafu)
}
