use std::collections::BTreeMap;

use super::*;

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for name in ["ca", "network", "merchant", "wechat", "alipay", "unionpay", "bankdirect"] {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            all.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
    all
}

fn args(dir: &Path, dns: &[&str]) -> InitArgs {
    let dns = dns.iter().map(|name| (*name).to_owned()).collect();
    InitArgs { dir: dir.to_owned(), dns, merchant: "M1".into(), ids: NetworkIds::default() }
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
            "alipay/ca.crt",
            "alipay/ids.json",
            "alipay/merchant.key",
            "alipay/merchant.pub",
            "alipay/network.pub",
            "bankdirect/ca.crt",
            "bankdirect/ids.json",
            "bankdirect/merchant.key",
            "bankdirect/merchant.pub",
            "bankdirect/network.pub",
            "ca/ca.crt",
            "ca/ca.key",
            "ca/unionpay-intermediate.crt",
            "ca/unionpay-intermediate.key",
            "ca/unionpay-root.crt",
            "ca/unionpay-root.key",
            "merchant/ca.crt",
            "merchant/merchant.key",
            "merchant/network.pub",
            "network/alipay.key",
            "network/bankdirect.key",
            "network/merchants.json",
            "network/network.key",
            "network/networks.json",
            "network/tls.crt",
            "network/tls.key",
            "network/unionpay-encrypt.crt",
            "network/unionpay-encrypt.key",
            "network/unionpay.crt",
            "network/unionpay.key",
            "network/wechat.key",
            "unionpay/ca.crt",
            "unionpay/encrypt.crt",
            "unionpay/ids.json",
            "unionpay/merchant.crt",
            "unionpay/merchant.key",
            "unionpay/network-ca.crt",
            "unionpay/secure.key",
            "wechat/apiv3.key",
            "wechat/ca.crt",
            "wechat/ids.json",
            "wechat/merchant.crt",
            "wechat/merchant.key",
            "wechat/network.pub",
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

#[test]
fn each_channel_gets_what_its_secret_holds() {
    let folder = tempfile::tempdir().unwrap();
    run(&args(folder.path(), &["simulator"])).unwrap();
    let files = contents(folder.path());
    let text = |path: &str| String::from_utf8(files[Path::new(path)].clone()).unwrap();
    let ids = |name: &str| -> serde_json::Value {
        serde_json::from_str(&text(&format!("{name}/ids.json"))).unwrap()
    };
    let wechat = ids("wechat");
    let certified = crate::rsa::Certified::from_pem(text("wechat/merchant.crt").as_bytes(), "").unwrap();
    assert_eq!(wechat["merchantSerial"], certified.serial_hex());
    assert_eq!(wechat["merchantSerial"].as_str().unwrap().len(), 40);
    assert!(wechat["publicKeyId"].as_str().unwrap().starts_with("PUB_KEY_ID_01"));
    assert_eq!(text("wechat/apiv3.key").len(), 32);
    assert_eq!(ids("alipay"), serde_json::json!({"appId": "2021000000000001"}));
    let certified = crate::rsa::Certified::from_pem(text("unionpay/merchant.crt").as_bytes(), "").unwrap();
    assert_eq!(ids("unionpay")["certId"], certified.serial_decimal());
    let bytes: [u8; 8] = [&[0], certified.serial.as_slice()].concat().try_into().unwrap();
    assert_eq!(certified.serial_decimal(), u64::from_be_bytes(bytes).to_string());
    let chain = text("unionpay/network-ca.crt");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let networks = crate::networks::Networks::parse(
        &folder.path().join("network"),
        text("network/networks.json").as_bytes(),
    );
    let networks = networks.unwrap();
    assert!(networks.wechat.unwrap().merchants.contains_key("1900000109"));
    assert!(networks.alipay.unwrap().merchants.contains_key("2021000000000001"));
    assert!(networks.union.unwrap().merchants.contains_key("777290058110048"));
}
