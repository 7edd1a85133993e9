//! Bodies as they were on the wire, without what nobody may keep: by the names of fields
//! (`fields`), and whatever looks like a card's or an account's number wherever it stands, also
//! encoded (`digits`, `encoded`). What is not hidden stays byte by byte as it came.
//!
//! A body is kept only where it is JSON that was read whole here, or a form: of everything else
//! its length and its digest are. Another reader may take what ours does not.

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
    let with = With { also, depth: DEPTH_MAX };
    let masked = match std::str::from_utf8(bytes) {
        Ok("") => Some(Cow::Borrowed("")),
        Ok(text) if is_json(text) => json::masked(unmarked(text), with).map(Cow::Owned),
        Ok(text) if form::is_form(text) => Some(form::masked(text, Holds::Text, with)),
        Ok(_) | Err(_) => None,
    };
    masked.map_or_else(
        || format!("[{} bytes that are neither JSON nor a form]", bytes.len()),
        |text| cut(&text),
    )
}

/// One line: a path with its query, a header's value, a reason.
pub(super) fn line(text: &str) -> String {
    let with = With { also: &[], depth: DEPTH_MAX };
    match text.split_once('?') {
        Some((path, query)) => {
            cut(&format!("{}?{}", value(path, Holds::Id, with), value(query, Holds::Id, with)))
        }
        None => cut(&value(text, Holds::Id, with)),
    }
}

/// Without the mark of the order of bytes, which some readers skip.
fn unmarked(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

fn is_json(text: &str) -> bool {
    unmarked(text).trim_start().starts_with(['{', '['])
}

fn value<'a>(text: &'a str, holds: Holds, with: With) -> Cow<'a, str> {
    match holds {
        _ if text.is_empty() => Cow::Borrowed(text),
        Holds::Secret => Cow::Borrowed(HIDDEN),
        Holds::Certificate => Cow::Owned(format!("sha256:{}", payplane_api::config::hash(text.as_bytes()))),
        Holds::Text | Holds::Id => {
            let Some(depth) = with.depth.checked_sub(1) else { return Cow::Borrowed(HIDDEN) };
            let with = With { depth, ..with };
            if let Some(masked) = is_json(text).then(|| json::masked(unmarked(text), with)).flatten() {
                return if masked == unmarked(text) { Cow::Borrowed(text) } else { Cow::Owned(masked) };
            }
            // A part of JSON, or some that cannot be read: whose names are they?
            if json::has_member(text) {
                return Cow::Borrowed(HIDDEN);
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
    // Nothing so short is a number, however it is written.
    if text.len() < digits::DIGITS_MIN {
        return Cow::Borrowed(text);
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
