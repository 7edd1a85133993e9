//! The images that a cluster needs, made from what is built or installed here.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu};

use crate::image::Image;
use crate::programs::{CNPG_VERSION, COREDNS_VERSION, PAUSE_SOURCE, Programs};
use crate::{dirs, lock, sys};

mod postgres;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(transparent)]
    Sys { source: sys::Error },
    #[snafu(transparent)]
    Lock { source: lock::Error },
    #[snafu(display("{} is linked dynamically: an image FROM scratch needs a static binary", path.display()))]
    Dynamic { path: PathBuf },
}

pub const PAUSE: &str = "localhost/pause:1";
pub const POSTGRES: &str = "localhost/postgresql:15";

pub fn coredns_name() -> String {
    format!("localhost/coredns:{COREDNS_VERSION}")
}

pub fn cnpg_name() -> String {
    format!("localhost/cloudnative-pg:{CNPG_VERSION}")
}

/// An image archive in the cache.
#[derive(Debug, Clone)]
pub struct Archive {
    pub name: String,
    pub path: PathBuf,
}

/// Makes the images that every cluster needs; those of CloudNativePG only when asked.
pub fn ensure(programs: &Programs, with_cnpg: bool) -> Result<Vec<Archive>, Error> {
    let mut archives = vec![pause()?, coredns(programs)?];
    if with_cnpg {
        archives.extend([cnpg(programs)?, postgres::archive()?]);
    }
    Ok(archives)
}

/// Makes one of the images by its short name.
pub fn ensure_one(programs: &Programs, name: &str) -> Result<Option<Archive>, Error> {
    Ok(Some(match name {
        "pause" => pause()?,
        "coredns" => coredns(programs)?,
        "cnpg" => cnpg(programs)?,
        "postgresql" => postgres::archive()?,
        _ => return Ok(None),
    }))
}

/// Looks the image up by what it is made of, and makes it where it is missing.
fn cached(
    name: &str,
    key: &str,
    fill: impl FnOnce(&mut Image) -> Result<(), Error>,
) -> Result<Archive, Error> {
    let digest = hex::encode(Sha256::digest(format!("2\n{name}\n{key}")));
    let short = name.rsplit('/').next().unwrap_or(name).replace(':', "-");
    let path = dirs::cache().join("images").join(format!("{short}-{}.tar", &digest[..16]));
    let archive = Archive { name: name.to_owned(), path };
    if archive.path.is_file() {
        return Ok(archive);
    }
    let _lock = lock::take(&dirs::cache().join("lock").join(format!("image-{short}")))?;
    if !archive.path.is_file() {
        let mut image = Image::new(name);
        fill(&mut image)?;
        image.write(&archive.path)?;
    }
    Ok(archive)
}

fn pause() -> Result<Archive, Error> {
    cached(PAUSE, PAUSE_SOURCE, |image| {
        let folder = dirs::cache().join("images").join(".pause");
        sys::create_dir(&folder)?;
        let (source, binary) = (folder.join("pause.c"), folder.join("pause"));
        sys::write(&source, PAUSE_SOURCE)?;
        let arguments = ["-static".as_ref(), "-Os".as_ref(), "-s".as_ref(), "-o".as_ref()];
        sys::run("gcc", &[&arguments[..], &[binary.as_os_str(), source.as_os_str()]].concat())?;
        let bytes = std::fs::read(&binary).context(sys::FileSnafu { action: "read", path: &binary })?;
        image.bytes("/pause", bytes, 0o755);
        image.entrypoint = vec!["/pause".to_owned()];
        image.user = "65535:65535".to_owned();
        Ok(sys::remove_tree(&folder)?)
    })
}

fn coredns(programs: &Programs) -> Result<Archive, Error> {
    let binary = programs.path("coredns");
    cached(&coredns_name(), &binary.display().to_string(), |image| {
        image.copy("/coredns", &binary)?;
        image.entrypoint = vec!["/coredns".to_owned()];
        image.user = "65532:65532".to_owned();
        Ok(())
    })
}

/// Its instances copy the manager out of this image by the path that the official image has.
fn cnpg(programs: &Programs) -> Result<Archive, Error> {
    let binary = programs.path("cnpg");
    cached(&cnpg_name(), &binary.display().to_string(), |image| {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        image.copy(&format!("/operator/manager_{architecture}"), &binary)?;
        image.symlink("/manager", &format!("/operator/manager_{architecture}"));
        image.dir("/tmp", 0o1777, 0);
        image.entrypoint = vec!["/manager".to_owned()];
        image.user = "10001:10001".to_owned();
        Ok(())
    })
}

/// What an image of the product holds besides its binary.
#[derive(Debug, Clone, Default)]
pub struct Product {
    pub name: String,
    pub binary: PathBuf,
    /// A bundle of public certificate authorities, for images that call the internet.
    pub ca_bundle: Option<PathBuf>,
}

/// Writes an image FROM scratch that holds one static binary, run by a user without rights.
pub fn write_product(product: &Product, out: &Path) -> Result<(), Error> {
    let binary =
        std::fs::read(&product.binary).context(sys::FileSnafu { action: "read", path: &product.binary })?;
    // A dynamic executable names its loader; a static one has no reason to.
    let head = &binary[..binary.len().min(4096)];
    if head.windows(8).any(|window| window == b"ld-linux") {
        return DynamicSnafu { path: &product.binary }.fail();
    }
    let file = product.binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut image = Image::new(&product.name);
    image.bytes(&format!("/{file}"), binary, 0o755);
    image.bytes("/etc/passwd", "payplane:x:65532:65532:payplane:/:/nologin\n", 0o644);
    image.bytes("/etc/group", "payplane:x:65532:\n", 0o644);
    if let Some(bundle) = &product.ca_bundle {
        image.copy("/etc/ssl/certs/ca-certificates.crt", bundle)?;
    }
    image.entrypoint = vec![format!("/{file}")];
    image.user = "65532:65532".to_owned();
    Ok(image.write(out)?)
}
