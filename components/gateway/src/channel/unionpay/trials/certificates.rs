use jiff::{SignedDuration, Timestamp};
use rcgen::Issuer;

use super::super::certificate::{NetworkCa, certificate_id};
use super::{CERTIFICATE, NETWORK_NAME, PKI, bundle, named, signed_by_between};

fn live() -> NetworkCa {
    NetworkCa::from_pem(bundle().as_bytes(), false).unwrap()
}

#[test]
fn a_certificate_leads_to_the_root() {
    let now = Timestamp::now();
    assert!(live().verified(&CERTIFICATE, now).is_some());
    assert!(live().verified(&CERTIFICATE.replace('\n', "\r\n"), now).is_some());
    for broken in ["", "x", &CERTIFICATE[..200], &CERTIFICATE.replace("MII", "MIJ")] {
        assert!(live().verified(broken, now).is_none());
    }
    // By somebody who calls himself like the CA.
    let own = Issuer::new(named("TEST OCA", true), PKI.merchant.rcgen());
    let own = named(NETWORK_NAME, false).signed_by(&PKI.network.rcgen(), &own).unwrap().pem();
    assert!(live().verified(&own, now).is_none());
    let alone = named(NETWORK_NAME, false).self_signed(&PKI.network.rcgen()).unwrap().pem();
    assert!(live().verified(&alone, now).is_none());
    // By a certificate that is not a CA's.
    let mut no_ca = named("TEST OCA", false);
    no_ca.extended_key_usages.clear();
    let issuer = Issuer::new(named("TEST ROOT", true), PKI.root.rcgen());
    let no_ca = no_ca.signed_by(&PKI.between.rcgen(), &issuer).unwrap().pem();
    let root = named("TEST ROOT", true).self_signed(&PKI.root.rcgen()).unwrap().pem();
    let ca = NetworkCa::from_pem(format!("{root}{no_ca}").as_bytes(), false).unwrap();
    assert!(ca.verified(&CERTIFICATE, now).is_none());
    // Without the CA between.
    assert!(NetworkCa::from_pem(root.as_bytes(), false).unwrap().verified(&CERTIFICATE, now).is_none());
}

#[test]
fn a_certificate_is_valid_now_and_not_believed_for_ever() {
    let now = Timestamp::now();
    let mut params = named(NETWORK_NAME, false);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let (ca, text) = (live(), signed_by_between(&params));
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(ca.verified(&text, now).is_some() && ca.verified(&text, now).is_some());
    assert!(ca.verified(&text, at("2029-12-31T23:59:00Z")).is_some());
    assert!(ca.verified(&text, at("2030-01-01T00:00:30Z")).is_none(), "known, but over");
    assert!(ca.verified(&text, at("2019-12-31T23:59:00Z")).is_none());
    // Another one that came between is verified as well.
    let later = now.saturating_add(SignedDuration::from_mins(1)).unwrap();
    assert!(ca.verified(&CERTIFICATE, later).is_some() && ca.verified(&text, later).is_some());
}

#[test]
fn a_certificate_is_unionpays() {
    let now = Timestamp::now();
    let test = NetworkCa::from_pem(bundle().as_bytes(), true).unwrap();
    for (name, is_live, is_test) in [
        (NETWORK_NAME, true, true),
        ("中国银联股份有限公司", true, true),
        ("041@Z2017-11-1@00040000:SIGN@00000001", false, true),
        ("041@x@中国银联股份有限公司2@1", false, false),
        ("041@x@my中国银联股份有限公司@1", false, false),
        ("777290058110048", false, false),
    ] {
        let text = signed_by_between(&named(name, false));
        assert_eq!(live().verified(&text, now).is_some(), is_live, "{name}");
        assert_eq!(test.verified(&text, now).is_some(), is_test, "{name}");
    }
}

/// openssl req -x509 -newkey rsa:2048 -nodes -keyout r.key -out sha1-root.pem -sha1 -days 36500 \
///   -subj "/C=CN/O=Test/CN=TEST ROOT"
/// openssl x509 -req -in signer.csr -CA sha1-root.pem -CAkey r.key -sha1 -days 36500 \
///   -set_serial 0x1012496558 -extfile usages -out sha1-signer.pem
#[test]
fn sha1_is_for_the_test_environment() {
    let (root, signer) = (include_bytes!("sha1-root.pem"), include_str!("sha1-signer.pem"));
    let now = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(NetworkCa::from_pem(root, true).unwrap().verified(signer, now).is_some());
    assert!(NetworkCa::from_pem(root, false).unwrap().verified(signer, now).is_none());
}

#[test]
fn what_is_no_root_or_not_of_the_key_is_refused() {
    let root = named("TEST ROOT", true).self_signed(&PKI.root.rcgen()).unwrap().pem();
    let between = bundle()[root.len()..].to_owned();
    for broken in ["", "x", &between, &PKI.root.rcgen().serialize_pem()] {
        assert!(NetworkCa::from_pem(broken.as_bytes(), true).is_none());
    }
    let mut params = named("merchant", false);
    params.serial_number = Some(vec![0x10, 0x12, 0x49, 0x65, 0x58].into());
    let pem = params.self_signed(&PKI.merchant.rcgen()).unwrap().pem();
    let id = |key: &super::Key| certificate_id(pem.as_bytes(), &key.signing());
    assert_eq!(id(&PKI.merchant).as_deref(), Some("69026276696"), "as openssl has 0x1012496558");
    assert_eq!(id(&PKI.network), None);
}
