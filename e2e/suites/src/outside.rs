//! An address outside the lab's clusters that their pods can reach: one of the
//! machine's own, on an interface that goes with this value.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// The address and its interface.
pub struct Outside {
    pub address: Ipv4Addr,
    link: String,
}

impl Outside {
    /// Makes the interface. The address lies in none of the ranges that clusters use.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn make(cluster: &str) -> Self {
        let kubeconfig = std::env::var("KUBECONFIG").expect("there is a cluster");
        let text = std::fs::read_to_string(kubeconfig).expect("it can be read");
        // The lab numbers its clusters in the address of the API server.
        let number = text.split("//10.77.").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
        let address = Ipv4Addr::new(10, 250, number.expect("an API server at 10.77.N"), 1);
        let link = format!("out-{cluster}").chars().take(15).collect::<String>();
        let outside = Self { address, link };
        // What a killed run left.
        outside.remove();
        ip(&["link", "add", &outside.link, "type", "bridge"]).expect("the interface is made");
        ip(&["addr", "add", &format!("{address}/32"), "dev", &outside.link]).expect("it has the address");
        ip(&["link", "set", &outside.link, "up"]).expect("it is up");
        outside
    }

    /// What a SYN from here meets: `open`, `timeout`, or another error.
    ///
    /// # Panics
    /// Where no socket can be made.
    #[must_use]
    pub fn dial(&self, to: SocketAddr) -> String {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::new(self.address.into(), 0)).expect("the address is ours");
            match tokio::time::timeout(Duration::from_secs(1), socket.connect(to)).await {
                Ok(Ok(_)) => "open".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "timeout".to_owned(),
            }
        })
    }

    fn remove(&self) {
        if std::path::Path::new("/sys/class/net").join(&self.link).exists() {
            let _ = ip(&["link", "del", &self.link]);
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| error.to_string())?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(error) }
}
