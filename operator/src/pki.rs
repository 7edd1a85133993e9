//! Certificates: a CA per tenant, leaves that are renewed at two thirds of
//! their life.

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use snafu::{ResultExt, Snafu};
use x509_parser::prelude::{FromDer, Pem, X509Certificate};

const CA_DAYS: i64 = 3650;
/// Clocks of nodes differ a little.
const BACKDATE: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Snafu)]
pub enum PkiError {
    #[snafu(display("cannot make a certificate for {subject}"))]
    Make { subject: String, source: rcgen::Error },
    #[snafu(display("the machine gives no random bytes"))]
    Random { source: aws_lc_rs::error::Unspecified },
    #[snafu(display("the time {at} is outside what a certificate can say"))]
    Time { at: Timestamp },
}

/// A certificate and its key, as PEM. The key has no `Debug`.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// What a leaf is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub common_name: String,
    pub dns_names: Vec<String>,
}

/// Makes a CA for a tenant.
pub fn authority(tenant: &str) -> Result<Pair, PkiError> {
    let subject = format!("payplane tenant {tenant}");
    let mut params = named(&subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, SignedDuration::from_hours(24_i64.saturating_mul(CA_DAYS)))?;
    let key = KeyPair::generate().context(MakeSnafu { subject: &subject })?;
    let certificate = params.self_signed(&key).context(MakeSnafu { subject })?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Issues a leaf under a CA, for servers and clients alike.
pub fn issue(authority: &Pair, leaf: &Leaf, lifetime: SignedDuration) -> Result<Pair, PkiError> {
    let subject = &leaf.common_name;
    let context = MakeSnafu { subject };
    let mut params = named(subject);
    for name in &leaf.dns_names {
        let name = name.as_str().try_into().context(context)?;
        params.subject_alt_names.push(rcgen::SanType::DnsName(name));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, lifetime)?;
    let signer = KeyPair::from_pem(&authority.key).context(context)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, signer).context(context)?;
    let key = KeyPair::generate().context(context)?;
    let certificate = params.signed_by(&key, &issuer).context(context)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Makes a key to seal with: 32 random bytes, in base64.
pub fn data_key() -> Result<String, PkiError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).context(RandomSnafu)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes) + "\n")
}

/// What a key signs, and so which kind it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// Heads of the books: Ed25519.
    Heads,
    /// Notifications of apps: ECDSA P-256, as their own requests are signed.
    Notifications,
}

impl Signs {
    fn algorithm(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::Heads => &rcgen::PKCS_ED25519,
            Self::Notifications => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }

    /// Makes such a key: private and public part, PEM.
    pub fn make(self) -> Result<(String, String), PkiError> {
        let key = KeyPair::generate_for(self.algorithm()).context(MakeSnafu { subject: "signing key" })?;
        Ok((key.serialize_pem(), key.public_key_pem()))
    }

    /// The public part of such a key, as PEM.
    #[must_use]
    pub fn public(self, key: &str) -> Option<String> {
        let key = KeyPair::from_pem(key).ok()?;
        (key.algorithm() == self.algorithm()).then(|| key.public_key_pem())
    }
}

