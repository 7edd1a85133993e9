//! Heads as they were published: only those that one of the keys signed count.

use std::path::Path;

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::{HeadSnafu, KeySnafu, VerifyError};
use crate::seal::head::Head;

/// What comes before the 32 bytes of an Ed25519 public key (RFC 8410).
const ED25519_HEADER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Reads the public keys of a file, in hex.
pub fn keys(path: &Path) -> Result<Vec<String>, VerifyError> {
    let wrong = |why: String| KeySnafu { path, why }.build();
    let mut keys = vec![];
    for key in SubjectPublicKeyInfoDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
        let key = key.map_err(|error| wrong(error.to_string()))?;
        match key.strip_prefix(&ED25519_HEADER) {
            Some(raw) if raw.len() == 32 => keys.push(hex::encode(raw)),
            _ => return Err(wrong("a key that is not Ed25519".to_owned())),
        }
    }
    if keys.is_empty() { Err(wrong("no public key".to_owned())) } else { Ok(keys) }
}

/// Reads lines that are heads, or of a log that says some, in the order of positions.
pub fn read(text: &str, keys: &[String]) -> Result<Vec<Head>, VerifyError> {
    let mut heads = vec![];
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: String| HeadSnafu { line: n.saturating_add(1), why }.build();
        let Some(head) = parse(line).map_err(wrong)? else { continue };
        let known = keys.iter().any(|key| key.eq_ignore_ascii_case(&head.key));
        if !known {
            return Err(wrong(format!("it is signed with {}, which is no key of --key", head.key)));
        }
        if !head.holds() {
            return Err(wrong("its signature does not hold".to_owned()));
        }
        heads.push(head);
    }
    heads.sort_by_key(|head| (head.epoch, head.position));
    Ok(heads)
}

fn parse(line: &str) -> Result<Option<Head>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let head = match &value {
        Value::Object(fields) => match fields.get("head") {
            Some(Value::String(inner)) => serde_json::from_str(inner),
            None if fields.contains_key("level") => return Ok(None),
            _ => serde_json::from_value(value),
        },
        _ => serde_json::from_value(value),
    };
    head.map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_heads_are_named() {
        let keys = ["00".to_owned()];
        let log = "{\"level\":\"INFO\",\"message\":\"serving\"}\n\n";
        assert_eq!(read(log, &keys).unwrap(), vec![]);
        for (line, why) in [
            ("nonsense", "expected"),
            ("[1]", "invalid"),
            ("{\"head\":\"{}\"}", "missing field"),
            (
                "{\"books\":\"b\",\"epoch\":1,\"position\":1,\"hash\":\"\",\"sealed_at\":\"\"}",
                "no key of --key",
            ),
            (
                "{\"books\":\"b\",\"epoch\":1,\"position\":1,\"hash\":\"\",\"sealed_at\":\"\",\"key\":\"00\"}",
                "signature",
            ),
        ] {
            let error = read(&format!("{log}{line}"), &keys).unwrap_err().to_string();
            assert!(error.starts_with("line 3 ") && error.contains(why), "{line}: {error}");
        }
    }
}
