//! One-time codes: six digits of the system's random numbers. What is stored of one is an HMAC by the
//! tenant's data key, over the order, the number of the code and the code.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::fill;
use uuid::Uuid;

use super::StepUp;
use crate::data_key::DataKeys;

const CODES: u32 = 1_000_000;
/// Numbers from here on would make some codes likelier than others.
const FAIR: u32 = u32::MAX - u32::MAX % CODES;
/// One of them in 4,600 numbers is drawn again.
const DRAWS_MAX: usize = 8;

/// It has no Debug.
pub(super) struct OneTimeCode(String);

impl OneTimeCode {
    /// None where the system has no random numbers.
    pub(super) fn draw() -> Option<Self> {
        (0..DRAWS_MAX).find_map(|_| {
            let mut bytes = [0; 4];
            fill(&mut bytes).ok()?;
            let drawn = Some(u32::from_be_bytes(bytes)).filter(|drawn| *drawn < FAIR)?;
            Some(Self(format!("{:06}", drawn.checked_rem(CODES)?)))
        })
    }

    pub(super) fn digits(&self) -> &str {
        &self.0
    }

    /// By the key for what is new.
    pub(super) fn digest(&self, keys: &DataKeys, (order, ordinal): (Uuid, i16)) -> Vec<u8> {
        digests(keys, (order, ordinal), &self.0).next().unwrap_or_default().to_vec()
    }
}

/// By each of the keys: a code outlives the change of them.
fn digests(keys: &DataKeys, (order, ordinal): (Uuid, i16), code: &str) -> impl Iterator<Item = [u8; 32]> {
    keys.subject(&["step-up", &order.to_string(), &ordinal.to_string(), code]).into_iter()
}

/// Is it the latest code of its order?
pub(super) fn is_right(keys: &DataKeys, step_up: &StepUp, code: &str) -> bool {
    let Some(stored) = &step_up.code_digest else { return false };
    let is_it = |digest: [u8; 32]| verify_slices_are_equal(&digest, stored).is_ok();
    digests(keys, (step_up.order_id, step_up.sends), code).map(is_it).fold(false, |any, one| any | one)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data_key::tests::keys;
    use crate::step_up::trials::waiting;

    #[test]
    fn a_code_is_right_for_its_order_and_as_the_latest_alone() {
        let (one, other) = (keys(&[1]), keys(&[2]));
        let code = OneTimeCode("004711".to_owned());
        let mut row = waiting();
        row.code_digest = Some(code.digest(&one, (row.order_id, row.sends)));
        assert!(is_right(&one, &row, "004711") && is_right(&keys(&[2, 1]), &row, "004711"));
        assert!(!is_right(&other, &row, "004711"), "another key");
        for wrong in ["004712", "4711", "", "004711 ", "0047110"] {
            assert!(!is_right(&one, &row, wrong), "{wrong:?}");
        }
        let newer = StepUp { sends: row.sends + 1, ..row.clone() };
        let elsewhere = StepUp { order_id: Uuid::from_u128(9), ..row.clone() };
        let unmade = StepUp { code_digest: None, ..row };
        assert!([newer, elsewhere, unmade].iter().all(|row| !is_right(&one, row, "004711")));
    }

    #[test]
    fn codes_are_six_digits_and_no_two_likely_the_same() {
        let drawn: BTreeSet<_> = (0..500).map(|_| OneTimeCode::draw().unwrap().0).collect();
        assert!(drawn.iter().all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())));
        assert!(drawn.len() > 490, "{}", drawn.len());
        assert!((0..10).all(|digit| drawn.iter().any(|code| code.starts_with(&digit.to_string()))));
    }
}
