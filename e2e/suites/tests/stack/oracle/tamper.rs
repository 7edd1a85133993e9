//! Copies of what was said that nobody may believe: one byte of the body, another time,
//! another parameter.

use serde_json::{Value, json};

use super::verdict::Verdict;

pub(super) struct Spoiled {
    pub part: String,
    pub how: &'static str,
    pub exchange: Value,
}

/// What is changed, where it stands, and how.
type Change = (&'static str, String, fn(&str) -> String);

/// Everything that can be spoiled in what was judged.
pub(super) fn copies(traffic: &[Value], verdict: &Verdict) -> Vec<Spoiled> {
    let exchange = &traffic[verdict.line];
    let network = exchange["network"].as_str().unwrap_or_default();
    let said = if verdict.part == "reply" { "/answer" } else { "" };
    let (body, target) = (format!("{said}/body"), "/target".to_owned());
    let header = |name: &str| place_of(exchange, &format!("{said}/headers"), name);
    let mut all: Vec<Change> = vec![
        ("the first digit of the body", body.clone(), first_digit),
        ("the last digit of the body", body.clone(), last_digit),
    ];
    match (network, verdict.part.as_str()) {
        ("WechatPay", "request") => {
            let authorization = header("authorization");
            all.push(("another time", authorization.clone(), |text| time(text, "timestamp=\"")));
            all.push(("another nonce", authorization, |text| {
                text.replacen("nonce_str=\"", "nonce_str=\"0", 1)
            }));
            all.push(("another parameter", target.clone(), |text| match text.contains('?') {
                true => format!("{text}&a=1"),
                false => format!("{text}?a=1"),
            }));
        }
        ("WechatPay", _) => {
            all.push(("another time", header("wechatpay-timestamp"), |text| time(text, "")));
            all.push(("another nonce", header("wechatpay-nonce"), |text| format!("0{text}")));
            all.push(("another key", header("wechatpay-serial"), |text| format!("{text}0")));
        }
        ("Alipay", "request") => {
            all.push(("another time", target.clone(), |text| time(text, "timestamp=")));
            all.push(("another parameter", target, |text| format!("{text}&a=1")));
        }
        ("BankDirect", part) => {
            all.push(("another time", header("bank-time"), |text| time(text, "")));
            all.push(("another nonce", header("bank-nonce"), |text| format!("0{text}")));
            all.push(("another key", header("bank-key"), |text| format!("0{text}")));
            all.push(("another participant", header("bank-participant"), |text| format!("{text}0")));
            if part == "request" {
                all.push(("another call", target, |text| format!("{text}s")));
            }
            if part == "reply" {
                all.push(("another status", "/answer/status".to_owned(), |_| "201".to_owned()));
            }
        }
        // It bears no time of its own.
        ("Alipay", "reply") => {
            all.push(("another field", body.clone(), |text| text.replacen(":{", ":{\"a\":\"1\",", 1)));
            all.push(("a field outside", body, |text| text.replacen('{', "{\"a\":\"1\",", 1)));
        }
        ("Alipay", _) => {
            all.push(("another time", body.clone(), |text| time(text, "notify_time=")));
            all.push(("another parameter", body, |text| format!("{text}&a=1")));
        }
        _ => {
            all.push(("another time", body.clone(), |text| time(text, "txnTime=")));
            all.push(("another parameter", body, |text| format!("{text}&a=1")));
        }
    }
    let spoiled = all.into_iter().map(|(how, place, change)| {
        let mut exchange = exchange.clone();
        if let Some(value) = exchange.pointer_mut(&place) {
            *value = json!(change(value.as_str().unwrap_or_default()));
        }
        assert_ne!(exchange, traffic[verdict.line], "{how}");
        Spoiled { part: verdict.part.clone(), how, exchange }
    });
    spoiled.collect()
}

/// Where the value of a header stands.
fn place_of(exchange: &Value, headers: &str, name: &str) -> String {
    let all = exchange.pointer(headers).and_then(Value::as_array);
    let at = all.and_then(|all| all.iter().position(|header| header[0] == name));
    at.map_or_else(|| format!("/no {name}"), |at| format!("{headers}/{at}/1"))
}

fn first_digit(text: &str) -> String {
    let at = text.find(|char: char| char.is_ascii_digit());
    at.map_or_else(|| format!("{text}1"), |at| other_digit(text, at))
}

fn last_digit(text: &str) -> String {
    let at = text.rfind(|char: char| char.is_ascii_digit());
    at.map_or_else(|| format!("{text}2"), |at| other_digit(text, at))
}

/// Changes the last of the digits behind a mark.
fn time(text: &str, mark: &str) -> String {
    let Some(from) = text.find(mark).map(|at| at + mark.len()) else { return text.to_owned() };
    let digits = text[from..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 { text.to_owned() } else { other_digit(text, from + digits - 1) }
}

/// The text with another digit at a place: it stays as well formed as it was.
fn other_digit(text: &str, at: usize) -> String {
    let digit = if text.as_bytes()[at] == b'9' { '0' } else { char::from(text.as_bytes()[at] + 1) };
    format!("{}{digit}{}", &text[..at], &text[at + 1..])
}
