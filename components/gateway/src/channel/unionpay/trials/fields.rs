use proptest::prelude::*;

use super::super::fields::{Fields, encode_onto};
use super::{answer, by_digest, by_rsa, form, with};
use crate::channel::unionpay::sign::Hash;

fn text(read: Option<Fields<'_>>) -> Option<String> {
    read.map(|fields| fields.signed_text)
}

#[test]
fn fields_are_sorted_by_the_bytes_of_their_keys_without_the_signature() {
    let sorted = |body| text(Fields::answer(body));
    assert_eq!(sorted("b=2&a=1&signature=x=="), Some("a=1&b=2".into()));
    // A key before those that it begins; capitals before small letters.
    assert_eq!(sorted("ab=3&a=1&aB=2&Z=0"), Some("Z=0&a=1&aB=2&ab=3".into()));
    // Empty ones of an answer are signed, and are none when they are asked for.
    assert_eq!(sorted("b=&a=1"), Some("a=1&b=".into()));
    assert_eq!(Fields::answer("b=&a=1").unwrap().get("b"), None);
    assert_eq!(Fields::answer("a=x=y==").unwrap().get("a"), Some("x=y=="));
}

#[test]
fn what_is_in_brackets_belongs_to_its_value() {
    let fields = Fields::answer("r={x=1&y=2}&m=成功[0000000]&l=[{a=1&b=2}]&z=+%41 ").unwrap();
    assert_eq!(fields.get("r"), Some("{x=1&y=2}"));
    assert_eq!(fields.get("m"), Some("成功[0000000]"));
    assert_eq!(fields.get("l"), Some("[{a=1&b=2}]"));
    assert_eq!(fields.get("z"), Some("+%41 "), "an answer is not form-encoded");
}

#[test]
fn forms_are_decoded_once() {
    let fields = Fields::form("a=1+2%2B3%3D%25&r=%7Bx%3D1%26y%3D2%7D&u=%E6%88%90").unwrap();
    assert_eq!(fields.get("a"), Some("1 2+3=%"));
    assert_eq!(fields.get("r"), Some("{x=1&y=2}"));
    assert_eq!(fields.get("u"), Some("成"));
    for broken in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%E6", "a=%FF"] {
        assert!(Fields::form(broken).is_none(), "{broken}");
    }
}

#[test]
fn a_text_that_can_be_split_in_two_ways_is_refused() {
    // All have the signed text `a=1&b=2`, or one that reads as it.
    assert!(Fields::form("a=1&b=2").is_some());
    assert!(Fields::form("a=1%26b%3D2").is_none());
    assert!(Fields::form("a=1%26b=2").is_none());
    // An open bracket would take in what is sorted behind it.
    assert!(Fields::answer("b=2&a={1").is_none());
    assert!(Fields::form("b=2&a=%5B1").is_none());
}

#[test]
fn broken_messages_are_refused() {
    for broken in
        ["", "a", "=1", "a=1&", "&a=1", "a=1&&b=2", "a=1&a=2", "a=1&b=2&a=1", "a b=1", "ä=1", "a%=1"]
    {
        assert!(Fields::answer(broken).is_none(), "{broken}");
        assert!(Fields::form(broken).is_none(), "{broken}");
    }
    assert!(Fields::answer("signature=x&signature=y&a=1").is_none());
    assert!(Fields::answer(&format!("{}=1", "k".repeat(65))).is_none());
}

#[test]
fn an_answer_that_is_form_encoded_after_all_is_read() {
    let pairs = super::answers::ordered("qrCode", "https://qr.95516.com/1?a=b&c=d");
    let pairs = with(pairs, &[("qrCode", "https://qr.95516.com/1?a=b")]);
    let service = super::super::request::service("unionpay-qr").unwrap();
    for (merchant, method) in [(by_digest(Hash::Sha256), "11"), (by_rsa(), "01")] {
        let about = (super::NUMBER, super::signed_at());
        for body in [answer(method, pairs.clone()), form(method, pairs.clone())] {
            assert!(merchant.ordered(service, body.as_bytes(), about).is_said(), "{body}");
        }
    }
}

proptest! {
    #[test]
    fn no_message_makes_a_parser_panic(body in "\\PC{0,200}", odd in "[a&=%+{}\\[\\]0-9F]{0,60}") {
        for text in [&body, &odd] {
            let _ = (Fields::answer(text), Fields::form(text));
        }
        let merchant = by_digest(Hash::Sm3);
        let _ = (merchant.looked(&super::payment(), body.as_bytes()), merchant.notified(odd.as_bytes()));
    }

    #[test]
    fn what_is_encoded_is_decoded(value in "\\PC{1,60}") {
        prop_assume!(!value.contains(['&', '{', '[']));
        let mut body = "a=".to_owned();
        encode_onto(&mut body, &value);
        prop_assert!(body.is_ascii());
        let fields = Fields::form(&body).unwrap();
        prop_assert_eq!(fields.get("a"), Some(value.as_str()));
    }
}
