use proptest::prelude::*;

use super::super::time::{in_china, of_settlement, of_trace, parse};

#[test]
fn times_are_chinas() {
    let at = "2026-12-31T16:00:05Z".parse().unwrap();
    assert_eq!(in_china(at), "20270101000005");
    assert_eq!(parse("20270101000005"), Some(at));
    for broken in ["", "2027", "2027010100000", "202701010000055", "20271301000005", "20270230000005"] {
        assert_eq!(parse(broken), None, "{broken}");
    }
    for broken in ["2027010100000x", "+0270101000005", "20270101 00005", "２0270101000"] {
        assert_eq!(parse(broken), None, "{broken}");
    }
}

#[test]
fn a_trace_has_the_year_in_which_it_follows_its_request() {
    for (requested, trace, at) in [
        ("20260317150838", "0317150840", Some("20260317150840")),
        ("20261231235959", "0101000001", Some("20270101000001")),
        // The network's clock may be behind.
        ("20270101000001", "1231235959", Some("20261231235959")),
        ("20280228235900", "0229000100", Some("20280229000100")),
        ("20270228235900", "0229000100", Some("20280229000100")),
        ("20260317150838", "0317150", None),
        ("20260317150838", "0332150840", None),
    ] {
        let requested = parse(requested).unwrap();
        assert_eq!(of_trace(trace, requested).map(in_china).as_deref(), at, "{trace}");
    }
}

#[test]
fn a_settlement_has_the_year_in_which_it_follows_its_request() {
    for (requested, text, date) in [
        ("20260317150838", "0318", Some("2026-03-18")),
        ("20261231235959", "0101", Some("2027-01-01")),
        ("20270101000001", "1231", Some("2026-12-31")),
        ("20260317150838", "0317150", None),
        ("20260317150838", "1301", None),
        ("20260317150838", "", None),
    ] {
        let told = of_settlement(text, parse(requested).unwrap()).map(|date| date.to_string());
        assert_eq!(told.as_deref(), date, "{text}");
    }
}

proptest! {
    #[test]
    fn whole_seconds_come_back(seconds in 0_i64..4_000_000_000, odd in "\\PC{0,16}") {
        let at = super::Timestamp::from_second(seconds).unwrap();
        prop_assert_eq!(parse(&in_china(at)), Some(at));
        let _ = (parse(&odd), of_trace(&odd, at), of_settlement(&odd, at));
    }
}
