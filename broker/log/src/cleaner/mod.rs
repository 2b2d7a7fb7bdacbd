//! Compaction: of every key the latest record is kept.
//!
//! Of a log the *clean* part was compacted before, the *dirty* part follows it, and from the *bound* on nothing is touched: the
//! active segment, what is not decided, what is too young. A [`round::Round`] reads the dirty part and notes the latest offset of every key
//! ([`map`]), as many as fit; then it writes all segments below anew, several small ones into one ([`group`]), without the
//! records that are not the latest of their key ([`filter`]). It runs in steps of a few hundred kilobytes as a job: a step reads through
//! [`crate::disk::Files`] and answers with operations, which the log carries out among its own, and which put the result in its place
//! ([`swap`]). Which part may be compacted says the log ([`plan`]).
//!
//! What never changes: offsets; base and last offset, producer, sequence and leader epoch of a batch that stays. What stays without a
//! record, as an empty batch: the last one of every segment that is written, so that a segment still says where it ends,
//! the last one of each producer, so that its sequence is known, and the first one of each leader epoch, so that a replica made from
//! this one knows where epochs began. Deviations: Kafka keeps the last batch of a round only, and forgets epochs: a leader that does not know
//! them cuts followers too far, or takes what another leader wrote for its own.
//!
//! Source: Kafka's `Cleaner`, `LogCleaner`, `LogCleanerManager`.

pub mod map;
pub mod plan;
pub mod round;
pub mod swap;

mod filter;
mod group;
mod hash;
mod input;
mod output;
mod transactions;
