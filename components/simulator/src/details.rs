//! What a network knows of a payment beside its amount: names and values, kept
//! in one string, because a test makes a million of them.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ends each name and each value; no network allows it in either.
const END: char = '\0';

/// Names and values in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details(String);

impl Details {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value, or nothing where there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Adds a value, in place of the one that was there.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.get(name).is_some() {
            let kept: Vec<(String, String)> = self
                .iter()
                .filter(|(known, _)| *known != name)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            self.0.clear();
            for (name, value) in kept {
                self.push(&name, &value);
            }
        }
        self.push(name, value);
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a value where there is one.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds all of another's.
    pub fn extend(&mut self, more: &Self) {
        for (name, value) in more.iter() {
            self.set(name, value);
        }
    }

    /// Has it all that another has?
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(name, value)| self.get(name) == Some(value))
    }

    /// Gives back room that is not needed: it is kept as it is from now on.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    fn push(&mut self, name: &str, value: &str) {
        for part in [name, value] {
            self.0.extend(part.chars().map(|c| if c == END { char::REPLACEMENT_CHARACTER } else { c }));
            self.0.push(END);
        }
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Details;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Details, A::Error> {
        let mut details = Details::default();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            details.set(&name, &value);
        }
        Ok(details)
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_set_is_kept_also_through_json(pairs in proptest::collection::vec((".{0,5}", ".{0,8}"), 0..12)) {
            let mut details = Details::default();
            let mut expected = std::collections::BTreeMap::new();
            for (name, value) in &pairs {
                let plain = |s: &str| s.replace('\0', "\u{fffd}");
                details.set(&plain(name), value);
                expected.insert(plain(name), plain(value));
            }
            let found: std::collections::BTreeMap<_, _> =
                details.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&found, &expected);
            let json = serde_json::to_string(&details).unwrap();
            prop_assert_eq!(serde_json::from_str::<Details>(&json).unwrap(), details);
        }
    }
}
