//! An app's signing key, of every algorithm that the gateway takes: a private key in PKCS#8
//! PEM, its public half in SPKI PEM; or a secret in base64.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use sm2::dsa::SigningKey as Sm2Key;
use sm2::dsa::signature::Signer;
use sm2::pkcs8::DecodePrivateKey;
use sm3::Sm3;
use snafu::{OptionExt, ResultExt, Snafu};

/// The default of GM/T 0009.
const SM2_USER_ID: &str = "1234567812345678";

/// How a key signs; the gateway has it registered with the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Algorithm {
    #[default]
    #[value(name = "ecdsa-p256-sha256")]
    Ecdsa,
    #[value(name = "rsa-pss-sha512")]
    RsaPss,
    #[value(name = "rsa-v1_5-sha256")]
    RsaV15,
    #[value(name = "hmac-sha256")]
    Hmac,
    #[value(name = "sm2-sm3")]
    Sm2,
    #[value(name = "hmac-sm3")]
    HmacSm3,
}

impl Algorithm {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa-p256-sha256",
            Self::RsaPss => "rsa-pss-sha512",
            Self::RsaV15 => "rsa-v1_5-sha256",
            Self::Hmac => "hmac-sha256",
            Self::Sm2 => "sm2-sm3",
            Self::HmacSm3 => "hmac-sm3",
        }
    }

    /// As the sorted style names it, where it has a name there.
    #[must_use]
    pub fn sign_type(self) -> Option<&'static str> {
        match self {
            Self::RsaV15 => Some("RSA2"),
            Self::Hmac => Some("HMAC-SHA256"),
            Self::HmacSm3 => Some("SM3"),
            Self::Ecdsa | Self::RsaPss | Self::Sm2 => None,
        }
    }
}

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
    #[snafu(display("{} holds no key for {}: PKCS#8 PEM, or a secret in base64", path.display(), algorithm.name()))]
    Unusable { path: PathBuf, algorithm: Algorithm },
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

/// A private or shared key. It has no Debug: it is a secret.
pub struct SigningKey {
    pub algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Hmac(Box<aws_lc_rs::hmac::Key>),
    Sm2(Box<Sm2Key>),
    HmacSm3(Box<Hmac<Sm3>>),
}

impl SigningKey {
    pub fn load(algorithm: Algorithm, path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).context(ReadSnafu { path })?;
        let kind = Kind::read(algorithm, &bytes).context(UnusableSnafu { path, algorithm })?;
        Ok(Self { algorithm, kind })
    }

    /// Signs a text: as the RFC wants it, for elliptic curves r and s of 32 bytes each.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Ecdsa(key) => Some(key.sign(&random, text).ok()?.as_ref().to_vec()),
            Kind::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, text, &mut signature).ok()?;
                Some(signature)
            }
            Kind::Hmac(key) => Some(aws_lc_rs::hmac::sign(key, text).as_ref().to_vec()),
            Kind::Sm2(key) => Some(key.try_sign(text).ok()?.to_vec()),
            Kind::HmacSm3(key) => {
                let tag = key.clone().chain_update(text).finalize();
                Some(tag.into_bytes().to_vec())
            }
        }
    }
}

impl Kind {
    fn read(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let pem = || PrivatePkcs8KeyDer::from_pem_slice(bytes).ok();
        let secret = || STANDARD.decode(std::str::from_utf8(bytes).ok()?.trim()).ok();
        let rsa =
            |encoding| Some(Self::Rsa(RsaKeyPair::from_pkcs8(pem()?.secret_pkcs8_der()).ok()?, encoding));
        match algorithm {
            Algorithm::Ecdsa => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pem()?.secret_pkcs8_der());
                Some(Self::Ecdsa(pair.ok()?))
            }
            Algorithm::RsaPss => rsa(&RSA_PSS_SHA512),
            Algorithm::RsaV15 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Hmac => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret()?);
                Some(Self::Hmac(Box::new(key)))
            }
            Algorithm::Sm2 => {
                let key = sm2::SecretKey::from_pkcs8_der(pem()?.secret_pkcs8_der()).ok()?;
                Some(Self::Sm2(Box::new(Sm2Key::new(SM2_USER_ID, &key).ok()?)))
            }
            Algorithm::HmacSm3 => Some(Self::HmacSm3(Box::new(Hmac::new_from_slice(&secret()?).ok()?))),
        }
    }
}
