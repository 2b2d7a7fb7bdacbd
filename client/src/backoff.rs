//! How long to wait before the next attempt: doubling, with a random part so that clients do not come back in step.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// Waits from `first` doubling up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl Backoff {
    /// What Kafka's clients do between retries of a request.
    pub(crate) const RETRY: Self = Self { first: Duration::from_millis(100), most: Duration::from_secs(1) };
    /// Between attempts to connect: shorter at first, because a restarted broker is back within moments.
    pub(crate) const CONNECT: Self = Self { first: Duration::from_millis(50), most: Duration::from_secs(1) };

    /// The wait after `failures` failures in a row: none after none.
    pub(crate) fn after(&self, failures: u32, dice: &mut Dice) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let wait = self.first.saturating_mul(2_u32.saturating_pow(doublings.min(16))).min(self.most);
        // Four to six fifths of the wait.
        wait * 4 / 5 + wait * 2 / 5 * (dice.below(1024) as u32) / 1024
    }
}

/// Random numbers where their quality does not matter: xorshift, seeded by the standard library's hasher.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self::seeded(RandomState::new().hash_one(0_u8))
    }

    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number from 0 up to, not including, `limit`, which is above 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(31) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_vary_by_a_fifth() {
        let mut dice = Dice::seeded(7);
        let mut after = |failures| Backoff::RETRY.after(failures, &mut dice).as_millis();
        assert_eq!(after(0), 0);
        assert!((80..=120).contains(&after(1)));
        assert!((160..=240).contains(&after(2)));
        assert!((800..=1200).contains(&after(5)));
        assert!((800..=1200).contains(&after(u32::MAX)));
    }

    #[test]
    fn dice_reach_every_side() {
        let mut dice = Dice::seeded(3);
        let mut seen = [0_u32; 6];
        (0..6000).for_each(|_| seen[dice.below(6) as usize] += 1);
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }
}
