//! The cluster's certificate authority, its certificates and kubeconfigs.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use snafu::{ResultExt, Snafu};

use crate::cluster::Cluster;
use crate::sys;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot make the certificate {name}"))]
    Certificate { name: String, source: rcgen::Error },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// Makes every key, certificate and kubeconfig of the cluster, once.
pub fn ensure(cluster: &Cluster) -> Result<(), Error> {
    let done = cluster.dir().join("pki/done");
    if done.is_file() {
        return Ok(());
    }
    let authority = Authority::new(cluster)?;
    let plan = &cluster.plan;
    let mut hosts: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    .map(str::to_owned)
    .to_vec();
    hosts.extend([plan.ip(0), plan.api_service_ip()]);
    authority.issue("apiserver", "kube-apiserver", None, &hosts)?;
    authority.issue("kubelet-client", "kube-apiserver", Some("system:masters"), &[])?;
    authority.issue("front-proxy", "system:auth-proxy", None, &[])?;

    authority.user("admin", "admin", Some("system:masters"), &cluster.kubeconfig())?;
    for (file, user) in [
        ("controller-manager", "system:kube-controller-manager"),
        ("scheduler", "system:kube-scheduler"),
        ("kube-proxy", "system:kube-proxy"),
    ] {
        authority.user(file, user, None, &conf(cluster, file))?;
    }
    for k in cluster.numbers() {
        let (file, name) = (format!("n{k}"), plan.node_name(k));
        let user = format!("system:node:{name}");
        authority.issue(&file, &user, Some("system:nodes"), &[plan.ip(k), name])?;
        authority.kubeconfig(&file, &conf(cluster, &file))?;
    }
    let signer = KeyPair::generate().context(CertificateSnafu { name: "service-accounts" })?;
    sys::write(&authority.dir.join("sa.key"), signer.serialize_pem())?;
    sys::write(&authority.dir.join("sa.pub"), signer.public_key_pem())?;
    Ok(sys::write(&done, "")?)
}

/// The kubeconfig of a component.
pub fn conf(cluster: &Cluster, component: &str) -> PathBuf {
    cluster.dir().join("conf").join(format!("{component}.kubeconfig"))
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    dir: PathBuf,
    server: String,
    cluster: String,
}

impl Authority {
    fn new(cluster: &Cluster) -> Result<Self, Error> {
        let dir = cluster.dir().join("pki");
        sys::create_dir(&dir)?;
        sys::create_dir(&cluster.dir().join("conf"))?;
        let name = format!("{}-ca", cluster.spec.name);
        let make = || {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.distinguished_name.push(DnType::CommonName, &name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::CrlSign,
            ];
            let certificate = params.self_signed(&key)?.pem();
            Ok((certificate, key.serialize_pem(), Issuer::new(params, key)))
        };
        let (certificate, key, issuer) = make().context(CertificateSnafu { name: &name })?;
        sys::write(&dir.join("ca.crt"), &certificate)?;
        sys::write(&dir.join("ca.key"), key)?;
        let (server, cluster) = (cluster.plan.api_server(), cluster.spec.name.clone());
        Ok(Self { issuer, certificate, dir, server, cluster })
    }

    /// Writes `<file>.crt` and `<file>.key`.
    fn issue(&self, file: &str, name: &str, group: Option<&str>, hosts: &[String]) -> Result<(), Error> {
        let make = || {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(Vec::new())?;
            params.subject_alt_names = hosts.iter().map(|host| subject(host)).collect::<Result<_, _>>()?;
            let mut subject = DistinguishedName::new();
            subject.push(DnType::CommonName, name);
            if let Some(group) = group {
                subject.push(DnType::OrganizationName, group);
            }
            params.distinguished_name = subject;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        let (certificate, key) = make().context(CertificateSnafu { name })?;
        sys::write(&self.dir.join(format!("{file}.crt")), certificate)?;
        Ok(sys::write(&self.dir.join(format!("{file}.key")), key)?)
    }

    fn user(&self, file: &str, name: &str, group: Option<&str>, kubeconfig: &Path) -> Result<(), Error> {
        self.issue(file, name, group, &[])?;
        self.kubeconfig(file, kubeconfig)
    }

    /// Holds its keys in itself, so it can be copied elsewhere.
    fn kubeconfig(&self, file: &str, path: &Path) -> Result<(), Error> {
        let read = |kind: &str| sys::read(&self.dir.join(format!("{file}.{kind}")));
        let (certificate, key) = (STANDARD.encode(read("crt")?), STANDARD.encode(read("key")?));
        let (name, server, authority) = (&self.cluster, &self.server, STANDARD.encode(&self.certificate));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters:\n- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             users:\n- name: {name}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
             contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\n"
        );
        Ok(sys::write_whole(path, text)?)
    }
}

fn subject(host: &str) -> Result<SanType, rcgen::Error> {
    match host.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.try_into()?)),
    }
}
