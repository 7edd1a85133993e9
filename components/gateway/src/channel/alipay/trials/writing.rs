use proptest::prelude::*;

use super::super::{china, form, yuan};
use super::at;

#[test]
fn amounts_are_read_exactly_or_not_at_all() {
    let read = [
        ("0.01", 1),
        ("1", 100),
        ("1.1", 110),
        ("1.10", 110),
        ("0", 0),
        ("0.00", 0),
        ("88.88", 8888),
        ("100000000.00", 10_000_000_000),
        ("92233720368547758.07", i64::MAX),
    ];
    for (text, minor) in read {
        assert_eq!(yuan::minor(text), Some(minor), "{text}");
    }
    let refused = [
        "",
        ".",
        "1.",
        ".1",
        "1.101",
        "1.000",
        "-1",
        "+1",
        "-0.01",
        "1e2",
        "00.10",
        "01",
        " 1",
        "1 ",
        "1,00",
        "1.1.1",
        "1_0",
        "\u{ff11}",
        "NaN",
        "0x10",
        "92233720368547758.08",
        "99999999999999999999999999",
    ];
    for text in refused {
        assert_eq!(yuan::minor(text), None, "{text:?}");
    }
    for (minor, text) in [(1, "0.01"), (10, "0.10"), (100, "1.00"), (123_456, "1234.56")] {
        assert_eq!(yuan::text(minor), text);
    }
}

#[test]
fn times_are_china_s() {
    let moment = at("2026-11-30T16:00:01.9Z");
    assert_eq!(china::text(moment), "2026-12-01 00:00:01");
    assert_eq!(china::time("2026-12-01 00:00:01"), Some(at("2026-11-30T16:00:01Z")));
    // As `gmt_refund` comes.
    assert_eq!(china::time("2020-03-27 18:19:15.143"), Some(at("2020-03-27T10:19:15.143Z")));
    for text in ["", "2026-12-01", "2026-12-01T00:00:01Z", "2026-13-01 00:00:01", "0", "2026-12-01 00:00:01 "]
    {
        assert_eq!(china::time(text), None, "{text:?}");
    }
}

#[test]
fn forms_are_strict() {
    let plain = [("a", "1&2=3+4 5%"), ("subject", "\u{5927}\u{4e50}\u{900f}"), ("empty", "")];
    let text = form::encode(&plain);
    assert_eq!(text, "a=1%262%3D3%2B4%205%25&subject=%E5%A4%A7%E4%B9%90%E9%80%8F&empty=");
    let back = form::decode(text.as_bytes()).unwrap();
    assert!(back.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(plain));
    assert_eq!(form::decode(b"a=b+c%2b=").unwrap(), [("a".to_owned(), "b c+=".to_owned())]);
    let long = (0..129).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
    for odd in [
        "",
        "a",
        "=1",
        "a=1&",
        "&a=1",
        "a=1&&b=2",
        "a=1&a=1",
        "a=1&%61=2",
        "a=%",
        "a=%2",
        "a=%+1",
        "a=%zz",
        "a=%ff",
        &long,
    ] {
        assert!(form::decode(odd.as_bytes()).is_none(), "{odd}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
        let _ = form::decode(&bytes);
        let _ = (yuan::minor(&text), china::time(&text));
    }

    #[test]
    fn what_is_written_reads_back(minor in 0..=i64::MAX, name in "[a-z]{1,9}", value in any::<String>()) {
        prop_assert_eq!(yuan::minor(&yuan::text(minor)), Some(minor));
        let text = form::encode(&[(&name, &value)]);
        prop_assert_eq!(form::decode(text.as_bytes()), Some(vec![(name, value)]));
    }
}
