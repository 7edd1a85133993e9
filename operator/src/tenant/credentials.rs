//! What a channel's Secret must hold: the gateway would refuse its whole config
//! for one key that it cannot use, so each is read here first.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use payplane_crds::ChannelSpec;
use payplane_crds::channel::{ChannelType, UnionPaySignMethod};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

const BYTES_MAX: usize = 64 * 1024;
/// 2048 bits.
const RSA_BYTES_MIN: usize = 256;
const BANK_KEYS_MAX: usize = 4;
const POINT_BYTES: usize = 65;

/// A key of a Secret, and the file that the gateway gets of it.
pub struct KeyFile {
    pub key: &'static str,
    pub suffix: &'static str,
    pub what: &'static str,
    pub is_usable: fn(&[u8]) -> bool,
    pub optional: bool,
}

/// What a channel needs of which Secret, and the spec's member that names it.
pub struct Needs<'a> {
    pub member: &'static str,
    pub secret: &'a str,
    pub files: Vec<KeyFile>,
}

const fn file(
    key: &'static str,
    suffix: &'static str,
    what: &'static str,
    is_usable: fn(&[u8]) -> bool,
) -> KeyFile {
    KeyFile { key, suffix, what, is_usable, optional: false }
}

const CA: KeyFile = file("ca.crt", "ca", "a CA certificate (PEM)", is_bundle);
const RSA_KEY: KeyFile =
    file("merchant.key", "key", "an RSA private key of 2048 bits or more (PKCS#8 PEM)", is_rsa_private_key);
const RSA_PUBLIC: KeyFile =
    file("network.pub", "pub", "an RSA public key of 2048 bits or more (PEM)", is_rsa_public_key);

const P256_KEY: KeyFile =
    file("merchant.key", "key", "an ECDSA P-256 private key (PKCS#8 PEM)", is_private_key);

/// What is shown in TLS, where a bank asks for it.
const CLIENT: [KeyFile; 2] = [
    KeyFile { optional: true, ..file("client.crt", "client-crt", "certificates (PEM)", is_bundle) },
    KeyFile { optional: true, ..file("client.key", "client-key", "a private key (PEM)", is_tls_key) },
];

/// What the simulated network needs.
pub const SIMULATOR: [KeyFile; 3] =
    [P256_KEY, file("network.pub", "pub", "an ECDSA P-256 public key (PEM)", is_public_key), CA];

/// What the network of a channel needs; none where the spec says nothing of it.
#[must_use]
pub fn needs(spec: &ChannelSpec) -> Option<Needs<'_>> {
    let (member, secret, mut files) = match spec.channel_type {
        ChannelType::Simulator => {
            ("simulator", &spec.simulator.as_ref()?.credentials.name, Vec::from(SIMULATOR))
        }
        ChannelType::WechatPay => {
            let sealed = file("apiv3.key", "seal", "32 characters (the API v3 key)", is_api_v3_key);
            let files = vec![RSA_KEY, sealed, RSA_PUBLIC];
            ("wechatPay", &spec.wechat_pay.as_ref()?.credentials.name, files)
        }
        ChannelType::Alipay => ("alipay", &spec.alipay.as_ref()?.credentials.name, vec![RSA_KEY, RSA_PUBLIC]),
        ChannelType::UnionPay => {
            let union_pay = spec.union_pay.as_ref()?;
            let mut files = match union_pay.sign_method {
                UnionPaySignMethod::Rsa => vec![
                    RSA_KEY,
                    file("merchant.crt", "crt", "a certificate (PEM)", is_bundle),
                    file("network-ca.crt", "root", "certificates, one of them self-signed (PEM)", has_root),
                ],
                UnionPaySignMethod::Sha256 | UnionPaySignMethod::Sm3 => {
                    vec![file("secure.key", "secret", "a key of 8 to 128 printable characters", is_secret)]
                }
            };
            if union_pay.token_requestor.is_some() {
                let what = "a certificate of an RSA key of 2048 bits or more (PEM)";
                files.push(file("encrypt.crt", "encrypt", what, is_rsa_certificate));
            }
            ("unionPay", &union_pay.credentials.name, files)
        }
        ChannelType::BankDirect => {
            let public = file("network.pub", "pub", "1 to 4 ECDSA P-256 public keys (PEM)", are_public_keys);
            (
                "bankDirect",
                &spec.bank_direct.as_ref()?.credentials.name,
                vec![P256_KEY, public].into_iter().chain(CLIENT).collect(),
            )
        }
    };
    if spec.simulator.is_none() {
        // Without one the public CAs believe a network. A sandbox has its own.
        files.push(KeyFile { optional: spec.simulated().is_none(), ..CA });
    }
    Some(Needs { member, secret, files })
}

/// The bytes under a Secret's key, where they are there.
#[must_use]
pub fn bytes(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret["data"][key].as_str()?).ok()
}

