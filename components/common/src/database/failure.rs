//! Why a database is not reached, in words that are ours: what a server or a
//! library says may change with a release, and hold anything.

use std::error::Error;
use std::io;

use tokio_postgres::error::SqlState;

/// The innermost cause that is known, with its remedy.
#[must_use]
pub fn failure(error: &(dyn Error + 'static)) -> Option<String> {
    let inner = error.source().and_then(failure);
    inner.or_else(|| {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_transport(error).map(str::to_owned);
        }
        let code = error.downcast_ref::<tokio_postgres::Error>()?.code()?;
        Some(
            of_server(code)
                .map_or_else(|| format!("The server answers SQLSTATE {}.", code.code()), str::to_owned),
        )
    })
}

/// Was a session refused because the server takes no writes?
#[must_use]
pub fn is_read_only(error: &(dyn Error + 'static)) -> bool {
    let here =
        error.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::PermissionDenied);
    here || error.source().is_some_and(is_read_only)
}

fn of_server(code: &SqlState) -> Option<&'static str> {
    Some(match code {
        c if *c == SqlState::INVALID_PASSWORD => "The password is refused: mend the credentials Secret.",
        c if *c == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "The login is refused: the server's pg_hba.conf must let this role in with what it brings."
        }
        c if *c == SqlState::INVALID_CATALOG_NAME => "The database of this name does not exist.",
        c if *c == SqlState::TOO_MANY_CONNECTIONS => {
            "The server has no connection left: raise max_connections."
        }
        c if *c == SqlState::CANNOT_CONNECT_NOW => "The server is starting up or shutting down.",
        _ => return None,
    })
}

fn of_transport(error: &io::Error) -> Option<&'static str> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            return Some("The server's certificate is not of the given CA, or is not for this host's name.");
        }
        Some(rustls::Error::AlertReceived(_)) => return Some("The server refuses the client's certificate."),
        Some(_) => return Some("The server does not speak TLS as it should."),
        None => {}
    }
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => "Connection refused: nothing listens at this host and port.",
        io::ErrorKind::TimedOut => "No answer in time: is the way to this host and port open?",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "There is no way to the host.",
        io::ErrorKind::PermissionDenied => "The server is read-only: name the primary.",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "The server ends the connection.",
        // The resolver's error has no kind of its own.
        _ if error.to_string().starts_with("failed to lookup address") => "The host's name is not known.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_causes_have_words_and_others_do_not() {
        let tls = |inner| io::Error::new(io::ErrorKind::InvalidData, inner);
        let foreign = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for (error, words) in [
            (io::ErrorKind::ConnectionRefused.into(), Some("Connection refused")),
            (tls(foreign), Some("not of the given CA")),
            (
                tls(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA)),
                Some("client's certificate"),
            ),
            (io::Error::other("failed to lookup address information: x"), Some("name is not known")),
            (io::Error::other("a surprise"), None),
        ] {
            let said = failure(&error);
            assert_eq!(said.is_some(), words.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(words.unwrap_or_default()), "{words:?}");
        }
    }

    #[tokio::test]
    async fn the_cause_is_found_below_others() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("host=127.0.0.1 port={} user=nobody", closed.port());
        let Err(source) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else {
            panic!("connected")
        };
        let error = super::super::DatabaseError::Connect { host: "h".into(), source };
        assert!(failure(&error).unwrap().starts_with("Connection refused"), "{error}");
    }
}