fn named(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

fn validity(params: &mut CertificateParams, lifetime: SignedDuration) -> Result<(), PkiError> {
    let now = Timestamp::now();
    let at = |offset: SignedDuration| {
        let at = now.saturating_add(offset).unwrap_or(Timestamp::MAX);
        let zoned = at.to_zoned(jiff::tz::TimeZone::UTC);
        let parts = (i32::from(zoned.year()), zoned.month().unsigned_abs(), zoned.day().unsigned_abs());
        let midnight = rcgen::date_time_ymd(parts.0, parts.1, parts.2);
        let second = zoned.time().duration_since(jiff::civil::Time::midnight());
        let exact =
            std::time::Duration::try_from(second).ok().and_then(|s| midnight.checked_add(s.try_into().ok()?));
        exact.ok_or(PkiError::Time { at })
    };
    params.not_before = at(-BACKDATE)?;
    params.not_after = at(lifetime)?;
    Ok(())
}

/// When a leaf is to be renewed: at two thirds of its life; none where it must
/// be issued anew at once, because it says something else or leads to no CA of the bundle.
#[must_use]
pub fn renewal(certificate: &str, bundle: &str, leaf: &Leaf) -> Option<Timestamp> {
    let ours = der(certificate)?;
    let (_, ours) = X509Certificate::from_der(&ours).ok()?;
    let trusted = Pem::iter_from_buffer(bundle.as_bytes()).flatten().any(|pem| {
        let authority = X509Certificate::from_der(&pem.contents);
        authority.is_ok_and(|(_, ca)| ours.verify_signature(Some(ca.public_key())).is_ok())
    });
    if !trusted || said(certificate)? != *leaf {
        return None;
    }
    due(certificate)
}

/// What a leaf says.
#[must_use]
pub fn said(certificate: &str) -> Option<Leaf> {
    let der = der(certificate)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let common_name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut dns_names: Vec<String> = Vec::new();
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        dns_names.extend(extension.value.general_names.iter().filter_map(|n| match n {
            x509_parser::extensions::GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            _ => None,
        }));
    }
    Some(Leaf { common_name, dns_names })
}

/// Two thirds of a certificate's life.
#[must_use]
pub fn due(certificate: &str) -> Option<Timestamp> {
    let der = der(certificate)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let at = from.checked_add(to.checked_sub(from)?.checked_mul(2)?.checked_div(3)?)?;
    Timestamp::from_second(at).ok()
}

/// When a leaf was issued.
#[must_use]
pub fn issued(certificate: &str) -> Option<Timestamp> {
    let der = der(certificate)?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let from = Timestamp::from_second(certificate.validity().not_before.timestamp()).ok()?;
    from.checked_add(BACKDATE).ok()
}

fn der(pem: &str) -> Option<Vec<u8>> {
    let first = Pem::iter_from_buffer(pem.as_bytes()).next()?;
    first.ok().map(|pem| pem.contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Leaf {
        Leaf { common_name: "gateway".into(), dns_names: vec!["gateway".into(), "gateway.ptn-a.svc".into()] }
    }

    #[test]
    fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
        let ca = authority("a").unwrap();
        let pair = issue(&ca, &leaf(), SignedDuration::from_secs(600)).unwrap();
        let at = renewal(&pair.certificate, &ca.certificate, &leaf()).unwrap();
        let ahead = at.duration_since(Timestamp::now()).as_secs();
        assert!((370..=385).contains(&ahead), "{ahead}");
        let age = Timestamp::now().duration_since(issued(&pair.certificate).unwrap()).as_secs();
        assert!((0..=2).contains(&age), "{age}");
    }

    #[test]
    fn a_ca_is_renewed_long_before_its_leaves_would_outlive_it() {
        let at = due(&authority("a").unwrap().certificate).unwrap();
        let days = at.duration_since(Timestamp::now()).as_hours() / 24;
        assert!((2430..=2434).contains(&days), "{days}");
    }

    #[test]
    fn an_unknown_ca_or_other_names_call_for_a_new_leaf() {
        let (ca, other) = (authority("a").unwrap(), authority("a").unwrap());
        let pair = issue(&ca, &leaf(), SignedDuration::from_secs(600)).unwrap();
        assert!(renewal(&pair.certificate, &other.certificate, &leaf()).is_none());
        let both = format!("{}{}", other.certificate, ca.certificate);
        assert!(renewal(&pair.certificate, &both, &leaf()).is_some(), "a former CA is still believed");
        let renamed = Leaf { common_name: "ledger".into(), ..leaf() };
        assert!(renewal(&pair.certificate, &ca.certificate, &renamed).is_none());
        let moved = Leaf { dns_names: vec!["gateway".into()], ..leaf() };
        assert!(renewal(&pair.certificate, &ca.certificate, &moved).is_none());
        assert!(renewal("", &ca.certificate, &leaf()).is_none());
        assert_eq!(said(&pair.certificate), Some(leaf()));
    }
}
