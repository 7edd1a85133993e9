//! Where an external database or a payment network may be: inside `network.egressCidrs`, and outside
//! of everything that is closed to tenants.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use payplane_crds::condition::Reason;
use payplane_crds::tenant::ExternalDatabase;

use crate::settings::Settings;
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
