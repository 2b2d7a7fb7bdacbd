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
//! Differences to Kafka 4.3.1, found by comparing with its `LogValidator`.
//!
//! Refused here, taken there:
//! - bytes behind the batch that are not a whole second batch, which Kafka cuts off;
//! - records of compressed batches that do not fill their declared length, or have more headers than could fit;
//! - lz4 frames that Java's clients cannot read, some lz4 blocks that Java's decoder lets pass, gzip headers with reserved flags;
//! - records that decompress beyond `Limits`, with MESSAGE_TOO_LARGE, so that Java's producer splits the batch;
//! - LogAppendTime set by the producer for a CreateTime topic: Kafka takes the claimed time and stores a maximum that the records do not have.
//!
//! Taken here, failing there while a batch is written anew: inner offsets with gaps in compressed batches, negative timestamps, a transactional bit without a
//! producer id (which Kafka keeps too, if it need not rewrite).
//!
//! Stored differently: inner offsets with gaps are renumbered without compression too, and a rewrite keeps header keys that are not UTF-8.
//!
//! Refused by both, with another error: broken compressed data is INVALID_RECORD (Kafka: an unknown server error), an unknown codec
//! UNSUPPORTED_COMPRESSION_TYPE; garbage behind the batch is INVALID_RECORD (Kafka: CORRUPT_MESSAGE). Where several things are wrong another may be named:
//! the bytes are checked before the topic's rules, so before its size limit, and times before keys.

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
