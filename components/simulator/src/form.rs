//! Fields as forms carry them: `application/x-www-form-urlencoded`, read
//! strictly: a field stands once, escapes are whole, text is UTF-8.

use std::collections::BTreeMap;

use snafu::{OptionExt, Snafu, ensure};

/// More than any message of the networks has.
const FIELDS_MAX: usize = 100;

#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum FormError {
    #[snafu(display("the form has a broken escape, or is not UTF-8"))]
    Encoding,
    #[snafu(display("a field stands twice, or there are more than {FIELDS_MAX}"))]
    Fields,
}

/// Fields by name; sorted as the signatures want them, byte by byte.
pub type Fields = BTreeMap<String, String>;

/// Adds a form's fields to those of another part of the same request.
pub fn read_into(fields: &mut Fields, text: &[u8]) -> Result<(), FormError> {
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let value = value.strip_prefix(b"=").unwrap_or(value);
        ensure!(fields.len() < FIELDS_MAX, FieldsSnafu);
        let twice = fields.insert(decode(name)?, decode(value)?).is_some();
        ensure!(!twice, FieldsSnafu);
    }
    Ok(())
}

/// Reads a form.
pub fn read(text: &[u8]) -> Result<Fields, FormError> {
    let mut fields = Fields::new();
    read_into(&mut fields, text)?;
    Ok(fields)
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || (*rest.next()? as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (high, low) = (digit().context(EncodingSnafu)?, digit().context(EncodingSnafu)?);
                (high << 4) | low
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok().context(EncodingSnafu)
}

/// Writes a form.
#[must_use]
pub fn write<'a>(fields: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        encode(&mut form, name);
        form.push('=');
        encode(&mut form, value);
    }
    form
}

fn encode(form: &mut String, text: &str) {
    use std::fmt::Write;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => form.push(byte as char),
            b' ' => form.push('+'),
            other => {
                // Writing to a string does not fail.
                let _ = write!(form, "%{other:02X}");
            }
        }
    }
}

/// The text that both networks with forms sign: `name=value` joined by `&`, by
/// name, without those left out and without empty values.
#[must_use]
pub fn signed_text(fields: &Fields, left_out: &[&str]) -> String {
    let signed = |(name, value): &(&String, &String)| !value.is_empty() && !left_out.contains(&name.as_str());
    let pairs: Vec<String> =
        fields.iter().filter(signed).map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_whole_forms_pass() {
        let fields = read(b"a=1&b=%E9%93%B6+x&c=&d").unwrap();
        assert_eq!((fields["a"].as_str(), fields["b"].as_str()), ("1", "\u{94f6} x"));
        assert_eq!((fields["c"].as_str(), fields["d"].as_str()), ("", ""));
        assert_eq!(signed_text(&fields, &["a"]), "b=\u{94f6} x");
        assert_eq!(read(b"a=1&a=2"), Err(FormError::Fields));
        for bad in ["a=%", "a=%1", "a=%zz", "a=%ff"] {
            assert_eq!(read(bad.as_bytes()), Err(FormError::Encoding), "{bad}");
        }
    }

    #[test]
    fn names_are_sorted_byte_by_byte() {
        // A prefix comes first, whatever follows the equals sign.
        let fields = read(b"a1=2&a=1&B=3").unwrap();
        assert_eq!(signed_text(&fields, &[]), "B=3&a=1&a1=2");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_is_read_back(fields in proptest::collection::btree_map(".{1,6}", ".{0,12}", 0..9)) {
            prop_assert_eq!(read(write(&fields).as_bytes()).unwrap(), fields);
        }
    }
}
