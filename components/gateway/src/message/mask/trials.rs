//! Nothing of a planted number is left, wherever it stands and however it is written, and what
//! has none stays as it was.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::body;

/// Of cards (with Luhn's digit), and of accounts that have none.
const NUMBERS: [&str; 5] = [
    "4111111111111111",
    "378282246310005",
    "6228480402564890018",
    "6222020200112230018",
    "3301040160001234567",
];

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn grouped(text: &str) -> String {
    let chars: Vec<_> = text.chars().collect();
    chars.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// Ways to write a number.
fn written(number: &str, way: usize) -> String {
    match way {
        0 => number.to_owned(),
        1 => grouped(number),
        2 => grouped(number).replace(' ', "-"),
        3 => hex::encode(number),
        4 => hex::encode_upper(grouped(number)),
        5 => STANDARD.encode(number),
        6 => URL_SAFE_NO_PAD.encode(number),
        7 => percent(number),
        8 => percent(&percent(number)),
        9 => STANDARD.encode(hex::encode(number)),
        10 => hex::encode(STANDARD.encode(number)),
        11 => number.chars().map(|c| char::from_u32(u32::from(c) - 48 + 0xff10).unwrap()).collect(),
        12 => grouped(number).replace(' ', " - "),
        13 => grouped(number).replace(' ', "."),
        14 => grouped(number).replace(' ', "/"),
        15 => STANDARD.encode(json!({"deep": {"card": number}}).to_string()),
        _ => percent(&STANDARD.encode(number)),
    }
}
const WAYS: usize = 17;

/// Bodies with a text in a field.
fn in_body(text: &str, place: usize) -> String {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match place {
        0 => json!({"number": "0190", "description": text}).to_string(),
        1 => json!({"a": [{"b": [[text]]}]}).to_string(),
        2 => json!({ text: "a key" }).to_string(),
        3 => format!("orderId=0190&reqReserved={}&x=1", form(text)),
        4 => format!("a=b&c={}", form(&format!("{{x={}&y=1}}", form(text)))),
        5 => format!("biz_content={}", form(&json!({"subject": text}).to_string())),
        6 => json!({"detail": json!({"more": text}).to_string()}).to_string(),
        7 => format!("code=1&error={}", form(&format!("an error about {text}, sorry"))),
        8 => json!({"sign": "x", "bankId": text}).to_string(),
        _ => json!({"text": format!("see a={text}&b=2")}).to_string(),
    }
}
const PLACES: usize = 10;

/// Whatever the number could be read from.
fn shows(kept: &str, number: &str) -> bool {
    let plain = |text: &str| text.replace([' ', '-', '.', '/'], "");
    let mut readings = vec![plain(kept)];
    let decoded: String = form_urlencoded::parse(format!("x={kept}").replace('&', "%26").as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect();
    readings.push(plain(&decoded));
    let tokens = kept.split(|c: char| !c.is_ascii_alphanumeric() && !"+/-_".contains(c));
    for token in tokens.map(str::to_owned).collect::<Vec<_>>() {
        if let Ok(bytes) = hex::decode(&token) {
            readings.push(plain(&String::from_utf8_lossy(&bytes)));
        }
        for from in 0..4.min(token.len()) {
            let even = token.get(from..).unwrap_or_default().trim_end_matches('=');
            let even = even.get(..even.len() / 4 * 4).unwrap_or_default();
            if let Ok(bytes) = STANDARD.decode(even) {
                readings.push(plain(&String::from_utf8_lossy(&bytes)));
            }
        }
    }
    // Any 13 digits of it.
    let parts = number.as_bytes().windows(13).map(|part| std::str::from_utf8(part).unwrap());
    parts.into_iter().any(|part| readings.iter().any(|text| text.contains(part)))
}

#[test]
fn no_number_is_left_however_it_is_written() {
    for number in NUMBERS {
        for (way, place) in (0..WAYS).flat_map(|way| (0..PLACES).map(move |place| (way, place))) {
            // Of an id only what has Luhn's digit is a card's.
            if place == 8 && NUMBERS[3..].contains(&number) && matches!(way, 0..=2 | 7 | 8 | 11..=14) {
                continue;
            }
            let text = in_body(&written(number, way), place);
            let kept = body(text.as_bytes(), &[]);
            assert!(!shows(&kept, number), "{number} way {way} place {place}: {text} -> {kept}");
            assert!(kept.contains("***"), "way {way} place {place}: {text} -> {kept}");
        }
    }
}

proptest! {
    #[test]
    fn no_number_is_left_beside_other_text(
        digits in "[3-6][0-9]{12,18}", before in "[ a-zA-Z:,._/-]{0,9}", after in "[ a-zA-Z:,._/-]{0,9}",
        way in 0..WAYS, place in 0..PLACES - 2,
    ) {
        let text = in_body(&format!("{before}{}{after}", written(&digits, way)), place);
        let kept = body(text.as_bytes(), &[]);
        prop_assert!(!shows(&kept, &digits), "{} -> {}", text, kept);
    }

    #[test]
    fn whatever_comes_is_kept_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,200}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let kept = body(bytes, &[]);
            prop_assert!(!kept.contains('\0'));
            prop_assert_eq!(body(kept.as_bytes(), &[]).len() <= super::BYTES_MAX + 64, true);
        }
    }
}

