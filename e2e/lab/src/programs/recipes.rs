//! What is built, from which sources, with which flags.

pub(crate) const KUBERNETES_VERSION: &str = "1.36.3";
pub const COREDNS_VERSION: &str = "1.14.2";
pub const CNPG_VERSION: &str = "1.30.0";
pub const CNPG_MANIFEST: &str = "cnpg-1.30.0.yaml";
const CNPG_MODULE: &str = "github.com/cloudnative-pg/cloudnative-pg";

/// The process that holds a pod's namespaces open.
pub const PAUSE_SOURCE: &str = include_str!("../../programs/pause/pause.c");

/// How one program is built.
pub struct Recipe {
    pub name: &'static str,
    /// File name and text of everything in its module.
    pub sources: &'static [(&'static str, &'static str)],
    pub flags: Vec<String>,
    pub package: &'static str,
    pub executable: &'static str,
    /// Further names of the executable.
    pub links: &'static [&'static str],
    /// A file of a module that is kept beside the executable.
    pub also: Option<(&'static str, &'static str)>,
}

macro_rules! sources {
    ($name:literal, $code:literal) => {
        &[
            ("go.mod", include_str!(concat!("../../programs/", $name, "/go.mod"))),
            ("go.sum", include_str!(concat!("../../programs/", $name, "/go.sum"))),
            ($code, include_str!(concat!("../../programs/", $name, "/", $code))),
        ]
    };
}

fn flags(tags: &str, stamps: &str) -> Vec<String> {
    let mut flags = vec!["-trimpath".to_owned()];
    if !tags.is_empty() {
        flags.extend(["-tags".to_owned(), tags.to_owned()]);
    }
    flags.extend(["-ldflags".to_owned(), format!("-s -w{stamps}")]);
    flags
}

/// Kubernetes reports its version from these variables, which a plain build leaves empty.
fn kubernetes_stamps() -> String {
    let minor = KUBERNETES_VERSION.split('.').nth(1).unwrap_or_default();
    // The second space keeps the text equal to what the first builds were keyed by.
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].iter().fold(
        " ".to_owned(),
        |text, package| {
            format!(
                "{text} -X {package}.gitVersion=v{KUBERNETES_VERSION} -X {package}.gitMajor=1 \
                 -X {package}.gitMinor={minor} -X {package}.gitCommit=local -X {package}.gitTreeState=clean \
                 -X {package}.buildDate=1970-01-01T00:00:00Z"
            )
        },
    )
}

fn cnpg_stamps() -> String {
    format!(
        " -X {CNPG_MODULE}/pkg/versions.buildVersion={CNPG_VERSION} \
         -X {CNPG_MODULE}/pkg/versions.buildCommit=local -X {CNPG_MODULE}/pkg/versions.buildDate=1970-01-01"
    )
}

/// All programs, the slowest first.
pub fn recipes() -> Vec<Recipe> {
    let plain = |name, sources, flags| Recipe {
        name,
        sources,
        flags,
        package: ".",
        executable: name,
        links: &[],
        also: None,
    };
    vec![
        Recipe {
            links: &[
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
                "kubelet",
                "kubectl",
            ],
            ..plain(
                "kube",
                sources!("kube", "main.go"),
                flags("selinux,notest,grpcnotrace", &kubernetes_stamps()),
            )
        },
        Recipe {
            package: "github.com/cloudnative-pg/cloudnative-pg/cmd/manager",
            also: Some((CNPG_MODULE, "releases/cnpg-1.30.0.yaml")),
            ..plain("cnpg", sources!("cnpg", "tools.go"), flags("", &cnpg_stamps()))
        },
        plain("etcd", sources!("etcd", "main.go"), flags("", "")),
        plain("coredns", sources!("coredns", "main.go"), flags("grpcnotrace", "")),
        Recipe {
            package: "helm.sh/helm/v4/cmd/helm",
            ..plain("helm", sources!("helm", "tools.go"), flags("", ""))
        },
    ]
}
