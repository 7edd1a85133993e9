//! The head of the chain as it is said outside: one line of JSON, signed.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use jiff::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};
use tokio::io::AsyncWriteExt;

use super::{Outside, Tip};
use crate::place::Place;

#[derive(Debug, Snafu)]
pub enum HeadError {
    #[snafu(display("the key {} cannot be used: {why}", path.display()))]
    Key { path: PathBuf, why: String },
    #[snafu(display("the heads cannot be written to {}", path.display()))]
    Write { path: PathBuf, source: std::io::Error },
}

/// "At this position the hash over these books is this", and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub books: String,
    pub epoch: i32,
    pub position: i64,
    /// Hex, as the key and the signature.
    pub hash: String,
    pub sealed_at: String,
    /// Timeline and position in the write-ahead log that everything lies before which
    /// whoever says this had answered: `1:0/16B3748`. None was, where the timeline is 0.
    pub answered: String,
    /// Ed25519 public key.
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub signature: String,
}

impl Head {
    fn of(tip: &Tip, hash: &[u8], answered: Place) -> Self {
        Self {
            books: tip.books.clone(),
            epoch: tip.epoch,
            position: tip.position,
            hash: hex::encode(hash),
            sealed_at: Timestamp::now().to_string(),
            answered: answered.to_string(),
            key: String::new(),
            signature: String::new(),
        }
    }

    /// What is signed. The first line says what it is, so that no other signature fits.
    fn statement(&self) -> String {
        let Self { books, epoch, position, hash, sealed_at, answered, .. } = self;
        format!("payplane head 2\n{books}\n{epoch}\n{position}\n{hash}\n{sealed_at}\n{answered}\n")
    }

    fn sign(mut self, key: &Ed25519KeyPair) -> Self {
        self.key = hex::encode(key.public_key().as_ref());
        self.signature = hex::encode(key.sign(self.statement().as_bytes()).as_ref());
        self
    }

    /// As it is written and sent.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Does the key that it names have signed it?
    #[must_use]
    pub fn holds(&self) -> bool {
        let (Ok(key), Ok(signature)) = (hex::decode(&self.key), hex::decode(&self.signature)) else {
            return false;
        };
        UnparsedPublicKey::new(&ED25519, key).verify(self.statement().as_bytes(), &signature).is_ok()
    }
}

/// Says each head once: in the log, to readers of events, and where a file is named also there.
pub(crate) struct Publisher {
    outside: Outside,
    said: i64,
}

impl Publisher {
    pub(crate) fn new(outside: Outside) -> Self {
        Self { outside, said: 0 }
    }

    pub(crate) async fn publish(&mut self, tip: &Tip, hash: &[u8], answered: Place) -> Result<(), HeadError> {
        if tip.position == self.said || !self.outside.key.exists() {
            return Ok(());
        }
        let head = Head::of(tip, hash, answered).sign(&load(&self.outside.key)?);
        let line = head.line();
        if let Some(path) = &self.outside.file {
            append(path, &line).await.context(WriteSnafu { path })?;
        }
        tracing::info!(head = line, "sealed");
        self.outside.said.send_replace(Some(head));
        self.said = tip.position;
        Ok(())
    }
}

fn load(path: &Path) -> Result<Ed25519KeyPair, HeadError> {
    let der = PrivatePkcs8KeyDer::from_pem_file(path)
        .map_err(|error| HeadError::Key { path: path.to_owned(), why: error.to_string() })?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
        .map_err(|error| HeadError::Key { path: path.to_owned(), why: error.to_string() })
}

/// The line is on the disk when this returns.
async fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
    file.write_all(format!("{line}\n").as_bytes()).await?;
    file.sync_data().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_nothing_else_than_what_was_signed() {
        let key = Ed25519KeyPair::generate().unwrap();
        let tip =
            Tip { books: "b".into(), epoch: 1, position: 7, hash: None, given: 7, lag_ms: 0, contains: true };
        let head = Head::of(&tip, &[1; 32], Place::default()).sign(&key);
        assert!(head.holds());
        let other = hex::encode(Ed25519KeyPair::generate().unwrap().public_key().as_ref());
        let spoils: [fn(&mut Head, &str); 7] = [
            |h, _| h.books = "c".into(),
            |h, _| h.epoch = 2,
            |h, _| h.position = 8,
            |h, _| h.hash = hex::encode([2; 32]),
            |h, _| h.sealed_at.push('0'),
            |h, _| h.answered.push('0'),
            |h, other| h.key = other.into(),
        ];
        for spoil in spoils {
            let mut changed = head.clone();
            spoil(&mut changed, &other);
            assert!(!changed.holds(), "{changed:?}");
        }
    }
}
