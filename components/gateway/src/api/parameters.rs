//! The parameters of a query: each once, and none that the request does not know.

use std::collections::BTreeMap;

use super::problem::{Code, Problem};

pub(super) type Parameters = BTreeMap<String, String>;

const PARAMETERS_MAX: usize = 32;
pub(super) const NAME_LENGTH_MAX: usize = 64;

pub(super) fn read(query: Option<&str>) -> Result<Parameters, Problem> {
    let mut all = Parameters::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if all.len() >= PARAMETERS_MAX {
            return Err(Problem::new(Code::InvalidField, "too many parameters"));
        }
        if all.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(Problem::field(&short(&name), "is there twice"));
        }
    }
    Ok(all)
}

/// Refuses parameters that were not read.
pub(super) fn no_more(asked: Parameters) -> Result<(), Problem> {
    match asked.into_keys().next() {
        Some(name) => Err(Problem::field(&short(&name), "is not a parameter of this request")),
        None => Ok(()),
    }
}

/// Of a name that a stranger chose.
pub(super) fn short(name: &str) -> String {
    name.chars().take(NAME_LENGTH_MAX).collect()
}
