//! The same numbers in hexadecimal and in base64, wherever in a longer text they begin.

use std::borrow::Cow;

use super::digits::{DIGITS_MIN, is_own};
use super::fields::Holds;
use super::{HIDDEN, With, hides};

/// So many characters have 13 digits in base64.
const TOKEN_MIN: usize = 18;

pub(super) fn masked(text: &str, with: With) -> Cow<'_, str> {
    if text.len() < TOKEN_MIN {
        return Cow::Borrowed(text);
    }
    let mut masked: Option<String> = None;
    let mut done = 0;
    let mut rest = text;
    while let Some(from) = rest.find(is_coded) {
        let token = rest.get(from..).unwrap_or_default();
        let token = token.split(|char: char| !is_coded(char)).next().unwrap_or_default();
        let begin = text.len().saturating_sub(rest.len()).saturating_add(from);
        let end = begin.saturating_add(token.len());
        rest = text.get(end..).unwrap_or_default();
        if token.len() >= TOKEN_MIN && is_hidden(token, with) {
            let out = masked.get_or_insert_default();
            out.push_str(text.get(done..begin).unwrap_or_default());
            out.push_str(HIDDEN);
            done = end;
        }
    }
    match masked {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(done..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Of either alphabet of base64; hexadecimal digits are among them.
fn is_coded(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '-' | '_')
}

fn is_hidden(token: &str, with: With) -> bool {
    let bytes = token.as_bytes();
    let from = |at: usize| bytes.get(at..).unwrap_or_default();
    !is_own(token)
        && ((0..2).any(|at| says(&of_hex(from(at)), with))
            || (0..4).any(|at| says(&of_base64(from(at)), with)))
}

/// Does it stand for a number, or for something that is coded once more or has names, perhaps
/// between what stands for nothing? Mostly nothing in it can be read, and it is not looked at again.
fn says(plain: &[u8], with: With) -> bool {
    let mut readable = 0_usize;
    let is_long = |byte: &u8| {
        readable = if is_readable(byte) { readable.saturating_add(1) } else { 0 };
        readable >= DIGITS_MIN
    };
    if !plain.iter().any(is_long) {
        return false;
    }
    let hides = |part: &[u8]| {
        let text = std::str::from_utf8(part).ok().filter(|text| text.len() >= DIGITS_MIN);
        text.is_some_and(|text| hides(text, Holds::Text, with))
    };
    hides(plain) || plain.split(|byte| !is_readable(byte)).any(hides)
}

fn is_readable(byte: &u8) -> bool {
    (b' '..=b'~').contains(byte)
}

/// What pairs of hexadecimal digits stand for; what is none breaks a number.
fn of_hex(text: &[u8]) -> Vec<u8> {
    let half = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| {
        let [high, low] = pair else { return 0 };
        let value = half(*high).zip(half(*low)).map(|(high, low)| high << 4 | low);
        value.and_then(|value| u8::try_from(value).ok()).unwrap_or_default()
    };
    text.chunks_exact(2).map(byte).collect()
}

fn of_base64(text: &[u8]) -> Vec<u8> {
    let six = |byte: &u8| match byte {
        b'A'..=b'Z' => u32::from(byte.wrapping_sub(b'A')),
        b'a'..=b'z' => u32::from(byte.wrapping_sub(b'a').wrapping_add(26)),
        b'0'..=b'9' => u32::from(byte.wrapping_sub(b'0').wrapping_add(52)),
        b'+' | b'-' => 62,
        _ => 63,
    };
    let mut plain = Vec::with_capacity(text.len());
    for four in text.chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, byte| bits << 6 | six(byte));
        // A last part of two or three stands for one or two bytes.
        let bits = match four.len() {
            2 => bits << 12,
            3 => bits << 6,
            _ => bits,
        };
        plain.extend_from_slice(bits.to_be_bytes().get(1..four.len()).unwrap_or_default());
    }
    plain
}
