//! Record batches, format v2 (magic 2): the bytes that producers send, logs hold and consumers receive.
//!
//! A batch is kept verbatim from producer to consumer. What a leader sets, the base offset and the leader epoch, lies in the first 16 bytes and outside the
//! CRC; everything else is read through views and changed only where Kafka changes it (log append time, a wrong maximum timestamp, another codec).
//!
//! ```text
//!  0 base_offset i64 | 8 batch_length i32 | 12 partition_leader_epoch i32 | 16 magic i8 | 17 crc u32
//! 21 attributes i16 | 23 last_offset_delta i32 | 27 base_timestamp i64 | 35 max_timestamp i64
//! 43 producer_id i64 | 51 producer_epoch i16 | 53 base_sequence i32 | 57 record_count i32 | 61 records, compressed as one piece
//! ```
//! `batch_length` counts the bytes from 12 on; the CRC-32C covers those from 21 on; all integers are big-endian.
//!
//! Not here: message sets v0 and v1 (only recognised, to refuse them), idempotence and transactions as states, anything that waits or reads a file.
//! Invariant: nothing in this folder panics or allocates more than a named limit, whatever bytes it is given.

mod batches;
mod builder;
mod check;
mod compression;
mod control;
mod crc;
mod header;
mod record;
mod varint;
mod whole;

pub use batches::{BatchAt, Batches};
pub use builder::{BatchBuilder, BatchOptions, BuildError, NewRecord, ProducerStamp, Timestamps};
pub use check::{
    Action, CompressionRule, Examined, InnerOffsets, LIMITS_FACTOR, LIMITS_FLOOR_BYTES, Limits, Offender, ProduceRules,
    Refusal, Rewrite, Verdict, examine, judge, offenders, rewrite,
};
pub use compression::{Codec, CodecError, Compression, Inflater, Scratch, compress, decompress};
pub use control::{ControlError, ControlType, EndTransactionMarker, control_batch, end_transaction_batch};
pub use crc::{crc32c, crc32c_of_parts};
pub use header::{
    BatchError, BatchHeader, HEADER_BYTES, PREFIX_BYTES, TimestampType, magic, peek_size, position, restamped_header,
    set_max_timestamp, stamp, stamped_prefix,
};
pub use record::{Header, Headers, OpenError, Record, RecordError, RecordFault, Records, open};
pub use whole::{Unsound, whole_batches};

#[cfg(test)]
mod tests;
