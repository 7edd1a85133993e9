//! The ways between the parts, each through a proxy that a fault can be done to.

use anyhow::Result;
use payplane_e2e::chaos::proxy::{Fault, Proxy};

/// To the two channels of the made-up network, and to the others.
pub(super) const NETWORKS: usize = 3;

pub(super) struct Links {
    /// From the merchant to each gateway.
    pub(super) shop: Vec<Proxy>,
    /// From the networks to the gateways, in turn.
    pub(super) notices: Proxy,
    /// From each gateway to the ledgers, in turn.
    pub(super) books: Vec<Proxy>,
    pub(super) gateway_database: Vec<Proxy>,
    pub(super) ledger_database: Vec<Proxy>,
    /// From each gateway to the networks.
    pub(super) networks: Vec<Vec<Proxy>>,
}

impl Links {
    pub(super) async fn start(
        gateways: &[u16],
        ledgers: &[u16],
        database: u16,
        network: u16,
    ) -> Result<Self> {
        let mut links = Self {
            shop: vec![],
            notices: link(gateways).await?,
            books: vec![],
            gateway_database: vec![],
            ledger_database: vec![],
            networks: vec![],
        };
        for gateway in gateways {
            links.shop.push(link(&[*gateway]).await?);
            links.books.push(link(ledgers).await?);
            links.gateway_database.push(link(&[database]).await?);
            let mut networks = vec![];
            for _ in 0..NETWORKS {
                networks.push(link(&[network]).await?);
            }
            links.networks.push(networks);
        }
        for _ in ledgers {
            links.ledger_database.push(link(&[database]).await?);
        }
        Ok(links)
    }

    /// Nothing befalls any of them any more.
    pub(super) fn heal(&self) {
        let of_gateways = self.shop.iter().chain(&self.books).chain(&self.gateway_database);
        let all = of_gateways.chain(&self.ledger_database).chain(self.networks.iter().flatten());
        all.chain([&self.notices]).for_each(|link| link.set(None));
    }
}

/// Does it to some of them.
pub(super) fn suffer(links: &[&Proxy], fault: Option<Fault>) {
    links.iter().for_each(|link| link.set(fault));
}

async fn link(ports: &[u16]) -> Result<Proxy> {
    Ok(Proxy::start(ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect()).await?)
}
