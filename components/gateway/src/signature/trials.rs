//! Vectors that others published.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::algorithm::Algorithm;
use super::base;
use super::key::VerifyingKey;

fn bytes(text: &str) -> Vec<u8> {
    if text == "-" { vec![] } else { STANDARD.decode(text).unwrap() }
}

/// The kinds of attack that project Wycheproof collects. Says how many were refused.
fn wycheproof(algorithm: Algorithm, file: &str) -> usize {
    let (mut key, mut refused, mut taken) = (None, 0, 0);
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<_> = line.split(' ').collect();
        match parts[..] {
            // A key that is refused verifies nothing.
            ["key", text] => key = VerifyingKey::new(algorithm, &bytes(text)),
            [result, message, signature] => {
                let verifies = |key: &VerifyingKey| key.verifies(&bytes(message), &bytes(signature));
                let verifies = key.as_ref().is_some_and(verifies);
                assert_eq!(verifies, result == "valid", "{algorithm} {line}");
                if verifies { taken += 1 } else { refused += 1 }
            }
            _ => panic!("{line}"),
        }
    }
    assert!(taken > 2, "{algorithm}: {taken} taken");
    refused
}

#[test]
fn what_wycheproof_says_is_invalid_is_refused() {
    let refused = [
        wycheproof(Algorithm::EcdsaP256Sha256, include_str!("trials/wycheproof-ecdsa.txt")),
        wycheproof(Algorithm::RsaPssSha512, include_str!("trials/wycheproof-rsa-pss.txt")),
        wycheproof(Algorithm::RsaV15Sha256, include_str!("trials/wycheproof-rsa-v15.txt")),
        wycheproof(Algorithm::HmacSha256, include_str!("trials/wycheproof-hmac.txt")),
    ];
    assert!(refused.iter().all(|count| *count >= 30), "{refused:?}");
}

const DIGEST: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
/// RFC 9421, B.1.2.
const RSA_PSS: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6d\
    pG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsz\
    njPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZY\
    oA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB";
const B21: &str = "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7z\
    FZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXe\
    hhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho\
    8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==";
const B23: &str = "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2vo\
    Tp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQo\
    Ld7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbh\
    l5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==";
/// RFC 9421, B.1.5.
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

/// RFC 9421, B.2.1, B.2.3 and B.2.5. B.2.4 (ECDSA) is beside the code.
#[test]
fn the_published_examples_verify() {
    let date = ("date", "Tue, 20 Apr 2021 02:07:55 GMT");
    let kind = ("content-type", "application/json");
    let whole = [
        date,
        ("@method", "POST"),
        ("@path", "/foo"),
        ("@query", "?param=Value&Pet=dog"),
        ("@authority", "example.com"),
        kind,
        ("content-digest", DIGEST),
        ("content-length", "18"),
    ];
    let pss = (Algorithm::RsaPssSha512, RSA_PSS, "test-key-rsa-pss");
    let shared = (Algorithm::HmacSha256, SHARED, "test-shared-secret");
    let some = [date, ("@authority", "example.com"), kind];
    for ((algorithm, key, key_id), components, more, signature) in [
        (pss, &[][..], ";nonce=\"b3k2pp5k7z-50gnwp.yemd\"", B21),
        (pss, &whole, "", B23),
        (shared, &some, "", "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="),
    ] {
        let names: Vec<_> = components.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let params = format!("({});created=1618884473;keyid=\"{key_id}\"{more}", names.join(" "));
        let (text, key) = (base(components, &params), VerifyingKey::new(algorithm, &bytes(key)).unwrap());
        assert!(key.verifies(text.as_bytes(), &bytes(signature)), "{text}");
        assert!(!key.verifies(text.replace("1618884473", "1618884474").as_bytes(), &bytes(signature)));
    }
}

/// GM/T 0003.5, A.2: the curve that everybody uses, the user id that GM/T 0009 says.
#[test]
fn the_published_example_of_sm2_verifies() {
    let point = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020\
        ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
    let signature = "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
        b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa";
    let (point, signature) = (hex::decode(point).unwrap(), hex::decode(signature).unwrap());
    let key = VerifyingKey::new(Algorithm::Sm2Sm3, &point).unwrap();
    assert!(key.verifies(b"message digest", &signature));
    assert!(!key.verifies(b"message digesu", &signature));

    // No other signature of the same text, in the ways that Wycheproof tries with ECDSA.
    let order = hex::decode("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123").unwrap();
    let (r, s) = signature.split_at(32);
    let (zero, one) = (vec![0; 32], [vec![0; 31], vec![1]].concat());
    let bad = [
        [&zero, s].concat(),
        [r, &zero].concat(),
        [&zero[..], &zero].concat(),
        [&one[..], &one].concat(),
        [&order, s].concat(),
        [r, &order].concat(),
        [&order[..], &order].concat(),
        [s, r].concat(),
        [&[0xff; 32], s].concat(),
        [r, &[0xff; 32]].concat(),
        [r, &less(&order, s)].concat(),
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        [&[0x30, 0x44, 2, 32][..], r, &[2, 32], s].concat(),
        vec![],
    ];
    for bad in bad {
        assert!(!key.verifies(b"message digest", &bad), "{}", hex::encode(&bad));
    }
    for at in 0..signature.len() {
        let mut bad = signature.clone();
        bad[at] ^= 1;
        assert!(!key.verifies(b"message digest", &bad), "{at}");
    }
    // Keys that are none: off the curve, at infinity, compressed into nothing.
    let mut off = point.clone();
    off[64] ^= 1;
    for bad in [&off[..], &[0], &[4; 65], &point[..64]] {
        assert!(VerifyingKey::new(Algorithm::Sm2Sm3, bad).is_none());
    }
}

/// `order - value`, both big-endian.
fn less(order: &[u8], value: &[u8]) -> Vec<u8> {
    let (mut out, mut borrow) = (vec![0; 32], 0);
    for at in (0..32).rev() {
        let difference = i32::from(order[at]) - i32::from(value[at]) - borrow;
        out[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
        borrow = i32::from(difference < 0);
    }
    out
}

/// GM/T 0004, A.1 and A.2; RFC 2104 with it as OpenSSL computes it (`openssl dgst -sm3 -mac
/// HMAC`), over 32 bytes 01 to 20 and a text of two blocks.
#[test]
fn the_published_examples_of_sm3_are_met() {
    for (text, digest) in [
        ("abc".to_owned(), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        ("abcd".repeat(16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ] {
        assert_eq!(hex::encode(<sm3::Sm3 as sm3::Digest>::digest(text.as_bytes())), digest);
    }
    let secret: Vec<u8> = (1..=32).collect();
    let text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".repeat(2);
    let tag = hex::decode("ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a").unwrap();
    let key = VerifyingKey::new(Algorithm::HmacSm3, &secret).unwrap();
    assert!(key.verifies(text.as_bytes(), &tag));
    assert!(!key.verifies(text.as_bytes(), &tag[..31]) && !key.verifies(b"", &tag));
}