#[test]
fn fields_that_tell_a_person_are_hidden_whatever_they_hold() {
    for (text, kept) in [
        (r#"{"payeeAccount": "12", "payeeName":"\u674e"}"#, r#"{"payeeAccount": "***", "payeeName":"***"}"#),
        (r#"{"payer":{"openid":"oUpF8"},"x":1}"#, r#"{"payer":{"openid":"***"},"x":1}"#),
        (r#"{"account":{"a":[1,{"b":"c"}],"d":null}}"#, r#"{"account":{"a":["***",{"b":"***"}],"d":null}}"#),
        ("accNo=62&customerInfo=%7Bcvn2%3D123%7D&orderId=A", "accNo=***&customerInfo=***&orderId=A"),
        ("x={phoneNo=138&a=1}", "x={phoneNo=***&a=1}"),
        ("reserved={a=1&idNo=3&cardHolder=Li}&b=2", "reserved=***&b=2"),
        ("x={a=1&cardHolder=Li}&b=2", "x={a=1&cardHolder=***}&b=2"),
        (
            r#"{"payer_name":"Li","accessToken":"t","storeName":"S"}"#,
            r#"{"payer_name":"***","accessToken":"***","storeName":"S"}"#,
        ),
        (r#"{"bankId":"2223000048400011","text":"20260130112345678"}"#, r#"{"bankId":"***","text":"***"}"#),
        (
            "buyer_logon_id=a%40b.c&trade_no=2026113022001400001234567890",
            "buyer_logon_id=***&trade_no=2026113022001400001234567890",
        ),
        (r#"{"code":"Declined","token":"agr.1"}"#, r#"{"code":"Declined","token":"***"}"#),
    ] {
        assert_eq!(body(text.as_bytes(), &[]), kept);
    }
    assert_eq!(body(br#"{"number":"1","code":"80QX"}"#, &["code"]), r#"{"number":"1","code":"***"}"#);
    let certificate = body(b"signPubKeyCert=-----BEGIN&a=1", &[]);
    assert!(
        certificate.starts_with("signPubKeyCert=sha256:") && certificate.ends_with("&a=1"),
        "{certificate}"
    );
}

#[test]
fn what_has_nothing_to_hide_stays_byte_by_byte() {
    for text in [
        "",
        "{ \"number\" : \"01936d7c7f0a7123a1230123456789ab\",\t\"amountMinor\":12800, \"a\":[true,null,-1.5e3] }",
        r#"{"text":"\u674e\n\"q\"","empty":{},"none":[]}"#,
        "merId=777290058110048&orderId=01936d7c7f0a71239123012345678901&txnTime=20261130152000&queryId=542611301520001234568",
        "sign=kPbQIjX%2Bx%2FZ%3D%3D&timestamp=2026-11-30+15%3A20%3A00&total_amount=128.00&app_id=2021000117650139",
        r#"{"resource":{"ciphertext":"8fK2+w1qv0m5kPbQIjXxZ0oG7c9mSz1sH2tY==","nonce":"a1"},"id":"EV-1"}"#,
    ] {
        assert_eq!(body(text.as_bytes(), &[]), text);
    }
}

#[test]
fn what_is_long_is_cut() {
    let long = body(format!("a={}", "\u{674e}".repeat(9_000)).as_bytes(), &[]);
    assert!(long.ends_with("[cut: 27002 bytes]") && long.len() <= super::BYTES_MAX + 32, "{}", long.len());
    assert!(body(format!("a={}", "\0".repeat(9_000)).as_bytes(), &[]).len() <= super::BYTES_MAX + 32);
}

/// Bodies that another reader takes, or that repeat what was sent, with a name in them.
#[test]
fn what_was_not_read_whole_is_not_kept() {
    let nested = |levels: usize| {
        format!(r#"{{"payeeName":"Li Hua","a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    for text in [
        r#"{"payeeName":"Li"#,
        r#"{"token":"agr.Li","holderName":"Li Hua","description":"..\ud83d"}"#,
        r#"["\ud83d",{"name":"Li Hua"}]"#,
        &nested(65),
        "<html><p>payeeName=Li Hua&amp;payeeAccount=62220212</p></html>",
        r#"<p payeeName="Li Hua">"#,
        "Li Hua",
        r#"error: {"payeeName":"Li Hua"}"#,
        "\"Li Hua\"",
        "a=b&Li Hua",
        "Li Hua=1",
    ] {
        let kept = body(text.as_bytes(), &[]);
        assert_eq!(kept, format!("[{} bytes that are neither JSON nor a form]", text.len()), "{text}");
    }
    assert_eq!(body(&[0xff, 0x31], &[]), "[2 bytes that are neither JSON nor a form]");
    for text in [
        "\u{feff}{\"payeeName\":\"Li Hua\",\"account\":\"62220212\"}".to_owned(),
        nested(60),
        json!({"detail": r#"{"payeeName":"Li Hua","x":"\ud83d"}"#}).to_string(),
        json!({"detail": nested(65)}).to_string(),
        json!({"detail": r#"failed: {"payeeName" : "Li Hua"#}).to_string(),
        json!({"detail": "\u{feff}{\"payeeName\":\"Li Hua\"}"}).to_string(),
        format!("a=1&detail={}", r#"{"payeeName":"Li Hua","x":"\ud83d"}"#),
        "code=1&error=see payeeName=Li Hua".to_owned(),
    ] {
        let kept = body(text.as_bytes(), &[]);
        assert!(
            kept.contains("***") && !kept.contains("Li Hua") && !kept.contains("62220212"),
            "{text} -> {kept}"
        );
    }
}
