//! Forms: `name=value&name=value`, encoded or as it is.

use std::borrow::Cow;

use super::fields::{Holds, holds};
use super::{HIDDEN, With, plain, value};
use crate::channel::unionpay::pieces;

/// Is it a form and nothing else? A page about one is none.
pub(super) fn is_form(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_of_name = |char: char| char.is_ascii_alphanumeric() || "._-[]".contains(char);
        !name.is_empty() && name.chars().all(is_of_name)
    };
    pieces(text).all(|piece| piece.split_once('=').is_some_and(|(name, _)| is_name(name)))
}

pub(super) fn masked<'a>(text: &'a str, within: Holds, with: With) -> Cow<'a, str> {
    // UnionPay's form in a form.
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match value(inner, within, with) {
            masked if masked == inner => Cow::Borrowed(text),
            masked => Cow::Owned(format!("{{{masked}}}")),
        };
    }
    let mut masked = String::with_capacity(text.len());
    for (place, piece) in pieces(text).enumerate() {
        if place > 0 {
            masked.push('&');
        }
        let Some((name, text)) = piece.split_once('=') else {
            masked.push_str(&plain(piece, within, with));
            continue;
        };
        let named = decoded(name).unwrap_or_else(|| name.to_owned());
        masked.push_str(&plain(name, within, with));
        masked.push('=');
        masked.push_str(&of_piece(text, holds(&named, within, with.also), with));
    }
    if masked == text { Cow::Borrowed(text) } else { Cow::Owned(masked) }
}

/// A value, which stays as it came unless something in it is hidden.
fn of_piece<'a>(text: &'a str, holds: Holds, with: With) -> Cow<'a, str> {
    let as_it_is = value(text, holds, with);
    let Some(decoded) = decoded(text) else { return as_it_is };
    let masked = value(&decoded, holds, with);
    if masked != decoded {
        return Cow::Owned(form_urlencoded::byte_serialize(masked.as_bytes()).collect());
    }
    // Only what nobody decodes shows it: then nothing of it is kept.
    if as_it_is == text { Cow::Borrowed(text) } else { Cow::Borrowed(HIDDEN) }
}

/// What it stands for where something in it is percent-encoded; none where nothing is.
pub(super) fn decoded(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return None;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let pair = (*byte == b'%').then(|| tail.split_at_checked(2)).flatten();
        let coded = pair.and_then(|(pair, tail)| {
            let half = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            Some((u8::try_from(half(0)? << 4 | half(1)?).ok()?, tail))
        });
        let (byte, tail) = coded.unwrap_or((if *byte == b'+' { b' ' } else { *byte }, tail));
        plain.push(byte);
        rest = tail;
    }
    Some(String::from_utf8_lossy(&plain).into_owned())
}
