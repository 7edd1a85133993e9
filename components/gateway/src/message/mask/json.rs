//! JSON, of which only what is hidden is written anew: order, spaces and escapes stay.

use super::fields::{Holds, holds};
use super::{HIDDEN, With, plain, value};

const NESTED_MAX: usize = 64;

struct Reader<'a> {
    rest: &'a str,
    out: String,
    with: With,
}

/// None where it is no JSON, or none that is read here: too deep, or with a half of a character.
pub(super) fn masked(text: &str, with: With) -> Option<String> {
    let mut reader = Reader { rest: text, out: String::with_capacity(text.len()), with };
    reader.value(Holds::Text, NESTED_MAX)?;
    reader.space();
    reader.rest.is_empty().then_some(reader.out)
}

/// Does a quote stand before a colon?
pub(super) fn has_member(text: &str) -> bool {
    text.split('"').skip(1).any(|after| after.trim_start().starts_with(':'))
}

impl<'a> Reader<'a> {
    fn value(&mut self, of: Holds, nested: usize) -> Option<()> {
        let nested = nested.checked_sub(1)?;
        self.space();
        match self.rest.chars().next()? {
            '{' => self.list(('{', '}'), of, nested, Self::member),
            '[' => self.list(('[', ']'), of, nested, Self::value),
            '"' => self.string(of),
            _ => self.scalar(of),
        }
    }

    /// What stands between two brackets.
    fn list(
        &mut self,
        (open, close): (char, char),
        of: Holds,
        nested: usize,
        one: fn(&mut Self, Holds, usize) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.space();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            one(self, of, nested)?;
            self.space();
            if self.take(',').is_none() {
                return self.take(close);
            }
        }
    }

    fn member(&mut self, of: Holds, nested: usize) -> Option<()> {
        self.space();
        let token = self.token()?;
        let name: String = serde_json::from_str(token).ok()?;
        let is_hidden = plain(&name, Holds::Text, self.with) != name;
        if is_hidden {
            self.write(HIDDEN)
        } else {
            self.out.push_str(token)
        }
        self.space();
        self.take(':')?;
        self.value(holds(&name, of, self.with.also), nested)
    }

    fn string(&mut self, of: Holds) -> Option<()> {
        let token = self.token()?;
        let text: String = serde_json::from_str(token).ok()?;
        let masked = value(&text, of, self.with);
        if masked == text {
            self.out.push_str(token)
        } else {
            self.write(&masked)
        }
        Some(())
    }

    /// A number, or one of three words.
    fn scalar(&mut self, of: Holds) -> Option<()> {
        let ends = |char: char| matches!(char, ',' | '}' | ']') || char.is_ascii_whitespace();
        let token = self.rest.get(..self.rest.find(ends).unwrap_or(self.rest.len()))?;
        self.rest = self.rest.get(token.len()..)?;
        let is_word = matches!(token, "true" | "false" | "null");
        serde_json::from_str::<serde::de::IgnoredAny>(token).ok()?;
        let masked = value(token, of, self.with);
        if is_word || masked == token {
            self.out.push_str(token)
        } else {
            self.write(HIDDEN)
        }
        Some(())
    }

    /// The string that begins here, with its quotes.
    fn token(&mut self) -> Option<&'a str> {
        let text = self.rest.strip_prefix('"')?;
        let mut is_escaped = false;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    let (token, rest) = self.rest.split_at_checked(at.checked_add(2)?)?;
                    self.rest = rest;
                    return Some(token);
                }
                _ => {}
            }
        }
        None
    }

    fn take(&mut self, char: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(char)?;
        self.out.push(char);
        Some(())
    }

    fn space(&mut self) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let skipped = self.rest.len().saturating_sub(rest.len());
        self.out.push_str(self.rest.get(..skipped).unwrap_or_default());
        self.rest = rest;
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(&serde_json::Value::from(text).to_string());
    }
}
