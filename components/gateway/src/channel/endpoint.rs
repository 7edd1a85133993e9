//! Where a channel may connect to: https only, and never into the networks that
//! the platform denies. What names resolve to is looked at in [`super::resolver`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use payplane_api::error::chain;
use reqwest::{Certificate, Client, ClientBuilder, Url};

use super::resolver::GuardedResolver;

const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Networks that no channel may reach.
#[derive(Clone, Debug, Default)]
pub struct DeniedNetworks(Vec<IpNet>);

impl DeniedNetworks {
    pub fn parse(cidrs: &[String]) -> Result<Self, String> {
        let network = |text: &String| text.parse().map_err(|_| format!("{text:?} is not a CIDR"));
        cidrs.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    #[must_use]
    pub fn denies(&self, address: IpAddr) -> bool {
        // An IPv4 address may come dressed as an IPv6 one.
        let plain = address.to_canonical();
        self.0.iter().any(|network| network.contains(&plain))
    }
}

/// Reads a channel's endpoint. A literal address is checked here, because
/// nothing resolves it later.
pub fn parse(text: &str, denied: &DeniedNetworks) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("endpoint {text:?}: {e}"))?;
    if url.scheme() != "https" {
        return Err(format!("endpoint {text:?} is not https"));
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || url.fragment().is_some() {
        return Err(format!("endpoint {text:?} must be a host and a port, with a path at most"));
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if denied.denies(address) => Err(format!("endpoint {text:?} lies in a denied network")),
        _ => Ok(url),
    }
}

/// An https client to somebody else's server: it believes these CAs alone, connects to
/// what the resolver lets pass, and sends nothing twice or elsewhere by itself.
pub fn client(roots: Vec<Certificate>, resolver: GuardedResolver) -> ClientBuilder {
    Client::builder()
        .https_only(true)
        .tls_certs_only(roots)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(CONNECT_MAX)
        .pool_idle_timeout(Duration::from_secs(30))
}

/// The error and its causes, without the URL.
#[must_use]
pub fn reason(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() { "time-out" } else { "connection" };
    match std::error::Error::source(error) {
        Some(cause) => format!("{kind}: {}", chain(cause)),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> DeniedNetworks {
        let cidrs = ["127.0.0.0/8", "10.96.0.0/12", "::1/128", "fe80::/10"];
        DeniedNetworks::parse(&cidrs.map(str::to_owned)).unwrap()
    }

    #[test]
    fn blocks_hold_what_they_should() {
        for (address, is_denied) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("10.96.0.1", true),
            ("10.111.255.255", true),
            ("10.112.0.0", false),
            ("::1", true),
            ("::2", false),
            ("fe80::1", true),
            ("192.0.2.1", false),
        ] {
            assert_eq!(denied().denies(address.parse().unwrap()), is_denied, "{address}");
        }
        let everything = DeniedNetworks::parse(&["0.0.0.0/0".to_owned()]).unwrap();
        assert!(everything.denies("203.0.113.9".parse().unwrap()));
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1"] {
            assert!(DeniedNetworks::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_https_and_not_inside() {
        assert!(parse("https://pay.example:8443", &denied()).is_ok());
        for bad in [
            "http://pay.example",
            "https://127.0.0.1:1",
            "https://[::1]:1",
            "https://2130706433/",
            "https://user@pay.example",
            "https://pay.example/?a=b",
            "pay.example",
        ] {
            assert!(parse(bad, &denied()).is_err(), "{bad}");
        }
    }
}
