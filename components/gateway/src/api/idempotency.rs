//! `Idempotency-Key`: what a write is known by is its order's date and number (and a refund's
//! number). A client that sends the header must mean the same write by it.

use http::HeaderMap;

use super::problem::Problem;

const NAME: &str = "Idempotency-Key";

/// The header's value, without its quotes; it may be left out.
pub(super) struct Key(Option<Option<String>>);

impl Key {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(NAME).iter();
        Self(values.next().map(|value| {
            let text = value.to_str().ok().filter(|_| values.next().is_none())?;
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            Some(inner.unwrap_or(text).to_owned())
        }))
    }

    /// Refuses a key that is another write's.
    pub(super) fn names(&self, write: &str) -> Result<(), Problem> {
        match &self.0 {
            Some(key) if key.as_deref() != Some(write) => {
                Err(Problem::field(NAME, format!("names another write: it must be \"{write}\", or left out")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::Key;

    #[test]
    fn only_the_write_itself_is_named() {
        for (values, good) in [
            (&[][..], true),
            (&["2026-11-24/o1"], true),
            (&["\"2026-11-24/o1\""], true),
            (&["2026-11-24/o2"], false),
            (&["2026-11-25/o1"], false),
            (&["\"2026-11-24/o1"], false),
            (&["o1"], false),
            (&[""], false),
            (&["2026-11-24/o1", "2026-11-24/o1"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", value.parse().unwrap());
            }
            assert_eq!(Key::of(&headers).names("2026-11-24/o1").is_ok(), good, "{values:?}");
        }
    }
}
