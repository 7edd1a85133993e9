//! The other way to sign: sorted parameters, as merchants of Chinese networks know it.
//! The signature's own fields stand beside the request's: in the flat JSON body of a POST,
//! in the query of a GET. What is signed is three lines: the method, the path, and every
//! parameter but `sign` that is not empty, `name=value` by name, joined by `&`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::request::Parts;
use payplane_api::id::{self, AppId};
use serde_json::Value;

use super::fields::Fields;
use super::parameters::{self, NAME_LENGTH_MAX, Parameters, short};
use super::problem::{Code, Problem};
use crate::signature::Claim;
use crate::signature::algorithm::Algorithm;
use crate::signature::parse::is_nonce;

const SIGN_LENGTH_MAX: usize = 512;
const OWN: [&str; 6] = ["appId", "keyId", "nonce", "sign", "signType", "timestamp"];

/// Does a query carry this signature? One that is signed by headers must not.
pub(super) fn is_in(query: Option<&str>) -> bool {
    let query = query.unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).any(|(name, _)| OWN.contains(&name.as_ref()))
}

/// Reads the signature, and what remains of the request without it: its body or, of a GET,
/// its parameters.
pub(super) fn read(parts: &Parts, body: &[u8]) -> Result<(Claim, Bytes, Parameters), Problem> {
    let mut all = if parts.method == Method::GET {
        if !body.is_empty() {
            return Err(Problem::new(Code::InvalidField, "this request has no body"));
        }
        let all = parameters::read(parts.uri.query())?.into_iter();
        all.map(|(name, value)| (name, Value::String(value))).collect()
    } else if body.is_empty() {
        return Err(unsigned());
    } else {
        if parts.uri.query().is_some() {
            return Err(Problem::new(Code::InvalidField, "a POST that is signed in its body has no query"));
        }
        Fields::parse(body)?.into_inner()
    };
    if !OWN.iter().any(|name| all.contains_key(*name)) {
        return Err(unsigned());
    }
    let text = format!("{}\n{}\n{}", parts.method, parts.uri.path(), sorted(&all)?);
    let claim = Claim {
        app: take(&mut all, "appId", |text| AppId::try_from(text).ok().map(String::from))?,
        key_id: take(&mut all, "keyId", |text| id::check("key id", &text, 32).is_ok().then_some(text))?,
        created: take(&mut all, "timestamp", seconds)?,
        nonce: take(&mut all, "nonce", |text| is_nonce(&text).then_some(text))?,
        algorithm: Some(take(&mut all, "signType", |text| Algorithm::of_sign_type(&text))?),
        signature: take(&mut all, "sign", signature)?,
        text,
    };
    if parts.method == Method::GET {
        let all = all.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
        return Ok((claim, Bytes::new(), all.collect()));
    }
    if all.is_empty() {
        return Ok((claim, Bytes::new(), Parameters::new()));
    }
    // Strings and whole numbers only: they are written as they were read.
    let rest = serde_json::to_vec(&all).map_err(|_| unsigned())?;
    Ok((claim, rest.into(), Parameters::new()))
}

fn unsigned() -> Problem {
    let detail = "the request is not signed: by the headers of RFC 9421, or by appId, keyId, timestamp, \
        nonce, signType and sign beside its own fields";
    Problem::new(Code::BadSignature, detail)
}

/// `name=value` by name, joined by `&`. As no name holds `=` and no value `&`, it cannot be
/// read in two ways.
fn sorted(all: &BTreeMap<String, Value>) -> Result<String, Problem> {
    let mut text = String::with_capacity(256);
    for (name, value) in all.iter().filter(|(name, _)| *name != "sign") {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || name.is_empty() || name.len() > NAME_LENGTH_MAX {
            return Err(Problem::field(&short(name), "is not a name of this signature: A-Z a-z 0-9 _"));
        }
        let value = match value {
            Value::Null => continue,
            Value::String(value) if value.is_empty() => continue,
            Value::String(value) if value.contains('&') => {
                let detail = "holds &, which this signature cannot carry: sign by RFC 9421";
                return Err(Problem::field(name, detail));
            }
            Value::String(value) => value.clone(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            _ => return Err(Problem::field(name, "must be a string or a whole number")),
        };
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(&value);
    }
    Ok(text)
}

/// One of the signature's own fields.
fn take<T>(
    all: &mut BTreeMap<String, Value>,
    name: &'static str,
    read: impl FnOnce(String) -> Option<T>,
) -> Result<T, Problem> {
    let text = match all.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) if name == "timestamp" => Some(number.to_string()),
        _ => None,
    };
    text.and_then(read).ok_or_else(|| {
        let detail = match name {
            "timestamp" => "must be the time in Unix seconds",
            "nonce" => "must be 16 to 64 printable ASCII characters, new for every request",
            "signType" => "must be RSA2, HMAC-SHA256 or SM3",
            "sign" => "must be the signature in base64 (in a query, + is written %2B)",
            _ => "must be the name that the key is registered under",
        };
        Problem { field: Some(name.to_owned()), ..Problem::new(Code::BadSignature, detail) }
    })
}

fn seconds(text: String) -> Option<i64> {
    let plain = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain && !text.starts_with('0') { text.parse().ok() } else { None }
}

