//! Snapshots of the metadata log: what its records left, in a file of its own, so that the log before it may go.

mod records;
pub mod write;
