//! What a TLS server, or a database, says to a certificate, from where the pod
//! stands. Every layer has words of its own: a dropped packet is a `timeout`, a
//! certificate that leads to another CA an `alert`, a login a `SQLSTATE`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::duration;

/// How an HTTP/2 client begins: a server that takes the certificate answers it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, clap::Args)]
pub(crate) struct HandshakeArgs {
    /// HOST:PORT of an HTTP/2 server
    address: String,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// HOST:PORT of a PostgreSQL server
    address: String,
    /// The role
    #[arg(long)]
    user: String,
    #[arg(long, default_value = "payplane")]
    database: String,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Debug, clap::Args)]
struct TlsArgs {
    /// The CA certificates (PEM) that the server's must lead to
    #[arg(long)]
    ca: PathBuf,
    /// The certificate to show (PEM); left out: none
    #[arg(long, requires = "cert_key")]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, requires = "cert")]
    cert_key: Option<PathBuf>,
    #[arg(long, default_value = "3s", value_parser = duration)]
    timeout: Duration,
}

/// `accepted`, or what the server or the network said instead.
pub(crate) async fn handshake(args: &HandshakeArgs) -> String {
    said(tokio::time::timeout(args.tls.timeout, shake(args)).await, "accepted".to_owned())
}

/// `logged in as ROLE`, or what the server or the network said instead.
pub(crate) async fn login(args: &LoginArgs) -> String {
    said(tokio::time::timeout(args.tls.timeout, enter(args)).await, format!("logged in as {}", args.user))
}

async fn shake(args: &HandshakeArgs) -> Result<(), Failure> {
    let mut config = config(&args.tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (host, _) = split(&args.address)?;
    let stream = TcpStream::connect(&args.address).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    // In TLS 1.3 the client is done before the server has judged its certificate.
    let sent = stream.write_all(PREFACE).await;
    if stream.read(&mut [0; 64]).await? == 0 {
        sent?;
        return Err("closed without a word".into());
    }
    Ok(())
}

async fn enter(args: &LoginArgs) -> Result<(), Failure> {
    let (host, port) = split(&args.address)?;
    let mut options = tokio_postgres::Config::new();
    options.host(host).port(port).user(&args.user).dbname(&args.database);
    options.ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(config(&args.tls)?);
    let (client, connection) = options.connect(tls).await?;
    let driver = tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    drop(client);
    driver.await??;
    Ok(())
}

fn split(address: &str) -> Result<(&str, u16), Failure> {
    let (host, port) = address.rsplit_once(':').ok_or("HOST:PORT is needed")?;
    Ok((host, port.parse()?))
}

fn config(args: &TlsArgs) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&args.ca)? {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Ok(match (&args.cert, &args.cert_key) {
        (Some(chain), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&std::fs::read(key)?)?;
            builder.with_client_auth_cert(certificates(chain)?, key)?
        }
        _ => builder.with_no_client_auth(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    Ok(CertificateDer::pem_slice_iter(&std::fs::read(path)?).collect::<Result<_, _>>()?)
}

fn said(outcome: Result<Result<(), Failure>, tokio::time::error::Elapsed>, well: String) -> String {
    match outcome {
        Err(_) => "timeout".to_owned(),
        Ok(Ok(())) => well,
        Ok(Err(failure)) => layer(failure.as_ref()),
    }
}

/// The innermost layer that refused, in its own words.
fn layer(failure: &(dyn Error + 'static)) -> String {
    let mut words = failure.to_string();
    let mut next = Some(failure);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return "refused".to_owned();
        }
        let inside = io.and_then(std::io::Error::get_ref);
        let tls = inside.and_then(|e| e.downcast_ref()).or_else(|| error.downcast_ref());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => return format!("alert {alert:?}"),
            Some(other) => return format!("our side refused: {other}"),
            None => {}
        }
        if let Some(database) = error.downcast_ref::<tokio_postgres::error::DbError>() {
            return format!("SQLSTATE {}: {}", database.code().code(), database.message());
        }
        words = error.to_string();
        next = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_below_what_wraps_it() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, alert);
        assert_eq!(layer(&wrapped), "alert UnknownCA");
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(layer(&refused), "refused");
        assert_eq!(layer(&std::io::Error::other("strange")), "strange");
    }
}