fn signature(text: String) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| (1..=SIGN_LENGTH_MAX).contains(&bytes.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(method: Method, uri: &str) -> Parts {
        http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
    }

    const SIGNED: &str = r#""appId":"shop","keyId":"k1","timestamp":1700000000,"nonce":"0123456789abcdef","signType":"HMAC-SHA256","sign":"AAAA""#;

    fn posted(rest: &str) -> Result<(Claim, Bytes, Parameters), Problem> {
        read(&request(Method::POST, "https://g/v1/payments"), format!("{{{SIGNED}{rest}}}").as_bytes())
    }

    #[test]
    fn what_is_signed_is_sorted_and_what_is_left_is_the_request() {
        let (claim, rest, _) =
            posted(r#","orderNumber":"o1","amountMinor":100,"description":"","payerId":null"#).unwrap();
        let expected = "POST\n/v1/payments\namountMinor=100&appId=shop&keyId=k1&nonce=0123456789abcdef\
            &orderNumber=o1&signType=HMAC-SHA256&timestamp=1700000000";
        assert_eq!(claim.text, expected);
        assert_eq!(rest, r#"{"amountMinor":100,"description":"","orderNumber":"o1","payerId":null}"#);
        assert_eq!((claim.app.as_str(), claim.key_id.as_str(), claim.created), ("shop", "k1", 1_700_000_000));
        assert_eq!((claim.algorithm, claim.signature), (Some(Algorithm::HmacSha256), vec![0, 0, 0]));
        assert!(posted("").unwrap().1.is_empty());
    }

    #[test]
    fn a_query_is_signed_in_its_parameters() {
        let uri = "https://g/v1/payments/2026-11-24/o1?sign=AA%2BA&appId=shop&keyId=k1&signType=RSA2\
            &timestamp=1700000000&nonce=0123456789abcdef";
        let (claim, rest, parameters) = read(&request(Method::GET, uri), b"").unwrap();
        assert!(rest.is_empty() && parameters.is_empty());
        let expected = "GET\n/v1/payments/2026-11-24/o1\nappId=shop&keyId=k1&nonce=0123456789abcdef\
            &signType=RSA2&timestamp=1700000000";
        assert_eq!(claim.text, expected);
        let bad = |uri: &str| read(&request(Method::GET, uri), b"").unwrap_err().field;
        assert_eq!(bad(&format!("{uri}&appId=shop")).as_deref(), Some("appId"));
        let (claim, _, parameters) = read(&request(Method::GET, &format!("{uri}&x=1")), b"").unwrap();
        assert_eq!(claim.text, format!("{expected}&x=1"));
        assert_eq!(parameters, Parameters::from([("x".to_owned(), "1".to_owned())]));
        assert_eq!(bad(&uri.replace("%2B", "+")).as_deref(), Some("sign"));
        assert!(is_in(Some("a=1&sign=2")) && is_in(Some("%73ign")) && !is_in(Some("a=sign")) && !is_in(None));
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (from, to, field) in [
            ("\"shop\"", "\"\u{455}hop\"", "appId"),
            ("\"k1\"", "\"k/1\"", "keyId"),
            ("1700000000", "01", ""),
            ("1700000000", "1.5", "timestamp"),
            ("1700000000", "-1", "timestamp"),
            ("1700000000", "\"1e9\"", "timestamp"),
            ("0123456789abcdef", "short", "nonce"),
            ("HMAC-SHA256", "MD5", "signType"),
            ("HMAC-SHA256", "RSA", "signType"),
            ("HMAC-SHA256", "hmac-sha256", "signType"),
            ("\"AAAA\"", "\"A\"", "sign"),
            ("\"AAAA\"", "\"\"", "sign"),
            ("\"AAAA\"", "\"AAAA\",\"a\":true", "a"),
            ("\"AAAA\"", "\"AAAA\",\"a\":{}", "a"),
            ("\"AAAA\"", "\"AAAA\",\"a\":1.0", "a"),
            ("\"AAAA\"", "\"AAAA\",\"a\":\"b&c=d\"", "a"),
            ("\"AAAA\"", "\"AAAA\",\"a=b\":1", "a=b"),
            ("\"AAAA\"", "\"AAAA\",\"sign\":\"AAAA\"", ""),
        ] {
            let body = format!("{{{}}}", SIGNED.replacen(from, to, 1));
            let problem = read(&request(Method::POST, "https://g/v1/payments"), body.as_bytes()).unwrap_err();
            assert_eq!(problem.field.as_deref().unwrap_or_default(), field, "{body}");
        }
    }

    proptest! {
        /// No two requests are signed by the same text.
        #[test]
        fn no_two_bodies_are_the_same_text(
            one in proptest::collection::btree_map("[a-c]{1,2}", "[a-c=&]{1,4}", 0..4),
            two in proptest::collection::btree_map("[a-c]{1,2}", "[a-c=&]{1,4}", 0..4),
        ) {
            let text = |all: &BTreeMap<String, String>| {
                sorted(&all.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect())
            };
            if let (Ok(first), Ok(second)) = (text(&one), text(&two)) {
                prop_assert_eq!(first == second, one == two);
            }
        }

        #[test]
        fn nothing_panics(body in ".{0,200}", query in "[a-zA-Z=&%0-9+]{0,80}") {
            let _ = read(&request(Method::POST, "https://g/v1/payments"), body.as_bytes());
            let _ = read(&request(Method::GET, &format!("https://g/v1/payments?{query}")), b"");
        }
    }
}
