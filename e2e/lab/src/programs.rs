//! The third-party programs, built from Go modules into a cache keyed by content.
//!
//! Their sources are part of this binary, so a built `lab` needs no clone.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::{dirs, lock, sys};

mod recipes;

pub use recipes::{CNPG_MANIFEST, CNPG_VERSION, COREDNS_VERSION, PAUSE_SOURCE, Recipe, recipes};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display(
        "Go is missing: install Go 1.26 or newer (https://go.dev/dl) so that `go` is on the PATH or in /usr/local/go/bin"
    ))]
    NoGo,
    #[snafu(display("no program is called {name}; there are {known}"))]
    Unknown { name: String, known: String },
    #[snafu(transparent)]
    Sys { source: sys::Error },
    #[snafu(transparent)]
    Lock { source: lock::Error },
}

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folders: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// The path of an executable such as `etcd`, `kubelet` or `helm`.
    pub fn path(&self, executable: &str) -> PathBuf {
        let program = if executable.starts_with("kube") { "kube" } else { executable };
        let folder = self.folders.iter().find(|(name, _)| *name == program);
        folder.map_or_else(|| PathBuf::from(executable), |(_, folder)| folder.join(executable))
    }

    /// CloudNativePG's own manifest, as its release ships it.
    pub fn cnpg_manifest(&self) -> PathBuf {
        self.path("cnpg").with_file_name(CNPG_MANIFEST)
    }

    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|(_, folder)| folder.as_path())
    }
}

/// Builds what the cache lacks. `only` narrows it to one program.
pub fn ensure(only: Option<&str>) -> Result<Programs, Error> {
    let all = recipes();
    if let Some(name) = only
        && !all.iter().any(|r| r.name == name)
    {
        let known = all.iter().map(|r| r.name).collect::<Vec<_>>().join(", ");
        return UnknownSnafu { name, known }.fail();
    }
    let wanted = all.iter().filter(|r| only.is_none_or(|name| name == r.name));
    let folders = wanted.map(|r| Ok((r.name, ensure_one(r)?))).collect::<Result<_, Error>>()?;
    Ok(Programs { folders })
}

fn ensure_one(recipe: &Recipe) -> Result<PathBuf, Error> {
    let cache = dirs::cache();
    let folder = cache.join("bin").join(format!("{}-{}", recipe.name, key(recipe)));
    if folder.is_dir() {
        return Ok(folder);
    }
    let _lock = lock::take(&cache.join("lock").join(recipe.name))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    eprintln!("building {} (minutes where the Go build cache is empty)", recipe.name);
    let half = cache.join("bin").join(format!(".{}.half", recipe.name));
    sys::remove_tree(&half)?;
    let output = half.join("output");
    build(recipe, &half, &output)?;
    std::fs::rename(&output, &folder).context(sys::FileSnafu { action: "put into place", path: &folder })?;
    sys::remove_tree(&half)?;
    Ok(folder)
}

fn build(recipe: &Recipe, half: &Path, output: &Path) -> Result<(), Error> {
    let go = sys::find_program("go", &["/usr/local/go/bin"]).context(NoGoSnafu)?;
    let source = half.join("source");
    sys::create_dir(&source)?;
    sys::create_dir(output)?;
    for (name, text) in recipe.sources {
        sys::write(&source.join(name), text)?;
    }
    let mut command = go_command(&go, &source);
    command
        .arg("build")
        .args(&recipe.flags)
        .arg("-o")
        .arg(output.join(recipe.executable))
        .arg(recipe.package);
    sys::stream(&mut command)?;
    for link in recipe.links {
        let path = output.join(link);
        std::os::unix::fs::symlink(recipe.executable, &path)
            .context(sys::FileSnafu { action: "link", path: &path })?;
    }
    if let Some((module, file)) = recipe.also {
        let folder = sys::finish(go_command(&go, &source).args(["list", "-m", "-f", "{{.Dir}}", module]))?;
        let text = sys::read(&Path::new(folder.trim()).join(file))?;
        sys::write(&output.join(Path::new(file).file_name().unwrap_or_default()), text)?;
    }
    Ok(())
}

/// Go's own caches lie in ours: one folder to keep, one to delete.
fn go_command(go: &Path, folder: &Path) -> Command {
    let cache = dirs::cache();
    let mut command = Command::new(go);
    command
        .current_dir(folder)
        .env("GOCACHE", cache.join("go-build"))
        .env("GOMODCACHE", cache.join("go-mod"))
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOFLAGS", "");
    command
}

/// Everything that decides what is built: module files, sources, flags.
fn key(recipe: &Recipe) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    for (name, text) in recipe.sources {
        add(name);
        add(text);
    }
    recipe.flags.iter().for_each(|flag| add(flag));
    recipe.links.iter().for_each(|link| add(link));
    add(recipe.package);
    add(recipe.executable);
    hex::encode(hash.finalize())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_or_flag_changes_the_key() {
        let before = recipes().remove(0);
        let mut flags = recipes().remove(0);
        flags.flags.push("-race".into());
        let mut sources = recipes().remove(0);
        sources.sources = &[("go.mod", "module x")];
        assert_ne!(key(&before), key(&flags));
        assert_ne!(key(&before), key(&sources));
        assert_eq!(key(&before), key(&recipes().remove(0)));
    }
}
