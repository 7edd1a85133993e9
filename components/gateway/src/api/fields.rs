//! Reads a JSON object field by field: an unknown, repeated, missing or
//! ill-typed field is named in the refusal.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::problem::{Code, Problem};
use super::strict::Strict;

const FIELDS_MAX: usize = 32;

/// The fields of an object that are not read yet.
pub(super) struct Fields(BTreeMap<String, Value>);

struct Raw;

impl<'de> Visitor<'de> for Raw {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if fields.len() >= FIELDS_MAX {
                return Err(serde::de::Error::custom("too many fields"));
            }
            if fields.insert(name.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format!("field {name:?} is there twice")));
            }
        }
        Ok(fields)
    }
}

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let fields = reader.deserialize_map(Raw).and_then(|fields| reader.end().map(|()| fields));
        let fields = fields.map_err(|e| Problem::new(Code::InvalidField, format!("the body: {e}")))?;
        Ok(Self(fields))
    }

    pub(super) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map.into_iter().collect())),
            _ => None,
        }
    }

    /// The fields as they are.
    pub(super) fn into_inner(self) -> BTreeMap<String, Value> {
        self.0
    }

    /// Null is as good as absent.
    fn optional(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &str) -> Result<Value, Problem> {
        self.optional(name).ok_or_else(|| Problem::field(name, "is required"))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, Problem> {
        match self.required(name)? {
            Value::String(text) => Ok(text),
            _ => Err(Problem::field(name, "must be a string")),
        }
    }

    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::field(name, "must be a string")),
        }
    }

    pub(super) fn optional_object(&mut self, name: &str) -> Result<Option<Self>, Problem> {
        Ok(self.nullable_object(name)?.flatten())
    }

    /// Here null is not as good as absent: some of it is none.
    pub(super) fn nullable_object(&mut self, name: &str) -> Result<Option<Option<Self>>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match Self::from_value(value) {
                Some(fields) => Ok(Some(Some(fields))),
                None => Err(Problem::field(name, "must be an object, or null")),
            },
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Problem> {
        match self.required(name)? {
            Value::Array(list) => Ok(list),
            _ => Err(Problem::field(name, "must be a list")),
        }
    }

    /// Free text, bounded, without control characters.
    pub(super) fn free_text(&mut self, name: &str, chars_max: usize) -> Result<String, Problem> {
        let text = self.text(name)?;
        let length = text.chars().count();
        if length == 0 || length > chars_max || text.chars().any(char::is_control) {
            let detail = format!("must be 1 to {chars_max} characters, none of them a control character");
            return Err(Problem::field(name, detail));
        }
        Ok(text)
    }

    /// Is any of them there? Null is as good as absent.
    pub(super) fn has_any(&mut self, names: &[&str]) -> bool {
        self.0.retain(|name, value| !(names.contains(&name.as_str()) && value.is_null()));
        names.iter().any(|name| self.0.contains_key(*name))
    }

    pub(super) fn optional_free_text(
        &mut self,
        name: &str,
        chars_max: usize,
    ) -> Result<Option<String>, Problem> {
        if self.0.get(name).is_none_or(Value::is_null) {
            self.0.remove(name);
            return Ok(None);
        }
        self.free_text(name, chars_max).map(Some)
    }

    /// One of the checked names of `payplane_api::id`.
    pub(super) fn id<T: TryFrom<String>>(&mut self, name: &str) -> Result<T, Problem>
    where
        T::Error: fmt::Display,
    {
        T::try_from(self.text(name)?).map_err(|e| Problem::field(name, e.to_string()))
    }

    pub(super) fn date(&mut self, name: &str) -> Result<Date, Problem> {
        date(name, &self.text(name)?)
    }

    /// A whole number of minor units, above zero. 1.0 and 1e3 are no such thing.
    pub(super) fn minor(&mut self, name: &str) -> Result<i64, Problem> {
        let detail = "must be a whole number of minor units, from 1 to 2^53-1";
        let minor = self.required(name)?.as_i64();
        let minor = minor.filter(|minor| (1..=payplane_api::money::AMOUNT_MINOR_MAX).contains(minor));
        minor.ok_or_else(|| Problem::field(name, detail))
    }

    /// A whole number, from nothing to the most there is.
    pub(super) fn amount(&mut self, name: &str, max: i64) -> Result<Option<i64>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        let number = value.as_i64().filter(|number| (0..=max).contains(number));
        number
            .map(Some)
            .ok_or_else(|| Problem::field(name, format!("must be a whole number from 0 to {max}")))
    }

    pub(super) fn optional_number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<i16>,
    ) -> Result<Option<i16>, Problem> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        let number = value.as_i64().and_then(|number| i16::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        let detail = || format!("must be a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| Problem::field(name, detail()))
    }

    /// The number of a version, from 1.
    pub(super) fn version(&mut self, name: &str) -> Result<i32, Problem> {
        let number = self.required(name)?.as_i64().and_then(|number| i32::try_from(number).ok());
        let number = number.filter(|number| *number >= 1);
        number.ok_or_else(|| Problem::field(name, "must be the number of the version that you have read"))
    }

    pub(super) fn currency(&mut self, name: &str) -> Result<Currency, Problem> {
        let currency = Currency::parse(&self.text(name)?);
        let currency = currency.map_err(|e| Problem::field(name, e.to_string()))?;
        if currency == Currency::XTS {
            return Err(Problem::field(name, "XTS is reserved for tests of the platform"));
        }
        Ok(currency)
    }

    pub(super) fn money(&mut self, amount: &str, currency: &str) -> Result<Money, Problem> {
        let minor = self.minor(amount)?;
        let money = Money::new(minor, self.currency(currency)?);
        money.map_err(|e| Problem::field(amount, e.to_string()))
    }

    /// Refuses what was not read.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::field(&name, "is not a field of this request"))
            }
            None => Ok(()),
        }
    }
}

