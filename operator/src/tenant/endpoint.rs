//! Where an external database, a payment network or a sender of codes may be: inside `network.egressCidrs`, and outside
//! of everything that is closed to tenants.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use payplane_crds::condition::Reason;
use payplane_crds::tenant::ExternalDatabase;

use crate::settings::Settings;
use crate::tenant::credentials;
use crate::tenant::validate::{Refused, Tenant};

const RESOLVE_WITHIN: Duration = Duration::from_secs(2);

/// The addresses of the external database's host; none where its name has none just now.
pub async fn resolve(tenant: &Tenant) -> Vec<IpAddr> {
    let Some(ExternalDatabase { host, port, .. }) = tenant.external() else { return Vec::new() };
    let looked_up = tokio::net::lookup_host((host.as_str(), *port));
    match tokio::time::timeout(RESOLVE_WITHIN, looked_up).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// May the tenant's pods call all of the external database's addresses?
pub fn check(tenant: &Tenant, addresses: &[IpAddr], settings: &Settings) -> Result<(), Refused> {
    let Some(external) = tenant.external() else { return Ok(()) };
    for address in addresses {
        allowed(tenant, ("spec.database.external.host", &external.host), *address, settings)?;
    }
    Ok(())
}

/// May the gateway call an https endpoint outside, that a field of a member holds? Where its name
/// leads, the gateway looks at whenever it connects.
pub fn called(
    tenant: &Tenant,
    (member, field): (&str, &str),
    url: &str,
    settings: &Settings,
) -> Result<(), Refused> {
    let refused = |detail: String| Err(Refused::new(Reason::EndpointRefused, detail));
    if tenant.spec.network.as_ref().is_none_or(|network| network.egress_cidrs.is_empty()) {
        return refused(format!("{member}: the tenant's spec.network.egressCidrs let nothing through."));
    }
    let host = url.strip_prefix("https://").unwrap_or_default();
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    let (host, port) = host.split_once(':').unwrap_or((host, "443"));
    // The gateway would refuse its whole config for an address that it cannot read.
    let odd = host.split('.').any(|label| label.starts_with("xn--"));
    if odd || port.parse::<u16>().is_err() {
        return refused(format!("{field}: {host}:{port} is no plain name and port."));
    }
    // The rule of the field has left addresses of four numbers, and names.
    if !host.ends_with(|last: char| last.is_ascii_digit()) || !host.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(());
    }
    let Ok(address) = host.parse() else { return refused(format!("{field}: {host} is no address.")) };
    allowed(tenant, (field, host), address, settings)
}

/// May the gateway post codes to the tenant's sender of them?
pub fn check_step_up(tenant: &Tenant, settings: &Settings) -> Result<(), Refused> {
    let Some(given) = tenant.spec.risk.as_ref().and_then(|risk| risk.step_up.as_ref()) else { return Ok(()) };
    let field = "spec.risk.stepUp.url";
    called(tenant, (field, field), &given.url, settings)?;
    let host = given.url.strip_prefix("https://").unwrap_or_default();
    let host = host.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    if host.ends_with(".svc") || host.ends_with(".svc.cluster.local") {
        let detail = format!("{field}: {host} is a Service of the cluster; codes are sent outside of it.");
        return Err(Refused::new(Reason::EndpointRefused, detail));
    }
    if given.ca_pem.as_ref().is_some_and(|pem| !credentials::are_certificates(pem.as_bytes())) {
        let detail = "spec.risk.stepUp.caPem: it holds no CA certificate (PEM).";
        return Err(Refused::new(Reason::EndpointRefused, detail));
    }
    Ok(())
}

/// May they call this address, which a field's host stands for?
pub fn allowed(
    tenant: &Tenant,
    (field, host): (&str, &str),
    address: IpAddr,
    settings: &Settings,
) -> Result<(), Refused> {
    let network = tenant.spec.network.clone().unwrap_or_default();
    let mut open = network.egress_cidrs.iter().filter_map(|text| text.parse::<IpNet>().ok());
    let refused = |why: String| {
        let named =
            if *host == address.to_string() { host.to_owned() } else { format!("{host} ({address})") };
        Err(Refused::new(Reason::EndpointRefused, format!("{field}: {named} {why}.")))
    };
    // An IPv4 address may come dressed as an IPv6 one.
    let plain = address.to_canonical();
    let holds = |n: &&str| n.parse::<IpNet>().is_ok_and(|network| network.contains(&plain));
    if let Some(network) = settings.closed().find(holds) {
        return refused(format!("lies in {network}, which is closed to tenants"));
    }
    if !open.any(|network| network.contains(&plain)) {
        return refused("lies outside spec.network.egressCidrs".to_owned());
    }
    Ok(())
}
