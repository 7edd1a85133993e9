//! How each part is started: its files, its ports, its certificate, and else its defaults.

use std::path::Path;

use anyhow::Result;
use payplane_testkit::{Pki, Postgres, port};
use serde_json::json;

use super::process::{self, Process};
use super::rig::calendar;

/// Its port, and the process.
pub(super) fn ledger(postgres: &Postgres, at: &Path) -> Result<(u16, Process)> {
    let config = json!({
        "tenant": "bench", "environment": "Test", "currencies": ["CNY"],
        "calendar": calendar(), "database": postgres.config("ledger"),
    });
    std::fs::write(at.join("ledger.json"), config.to_string())?;
    Pki::seal_key(at)?;
    let (port, health) = (port::free()?, port::free()?);
    let (leaf, trust) = (postgres.pki.leaf("ledger", &[])?, postgres.pki.trust());
    let mut args = vec!["ledger".to_owned(), "--config".to_owned(), text(&at.join("ledger.json"))];
    args.extend(identity(&leaf, &trust));
    args.extend(["--seal-key".to_owned(), text(&at.join("seal.key"))]);
    args.extend(["--heads-file".to_owned(), text(&at.join("heads"))]);
    args.extend(listening(&[("--listen", port), ("--health", health)]));
    args.extend(database(&leaf, &trust));
    Ok((port, Process::start("ledger", &args, at, health)?))
}

/// Its port for merchants, that of its record, and the process.
/// It believes the gateways when it notifies them; payers pay at once.
pub(super) fn simulator(at: &Path, trust: &Path) -> Result<(u16, u16, Process)> {
    let network = at.join("network");
    let init = ["simulator", "init", "--dir", &text(&network), "--dns", "localhost"];
    process::finish(&init.map(str::to_owned))?;
    let file = |name: &str| text(&network.join("network").join(name));
    let (port, record) = (port::free()?, port::free()?);
    let mut args = vec!["simulator".to_owned()];
    for (flag, name) in [
        ("--tls-cert", "tls.crt"),
        ("--tls-key", "tls.key"),
        ("--network-key", "network.key"),
        ("--merchants", "merchants.json"),
        ("--state", "journal"),
        ("--networks", "networks.json"),
    ] {
        args.extend([flag.to_owned(), file(name)]);
    }
    args.extend(["--payer-after-ms".to_owned(), "0".to_owned()]);
    args.extend(["--notify-ca".to_owned(), text(&trust.join("ca.crt"))]);
    args.extend(listening(&[("--listen", port), ("--health", record)]));
    Ok((port, record, Process::start("simulator", &args, at, record)?))
}

pub(super) fn gateway(
    name: &'static str,
    config: &Path,
    [leaf, vault, trust]: [&Path; 3],
    (app, at): (u16, &Path),
) -> Result<([u16; 2], Process)> {
    let [admin, health] = [port::free()?, port::free()?];
    let mut args = vec!["gateway".to_owned(), "--config".to_owned(), text(config)];
    args.extend(identity(leaf, trust));
    args.extend(listening(&[("--listen", app), ("--admin", admin), ("--health", health)]));
    args.extend(["--notify-key".to_owned(), text(&at.join("notify.key"))]);
    args.extend(["--data-key".to_owned(), text(&at.join("data.key"))]);
    args.extend(database(leaf, trust));
    args.extend(["--vault-tls".to_owned(), text(vault)]);
    Ok(([app, admin], Process::start(name, &args, at, health)?))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn identity(own: &Path, trust: &Path) -> [String; 4] {
    ["--tls".into(), text(own), "--trust".into(), text(trust)]
}

fn database(own: &Path, trust: &Path) -> [String; 4] {
    ["--database-tls".into(), text(own), "--database-trust".into(), text(trust)]
}

fn listening(ports: &[(&str, u16)]) -> Vec<String> {
    ports.iter().flat_map(|(flag, port)| [(*flag).to_owned(), format!("127.0.0.1:{port}")]).collect()
}
