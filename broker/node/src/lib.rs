//! Every decision of a broker: stepped, deterministic, without IO.
//!
//! [`Node::step`] takes what happened and the time, and says what is to be done. It never waits, locks, reads a clock,
//! rolls dice that were not handed in, or touches a file; the same inputs give the same effects, which is what the
//! simulator relies on. Start reading at `node.rs` (routing), `apis.rs` (what is served) and `io.rs` (the two enums).
#![forbid(unsafe_code)]

pub mod apis;
pub mod boot;
mod broker;
mod cleaning;
pub mod config;
mod controller;
mod controller_channel;
mod controller_membership;
pub mod coordinator;
pub mod copying;
mod dice;
mod directory;
mod epochs;
mod failing;
mod features;
mod fetching;
pub mod flaws;
pub mod gauges;
mod handlers;
mod holding;
pub mod image;
pub mod inspect;
pub mod io;
mod leaving;
pub mod log_dirs;
mod markers;
mod membership;
pub mod metadata_log;
mod node;
mod offline;
mod parked;
pub mod peers;
mod quorum;
pub mod recovery;
mod registration;
mod replica;
mod scrubbing;
mod sessions;
mod settings;
pub mod share;
pub mod snapshot;
mod tail;
mod throttles;
pub mod topology;
mod upkeep;
mod verification;
mod voter;

pub use cleaning::CleaningTotals;
pub use membership::Awaited;
pub use node::{METADATA_SLOT, Node, RecoveredPartition};
pub use offline::{Cause, OfflinePartition};
pub use replica::Traffic;
