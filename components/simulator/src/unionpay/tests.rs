use proptest::prelude::*;

use super::message::{Message, read_amount};
use super::signature::{SignMethod, is_certified};
use crate::form;
use crate::rsa::Certified;

/// An answer of the network's test environment, as yansongda/pay quotes it in
/// `tests/Provider/UnipayTest.php` (MIT).
const ANSWER: [(&str, &str); 15] = [
    ("accessType", "0"),
    ("bizType", "000000"),
    ("encoding", "utf-8"),
    ("merId", "777290058167151"),
    ("orderId", "cancelpay20240105164725"),
    ("origQryId", "652401051647252574008"),
    ("queryId", "652401051647252421528"),
    ("respCode", "00"),
    ("respMsg", "成功[0000000]"),
    ("signMethod", "01"),
    ("txnAmt", "1"),
    ("txnSubType", "00"),
    ("txnTime", "20240105164725"),
    ("txnType", "31"),
    ("version", "5.1.0"),
];
const SIGNATURE: &str = "C3QoNG8pgA8Y8JRWPJBfnJCTI00ujWwNdA5dJC8Sq4oddIzc8E34jSJW9YLHTMkgB0AV6eZ7z7eGKCvq7UkOQf6mXM7agiCxPEAduYVAQ74z+HZbdMhYwqkEMb4WulRdossDz+qtSi28C/+WM0jlXeJe695dfl7SjnVl0d3Pk5Mg1Xxpc64VRtR8l4iJuNxzVaDRHvINMOrCa6NYg+W4hpyRJc3BM3Abg2O/9Zu+raTk9yjCEWl0t9C8K7Kym03wkXFhNBqUYG2OBIjqHMkTnUVQyRkARGv8uDcPAg7EYLk8T2U6NXqLIwEAvTc7yEik6YP3/27SqkwMquH4PXqo4w==";

#[test]
fn a_real_answer_of_the_network_verifies() {
    let certificate = include_str!("testing.crt").trim_end().replace("\r\n", "\n").replace('\n', "\r\n");
    let certified = Certified::from_pem(certificate.as_bytes(), "the network's").unwrap();
    assert_eq!(certified.serial_decimal(), "69678957876");
    let pairs =
        ANSWER.into_iter().chain([("signPubKeyCert", certificate.as_str()), ("signature", SIGNATURE)]);
    let mut fields: form::Fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert!(is_certified(&fields, &certified.key));
    fields.insert("txnAmt".to_owned(), "2".to_owned());
    assert!(!is_certified(&fields, &certified.key));
}

#[test]
fn a_shared_key_signs_the_text_and_the_hash_of_the_key() {
    // The digests of "abc" are those of FIPS 180-4 and GB/T 32905.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let sm3 = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0";
    for (method, hash) in [(SignMethod::Sha256, sha256), (SignMethod::Sm3, sm3)] {
        let once = method.keyed("a=1", "abc");
        assert_eq!(once.len(), 64);
        // Signing "a=1" with the key "abc" is hashing "a=1&" and the key's hash;
        // so is signing nothing else but that text's beginning.
        let hashed = match method {
            SignMethod::Sm3 => {
                use sm3::Digest;
                hex::encode(sm3::Sm3::digest(format!("a=1&{hash}").as_bytes()))
            }
            _ => hex::encode(aws_lc_rs::digest::digest(
                &aws_lc_rs::digest::SHA256,
                format!("a=1&{hash}").as_bytes(),
            )),
        };
        assert_eq!(once, hashed);
    }
}

#[test]
fn amounts_are_cents() {
    assert_eq!((read_amount("1"), read_amount("999999999999")), (Some(1), Some(999_999_999_999)));
    for bad in ["", "0", "01", "-1", "+1", "1.0", "1 ", "9999999999999"] {
        assert_eq!(read_amount(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_form_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let request = http::Request::builder().header("content-type", "application/x-www-form-urlencoded");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(message) = Message::read(&parts, &body) {
            let _ = (message.verify_money(), message.require(&["merId"]));
        }
    }
}
