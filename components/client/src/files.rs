//! Files in an image without a shell.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Keys, certificates and configs are far smaller.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// The file; folders above it are made
    path: PathBuf,
}

/// Writes standard input to a file that only its owner reads, whole or not at all.
pub(crate) fn store(args: &StoreArgs) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(BYTES_MAX).read_to_end(&mut bytes)?;
    if let Some(folder) = args.path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let half = args.path.with_added_extension("half");
    let _ = std::fs::remove_file(&half);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&half, &args.path)
}
