//! Numbers that may be a card's or an account's: 13 digits and more, also in groups. Luhn's digit
//! decides only of a field that holds ids: a bank's accounts need not have one.

use std::borrow::Cow;

use uuid::{Uuid, Variant};

use super::HIDDEN;
use super::fields::Holds;

pub(super) const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// Between two groups of a number.
const GAP_MAX: usize = 3;

/// Digits, and what stands between their groups.
struct Run {
    from: usize,
    to: usize,
    digits: Vec<u32>,
}

pub(super) fn masked(text: &str, holds: Holds) -> Cow<'_, str> {
    // Most texts have too few.
    if text.chars().filter(|char| digit(*char).is_some()).count() < DIGITS_MIN {
        return Cow::Borrowed(text);
    }
    let mut masked: Option<String> = None;
    let mut done = 0;
    for run in runs(text) {
        if !is_hidden(text, &run, holds) {
            continue;
        }
        let out = masked.get_or_insert_default();
        out.push_str(text.get(done..run.from).unwrap_or_default());
        out.push_str(HIDDEN);
        done = run.to;
    }
    match masked {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.push_str(text.get(done..).unwrap_or_default());
            Cow::Owned(out)
        }
    }
}

/// Runs that are long enough.
fn runs(text: &str) -> Vec<Run> {
    let (mut all, mut run, mut gap) = (vec![], None::<Run>, 0_usize);
    for (at, char) in text.char_indices() {
        let end = at.saturating_add(char.len_utf8());
        match (digit(char), &mut run) {
            (Some(digit), Some(run)) => {
                run.digits.push(digit);
                run.to = end;
                gap = 0;
            }
            (Some(digit), None) => run = Some(Run { from: at, to: end, digits: vec![digit] }),
            // Between two groups.
            (None, Some(_)) if gap < GAP_MAX && is_between(char) => gap = gap.saturating_add(1),
            (None, _) => {
                all.extend(run.take());
                gap = 0;
            }
        }
    }
    all.extend(run);
    all.retain(|run| run.digits.len() >= DIGITS_MIN);
    all
}

/// A time of day has colons, and a list has commas.
fn is_between(char: char) -> bool {
    char.is_whitespace() || matches!(char, '-' | '.' | '/' | '_' | '\u{2010}'..='\u{2015}')
}

/// Of any width: a wide one is read by people as well.
fn digit(char: char) -> Option<u32> {
    let wide = u32::from(char).checked_sub(0xff10).filter(|digit| *digit <= 9);
    char.to_digit(10).or(wide)
}

fn is_hidden(text: &str, run: &Run, holds: Holds) -> bool {
    let is_card = run.digits.len() <= DIGITS_MAX && is_of_cards(&run.digits) && luhn(&run.digits);
    (holds != Holds::Id || is_card) && !is_own_number(text, run)
}

/// A number that we gave: no part of it is a card's.
fn is_own_number(text: &str, run: &Run) -> bool {
    let is_hex = |char: &char| char.is_ascii_hexdigit() && !char.is_ascii_uppercase();
    let before = text.get(..run.from).unwrap_or_default().chars().rev().take_while(is_hex).count();
    let after = text.get(run.to..).unwrap_or_default().chars().take_while(is_hex).count();
    let token = text.get(run.from.saturating_sub(before)..run.to.saturating_add(after)).unwrap_or_default();
    is_own(token)
}

/// Is it as we number what we send?
pub(super) fn is_own(token: &str) -> bool {
    let id = Uuid::try_parse(token).ok().filter(|_| token.len() == 32 && token.starts_with("01"));
    id.is_some_and(|id| id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122)
}

/// Do cards' numbers begin so? A time does not.
fn is_of_cards(digits: &[u32]) -> bool {
    let is_mastercard = || {
        let four =
            digits.iter().take(4).fold(0_u32, |all, digit| all.saturating_mul(10).saturating_add(*digit));
        digits.len() == 16 && (2221..=2720).contains(&four)
    };
    matches!(digits.first(), Some(3..=6)) || is_mastercard()
}

fn luhn(digits: &[u32]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (place, digit)| {
        let doubled = digit.saturating_mul(2);
        let value = match place % 2 {
            0 => *digit,
            _ if doubled > 9 => doubled.saturating_sub(9),
            _ => doubled,
        };
        sum.saturating_add(value)
    });
    sum.is_multiple_of(10)
}
