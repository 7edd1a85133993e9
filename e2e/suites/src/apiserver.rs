//! A real API server on its own: etcd and kube-apiserver, no nodes, no
//! controllers. It is up in seconds and shows what only a real one has: CEL with
//! its cost limits, admission policies, RBAC.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use payplane_lab::programs;
use payplane_testkit::port;
use tempfile::TempDir;

const START_WITHIN: Duration = Duration::from_secs(60);
const TOKEN: &str = "administrator";

/// The processes; they end with this value.
pub struct ApiServer {
    folder: TempDir,
    server: Process,
    _etcd: Process,
    port: u16,
}

impl ApiServer {
    /// Starts both and waits until the API server is ready.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [client_port, peer_port, port] = [port::free()?, port::free()?, port::free()?];
        let etcd = start_etcd(folder.path(), client_port, peer_port)?;
        let server = start_server(folder.path(), client_port, port)?;
        let mut this = Self { folder, server, _etcd: etcd, port };
        this.write_kubeconfig()?;
        this.wait().await?;
        Ok(this)
    }

    /// For kubectl and helm.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A client of the administrator.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// A client that the API server takes for another user.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> anyhow::Result<Client> {
        let mut config = self.config().await?;
        config.auth_info.impersonate = Some(user.to_owned());
        let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        config.auth_info.impersonate_groups = Some(groups);
        Ok(Client::try_from(config)?)
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + START_WITHIN;
        let authority = self.folder.path().join("certs/apiserver.crt");
        while Instant::now() < until {
            if let Some(status) = self.server.0.try_wait()? {
                bail!("kube-apiserver ended with {status}: {}", self.log());
            }
            if authority.is_file() {
                let ready =
                    self.client().await?.request_text(http::Request::get("/readyz").body(vec![])?).await;
                if ready.is_ok() {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("kube-apiserver is not ready after {START_WITHIN:?}: {}", self.log())
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("apiserver.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn write_kubeconfig(&self) -> anyhow::Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: alone\n\
             clusters: [{{name: alone, cluster: {{server: \"https://127.0.0.1:{}\", certificate-authority: {}}}}}]\n\
             users: [{{name: administrator, user: {{token: {TOKEN}}}}}]\n\
             contexts: [{{name: alone, context: {{cluster: alone, user: administrator}}}}]\n",
            self.port,
            self.folder.path().join("certs/apiserver.crt").display()
        );
        Ok(std::fs::write(self.kubeconfig(), text)?)
    }
}

/// A process that is killed with its handle: nothing here is worth a farewell.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_etcd(folder: &Path, port: u16, peer_port: u16) -> anyhow::Result<Process> {
    let mut command = Command::new(programs::ensure(Some("etcd"))?.path("etcd"));
    command.args(["--name=alone", "--unsafe-no-fsync", "--log-level=error"]).args([
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
    ]);
    spawn(command, &folder.join("etcd.log"))
}

fn start_server(folder: &Path, etcd: u16, port: u16) -> anyhow::Result<Process> {
    std::fs::write(
        folder.join("tokens"),
        format!("{TOKEN},administrator,administrator,\"system:masters\"\n"),
    )?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    std::fs::write(folder.join("sa.key"), key.serialize_pem())?;
    std::fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(programs::ensure(Some("kube"))?.path("kube-apiserver"));
    command
        .args([
            "--bind-address=127.0.0.1",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
        ])
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--endpoint-reconciler-type=none"])
        .args([
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", path("certs")),
            format!("--token-auth-file={}", path("tokens")),
            format!("--service-account-key-file={}", path("sa.pub")),
            format!("--service-account-signing-key-file={}", path("sa.key")),
        ]);
    spawn(command, &folder.join("apiserver.log"))
}

fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Process> {
    let log = std::fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Process(command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?))
}
