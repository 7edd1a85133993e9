//! The unified social credit code of a legal person or an organisation (GB 32100-2015): 18
//! characters, the last of which checks the others.

/// What a character counts is its place. I, O, S, V and Z are left out.
const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
const MODULUS: usize = 31;
const LENGTH: usize = 18;

/// Says what is wrong with a code.
pub fn check(code: &str) -> Result<(), &'static str> {
    let values: Option<Vec<usize>> = code.chars().map(|c| ALPHABET.find(c)).collect();
    let values = values.filter(|values| values.len() == LENGTH);
    let values = values.ok_or("must be 18 characters of 0-9 and A-Z without I, O, S, V and Z")?;
    // The weights are the powers of 3; the check character makes the sum a multiple of 31, where
    // it counts once.
    let mut weight = 1_usize;
    let mut sum = 0_usize;
    for value in values.iter().take(LENGTH.saturating_sub(1)) {
        sum = sum.saturating_add(value.saturating_mul(weight));
        weight = weight.saturating_mul(3) % MODULUS;
    }
    let last = values.last().copied().unwrap_or_default();
    if sum.saturating_add(last) % MODULUS == 0 {
        Ok(())
    } else {
        Err("does not fit its check character, the last")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code that is published as an example of the standard's form.
    const GOOD: &str = "91350100M000100Y43";

    #[test]
    fn one_wrong_character_is_found() {
        assert_eq!(check(GOOD), Ok(()));
        for place in 0..LENGTH {
            for other in ALPHABET.chars() {
                let mut code: Vec<char> = GOOD.chars().collect();
                let is_same = std::mem::replace(&mut code[place], other) == other;
                let code: String = code.into_iter().collect();
                assert_eq!(check(&code).is_ok(), is_same, "{code}");
            }
        }
        for bad in
            ["", "91350100M000100Y4", "91350100M000100Y433", "91350100m000100y43", "91350100M000100I43"]
        {
            assert!(check(bad).unwrap_err().contains("18"), "{bad}");
        }
    }
}
