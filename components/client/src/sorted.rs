//! Signs a request by its sorted parameters, as merchants of Chinese networks know it: the
//! signature's fields stand beside the request's own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value};

use crate::sign::Signer;

impl Signer {
    /// The address and the body that carry the signature: a GET in its query, a POST in its
    /// body. None where the key has no name in this style.
    #[must_use]
    pub fn sign_sorted(&self, method: &str, mut url: Url, body: &[u8]) -> Option<(Url, Vec<u8>)> {
        let mut all: Map<String, Value> =
            if body.is_empty() { Map::new() } else { serde_json::from_slice(body).ok()? };
        let parameters = url.query_pairs().map(|(name, value)| (name.into_owned(), value.as_ref().into()));
        all.extend(parameters.collect::<Map<_, _>>());
        url.set_query(None);
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        all.insert("appId".into(), self.app.as_str().into());
        all.insert("keyId".into(), self.key_id.as_str().into());
        all.insert("timestamp".into(), Timestamp::now().as_second().into());
        all.insert("nonce".into(), nonce.into());
        all.insert("signType".into(), self.key.algorithm.sign_type()?.into());
        let text = text(method, url.path(), &all)?;
        all.insert("sign".into(), STANDARD.encode(self.key.sign(text.as_bytes())?).into());
        if method == "GET" {
            let pairs = all.iter().map(|(name, value)| (name, plain(value).unwrap_or_default()));
            url.query_pairs_mut().extend_pairs(pairs);
            return Some((url, Vec::new()));
        }
        Some((url, serde_json::to_vec(&all).ok()?))
    }
}

/// The text that is signed: method, path, and what is not empty, by name.
#[must_use]
pub fn text(method: &str, path: &str, all: &Map<String, Value>) -> Option<String> {
    let mut pairs = Vec::with_capacity(all.len());
    for (name, value) in all {
        let value = plain(value)?;
        if name != "sign" && !value.is_empty() {
            pairs.push(format!("{name}={value}"));
        }
    }
    pairs.sort_by(|one, two| one.split('=').next().cmp(&two.split('=').next()));
    Some(format!("{method}\n{path}\n{}", pairs.join("&")))
}

/// A value as it is signed: a flat body has strings and whole numbers.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_sorted_by_name() {
        let all = r#"{"b":"x","a":1,"B":"y","ab":null,"c":"","sign":"z","a1":"="}"#;
        let text = text("POST", "/v1/payments", &serde_json::from_str(all).unwrap());
        assert_eq!(text.unwrap(), "POST\n/v1/payments\nB=y&a=1&a1==&b=x");
    }
}
