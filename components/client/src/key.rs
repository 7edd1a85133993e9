//! An app's signing key: ECDSA P-256, PKCS#8 PEM; its public half in SPKI PEM.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use snafu::{OptionExt, ResultExt, Snafu};

#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// The private key's file; an existing key is kept
    #[arg(long)]
    pub key: PathBuf,
    /// The public key's file
    #[arg(long)]
    pub public: PathBuf,
}

#[derive(Debug, Snafu)]
pub enum KeyError {
    #[snafu(display("cannot read key file {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot write key file {}", path.display()))]
    Write { path: PathBuf, source: std::io::Error },
    #[snafu(display("a key cannot be made or read"))]
    Make { source: rcgen::Error },
    #[snafu(display("{} holds no ECDSA P-256 key in PKCS#8 PEM", path.display()))]
    Unusable { path: PathBuf },
}

/// Makes a key pair.
pub fn keygen(args: &KeygenArgs) -> Result<(), KeyError> {
    let path = &args.key;
    let key = match std::fs::read_to_string(path) {
        Ok(pem) => KeyPair::from_pem(&pem).context(MakeSnafu)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context(MakeSnafu)?;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let pem = key.serialize_pem();
            file.and_then(|mut file| file.write_all(pem.as_bytes())).context(WriteSnafu { path })?;
            key
        }
        Err(source) => return Err(KeyError::Read { path: path.clone(), source }),
    };
    std::fs::write(&args.public, key.public_key_pem()).context(WriteSnafu { path: &args.public })
}

/// A private key. It has no Debug: it is a secret.
pub struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let pem = std::fs::read(path).context(ReadSnafu { path })?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok().context(UnusableSnafu { path })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        Ok(Self(pair.ok().context(UnusableSnafu { path })?))
    }

    /// Signs a text: r and s, 32 bytes each.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.sign(&SystemRandom::new(), text).ok()?.as_ref().to_vec())
    }
}
