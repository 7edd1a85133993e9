//! An answer is `{"METHOD_response": {...}, "sign": "..."}`: the signature is over the
//! node's exact text, so the text is cut out of the body as it came and never written anew
//! (alipay-sdk-java-all, JsonConverter; its tests are among ours).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::channel::rsa::VerifyingKey;

/// The node, `sign`, `alipay_cert_sn`, and what may be added.
const MEMBERS_MAX: usize = 8;
/// The node of a gateway that does not even know the method.
const ERROR_NODE: &str = "error_response";

/// The text of the method's node, where its signature verifies.
pub(super) fn verified<'a>(body: &'a [u8], method: &str, key: &VerifyingKey) -> Option<Cow<'a, [u8]>> {
    let (node, signature) = find(body, &format!("{}_response", method.replace('.', "_")))?;
    // Nothing else: serde would also read an array as fields in their order.
    if !node.starts_with(b"{") {
        return None;
    }
    if key.verifies(node, &signature) {
        return Some(Cow::Borrowed(node));
    }
    // Some of the network's servers sign before they write `/` as `\/`, so its SDKs try
    // that too. What verified is what is read.
    let plain = std::str::from_utf8(node).ok().filter(|text| text.contains("\\/"))?.replace("\\/", "/");
    key.verifies(plain.as_bytes(), &signature).then(|| Cow::Owned(plain.into_bytes()))
}

/// The node's text and the signature. Each must be there once: with two nodes, one could be
/// verified and the other one read.
pub(super) fn find<'a>(body: &'a [u8], name: &str) -> Option<(&'a [u8], String)> {
    let (mut node, mut signature) = (None, None);
    let mut rest = body.trim_ascii_start().strip_prefix(b"{")?;
    for _ in 0..MEMBERS_MAX {
        let (key, _, tail) = value::<String>(rest)?;
        let tail = tail.trim_ascii_start().strip_prefix(b":")?;
        let (_, text, tail) = value::<IgnoredAny>(tail)?;
        let before = match key.as_str() {
            "sign" => signature.replace(value::<String>(text)?.0).is_some(),
            key if key == name || key == ERROR_NODE => node.replace(text).is_some(),
            _ => false,
        };
        if before {
            return None;
        }
        match tail.trim_ascii_start().split_first()? {
            (b',', more) => rest = more,
            (b'}', end) if end.trim_ascii().is_empty() => return Some((node?, signature?)),
            _ => return None,
        }
    }
    None
}

/// The JSON value at the start of a text, its own text, and what follows it.
fn value<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<(T, &'a [u8], &'a [u8])> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    let (own, rest) = text.split_at_checked(values.byte_offset())?;
    Some((value, own.trim_ascii_start(), rest))
}
