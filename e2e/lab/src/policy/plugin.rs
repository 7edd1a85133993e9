//! The network plugin that stands last in a node's chain: it announces the
//! pod's address to the policy daemon and waits for the pod's policies.
//!
//! It never fails a pod. What it cannot announce stays dropped by the node's
//! ruleset until the daemon reads the address from the pod's status.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt, Snafu};

use super::gate::{Announcement, WAIT_SECONDS_MAX};

/// The plugin's `type` in a network configuration, and its file name.
pub const TYPE: &str = "payplane-policy";

const CONFIG_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot read the network configuration"))]
    Read { source: std::io::Error },
    #[snafu(display("the network configuration is not what a chained plugin gets"))]
    Parse { source: serde_json::Error },
    #[snafu(display("cannot write the result"))]
    Write { source: std::io::Error },
    #[snafu(display("the plugins before gave the pod no IPv4 address"))]
    NoAddress,
    #[snafu(display("CNI_ARGS {arguments:?} name no pod"))]
    NoPod { arguments: String },
    #[snafu(display("cannot talk to {}", path.display()))]
    Talk { path: PathBuf, source: std::io::Error },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    socket: PathBuf,
    prev_result: Value,
}

/// What the container runtime says in environment variables.
pub struct Call {
    /// `CNI_COMMAND`
    pub command: String,
    /// `CNI_ARGS`: `KEY=VALUE` separated by `;`.
    pub arguments: String,
}

impl Call {
    pub fn from_environment() -> Self {
        let read = |name| std::env::var(name).unwrap_or_default();
        Self { command: read("CNI_COMMAND"), arguments: read("CNI_ARGS") }
    }
}

/// One call of the plugin, as the specification of network plugins says.
pub fn run(call: &Call, input: impl Read, mut output: impl Write) -> Result<(), Error> {
    match call.command.as_str() {
        "ADD" => {
            let mut text = String::new();
            input.take(CONFIG_BYTES_MAX).read_to_string(&mut text).context(ReadSnafu)?;
            let config: Config = serde_json::from_str(&text).context(ParseSnafu)?;
            let announced = announcement(call, &config).and_then(|pod| announce(&config.socket, &pod));
            if let Err(error) = announced {
                tracing::info!(%error, "a pod starts without its policies, and so without a network");
            }
            writeln!(output, "{}", config.prev_result).context(WriteSnafu)
        }
        "VERSION" => {
            let versions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];
            let answer = json!({"cniVersion": "1.0.0", "supportedVersions": versions});
            writeln!(output, "{answer}").context(WriteSnafu)
        }
        // DEL and CHECK: the pod's status is what removes it.
        _ => Ok(()),
    }
}

fn announcement(call: &Call, config: &Config) -> Result<Announcement, Error> {
    let argument = |key: &str| {
        let mut pairs = call.arguments.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    };
    let arguments = &call.arguments;
    let ips = config.prev_result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let mut addresses = ips.filter_map(|ip| ip.get("address")?.as_str()?.split('/').next()?.parse().ok());
    Ok(Announcement {
        namespace: argument("K8S_POD_NAMESPACE").context(NoPodSnafu { arguments })?,
        pod: argument("K8S_POD_NAME").context(NoPodSnafu { arguments })?,
        address: addresses.next().context(NoAddressSnafu)?,
    })
}

fn announce(path: &Path, announcement: &Announcement) -> Result<(), Error> {
    let wait = Some(Duration::from_secs(WAIT_SECONDS_MAX.saturating_add(1)));
    let talk = || -> std::io::Result<()> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(wait)?;
        stream.set_write_timeout(wait)?;
        writeln!(stream, "{}", serde_json::to_string(announcement)?)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(())
    };
    talk().context(TalkSnafu { path })
}

/// Puts the plugin beside the others: a script, because the program's own file
/// may be replaced by a newer build while the cluster runs.
pub fn install(folder: &Path, program: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(TYPE);
    std::fs::write(&path, format!("#!/bin/sh\nexec '{}' cni-policy\n", program.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
}

/// The plugin's entry in the `plugins` list of a network configuration.
pub fn configuration(socket: &Path) -> Value {
    json!({"type": TYPE, "socket": socket})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ARGUMENTS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ptn-a;K8S_POD_NAME=gateway-1;K8S_POD_UID=x";

    fn config() -> Value {
        let result = json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.11.1.5/32"}]});
        json!({"cniVersion": "0.4.0", "name": "pp", "type": TYPE, "socket": "/nowhere/policy.sock", "prevResult": result})
    }

    #[test]
    fn add_names_the_pod_and_its_address() {
        let call = Call { command: "ADD".into(), arguments: ARGUMENTS.into() };
        let found = announcement(&call, &serde_json::from_value(config()).unwrap()).unwrap();
        assert_eq!((found.namespace.as_str(), found.pod.as_str()), ("ptn-a", "gateway-1"));
        assert_eq!(found.address, Ipv4Addr::new(10, 11, 1, 5));
    }

    #[test]
    fn add_passes_the_result_on_though_no_daemon_listens() {
        let call = Call { command: "ADD".into(), arguments: ARGUMENTS.into() };
        let mut output = Vec::new();
        run(&call, config().to_string().as_bytes(), &mut output).unwrap();
        let answer: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(answer, config()["prevResult"]);
    }
}
