//! A client of the ledger at an address of the test's choice.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_common::tls::Followed;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};

/// Of a ledger on this machine.
pub fn local(address: SocketAddr, tls: Arc<Followed<ClientConfig>>) -> Result<LedgerClient<Channel>> {
    client(&Endpoint::from_static("http://localhost"), address, "localhost", tls)
}

/// Connects when it is first used, and again when that breaks. `name` is in the server's
/// certificate; the endpoint bounds calls and silence. The TLS is done here, so the
/// endpoint is one of plain HTTP/2.
pub fn client(
    endpoint: &Endpoint,
    address: SocketAddr,
    name: &str,
    tls: Arc<Followed<ClientConfig>>,
) -> Result<LedgerClient<Channel>> {
    let name = ServerName::try_from(name.to_owned())?;
    let connector = tower::service_fn(move |_: http::Uri| {
        let (name, mut config) = (name.clone(), (*tls.current()).clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let client = LedgerClient::new(endpoint.connect_with_connector_lazy(connector));
    // A trial balance of 100,000 accounts is larger than tonic would take.
    Ok(client.max_decoding_message_size(32 << 20))
}
