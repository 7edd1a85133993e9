//! Choices that a printed seed repeats.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose faults.
pub struct Random(u64);

impl Random {
    /// Starts from a seed, and prints it.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "who repeats the run needs it")]
    pub fn printed(what: &str, seed: u64) -> Self {
        println!("{what}: PAYPLANE_SEED={seed}");
        Self::new(seed)
    }

    /// Starts from a number that a printed seed led to.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `least` to `greatest`.
    pub fn between(&mut self, least: u64, greatest: u64) -> u64 {
        least + self.draw() % (greatest - least + 1)
    }

    /// Puts items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.between(0, last as u64)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}
