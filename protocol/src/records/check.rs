//! Checking of produced batches, as Kafka's log does it for a client's append.
//!
//! Two steps, so that the work on bytes stays outside of the broker's core:
//! 1. `examine` reads the bytes once, without any topic's settings, and answers with a summary (`Examined`) of a few integers;
//! 2. `judge` holds the summary against the topic's rules and the clock, and answers with what is to be done to the bytes: nothing, a patch of the header
//!    (`restamped_header`), or `rewrite`.
//!
//! Not here: whether the producer may write (authorisation, leadership, sequences). Invariant: a batch that got a `Verdict` holds exactly `record_count` records
//! that any consumer can read, with a true maximum timestamp once the verdict is carried out.
//!
//! Differences to Kafka, all on bytes that no known client sends: bytes behind the batch are refused where Kafka cuts off a partial second batch; inner offsets
//! with gaps are renumbered in batches without compression too; records of compressed batches must fill their declared length; lz4 frames that Java's clients
//! cannot read, and records that decompress beyond `Limits`, are refused; a producer that sets LogAppendTime is refused by CreateTime topics too, where Kafka
//! takes the claimed time and so stores a maximum that the records do not have. If one record lacks its key and another (or the same) has a time outside the
//! window, the time is what the batch is refused for. The topic's size limit is held against a batch only after its bytes were found good.

mod examine;
mod judge;
mod refusal;
mod rewrite;
mod stream;

pub use examine::{Examined, InnerOffsets, examine};
pub use judge::{Action, CompressionRule, Offender, ProduceRules, Verdict, judge, offenders};
pub use refusal::Refusal;
pub use rewrite::{Rewrite, rewrite};

/// The least cap on decompressed records: below it a small `max.message.bytes` would refuse what compresses well.
pub const LIMITS_FLOOR_BYTES: usize = 16 << 20;
/// How much longer than `max.message.bytes` the decompressed records may be.
pub const LIMITS_FACTOR: usize = 20;

/// What checking a batch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub decompressed_bytes_max: usize,
}

impl Limits {
    /// The limits that go with the greatest `max.message.bytes` of the topics served.
    pub fn for_message_bytes(max_message_bytes: usize) -> Limits {
        Limits { decompressed_bytes_max: max_message_bytes.saturating_mul(LIMITS_FACTOR).max(LIMITS_FLOOR_BYTES) }
    }
}

#[cfg(test)]
mod tests;
