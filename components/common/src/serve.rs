//! One way to serve HTTP/1.1, HTTP/2 and gRPC over TLS, with the peer's
//! certificate name handed to the handlers, bounds on everything, and drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use snafu::{ResultExt, Snafu};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::shutdown::{DRAIN_MAX, Shutdown};
use crate::tls::Followed;
use crate::trace;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2048;
/// A client that does not finish its handshake or its headers is dropped.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
const HEADERS_MAX: Duration = Duration::from_secs(10);
const STREAMS_MAX: u32 = 256;
/// A peer that vanished without a word is noticed so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Snafu)]
pub enum ServeError {
    #[snafu(display("cannot listen on {address}"))]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Who is on the other side: the common name of a verified client
/// certificate. A request extension; `None` where no certificate is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<String>);

/// Listens on an address.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.context(ListenSnafu { address })
}

/// Serves a router over TLS until everything that was accepted is answered, at
/// most [`DRAIN_MAX`] after the end began.
pub async fn tls(
    listener: TcpListener,
    config: Arc<Followed<ServerConfig>>,
    router: Router,
    shutdown: Shutdown,
) {
    let router = router.layer(from_fn(trace::span));
    let follower = tokio::spawn(config.clone().follow());
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            () = shutdown.closing.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = shutdown.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (Ok(place), Ok((stream, _))) = (place, accepted) else {
            // Out of file descriptors, most likely: let some close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (config, router, shutdown) = (config.current(), router.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, config, router, shutdown).await;
            drop(place);
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_MAX, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections cut at the end of the drain");
    }
    follower.abort();
}

async fn connection(stream: TcpStream, config: Arc<ServerConfig>, router: Router, shutdown: Shutdown) {
    let _ = stream.set_nodelay(true);
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let stream = match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::info!(%error, "TLS handshake refused"),
        Err(_) => return tracing::info!("TLS handshake not finished in time"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer(certificate.and_then(|der| common_name(der)));
    let service = router.layer(axum::Extension(peer));
    // Which protocol it is shows in the first bytes, for which the server itself has no timer.
    let mut stream = BufReader::new(stream);
    let silent = tokio::select! {
        first = tokio::time::timeout(HEADERS_MAX, stream.fill_buf()) => !matches!(first, Ok(Ok([_, ..]))),
        () = shutdown.closing.cancelled() => true,
    };
    if silent {
        return tracing::debug!("closed before it said anything");
    }
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_MAX);
    let mut http2 = server.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    http2.keep_alive_interval(Some(PING_EVERY)).keep_alive_timeout(PING_MAX);
    let serving = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

/// The subject's common name of a certificate.
#[must_use]
pub fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}
