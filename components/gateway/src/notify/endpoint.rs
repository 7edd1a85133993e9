//! Apps' endpoints: https, believed by the app's own CA or the public ones, and never
//! inside the cluster, whatever a name says at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use reqwest::{Certificate, Client, Url};

use crate::channel::credentials::public_roots;
use crate::channel::endpoint::{self, DeniedNetworks, reason};
use crate::channel::resolver::{GuardedResolver, is_service_name};
use crate::store::registry::Endpoint;

/// An app that needs longer takes the notification and works on it afterwards.
const ANSWER_MAX: Duration = Duration::from_secs(10);
pub const URL_MAX: usize = 1024;
pub const CA_PEM_MAX: usize = 16 * 1024;
/// Clients that are kept, each with its connections.
const CLIENTS_MAX: usize = 1024;

/// Reads an address as an administrator gives it, or says what is wrong.
pub fn parse(url: &str, denied: &DeniedNetworks) -> Result<Url, String> {
    let url = endpoint::parse(url, denied)?;
    match url.host_str() {
        _ if url.as_str().len() > URL_MAX => Err(format!("is longer than {URL_MAX} bytes")),
        Some(host) if is_service_name(host.trim_end_matches('.')) => {
            Err("is a Service of the cluster; apps are notified outside of it".to_owned())
        }
        _ => Ok(url),
    }
}

/// The CAs of an endpoint.
fn roots(ca_pem: Option<&str>) -> Result<Vec<Certificate>, &'static str> {
    let roots = match ca_pem {
        Some(pem) if pem.len() > CA_PEM_MAX => return Err("is longer than 16 KiB"),
        Some(pem) if pem.contains('\0') => return Err("is not the PEM of CA certificates"),
        Some(pem) => Certificate::from_pem_bundle(pem.as_bytes()),
        None => Ok(public_roots()),
    };
    let roots = roots.map_err(|_| "is not the PEM of CA certificates")?;
    if roots.is_empty() {
        return Err("holds no certificate (-----BEGIN CERTIFICATE-----)");
    }
    Ok(roots)
}

/// A client that believes these CAs, and reaches nothing that is denied.
pub fn client(ca_pem: Option<&str>, denied: &Arc<DeniedNetworks>) -> Result<Client, String> {
    let builder = endpoint::client(roots(ca_pem)?, GuardedResolver::outside(denied.clone()));
    builder
        .timeout(ANSWER_MAX)
        .pool_max_idle_per_host(16)
        .build()
        .map_err(|error| format!("is not the PEM of CA certificates: {}", reason(&error)))
}

/// What a client was made for, and the client.
type Made = (Endpoint, Arc<DeniedNetworks>, Client);

/// One client for each app, as long as its endpoint and the denied networks stay the same.
#[derive(Default)]
pub struct Endpoints {
    clients: Mutex<HashMap<String, Made>>,
}

impl Endpoints {
    /// Sends once. The status that was answered, or why there is none.
    pub async fn post(
        &self,
        app: &str,
        to: &Endpoint,
        denied: &Arc<DeniedNetworks>,
        (url, headers, body): (Url, HeaderMap, Vec<u8>),
    ) -> Result<u16, String> {
        let client = self.client(app, to, denied)?;
        // What it answers beside the status is not read.
        let answer = client.post(url).headers(headers).body(body).send().await;
        answer.map(|answer| answer.status().as_u16()).map_err(|error| reason(&error))
    }

    fn client(&self, app: &str, to: &Endpoint, denied: &Arc<DeniedNetworks>) -> Result<Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, guard, client)) = clients.get(app)
            && known == to
            && Arc::ptr_eq(guard, denied)
        {
            return Ok(client.clone());
        }
        let client = client(to.ca_pem.as_deref(), denied)?;
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(app.to_owned(), (to.clone(), denied.clone(), client.clone()));
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> DeniedNetworks {
        DeniedNetworks::parse(&["10.0.0.0/8", "127.0.0.0/8", "::1/128"].map(str::to_owned)).unwrap()
    }

    /// What DNS says when something is sent is what counts.
    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/paid", listener.local_addr().unwrap().port());
        let to = Endpoint { url: url.clone(), ca_pem: None };
        let message = || (url.parse().unwrap(), HeaderMap::new(), vec![]);
        let refused = Endpoints::default().post("a", &to, &Arc::new(denied()), message()).await;
        assert!(refused.as_ref().is_err_and(|why| why.contains("no address that is allowed")), "{refused:?}");
        let called = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(called.is_err(), "it was called");
    }

    #[test]
    fn endpoints_lie_outside() {
        let denied = denied();
        assert!(parse("https://shop.example/paid", &denied).is_ok());
        let long = format!("https://shop.example/{}", "a".repeat(URL_MAX));
        for bad in [
            "http://shop.example",
            "https://10.1.2.3/paid",
            "https://0x7f000001/",
            "https://[::ffff:10.0.0.1]/",
            "https://ledger.ptn-demo.svc:8443",
            "https://ledger.ptn-demo.svc.cluster.local.:8443",
            "https://LEDGER.ptn-demo.SVC",
            "https://u:p@shop.example",
            "https://shop.example/#f",
            "ftp://shop.example",
            "",
            long.as_str(),
        ] {
            assert!(parse(bad, &denied).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_a_ca_the_public_ones_are_believed() {
        assert!(roots(None).unwrap().len() > 50);
        assert!(roots(Some("x")).is_err() && roots(Some("\0")).is_err());
        let rubbish = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        assert!(client(Some(rubbish), &Arc::new(denied())).is_err());
        assert!(roots(Some(&"x".repeat(CA_PEM_MAX + 1))).is_err());
    }
}
