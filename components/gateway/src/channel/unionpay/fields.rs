//! UnionPay's messages: `key=value&...`. Requests and notifications are form-encoded,
//! answers are sent as they are (AcpSDK `SDKUtil.parseQString`): an `&` inside of
//! `{...}` or `[...]` belongs to its value.

use std::borrow::Cow;

pub(super) const SIGNATURE: &str = "signature";
const KEY_BYTES_MAX: usize = 64;

/// The fields of a message, sorted by key as they are signed; no key is there twice.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// What the signature is over.
    pub signed_text: String,
}

impl<'a> Fields<'a> {
    /// Reads an answer.
    pub(super) fn answer(text: &'a str) -> Option<Self> {
        let pairs = pieces(text).map(|piece| {
            let (key, value) = piece.split_once('=')?;
            Some((Cow::Borrowed(key), Cow::Borrowed(value)))
        });
        Self::new(pairs.collect::<Option<_>>()?)
    }

    /// Reads what is form-encoded.
    pub(super) fn form(text: &'a str) -> Option<Self> {
        let pairs = text.split('&').map(|piece| {
            let (key, value) = piece.split_once('=')?;
            Some((decoded(key)?, decoded(value)?))
        });
        Self::new(pairs.collect::<Option<_>>()?)
    }

    fn new(mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Option<Self> {
        pairs.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        let twice = pairs.windows(2).any(|two| matches!(two, [(one, _), (other, _)] if one == other));
        if twice || !pairs.iter().all(|(key, _)| is_key(key)) {
            return None;
        }
        let signed = pairs.iter().filter(|(key, _)| key != SIGNATURE);
        let signed = signed.map(|(key, value)| (key.as_ref(), value.as_ref()));
        let signed_text = join(signed.clone());
        // The signature is over a text. Whoever splits that text at other places has other
        // fields with a signature that holds, so only one way to split it is taken.
        let is_one_way = pieces(&signed_text).map(|piece| piece.split_once('=')).eq(signed.map(Some));
        is_one_way.then_some(Self { pairs, signed_text })
    }

    /// A field that is there and is not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let place = self.pairs.binary_search_by(|(known, _)| known.as_bytes().cmp(key.as_bytes())).ok()?;
        self.pairs.get(place).map(|(_, value)| value.as_ref()).filter(|value| !value.is_empty())
    }

    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }
}

/// `key=value&...`.
pub(super) fn join<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> String {
    let mut text = String::with_capacity(2048);
    for (key, value) in fields {
        let separator = if text.is_empty() { "" } else { "&" };
        text.extend([separator, key, "=", value]);
    }
    text
}

/// Form-encodes a value onto a text.
pub(super) fn encode_onto(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                text.push(char::from(byte))
            }
            b' ' => text.push('+'),
            other => {
                let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase();
                text.extend(['%', digit(other >> 4), digit(other & 0xf)]);
            }
        }
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Splits at every `&` that is in no bracket.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let (mut closing, mut is_value) = (None, false);
    text.split(move |char| {
        match (char, closing) {
            ('&', None) => {
                is_value = false;
                return true;
            }
            ('=', None) => is_value = true,
            ('{', None) if is_value => closing = Some('}'),
            ('[', None) if is_value => closing = Some(']'),
            (char, Some(end)) if char == end => closing = None,
            _ => {}
        }
        false
    })
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let (mut bytes, mut plain) = (text.bytes(), Vec::with_capacity(text.len()));
    let half = |bytes: &mut std::str::Bytes<'_>| char::from(bytes.next()?).to_digit(16);
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (half(&mut bytes)?, half(&mut bytes)?);
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}
