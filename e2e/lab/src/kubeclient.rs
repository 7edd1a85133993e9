//! A client for a cluster of this tool.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use snafu::{ResultExt, Snafu};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot use kubeconfig {}", path.display()))]
    Read { path: PathBuf, source: KubeconfigError },
    #[snafu(display("cannot make a client from kubeconfig {}", path.display()))]
    Make {
        path: PathBuf,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
}

/// A client with the rights that the kubeconfig gives. It does not connect yet.
pub async fn connect(path: &Path) -> Result<kube::Client, Error> {
    let kubeconfig = Kubeconfig::read_from(path).context(ReadSnafu { path })?;
    let options = KubeConfigOptions::default();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.context(ReadSnafu { path })?;
    kube::Client::try_from(config).context(MakeSnafu { path })
}