fn is_private_key(pem: &[u8]) -> bool {
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem) else { return false };
    pem.len() <= BYTES_MAX
        && EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).is_ok()
}

fn is_public_key(pem: &[u8]) -> bool {
    let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) else { return false };
    pem.len() <= BYTES_MAX && is_p256(&der)
}

/// Those of a bank, while it changes them.
fn are_public_keys(pem: &[u8]) -> bool {
    let all: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(pem).collect();
    let all = all.unwrap_or_default();
    pem.len() <= BYTES_MAX && (1..=BANK_KEYS_MAX).contains(&all.len()) && all.iter().all(is_p256)
}

fn is_p256(der: &SubjectPublicKeyInfoDer<'_>) -> bool {
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(der) else { return false };
    let Ok(PublicKey::EC(point)) = info.parsed() else { return false };
    // The gateway reads uncompressed points only.
    point.data().len() == POINT_BYTES && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.data()).is_ok()
}

fn is_rsa_private_key(pem: &[u8]) -> bool {
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem) else { return false };
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der());
    pem.len() <= BYTES_MAX && pair.is_ok_and(|pair| pair.public_modulus_len() >= RSA_BYTES_MIN)
}

fn is_rsa_public_key(pem: &[u8]) -> bool {
    let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) else { return false };
    pem.len() <= BYTES_MAX && ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*der).is_ok()
}

fn is_rsa_certificate(pem: &[u8]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem) else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return false };
    let key = parsed.public_key().raw;
    pem.len() <= BYTES_MAX && ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).is_ok()
}

/// A line end after it is no part of a key that somebody wrote into a file.
fn is_api_v3_key(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.trim_end().len() == 32)
}

fn is_secret(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let text = text.trim_end();
    (8..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The gateway needs one that the others lead to.
fn has_root(pem: &[u8]) -> bool {
    let own = |der: CertificateDer<'_>| {
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return false };
        parsed.subject().as_raw() == parsed.issuer().as_raw()
    };
    is_bundle(pem) && CertificateDer::pem_slice_iter(pem).flatten().any(own)
}

/// Does a certificate hold the public part of a private RSA key?
#[must_use]
pub fn is_pair(key: &[u8], certificate: &[u8]) -> bool {
    let pair = || {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).ok()?;
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()?;
        let certificate = CertificateDer::from_pem_slice(certificate).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, parsed.public_key().raw).ok()?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"pair", &mut signature).ok()?;
        public.verify_sig(b"pair", &signature).ok()
    };
    pair().is_some()
}

fn tls_key(pem: &[u8]) -> Option<Arc<dyn SigningKey>> {
    any_supported_type(&PrivateKeyDer::from_pem_slice(pem).ok()?).ok()
}

fn is_tls_key(pem: &[u8]) -> bool {
    pem.len() <= BYTES_MAX && tls_key(pem).is_some()
}

/// Can both be shown in TLS together?
#[must_use]
pub fn is_tls_pair(key: &[u8], certificates: &[u8]) -> bool {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let pair = chain.ok().zip(tls_key(key)).map(|(chain, key)| CertifiedKey::new(chain, key));
    pair.is_some_and(|pair| pair.keys_match().is_ok())
}

fn is_bundle(pem: &[u8]) -> bool {
    pem.len() <= BYTES_MAX && are_certificates(pem)
}

/// One certificate or several, and nothing that is none.
#[must_use]
pub fn are_certificates(pem: &[u8]) -> bool {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let usable = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok();
    all.is_ok_and(|all| !all.is_empty() && all.iter().all(usable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_gateway_can_use_is_taken() {
        let pair = crate::pki::authority("t").unwrap();
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let [private, public, bundle] = SIMULATOR.map(|file| file.is_usable);
        assert!(private(p256.serialize_pem().as_bytes()));
        for (count, usable) in [(0, false), (1, true), (4, true), (5, false)] {
            let keys = p256.public_key_pem().repeat(count);
            assert_eq!(are_public_keys(keys.as_bytes()), usable, "{count}");
        }
        assert!(is_tls_pair(pair.key.as_bytes(), pair.certificate.as_bytes()));
        assert!(!is_tls_pair(p256.serialize_pem().as_bytes(), pair.certificate.as_bytes()));
        let mixed = p256.public_key_pem() + &p384.public_key_pem();
        assert!(!are_public_keys(mixed.as_bytes()));
        assert!(public(p256.public_key_pem().as_bytes()));
        assert!(bundle(pair.certificate.as_bytes()));
        assert!(bundle((pair.certificate.clone() + &pair.certificate).as_bytes()));
        for other in [&p384.serialize_pem(), &p384.public_key_pem(), "-----BEGIN EC PARAMETERS-----\n", ""] {
            assert!(!private(other.as_bytes()) && !public(other.as_bytes()), "{other}");
            assert!(!bundle(other.as_bytes()), "{other}");
        }
        assert!(!private(p256.public_key_pem().as_bytes()) && !public(p256.serialize_pem().as_bytes()));
    }
}
