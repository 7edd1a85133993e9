//! What is written wrongly is named; what is read is what is stored, and read again.

use jiff::civil::date;
use serde_json::json;

use super::*;

const GOOD: &str = r#"{"since": "2026-12-01",
    "fees": [{"currency": "CNY", "basisPoints": 38, "fixedMinor": 2, "maxMinor": 500},
             {"method": "card", "currency": "CNY", "basisPoints": 0}],
    "limits": [{"currency": "CNY", "perPaymentMinorMax": 100000, "perDay": {"amountMinorMax": 5000000, "paymentsMax": 9},
                "perMonth": {"paymentsMax": 100}}]}"#;

fn asked(body: &str) -> Result<(Date, Terms), Problem> {
    let currencies = ["CNY", "USD"].map(|code| Currency::parse(code).unwrap());
    read(body.as_bytes(), (&currencies, |method: &str| method == "card"), date(2026, 11, 30))
}

#[test]
fn what_is_stored_is_what_was_written() {
    let (since, terms) = asked(GOOD).unwrap();
    assert_eq!(since, date(2026, 12, 1));
    let stored = serde_json::to_value(&terms).unwrap();
    assert_eq!(
        stored["limits"][0],
        json!({"currency": "CNY", "perPaymentMinorMax": 100_000,
            "perDay": {"amountMinorMax": 5_000_000, "paymentsMax": 9}, "perMonth": {"paymentsMax": 100}})
    );
    assert_eq!(serde_json::from_value::<Terms>(stored).unwrap(), terms);
    let nothing = asked(r#"{"since": "2026-11-30", "fees": [], "limits": []}"#).unwrap();
    assert_eq!(nothing.1, Terms::default());
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, field) in [
        ("2026-12-01", "2026-11-29", "since"),
        ("\"CNY\", \"basisPoints\": 38", "\"EUR\", \"basisPoints\": 38", "fees[0].currency"),
        ("38", "10001", "fees[0].basisPoints"),
        ("38", "-1", "fees[0].basisPoints"),
        ("38", "1.5", "fees[0].basisPoints"),
        ("\"basisPoints\": 38, ", "", "fees[0].basisPoints"),
        ("\"fixedMinor\": 2", "\"fixedMinor\": -2", "fees[0].fixedMinor"),
        ("500}", "9007199254740992}", "fees[0].maxMinor"),
        ("\"method\": \"card\"", "\"method\": \"ca rd\"", "fees[1].method"),
        ("\"method\": \"card\"", "\"method\": \"Card\"", "fees[1].method"),
        ("500}", "1}", "fees[0].maxMinor"),
        ("\"method\": \"card\", ", "", "fees[1]"),
        ("\"method\": \"card\"", "\"kind\": \"card\"", "fees[1].kind"),
        ("100000", "-1", "limits[0].perPaymentMinorMax"),
        ("\"paymentsMax\": 9", "\"paymentsMax\": \"9\"", "limits[0].perDay.paymentsMax"),
        ("{\"paymentsMax\": 100}", "{}", "limits[0].perMonth"),
        ("{\"paymentsMax\": 100}", "{\"daily\": 1}", "limits[0].perMonth.daily"),
        ("\"limits\": [", "\"limits\": [{\"currency\": \"USD\"}, ", "limits[0]"),
        ("\"limits\": [", "\"limits\": [{\"currency\": \"CNY\", \"perPaymentMinorMax\": 1}, ", "limits[1]"),
        ("\"limits\": [", "\"limits\": [7, ", "limits[0]"),
        ("\"limits\"", "\"limit\"", "limits"),
    ] {
        let bad = GOOD.replacen(from, to, 1);
        assert_ne!(bad, GOOD, "{from}");
        assert_eq!(asked(&bad).unwrap_err().field.as_deref(), Some(field), "{bad}");
    }
}
