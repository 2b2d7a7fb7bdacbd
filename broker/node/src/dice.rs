//! Randomness that was handed in: topic ids, producer-id-free choices, jitter. The same seed gives the same broker.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): small, and good enough for identifiers that need no secrecy.

use strandline_protocol::ids::Uuid;

#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % (bound as u64)).unwrap_or(0)
    }

    /// A random UUID as Java writes it: lower-case hexadecimal in groups.
    pub fn hyphenated(&mut self) -> String {
        let hex: String = self.uuid().0.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// A random UUID (version 4, RFC 9562) that Kafka's tools can show: its base64 text does not begin with a dash,
    /// which command lines would take for an option.
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.roll().to_be_bytes());
            bytes[8..].copy_from_slice(&self.roll().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let uuid = Uuid(bytes);
            if !uuid.to_string().starts_with('-') {
                return uuid;
            }
        }
    }
}
