//! Keys, CAs and certificates of the networks, in folders: `ca` stays at home,
//! `network` is for the simulator, `merchant`, `wechat`, `alipay`, `unionpay`
//! and `bankdirect` are for the gateway's channels. A second run changes nothing that is still good.

mod certificates;
mod networks;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use snafu::{ResultExt, Snafu};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::networks::NetworkIds;
use crate::keys::Merchant;

const LEAF_DAYS: i64 = 365;
const CA_DAYS: i64 = 3650;
/// A certificate with less left is made anew.
const RENEW_BELOW_DAYS: i64 = 30;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What `init` is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    /// Where the folders are made
    #[arg(long)]
    pub dir: PathBuf,
    /// A name or an address by which the simulator is called; repeatable
    #[arg(long = "dns", required = true)]
    pub dns: Vec<String>,
    /// The merchant that may call
    #[arg(long, default_value = "M1")]
    pub merchant: String,
    #[command(flatten)]
    pub ids: NetworkIds,
}

/// The folders that are made.
struct Folders<'a>(&'a Path);

impl Folders<'_> {
    fn get(&self, name: &str) -> Result<PathBuf, InitError> {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).context(WriteSnafu { path: &path })?;
        Ok(path)
    }
}

#[derive(Debug, Snafu)]
pub enum InitError {
    #[snafu(display("cannot write {}", path.display()))]
    Write { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot make {what}"))]
    Make { what: &'static str, source: rcgen::Error },
    #[snafu(display("cannot write the merchants' list"))]
    Merchants { source: serde_json::Error },
}

/// Makes what is missing, outdated or for other names.
pub fn run(args: &InitArgs) -> Result<(), InitError> {
    let folders = Folders(&args.dir);
    let (ca, network, merchant) = (folders.get("ca")?, folders.get("network")?, folders.get("merchant")?);
    let (issuer, ca_pem) = authority(&ca)?;
    leaf(&network, &issuer, &args.dns, &ca_pem)?;
    let network_key = key(&network.join("network.key"))?;
    let merchant_key = key(&merchant.join("merchant.key"))?;
    put(&merchant.join("network.pub"), network_key.public_key_pem().as_bytes(), 0o644)?;
    put(&merchant.join("ca.crt"), ca_pem.as_bytes(), 0o644)?;
    let merchants =
        [Merchant { merchant_id: args.merchant.clone(), public_key_pem: merchant_key.public_key_pem() }];
    let json = serde_json::to_vec_pretty(&merchants).context(MerchantsSnafu)?;
    put(&network.join("merchants.json"), &json, 0o644)?;
    networks::run(&folders, &args.ids, &issuer, &ca_pem)
}

fn authority(folder: &Path) -> Result<(Issuer<'static, KeyPair>, String), InitError> {
    let key = key(&folder.join("ca.key"))?;
    let path = folder.join("ca.crt");
    if let Some(pem) = text(&path)?.filter(|pem| is_good(pem, &[])) {
        let issuer = Issuer::from_ca_cert_pem(&pem, key).context(MakeSnafu { what: "the CA" })?;
        return Ok((issuer, pem));
    }
    let mut params = params("simulated payment network CA", &[], CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pem = params.self_signed(&key).context(MakeSnafu { what: "the CA" })?.pem();
    put(&path, pem.as_bytes(), 0o644)?;
    Ok((Issuer::new(params, key), pem))
}

fn leaf(
    folder: &Path,
    issuer: &Issuer<'static, KeyPair>,
    names: &[String],
    ca_pem: &str,
) -> Result<(), InitError> {
    let key = key(&folder.join("tls.key"))?;
    let path = folder.join("tls.crt");
    let kept = text(&path)?.is_some_and(|pem| is_good(&pem, names) && is_issued_by(&pem, ca_pem));
    if kept {
        return Ok(());
    }
    let mut params = params("simulator", names, LEAF_DAYS)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.signed_by(&key, issuer).context(MakeSnafu { what: "the certificate" })?.pem();
    put(&path, pem.as_bytes(), 0o644)
}

fn params(name: &str, names: &[String], days: i64) -> Result<CertificateParams, InitError> {
    let what = "certificate parameters";
    let mut params = CertificateParams::new(names.to_vec()).context(MakeSnafu { what })?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(DAY_SECONDS.unsigned_abs());
    let days = u32::try_from(days).unwrap_or(1);
    // Clocks differ: it is good from a day ago.
    params.not_before = now.checked_sub(day).unwrap_or(now).into();
    params.not_after = now.checked_add(day.saturating_mul(days)).unwrap_or(now).into();
    Ok(params)
}

/// Is a certificate for exactly these names, and good for long enough?
fn is_good(pem: &str, names: &[String]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let left = certificate.validity().time_to_expiration().map_or(0, |left| left.whole_days());
    let mut found: Vec<String> = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name_of).collect(),
        _ => Vec::new(),
    };
    let mut wanted = names.to_vec();
    found.sort();
    wanted.sort();
    left >= RENEW_BELOW_DAYS && found == wanted
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four: Option<[u8; 4]> = (*bytes).try_into().ok();
            let sixteen: Option<[u8; 16]> = (*bytes).try_into().ok();
            let four = four.map(|b| std::net::IpAddr::from(b).to_string());
            four.or(sixteen.map(|b| std::net::IpAddr::from(b).to_string()))
        }
        _ => None,
    }
}

fn is_issued_by(pem: &str, ca_pem: &str) -> bool {
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    let (Some(leaf), Some(ca)) = (read(pem), read(ca_pem)) else { return false };
    match (X509Certificate::from_der(&leaf), X509Certificate::from_der(&ca)) {
        (Ok((_, leaf)), Ok((_, ca))) => {
            let ours = &leaf.tbs_certificate.issuer == ca.subject();
            let key_id = |c: &X509Certificate<'_>| c.public_key().raw.to_vec();
            ours && verified(&leaf, &key_id(&ca))
        }
        _ => false,
    }
}

/// Did this key sign the certificate? A CA made anew under the old name did not.
fn verified(leaf: &X509Certificate<'_>, ca_spki: &[u8]) -> bool {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    let (text, signature) = (leaf.tbs_certificate.as_ref(), &leaf.signature_value.data);
    if UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, ca_spki).verify(text, signature).is_ok() {
        return true;
    }
    let Some((_, point)) = ca_spki.split_last_chunk::<65>() else { return false };
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    key.verify(text, signature).is_ok()
}

fn key(path: &Path) -> Result<KeyPair, InitError> {
    let what = "a key";
    if let Some(pem) = text(path)? {
        return KeyPair::from_pem(&pem).context(MakeSnafu { what });
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context(MakeSnafu { what })?;
    put(path, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

fn text(path: &Path) -> Result<Option<String>, InitError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InitError::Read { path: path.to_owned(), source }),
    }
}

/// Writes a file whole or not at all, and leaves an equal one alone.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InitError> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let write = WriteSnafu { path };
    let half = path.with_extension("half");
    let _ = std::fs::remove_file(&half);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&half).context(write)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).context(write)?;
    std::fs::rename(&half, path).context(write)
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
