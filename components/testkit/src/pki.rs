//! A certificate authority of the test's own, and leaves in mounted-folder form.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// One CA, and the folder that everything it makes lies in.
pub struct Pki {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes a CA and writes `trust/ca.crt` into the folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self { folder: folder.to_owned(), issuer };
        std::fs::create_dir_all(pki.trust())?;
        std::fs::write(pki.trust().join("ca.crt"), pki.issuer.pem())?;
        Ok(pki)
    }

    /// The folder with `ca.crt`.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.folder.join("trust")
    }

    /// Issues a leaf with this common name for server and client use, good for
    /// `localhost` and the names given, and returns its folder (`tls.crt`,
    /// `tls.key`).
    pub fn leaf(&self, common_name: &str, names: &[&str]) -> Result<PathBuf> {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        all.extend(names.iter().map(|name| (*name).to_owned()));
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let folder = self.folder.join(format!("leaf-{common_name}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("tls.crt"), certificate.pem())?;
        std::fs::write(folder.join("tls.key"), key.serialize_pem())?;
        Ok(folder)
    }

    /// Writes a key that signs heads of books into a folder: `seal.key` and `seal.pub`.
    pub fn seal_key(folder: &Path) -> Result<()> {
        signing_key(folder, "seal", &rcgen::PKCS_ED25519)
    }

    /// Writes a key that signs notifications into a folder: `notify.key` and `notify.pub`.
    pub fn notify_key(folder: &Path) -> Result<()> {
        signing_key(folder, "notify", &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// Writes a key that the gateway seals with into a folder: `data.key`, 32 bytes in base64.
    pub fn data_key(folder: &Path) -> Result<()> {
        Ok(std::fs::write(folder.join("data.key"), format!("{}=\n", "a".repeat(42) + "0"))?)
    }
}

fn signing_key(folder: &Path, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Result<()> {
    let key = KeyPair::generate_for(algorithm)?;
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(std::fs::write(folder.join(format!("{name}.pub")), key.public_key_pem())?)
}
