//! Bodies as they were on the wire, without what nobody may keep: by the names of fields
//! (`fields`), and whatever looks like a card's or an account's number wherever it stands, also
//! encoded (`digits`, `encoded`). What is not hidden stays byte by byte as it came.
//!
//! A body that cannot be read by its own form is not kept: its digest is.

mod digits;
mod encoded;
mod fields;
mod form;
mod json;
#[cfg(test)]
mod trials;

use std::borrow::Cow;

use self::fields::Holds;

const HIDDEN: &str = "***";
const BYTES_MAX: usize = 16 * 1024;
/// JSON in a form in JSON: more than any network sends. What lies deeper is hidden.
const DEPTH_MAX: u8 = 6;

/// How a text is read.
#[derive(Clone, Copy)]
struct With {
    /// Names that hold a secret here and nothing of the kind elsewhere.
    also: &'static [&'static str],
    depth: u8,
}

/// A body; `also` are names of fields that are secret in it.
pub(super) fn body(bytes: &[u8], also: &'static [&'static str]) -> String {
    let length = bytes.len();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("[{length} bytes that are no text]");
    };
    let is_json = text.trim_start().starts_with(['{', '[']);
    if is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return format!("[{length} bytes of JSON that cannot be read]");
    }
    cut(&value(text, Holds::Text, With { also, depth: DEPTH_MAX }))
}

/// One line: a path with its query, a header's value, a reason.
pub(super) fn line(text: &str) -> String {
    cut(&value(text, Holds::Id, With { also: &[], depth: DEPTH_MAX }))
}

fn value<'a>(text: &'a str, holds: Holds, with: With) -> Cow<'a, str> {
    match holds {
        _ if text.is_empty() => Cow::Borrowed(text),
        Holds::Secret => Cow::Borrowed(HIDDEN),
        Holds::Certificate => Cow::Owned(format!("sha256:{}", payplane_api::config::hash(text.as_bytes()))),
        Holds::Text | Holds::Id => {
            let Some(depth) = with.depth.checked_sub(1) else { return Cow::Borrowed(HIDDEN) };
            let with = With { depth, ..with };
            let is_json = text.trim_start().starts_with(['{', '[']);
            if let Some(masked) = is_json.then(|| json::masked(text, with)).flatten() {
                return Cow::Owned(masked);
            }
            if text.contains('=') { form::masked(text, holds, with) } else { plain(text, holds, with) }
        }
    }
}

/// A text with no parts.
fn plain<'a>(text: &'a str, holds: Holds, with: With) -> Cow<'a, str> {
    if form::decoded(text).is_some_and(|plain| hides(&plain, holds, with)) {
        return Cow::Borrowed(HIDDEN);
    }
    match digits::masked(text, holds) {
        Cow::Borrowed(text) => encoded::masked(text, with),
        Cow::Owned(text) => Cow::Owned(encoded::masked(&text, with).into_owned()),
    }
}

/// Does it hold what is to be hidden?
fn hides(text: &str, holds: Holds, with: With) -> bool {
    value(text, holds, with) != text
}

/// As much as is kept. The database takes no NUL.
fn cut(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    match text.get(..end) {
        Some(kept) if end < text.len() => format!("{kept}[cut: {} bytes]", text.len()),
        _ => text,
    }
}
