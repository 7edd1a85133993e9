//! `application/x-www-form-urlencoded`, strictly: what is not well formed is refused
//! and not guessed, since a signature is over what was meant.

/// A notification has about thirty parameters.
const PARAMS_MAX: usize = 128;

/// Only what is safe everywhere stays as it is.
pub(super) fn encode(params: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in params {
        if !text.is_empty() {
            text.push('&');
        }
        escape(name, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

fn escape(plain: &str, text: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let hex = |half: u8| HEX.get(usize::from(half)).copied().unwrap_or('0');
    for byte in plain.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
}

/// The parameters as they came. None where they are malformed, there twice or no UTF-8.
pub(super) fn decode(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut params: Vec<(String, String)> = Vec::new();
    for pair in body.split(|byte| *byte == b'&') {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        let value = value.strip_prefix(b"=")?;
        let (name, value) = (unescape(name)?, unescape(value)?);
        let is_twice = params.iter().any(|(known, _)| *known == name);
        if name.is_empty() || is_twice || params.len() >= PARAMS_MAX {
            return None;
        }
        params.push((name, value));
    }
    Some(params)
}

fn unescape(text: &[u8]) -> Option<String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => from_hex(rest.next()?, rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(plain).ok()
}

fn from_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok()
}
