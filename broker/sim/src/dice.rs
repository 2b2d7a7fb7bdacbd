//! All chance of a simulation. One seed gives one stream; parts of the world get streams of their own, so that a client
//! that rolls once more does not change what the disk does.
//!
//! SplitMix64 (Steele, Lea, Flood 2014).

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for the part of the world that `label` names.
    pub fn fork(&self, label: &str) -> Self {
        let mut forked = Self(self.0 ^ fnv(label.as_bytes()));
        forked.roll();
        forked
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// As `between`, but small numbers are as likely as large ones: the exponent is uniform, not the number.
    pub fn spread(&mut self, least: u64, most: u64) -> u64 {
        let least = least.max(1);
        let doublings = u64::from(most.max(least).ilog2() - least.ilog2());
        let floor = least << self.below(doublings + 1);
        self.between(floor, (floor * 2).min(most.max(floor)))
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index into a list of `length` elements.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One element, if there is any.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }
}

/// FNV-1a.
pub fn fnv(bytes: &[u8]) -> u64 {
    fnv_onto(0xcbf2_9ce4_8422_2325, bytes)
}

/// FNV-1a, continued.
pub fn fnv_onto(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_labels_give_others() {
        let mut first = Dice::new(7);
        let mut second = Dice::new(7);
        assert_eq!(first.roll(), second.roll());
        assert_ne!(Dice::new(7).fork("disk").roll(), Dice::new(7).fork("clients").roll());
    }

    #[test]
    fn bounds_are_kept() {
        let mut dice = Dice::new(1);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&dice.between(3, 9)));
            assert!((3..=1000).contains(&dice.spread(3, 1000)));
            assert_eq!(dice.below(0), 0);
        }
        assert_eq!(dice.pick::<u8>(&[]), None);
    }

    #[test]
    fn fnv_is_the_published_one() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