/// Reads a date of the form YYYY-MM-DD.
pub(super) fn date(name: &str, text: &str) -> Result<Date, Problem> {
    let date: Option<Date> = if text.len() == 10 { text.parse().ok() } else { None };
    date.filter(|date| date.to_string() == text && (2000..3000).contains(&date.year()))
        .ok_or_else(|| Problem::field(name, "must be a date of the form YYYY-MM-DD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let field = |body: &str| {
            let read = |body: &str| -> Result<(), Problem> {
                let mut fields = Fields::parse(body.as_bytes())?;
                fields.text("name")?;
                fields.money("amountMinor", "currency")?;
                fields.date("orderDate")?;
                fields.end()
            };
            read(body).unwrap_err().field
        };
        let good = r#"{"name":"a","amountMinor":1,"currency":"CNY","orderDate":"2026-11-24"}"#;
        for (from, to, named) in [
            (r#""name":"a""#, r#""name":1"#, Some("name")),
            (r#""name":"a","#, "", Some("name")),
            (r#""name":"a""#, r#""name":null"#, Some("name")),
            (r#":1,"#, r#":1.0,"#, Some("amountMinor")),
            (r#":1,"#, r#":"1","#, Some("amountMinor")),
            (r#":1,"#, r#":0,"#, Some("amountMinor")),
            (r#":1,"#, r#":-1,"#, Some("amountMinor")),
            (r#":1,"#, r#":1e3,"#, Some("amountMinor")),
            (r#":1,"#, r#":9007199254740992,"#, Some("amountMinor")),
            (r#":1,"#, r#":99999999999999999999,"#, Some("amountMinor")),
            ("CNY", "cny", Some("currency")),
            ("CNY", "XTS", Some("currency")),
            ("2026-11-24", "2026-11-31", Some("orderDate")),
            ("2026-11-24", "24.11.2026", Some("orderDate")),
            ("2026-11-24", "2026-11-24T00:00:00Z", Some("orderDate")),
            (r#"{"name""#, r#"{"extra":1,"name""#, Some("extra")),
            (r#"{"name""#, r#"{"name":"b","name""#, None),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert_eq!(field(&bad).as_deref(), named, "{bad}");
        }
        let nested = good.replacen("{", r#"{"inner":[{"a":1,"b":2,"a":3}],"#, 1);
        for bad in ["", "[]", "null", "{", "{} {}", "\u{feff}{}", &nested] {
            assert_eq!(field(bad), None, "{bad:?}");
        }
    }
}
