//! Random numbers that are the same for a seed on every machine and in every version: a seed in a report must
//! replay years later, so no library's generator is used (SplitMix64, Steele, Lea, Flood 2014).

use std::time::Duration;

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// From 0, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn milliseconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }

    /// One of these; there is at least one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.below(from.len() as u64)).unwrap_or_default();
        from[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut dice = Dice::new(7);
        let numbers: Vec<u64> = (0..4).map(|_| dice.below(1000)).collect();
        let mut again = Dice::new(7);
        assert_eq!(numbers, (0..4).map(|_| again.below(1000)).collect::<Vec<_>>());
        // The first word of SplitMix64 for seed 0, as its authors publish it.
        assert_eq!(Dice::new(0).word(), 0xe220_a839_7b1d_cdaf);
    }
}
