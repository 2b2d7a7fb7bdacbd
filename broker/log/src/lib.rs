//! One partition's log as a value, in Kafka's files and formats.
//!
//! [`log::Log`] takes checked batches and answers with disk operations ([`disk::DiskOp`]); it never touches a file, waits or
//! reads a clock. What has to read files is a function over [`disk::Files`] that runs elsewhere: opening a directory
//! ([`recover`]), finding a timestamp ([`lookup`]), reading what a read was sent to ([`cut`]), showing files ([`dump`]). The
//! formats are pure pairs of encode and parse, one file each, drawn in `FORMAT.md`.
//!
//! Not here: which replica leads, what is committed (the high watermark comes in as an argument), who may write, and how
//! blocks reach the device.
#![forbid(unsafe_code)]

pub mod append;
pub mod checkpoints;
pub mod clean_shutdown;
pub mod cleaner;
pub mod config;
pub mod cut;
pub mod disk;
pub mod dump;
pub mod epochs;
pub mod format;
pub mod index;
pub mod log;
pub mod lookup;
pub mod memory;
pub mod meta_properties;
pub mod names;
pub mod partition_metadata;
pub mod producers;
pub mod quorum_state;
pub mod read;
pub mod recover;
pub mod retention;
pub mod scan;
pub mod slice;
pub mod snapshot;
pub mod time_index;
pub mod transactions;

mod listing;
mod moving;
mod queue;
mod roll;
mod segment;
mod tail;
mod walk;
