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

/// Reads lines that are heads, or of a log that says some, in the order of
/// positions; and says how many lines hold none that these keys signed.
pub fn read(text: &str, keys: &[String]) -> Result<(Vec<Head>, usize), VerifyError> {
    let (mut heads, mut others) = (vec![], 0usize);
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let ours = parse(line).filter(|head| keys.iter().any(|key| key.eq_ignore_ascii_case(&head.key)));
        let Some(head) = ours else {
            others = others.saturating_add(1);
            continue;
        };
        snafu::ensure!(
            head.holds(),
            HeadSnafu { line: n.saturating_add(1), why: "its signature does not hold" }
        );
        heads.push(head);
    }
    heads.sort_by_key(|head| (head.epoch, head.position));
    Ok((heads, others))
}

/// Logs have other lines, and a writer that was killed leaves half a one.
fn parse(line: &str) -> Option<Head> {
    let value: Value = serde_json::from_str(line).ok()?;
    match value.get("head") {
        Some(Value::String(inner)) => serde_json::from_str(inner).ok(),
        _ => serde_json::from_value(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_hold_no_head_are_counted_and_forged_ones_named() {
        let keys = ["00".to_owned()];
        let strange = "{\"level\":\"INFO\",\"message\":\"serving\"}\n\nthread panicked\n[1]\n{\"head\":\"{}\"}\n{\"books\":\"b\"";
        assert_eq!(read(strange, &keys).unwrap(), (vec![], 5));
        let head = "{\"books\":\"b\",\"epoch\":1,\"position\":1,\"hash\":\"\",\"sealed_at\":\"\",\"answered\":\"\",\"key\":\"KEY\"}";
        assert_eq!(read(&head.replace("KEY", "01"), &keys).unwrap(), (vec![], 1));
        let error = read(&format!("\n{}", head.replace("KEY", "00")), &keys).unwrap_err().to_string();
        assert_eq!(error, "line 2 of the heads: its signature does not hold");
    }
}
