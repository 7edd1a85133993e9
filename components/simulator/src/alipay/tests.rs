use proptest::prelude::*;

use super::answer::Answer;
use super::biz::{Biz, read_yuan, yuan};

#[test]
fn amounts_are_yuan_with_at_most_two_decimals() {
    for (text, minor) in
        [("0.01", 1), ("1", 100), ("88.8", 8880), ("88.88", 8888), ("100000000", 10_000_000_000)]
    {
        assert_eq!(read_yuan(text), Some(minor), "{text}");
    }
    for bad in
        ["", "0", "0.00", "-1", "+1", "1.", ".5", "1.001", "1e2", "1,00", " 1", "100000000.01", "1.5.5"]
    {
        assert_eq!(read_yuan(bad), None, "{bad}");
    }
    assert_eq!(yuan(8), "0.08");
}

#[test]
fn a_node_has_its_slashes_escaped() {
    let node = Answer::success().with("qr_code", "https://qr.alipay.com/bax0").node();
    assert_eq!(node, r#"{"code":"10000","msg":"Success","qr_code":"https:\/\/qr.alipay.com\/bax0"}"#);
}

#[test]
fn times_to_live_have_a_unit_and_a_limit() {
    for (text, good) in [
        ("1m", true),
        ("15d", true),
        ("1c", true),
        ("16d", false),
        ("0m", false),
        ("m", false),
        ("1s", false),
        ("é", false),
    ] {
        let biz = Biz::read(&serde_json::json!({"timeout_express": text}).to_string()).unwrap();
        assert_eq!(biz.expires().is_ok(), good, "{text}");
    }
    let past = Biz::read(r#"{"time_expire":"2018-06-08 10:34:56"}"#).unwrap();
    assert!(past.expires().unwrap_err().node().contains("ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR"));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(minor in 1i64..=10_000_000_000) {
        prop_assert_eq!(read_yuan(&yuan(minor)), Some(minor));
    }

    #[test]
    fn no_content_makes_the_reader_panic(text in ".{0,60}") {
        let _ = read_yuan(&text);
        if let Ok(biz) = Biz::read(&text) {
            let _ = (biz.number("a"), biz.amount("a"), biz.expires());
        }
        let json = serde_json::json!({"a": text.as_str(), "timeout_express": text.as_str(), "time_expire": text.as_str()});
        let biz = Biz::read(&json.to_string()).unwrap();
        if let Ok(Some(number)) = biz.number("a") {
            prop_assert!((1..=64).contains(&number.len()) && number.is_ascii());
        }
        let _ = biz.expires();
    }
}
