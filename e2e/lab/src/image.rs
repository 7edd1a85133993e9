//! Writes OCI image archives without a container engine.
//!
//! The same content gives the same bytes: paths are sorted, times are zero, owners
//! are numbers. One layer, uncompressed: these archives travel over a local disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use snafu::ResultExt;

use crate::sys::{self, FileSnafu, Result};

mod pack;

use pack::{Hashing, append, file, header};

/// What stands at one path of an image.
#[derive(Debug, Clone)]
pub enum Content {
    Dir,
    Bytes(Vec<u8>),
    /// A file of this machine, read when the image is written.
    Copy(PathBuf),
    Symlink(String),
}

/// One path of an image.
#[derive(Debug, Clone)]
pub struct Entry {
    pub content: Content,
    pub mode: u32,
    pub owner: u64,
}

/// An image, ready to be written.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full name with registry and tag, such as `localhost/pause:1`.
    pub name: String,
    pub entrypoint: Vec<String>,
    /// `uid` or `uid:gid`.
    pub user: String,
    pub workdir: String,
    pub env: Vec<String>,
    entries: BTreeMap<String, Entry>,
}

impl Image {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), workdir: "/".to_owned(), ..Self::default() }
    }

    pub fn dir(&mut self, path: &str, mode: u32, owner: u64) -> &mut Self {
        self.add(path, Entry { content: Content::Dir, mode, owner })
    }

    pub fn bytes(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> &mut Self {
        self.add(path, Entry { content: Content::Bytes(bytes.into()), mode, owner: 0 })
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path, Entry { content: Content::Symlink(target.to_owned()), mode: 0o777, owner: 0 })
    }

    /// Takes a file of this machine; whoever may run or read it there may do so here.
    pub fn copy(&mut self, path: &str, from: &Path) -> Result<&mut Self> {
        let metadata = std::fs::metadata(from).context(FileSnafu { action: "read", path: from })?;
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        Ok(self.add(path, Entry { content: Content::Copy(from.to_owned()), mode, owner: 0 }))
    }

    /// Takes a folder of this machine with all that it holds; links keep pointing where they did.
    pub fn copy_tree(&mut self, path: &str, from: &Path) -> Result<&mut Self> {
        for entry in std::fs::read_dir(from).context(FileSnafu { action: "list", path: from })? {
            let entry = entry.context(FileSnafu { action: "list", path: from })?;
            let inner = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().context(FileSnafu { action: "read", path: entry.path() })?;
            if kind.is_dir() {
                self.copy_tree(&inner, &entry.path())?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path())
                    .context(FileSnafu { action: "read", path: entry.path() })?;
                self.symlink(&inner, &target.to_string_lossy());
            } else if kind.is_file() {
                self.copy(&inner, &entry.path())?;
            }
        }
        Ok(self)
    }

    /// Adds an entry and the folders above it that nothing has named yet.
    fn add(&mut self, path: &str, entry: Entry) -> &mut Self {
        let path = path.trim_matches('/').to_owned();
        let mut above = path.as_str();
        while let Some((folder, _)) = above.rsplit_once('/') {
            let dir = Entry { content: Content::Dir, mode: 0o755, owner: 0 };
            self.entries.entry(folder.to_owned()).or_insert(dir);
            above = folder;
        }
        self.entries.insert(path, entry);
        self
    }

    /// Writes the archive, whole or not at all.
    pub fn write(&self, out: &Path) -> Result<()> {
        let half = out.with_extension("half");
        let layer = out.with_extension("layer");
        if let Some(folder) = out.parent() {
            sys::create_dir(folder)?;
        }
        let result = self.write_layer(&layer).and_then(|digest| self.write_archive(&half, &layer, &digest));
        let _ = std::fs::remove_file(&layer);
        result?;
        std::fs::rename(&half, out).context(FileSnafu { action: "put into place", path: out })
    }

    fn write_layer(&self, path: &Path) -> Result<Blob> {
        let file = File::create(path).context(FileSnafu { action: "create", path })?;
        let mut writer = Hashing { inner: BufWriter::new(file), hash: Sha256::new(), size: 0 };
        let mut tar = tar::Builder::new(&mut writer);
        for (name, entry) in &self.entries {
            append(&mut tar, name, entry).context(FileSnafu { action: "pack", path: Path::new(name) })?;
        }
        tar.into_inner().context(FileSnafu { action: "write", path })?;
        writer.flush().context(FileSnafu { action: "write", path })?;
        Ok(Blob { digest: hex::encode(writer.hash.finalize()), size: writer.size })
    }

    fn write_archive(&self, path: &Path, layer_path: &Path, layer: &Blob) -> Result<()> {
        let config = self.config(layer).to_string();
        let config_blob = Blob::of(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_blob.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        })
        .to_string();
        let manifest_blob = Blob::of(manifest.as_bytes());
        let mut descriptor = manifest_blob.descriptor("application/vnd.oci.image.manifest.v1+json");
        descriptor["platform"] = json!({"architecture": architecture(), "os": "linux"});
        descriptor["annotations"] =
            json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        })
        .to_string();

        let write = || -> std::io::Result<()> {
            let mut tar = tar::Builder::new(BufWriter::new(File::create(path)?));
            file(&mut tar, "oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.as_bytes())?;
            file(&mut tar, "index.json", index.as_bytes())?;
            file(&mut tar, &config_blob.path(), config.as_bytes())?;
            file(&mut tar, &manifest_blob.path(), manifest.as_bytes())?;
            let mut header = header(0o644, 0, layer.size);
            tar.append_data(&mut header, layer.path(), File::open(layer_path)?)?;
            tar.into_inner()?.flush()
        };
        write().context(FileSnafu { action: "write", path })
    }

    fn config(&self, layer: &Blob) -> serde_json::Value {
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "User": self.user,
                "WorkingDir": self.workdir,
                "Env": self.env,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
            "history": [],
        })
    }
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

struct Blob {
    digest: String,
    size: u64,
}

impl Blob {
    fn of(bytes: &[u8]) -> Self {
        Self { digest: hex::encode(Sha256::digest(bytes)), size: bytes.len() as u64 }
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.size})
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn image() -> Image {
        let mut image = Image::new("localhost/a:1");
        image.entrypoint = vec!["/bin/a".into()];
        image.bytes("/etc/passwd", "a:x:1:1::/:\n", 0o644).bytes("bin/a", "program", 0o755);
        image.dir("tmp", 0o1777, 0).symlink("/b", "bin/a");
        image
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        image().write(&one).unwrap();
        image().write(&two).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
    }

    #[test]
    fn every_blob_has_the_name_of_its_hash_and_folders_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.tar");
        image().write(&out).unwrap();
        let mut archive = tar::Archive::new(File::open(&out).unwrap());
        let mut layers = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex::encode(Sha256::digest(&bytes)), digest);
                layers.push(bytes);
            }
        }
        assert_eq!(layers.len(), 3, "config, manifest, layer");
        let mut layer = tar::Archive::new(layers[2].as_slice());
        let names: Vec<_> =
            layer.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["b", "bin/", "bin/a", "etc/", "etc/passwd", "tmp/"]);
    }
}
