//! What is signed with RSA2 (SHA-256 with RSA, PKCS#1 v1.5): the parameters sorted by
//! name, `name=value` joined with `&`, as plain text (opendocs.alipay.com/common/057k53;
//! the same in alipay-sdk-java-all, AlipaySignature).

pub(super) const RSA2: &str = "RSA2";

/// The text of a request: empty values are left out, `sign_type` is not.
pub(super) fn of_request<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    join(params.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

/// The text of a notification: all that came but `sign` and `sign_type`. Whether the
/// network leaves out empty values, its documents do not agree.
pub(super) fn of_notification<'a>(
    params: impl IntoIterator<Item = (&'a str, &'a str)>,
    with_empty: bool,
) -> Option<String> {
    let signed = |(name, value): &(&str, &str)| {
        !matches!(*name, "sign" | "sign_type") && (with_empty || !value.is_empty())
    };
    join(params.into_iter().filter(signed).collect())
}

/// None where a name is there twice, or could be taken for more than a name.
fn join(mut params: Vec<(&str, &str)>) -> Option<String> {
    params.sort_unstable_by_key(|(name, _)| *name);
    let is_twice = params.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    if is_twice || !params.iter().all(|(name, _)| is_name(name)) {
        return None;
    }
    let mut text = String::new();
    for (name, value) in params {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend([name, "=", value]);
    }
    Some(text)
}
