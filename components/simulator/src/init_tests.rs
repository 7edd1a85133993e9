use std::collections::BTreeMap;

use super::*;

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for name in ["ca", "network", "merchant"] {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            all.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    all
}

fn args(dir: &Path, dns: &[&str]) -> InitArgs {
    let dns = dns.iter().map(|name| (*name).to_owned()).collect();
    InitArgs { dir: dir.to_owned(), dns, merchant: "M1".into() }
}

#[test]
fn a_second_run_changes_nothing_and_other_names_only_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    run(&args(folder.path(), &["simulator.simnet.svc", "127.0.0.1"])).unwrap();
    let first = contents(folder.path());
    let names: Vec<_> = first.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "ca/ca.crt",
            "ca/ca.key",
            "merchant/ca.crt",
            "merchant/merchant.key",
            "merchant/network.pub",
            "network/merchants.json",
            "network/network.key",
            "network/tls.crt",
            "network/tls.key"
        ]
    );
    run(&args(folder.path(), &["simulator.simnet.svc", "127.0.0.1"])).unwrap();
    assert_eq!(contents(folder.path()), first);
    run(&args(folder.path(), &["other"])).unwrap();
    let second = contents(folder.path());
    let changed: Vec<_> = first.iter().filter(|(path, bytes)| second[*path] != **bytes).collect();
    assert_eq!(changed.len(), 1);
    assert!(changed[0].0.ends_with("network/tls.crt"));
}

#[test]
fn a_new_ca_reissues_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    run(&args(folder.path(), &["simulator"])).unwrap();
    let first = contents(folder.path());
    std::fs::remove_file(folder.path().join("ca/ca.key")).unwrap();
    std::fs::remove_file(folder.path().join("ca/ca.crt")).unwrap();
    run(&args(folder.path(), &["simulator"])).unwrap();
    let second = contents(folder.path());
    let leaf = Path::new("network/tls.crt");
    assert_ne!(first[leaf], second[leaf]);
    let text = |path: &str| String::from_utf8(second[Path::new(path)].clone()).unwrap();
    assert!(is_issued_by(&text("network/tls.crt"), &text("ca/ca.crt")));
}
