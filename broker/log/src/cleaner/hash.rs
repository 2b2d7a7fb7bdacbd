//! SipHash-2-4 with 128 bits: keys of records are told apart by it.
//!
//! Whoever knows the seed could find two keys with one hash, and of the older of their records nothing would be left. So the seed is
//! drawn anew for every round. Kafka takes MD5, for which such keys are known.
//!
//! Source: Aumasson and Bernstein, SipHash: a fast short-input PRF.

/// What the hash of every key depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

struct State {
    v: [u64; 4],
}

impl State {
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.v;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    fn take(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
    }

    fn half(&mut self) -> u64 {
        (0..4).for_each(|_| self.round());
        self.v.iter().fold(0, |mixed, word| mixed ^ word)
    }
}

/// Hashes `bytes`.
pub(crate) fn hash(seed: Seed, bytes: &[u8]) -> [u64; 2] {
    let [k0, k1] = seed.0;
    let mut state = State {
        v: [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ],
    };
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut whole = [0; 8];
        whole.copy_from_slice(word);
        state.take(u64::from_le_bytes(whole));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    last[7] = bytes.len() as u8;
    state.take(u64::from_le_bytes(last));
    state.v[2] ^= 0xee;
    let first = state.half();
    state.v[1] ^= 0xdd;
    [first, state.half()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_reference() {
        let seed = Seed([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let bytes: Vec<u8> = (0..8).collect();
        let hashed = |length: usize| hash(seed, &bytes[..length]).map(u64::to_le_bytes).concat();
        assert_eq!(hashed(0), [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]);
        assert_eq!(hashed(1), [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45]);
    }
}
