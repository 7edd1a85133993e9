//! Entries of tar archives whose bytes depend on nothing but their content.

use std::fs::File;
use std::io::{Read, Write};

use sha2::{Digest, Sha256};

use super::{Content, Entry};

/// Counts and hashes what passes.
pub(super) struct Hashing<W> {
    pub(super) inner: W,
    pub(super) hash: Sha256,
    pub(super) size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

pub(super) fn header(mode: u32, owner: u64, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(size);
    header
}

pub(super) fn file<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    tar.append_data(&mut header(0o644, 0, bytes.len() as u64), name, bytes)
}

pub(super) fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, entry: &Entry) -> std::io::Result<()> {
    let mut header = header(entry.mode, entry.owner, 0);
    match &entry.content {
        Content::Dir => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{name}/"), std::io::empty())
        }
        Content::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, name, target)
        }
        Content::Bytes(bytes) => {
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_slice())
        }
        Content::Copy(path) => {
            let source = File::open(path)?;
            let size = source.metadata()?.len();
            header.set_size(size);
            tar.append_data(&mut header, name, source.take(size))
        }
    }
}
