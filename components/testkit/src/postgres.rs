//! A private PostgreSQL: fsync on, TLS with client certificates on TCP, trust on
//! its Unix socket (which only the test can reach), gone when dropped.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use payplane_api::config::{DatabaseConfig, Environment, MigrateConfig, MigrateReport};
use payplane_api::currency::Currency;
use payplane_common::database::DatabaseTls;
use tokio_postgres::{Client, NoTls};

use crate::{Disk, Pki};

/// Debian's versioned folders, newest first.
const BINARIES: &[&str] = &["/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/15/bin"];
const START_MAX: Duration = Duration::from_secs(60);
const DATABASE: &str = "payplane";
/// What the server asks of its clients.
const CERTIFICATES: &str = "cert clientcert=verify-full";

/// A running server with database `payplane` and the four roles.
pub struct Postgres {
    /// Its data lies on one whose power can be cut. It goes before the folder that it lies over.
    disk: Option<Disk>,
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
    pub pki: Pki,
}

impl Postgres {
    /// Starts a server with its defaults: durable.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server with settings of its own, such as `("fsync", "off")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::create(&[], CERTIFICATES, settings, false).await
    }

    /// Starts a server whose data lies on a disk with a volatile cache.
    pub async fn start_on_disk() -> Result<Self> {
        Self::create(&[], CERTIFICATES, &[], true).await
    }

    /// Starts a server as a bank would run it: at an address that others reach
    /// too, logins by password, a certificate in that address's name.
    pub async fn start_at(address: &str) -> Result<Self> {
        let listen = format!("localhost,{address}");
        Self::create(&[address], "scram-sha-256", &[("listen_addresses", &listen)], false).await
    }

    async fn create(names: &[&str], login: &str, settings: &[(&str, &str)], on_disk: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp")?;
        let pki = Pki::create(&folder.path().join("pki"))?;
        own(folder.path(), false)?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let disk = on_disk.then(|| Disk::mount(&data)).transpose()?;
        own(&data, false)?;
        initdb(folder.path())?;
        std::fs::copy(pki.trust().join("ca.crt"), data.join("ca.crt"))?;
        own(&data.join("ca.crt"), true)?;
        std::fs::write(
            data.join("pg_hba.conf"),
            format!("local all all trust\nhostssl all all all {login}\n"),
        )?;
        let settings = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut postgres = Self { disk, folder, port: crate::port::free()?, settings, server: None, pki };
        postgres.present(names)?;
        postgres.launch().await?;
        postgres.prepare().await?;
        Ok(postgres)
    }

    /// Gives it a new certificate, good for `localhost` and the names given: it is
    /// presented from the next start or reload on.
    pub fn present(&self, names: &[&str]) -> Result<()> {
        let (leaf, data) = (self.pki.leaf("server", names)?, self.folder.path().join("data"));
        for file in ["tls.crt", "tls.key"] {
            std::fs::copy(leaf.join(file), data.join(file))?;
            own(&data.join(file), true)?;
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<()> {
        let admin = self.connect_to("postgres", "postgres").await?;
        for sql in [
            "CREATE ROLE payplane_owner LOGIN",
            "CREATE ROLE ledger LOGIN IN ROLE pg_read_all_stats",
            "CREATE ROLE gateway LOGIN",
            "CREATE ROLE payplane_vault LOGIN",
            "CREATE DATABASE payplane OWNER payplane_owner",
        ] {
            admin.batch_execute(sql).await?;
        }
        Ok(())
    }

    /// Starts the server on the data that is there.
    pub async fn launch(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let mut server = self.spawn()?;
            while started.elapsed() < START_MAX && server.try_wait()?.is_none() {
                if self.connect_to("postgres", "postgres").await.is_ok() {
                    self.server = Some(server);
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // After kill -9 the old backends may still hold the shared memory.
            let _ = server.kill();
            let _ = server.wait();
            if started.elapsed() > START_MAX {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("PostgreSQL did not start: {log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = as_postgres("postgres")?;
        command.arg("-D").arg(self.folder.path().join("data")).arg("-p").arg(self.port.to_string());
        let socket = format!("unix_socket_directories={}", self.folder.path().display());
        let fixed = ["listen_addresses=localhost", "ssl=on", "ssl_cert_file=tls.crt", "ssl_key_file=tls.key"];
        let more = ["ssl_ca_file=ca.crt", "max_connections=200", "shared_buffers=64MB", &socket];
        for setting in fixed.iter().chain(&more) {
            command.arg("-c").arg(setting);
        }
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        // A group of its own: Ctrl-C reaches the test, whose drop stops the server.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start postgres")
    }

    /// Kills every server process as kill -9 does, without a last word.
    pub fn kill_9(&mut self) -> Result<()> {
        signal_all(self.server.as_ref(), Signal::SIGKILL)?;
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server.wait()?;
        Ok(())
    }

    /// An immediate shutdown: it ends without a checkpoint, and recovers at the next start.
    pub fn quit(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(server.id())?), Signal::SIGQUIT)?;
        server.wait()?;
        Ok(())
    }

    /// Every server process stands still, until it is thawed or killed.
    pub fn freeze(&self) -> Result<()> {
        signal_all(self.server.as_ref(), Signal::SIGSTOP)
    }

    pub fn thaw(&self) -> Result<()> {
        signal_all(self.server.as_ref(), Signal::SIGCONT)
    }

    /// Goes on as a standby, which replays what there is and can be read.
    pub async fn stand_by(&mut self) -> Result<()> {
        self.kill_9()?;
        std::fs::write(self.folder.path().join("data/standby.signal"), "")?;
        self.launch().await
    }

    /// Cuts the power of its disk: the server ends, and of what it had not synced each
    /// page is kept or lost, as the seed has it; without one all is lost. Returns how
    /// many there were.
    pub fn cut_power(&mut self, seed: Option<u64>) -> Result<usize> {
        let disk = self.disk.as_ref().context("it has no disk of its own")?;
        disk.cut_power();
        self.kill_9()?;
        Ok(self.disk.as_ref().map_or(0, |disk| disk.restore_power(seed)))
    }

    /// All that was written until now is durable.
    pub fn sync_disk(&self) {
        self.disk.iter().for_each(Disk::sync);
    }

    /// How a component connects over TLS: see [`Postgres::identity`] and [`Pki::trust`].
    #[must_use]
    pub fn config(&self, user: &str) -> DatabaseConfig {
        DatabaseConfig {
            host: "localhost".into(),
            port: self.port,
            database: DATABASE.into(),
            user: user.into(),
            password_file: None,
        }
    }

    /// The folder of a client certificate for this role.
    pub fn identity(&self, user: &str) -> Result<PathBuf> {
        self.pki.leaf(user, &[])
    }

    /// Client TLS for this role.
    pub fn tls(&self, user: &str) -> Result<DatabaseTls> {
        payplane_common::tls::install_provider();
        let (identity, trust) = (self.identity(user)?, self.pki.trust());
        let identity = identity.to_str().context("the path is not UTF-8")?;
        Ok(DatabaseTls::load(Some(identity), trust.to_str().context("the path is not UTF-8")?)?)
    }

    /// How a program of PostgreSQL's own connects, over the Unix socket.
    #[must_use]
    pub fn conninfo(&self, user: &str, database: &str) -> String {
        format!("host={} port={} user={user} dbname={database}", self.folder.path().display(), self.port)
    }

    /// A session of this role over the Unix socket, without TLS.
    pub async fn connect(&self, user: &str) -> Result<Client> {
        self.connect_to(user, DATABASE).await
    }

    /// The same to another database.
    pub async fn connect_to(&self, user: &str, database: &str) -> Result<Client> {
        let mut options = tokio_postgres::Config::new();
        options.host_path(self.folder.path()).port(self.port).user(user).dbname(database);
        options.connect_timeout(Duration::from_secs(5));
        let (client, connection) = options.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A config that `migrate` takes: Test, CNY, USD and JPY, Shanghai.
    #[must_use]
    pub fn migrate_config(&self) -> MigrateConfig {
        MigrateConfig {
            tenant: "test".into(),
            environment: Environment::Test,
            currencies: ["CNY", "USD", "JPY"].iter().filter_map(|code| Currency::parse(code).ok()).collect(),
            timezone: "Asia/Shanghai".into(),
            database: self.config("payplane_owner"),
            books_id: None,
            instances: 1,
            storage_bytes: 1 << 30,
            external: false,
        }
    }

    /// Brings the schema up to date and returns the books id.
    pub async fn migrate(&self) -> Result<String> {
        let mut owner = self.connect("payplane_owner").await?;
        match payplane_migrate::migrate(&mut owner, &self.migrate_config()).await? {
            MigrateReport::Migrated { books_id, .. } => Ok(books_id),
            other => bail!("{other:?}"),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let Ok(pid) = i32::try_from(server.id()) else { return };
        // Immediate shutdown removes the shared memory, which SIGKILL would leave.
        let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        let started = Instant::now();
        while matches!(server.try_wait(), Ok(None)) {
            if started.elapsed() > Duration::from_secs(10) {
                let _ = server.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The postmaster first, which then makes no others.
fn signal_all(server: Option<&Child>, signal: Signal) -> Result<()> {
    let Some(server) = server else { return Ok(()) };
    let postmaster = i32::try_from(server.id())?;
    let children = format!("/proc/{postmaster}/task/{postmaster}/children");
    // Killed, it is known to nobody any more who they were.
    let before = std::fs::read_to_string(&children)?;
    kill(Pid::from_raw(postmaster), signal)?;
    let all = if signal == Signal::SIGKILL { before } else { std::fs::read_to_string(&children)? };
    for child in all.split_whitespace() {
        let _ = kill(Pid::from_raw(child.parse()?), signal);
    }
    Ok(())
}

fn initdb(folder: &Path) -> Result<()> {
    let done = as_postgres("initdb")?
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"])
        .output()?;
    ensure!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// PostgreSQL refuses root: as root its programs run as user postgres.
fn as_postgres(program: &str) -> Result<Command> {
    let path = BINARIES.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    let mut command = Command::new(path.with_context(|| format!("{program} is not installed"))?);
    if let Some((uid, gid)) = postgres_user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    Ok(command)
}

fn own(path: &Path, secret: bool) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    if let Some((uid, gid)) = postgres_user() {
        chown(path, Some(uid), Some(gid))?;
    }
    if secret {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// User and group of `postgres` where this process is root.
fn postgres_user() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut ids = line.split(':').skip(2);
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}
