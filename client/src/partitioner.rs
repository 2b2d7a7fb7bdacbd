//! To which partition a record goes.
//!
//! A keyed record goes where Java's client would send it, so that producers in two languages agree. A record without a
//! key goes to the partition at hand, which changes when it has got a batch's worth of bytes: full batches on all
//! partitions in the long run (KIP-480, KIP-794).

use crate::backoff::Dice;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// Murmur2 as Kafka's clients compute it.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<4>();
    let start = SEED ^ bytes.len() as u32;
    let mut hash = words.iter().fold(start, |hash, word| {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER)
    });
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// The partition of a key among `partitions`, which is above 0.
#[must_use]
pub fn partition_of_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions.max(1)
}

/// The partition at hand of one topic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sticky {
    current: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// Where a record of `bytes` goes. `usable` are the partitions that have a leader; never empty.
    pub(crate) fn place(&mut self, usable: &[i32], bytes: usize, batch_bytes: usize, dice: &mut Dice) -> i32 {
        let current = self.current.filter(|current| self.bytes < batch_bytes && usable.contains(current));
        let partition = current.unwrap_or_else(|| {
            self.bytes = 0;
            another(usable, self.current, dice)
        });
        self.current = Some(partition);
        self.bytes = self.bytes.saturating_add(bytes);
        partition
    }
}

/// Any partition but `last`, if there is a choice.
fn another(usable: &[i32], last: Option<i32>, dice: &mut Dice) -> i32 {
    let index = dice.below(usable.len().max(1) as u64) as usize;
    let chosen = usable.get(index).copied().unwrap_or(0);
    if Some(chosen) == last { usable[(index + 1) % usable.len()] } else { chosen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_vectors_of_the_java_client() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ];
        for (key, expected) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn a_key_with_a_negative_hash_still_has_a_partition() {
        assert_eq!(partition_of_key(b"foobar", 10), ((-790332482_i32) & 0x7fff_ffff) % 10);
        assert_eq!(partition_of_key(b"foobar", 1), 0);
    }

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full() {
        let (mut sticky, mut dice) = (Sticky::default(), Dice::seeded(1));
        let first = sticky.place(&[0, 1, 2], 600, 1000, &mut dice);
        assert_eq!(sticky.place(&[0, 1, 2], 600, 1000, &mut dice), first);
        assert_ne!(sticky.place(&[0, 1, 2], 600, 1000, &mut dice), first);
    }

    #[test]
    fn a_partition_that_lost_its_leader_is_left_at_once() {
        let (mut sticky, mut dice) = (Sticky::default(), Dice::seeded(1));
        let first = sticky.place(&[0, 1], 1, 1000, &mut dice);
        assert_eq!(sticky.place(&[1 - first], 1, 1000, &mut dice), 1 - first);
    }
}
