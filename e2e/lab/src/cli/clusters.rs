//! Verbs on clusters, and their daemons.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use payplane_lab::cluster::up::Wanted;
use payplane_lab::cluster::{Cluster, down, up};
use payplane_lab::policy;
use payplane_lab::{kubeclient, node, process, provisioner};
use tokio_util::sync::CancellationToken;

use super::{ClusterVerb, UpArgs, say};

pub(crate) async fn run(verb: ClusterVerb) -> Result<()> {
    match verb {
        ClusterVerb::Up(args) => bring_up(args).await?,
        ClusterVerb::Down { name, all } => {
            let names = match name {
                Some(name) if !all => vec![name],
                _ => Cluster::all()?.into_iter().map(|cluster| cluster.spec.name).collect(),
            };
            for name in names {
                let gone = if down::down(&name)? { "is gone" } else { "was not there" };
                say(format!("cluster {name} {gone}"));
            }
            down::tidy()?;
        }
        ClusterVerb::Prune => {
            for name in down::prune()? {
                say(format!("cluster {name} did not run and is gone"));
            }
        }
        ClusterVerb::List => list()?,
        ClusterVerb::Load { name, archives } => load(&Cluster::open(&name)?, &archives)?,
        ClusterVerb::Kubeconfig { name } => say(Cluster::open(&name)?.kubeconfig().display()),
        ClusterVerb::Audit { name, follow } => audit(&Cluster::open(&name)?, follow)?,
        ClusterVerb::RestartApi { name } => {
            let away = up::restart_api(&name).await?;
            say(format!("the API server of {name} was away for {:.1} s", away.as_secs_f32()));
        }
        ClusterVerb::Wait { name } => {
            let cluster = Cluster::open(&name)?;
            up::works(&kubeclient::connect(&cluster.kubeconfig()).await?, &cluster).await?;
        }
    }
    Ok(())
}

async fn bring_up(args: UpArgs) -> Result<()> {
    let begun = Instant::now();
    let wanted = Wanted {
        name: args.name,
        nodes: args.nodes,
        fast_node_failure: args.fast_node_failure,
        cap_crash_backoff: args.cap_crash_backoff,
        cnpg: !args.no_cnpg,
    };
    let (cluster, ran) = up::up(&wanted).await?;
    let (name, seconds) = (&cluster.spec.name, begun.elapsed().as_secs_f32());
    if ran {
        say(format!("cluster {name} runs already"));
    } else {
        say(format!("cluster {name} works after {seconds:.1} s"));
    }
    say(format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    Ok(())
}

fn list() -> Result<()> {
    for cluster in Cluster::all()? {
        let numbers = cluster.numbers();
        let running = numbers.filter(|&k| process::running(&cluster, &node::daemon(k)).is_some()).count();
        let (name, nodes) = (&cluster.spec.name, cluster.spec.nodes);
        say(format!("{name}\t{running}/{nodes} nodes\t{}", cluster.plan.api_server()));
    }
    Ok(())
}

fn audit(cluster: &Cluster, follow: bool) -> Result<()> {
    let path = cluster.audit_log();
    if !follow {
        say(path.display());
        return Ok(());
    }
    let status =
        std::process::Command::new("tail").args(["--lines=+1", "--follow=name"]).arg(path).status()?;
    anyhow::ensure!(status.success(), "tail ended with {status}");
    Ok(())
}

fn load(cluster: &Cluster, archives: &[PathBuf]) -> Result<()> {
    let runs = |&k: &u8| process::running(cluster, &node::daemon(k)).is_some();
    let (running, down): (Vec<u8>, Vec<u8>) = cluster.numbers().partition(runs);
    for k in down {
        eprintln!("{} is down: load again when it is up", cluster.plan.node_name(k));
    }
    let archives = archives
        .iter()
        .map(|path| path.canonicalize().with_context(|| format!("cannot find {}", path.display())))
        .collect::<Result<Vec<_>>>()?;
    let each = |&k: &u8| archives.iter().try_for_each(|archive| node::load(cluster, k, archive).map(drop));
    std::thread::scope(|scope| {
        let threads: Vec<_> = running.iter().map(|k| scope.spawn(move || each(k))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => anyhow::bail!("a thread that loads images died"),
        })
    })
}

pub(crate) async fn daemon(name: &str, cluster: &Cluster) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let stop = CancellationToken::new();
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopper = stop.clone();
    tokio::spawn(async move {
        term.recv().await;
        stopper.cancel();
    });
    match name {
        "policy" => Ok(policy::daemon::run(cluster.paths(), stop).await?),
        "provisioner" => Ok(provisioner::run(cluster.paths(), stop).await?),
        _ => anyhow::bail!("no daemon is called {name}"),
    }
}
