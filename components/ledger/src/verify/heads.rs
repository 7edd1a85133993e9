//! Heads as they were published: only those that one of the keys signed count.

use serde_json::Value;

use super::{HeadSnafu, VerifyError};
use crate::seal::head::Head;

/// Reads lines that are heads, or of a log that says some, in the order of positions.
pub fn read(text: &str, keys: &[String]) -> Result<Vec<Head>, VerifyError> {
    let mut heads = vec![];
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: String| HeadSnafu { line: n.saturating_add(1), why }.build();
        let Some(head) = parse(line).map_err(wrong)? else { continue };
        let known = keys.iter().any(|key| key.eq_ignore_ascii_case(&head.key));
        if !known {
            return Err(wrong(format!("it is signed with {}, which no --key is", head.key)));
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
            ("{\"books\":\"b\",\"epoch\":1,\"position\":1,\"hash\":\"\",\"sealed_at\":\"\"}", "no --key"),
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
