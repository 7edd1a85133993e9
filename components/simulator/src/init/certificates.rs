//! RSA keys, certificates and secrets, kept while they are good.

use std::path::Path;

use rcgen::{
    BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use snafu::ResultExt;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CA_DAYS, InitError, MakeSnafu, is_good, is_issued_by, params, put, text};
use crate::rsa::Certified;

const SECRET_LENGTH: usize = 32;

/// A certificate to be made, with the number of certificates that may stand
/// below it where it is an authority.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) ca: Option<u8>,
    pub(super) serial_bytes: usize,
}

/// Keeps a certificate that is good, of this key and of this issuer, or makes
/// one. Without an issuer it signs itself.
pub(super) fn certificate(
    path: &Path,
    key: &KeyPair,
    wanted: &Wanted<'_>,
    issuer: Option<(&Issuer<'static, KeyPair>, &str)>,
) -> Result<String, InitError> {
    let issued = |pem: &str| issuer.is_none_or(|(_, ca)| is_issued_by(pem, ca));
    let kept = text(path)?.filter(|pem| is_good(pem, &[]) && is_of(pem, key, wanted.name) && issued(pem));
    if let Some(pem) = kept {
        return Ok(pem);
    }
    let mut params = params(wanted.name, &[], CA_DAYS)?;
    params.serial_number = Some(SerialNumber::from(random(wanted.serial_bytes)));
    params.key_usages = match wanted.ca {
        Some(below) => {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
        }
        None => vec![KeyUsagePurpose::DigitalSignature],
    };
    let made = match issuer {
        Some((issuer, _)) => params.signed_by(key, issuer),
        None => params.self_signed(key),
    };
    let pem = made.context(MakeSnafu { what: "a certificate" })?.pem();
    put(path, pem.as_bytes(), 0o644)?;
    Ok(pem)
}

pub(super) fn authority(pem: &str, key: KeyPair) -> Result<Issuer<'static, KeyPair>, InitError> {
    Issuer::from_ca_cert_pem(pem, key).context(MakeSnafu { what: "an authority" })
}

/// Is a certificate of this key and this name?
fn is_of(pem: &str, key: &KeyPair, name: &str) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let named = certificate.subject().iter_common_name().any(|cn| cn.as_str() == Ok(name));
    named && certificate.public_key().raw == key.subject_public_key_info()
}

pub(super) fn key(path: &Path) -> Result<KeyPair, InitError> {
    let what = "an RSA key";
    if let Some(pem) = text(path)? {
        return KeyPair::from_pem(&pem).context(MakeSnafu { what });
    }
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).context(MakeSnafu { what })?;
    put(path, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

/// A secret of letters and digits, without a newline.
pub(super) fn secret(path: &Path) -> Result<String, InitError> {
    let good = |text: &String| text.len() == SECRET_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(text) = text(path)?.filter(good) {
        return Ok(text);
    }
    let secret = crate::ids::random();
    put(path, secret.as_bytes(), 0o600)?;
    Ok(secret)
}

/// A positive number that fills its bytes.
fn random(bytes: usize) -> Vec<u8> {
    let pool = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
    let mut number: Vec<u8> = pool.into_iter().take(bytes).collect();
    if let Some(first) = number.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    number
}

pub(super) fn serial(pem: &str) -> Option<Certified> {
    Certified::from_pem(pem.as_bytes(), "a certificate").ok()
}
