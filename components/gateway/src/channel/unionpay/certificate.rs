//! The certificate that UnionPay sends along with what it signs, and the merchant's own.
//! As AcpSDK `CertUtil.verifyCertificate` has it: it leads to the CAs that were agreed
//! on, is valid now, and its common name says whose it is.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime, alg_id,
};
use webpki::aws_lc_rs::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::channel::rsa::{SigningKey, VerifyingKey};

pub(super) const NETWORK_CA: &str = "root certificate and those between (PEM)";
pub(super) const MERCHANT_CERTIFICATE: &str = "certificate of the merchant's key (PEM)";

/// Whose certificate it is: the third part of a common name such as
/// `041@8310000000083040@中国银联股份有限公司@00016495`.
const UNIONPAY: &str = "中国银联股份有限公司";
/// And in UnionPay's test environment.
const UNIONPAY_TEST: &str = "00040000:SIGN";
/// A chain that was verified is believed for so long, so that the end of any of its
/// certificates is noticed.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// The CAs that UnionPay's certificates lead to.
pub(super) struct NetworkCa {
    anchors: Vec<TrustAnchor<'static>>,
    between: Vec<CertificateDer<'static>>,
    is_test: bool,
    /// The last certificate that was verified: the network signs with one for years.
    last: RwLock<Option<Arc<Verified>>>,
}

/// A certificate of UnionPay's.
pub(super) struct Verified {
    text: String,
    pub key: VerifyingKey,
    from: Timestamp,
    until: Timestamp,
}

impl NetworkCa {
    /// `is_test`: names and SHA-1 signatures of UnionPay's test environment are taken too.
    pub(super) fn from_pem(pem: &[u8], is_test: bool) -> Option<Self> {
        let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
        let (mut anchors, mut between) = (Vec::new(), Vec::new());
        for certificate in all {
            let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
            if parsed.subject().as_raw() == parsed.issuer().as_raw() {
                anchors.push(anchor_from_trusted_cert(&certificate).ok()?.to_owned());
            } else {
                between.push(certificate);
            }
        }
        (!anchors.is_empty()).then(|| Self { anchors, between, is_test, last: RwLock::new(None) })
    }

    /// Verifies a certificate, in PEM as it came; once, not for every message.
    pub(super) fn verified(&self, text: &str, now: Timestamp) -> Option<Arc<Verified>> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_known = |last: &Arc<Verified>| last.text == text && last.from <= now && now < last.until;
        if let Some(known) = last.filter(is_known) {
            return Some(known);
        }
        let verified = Arc::new(self.verify(text, now)?);
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(verified.clone());
        Some(verified)
    }

    fn verify(&self, text: &str, now: Timestamp) -> Option<Verified> {
        let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let seconds = u64::try_from(now.as_second()).ok()?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let algorithms: &[&dyn SignatureVerificationAlgorithm] = if self.is_test { TEST } else { LIVE };
        let (anchors, between) = (&self.anchors, &self.between);
        certificate.verify_for_usage(algorithms, anchors, between, time, AnyUsage, None, None).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let mut names = parsed.subject().iter_common_name();
        let name = names.next()?.as_str().ok()?;
        let is_unionpay =
            name.split('@').any(|part| part == UNIONPAY || self.is_test && part == UNIONPAY_TEST);
        if !is_unionpay || names.next().is_some() {
            return None;
        }
        let end = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        let until = now.saturating_add(BELIEVED).unwrap_or(end).min(end);
        let key = VerifyingKey::from_spki(parsed.public_key().raw)?;
        Some(Verified { text: text.to_owned(), key, from: now, until })
    }
}

/// UnionPay's certificates name usages of TLS and mail, as their CA gives them to anybody.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, mut usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        usages.try_for_each(|usage| usage.map(|_| ()))
    }
}

static LIVE: &[&dyn SignatureVerificationAlgorithm] =
    &[RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512];
static TEST: &[&dyn SignatureVerificationAlgorithm] =
    &[RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, &RsaSha1];

/// The CA of UnionPay's test environment still signs with SHA-1.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    /// sha1WithRSAEncryption, 1.2.840.113549.1.1.5, with the parameters NULL.
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(&[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5, 5, 0])
    }
}

/// A certificate's key, and its serial number: decimal, as UnionPay has them.
pub(super) fn key_and_id(pem: &[u8]) -> Option<(Vec<u8>, String)> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some((parsed.public_key().raw.to_vec(), parsed.tbs_certificate.serial.to_string()))
}

/// `certId`: the serial number of the merchant's certificate, decimal. None where it is
/// not the certificate of the merchant's key.
pub(super) fn certificate_id(pem: &[u8], key: &SigningKey) -> Option<String> {
    let (public, id) = key_and_id(pem)?;
    let is_pair = VerifyingKey::from_spki(&public)?.verifies(b"pair", &key.sign(b"pair")?);
    is_pair.then_some(id)
}
