//! The simulator: brokers, disks, clients and clocks from one seed.
//!
//! A second shell around the pure core. One thread, virtual time that jumps to the next event, and two oracles: the history
//! checker, which knows only what clients saw, and numbered invariants, which look inside after every step. Start reading
//! at `world.rs`, then `machine.rs` (a process and its lives) and `disk` (what survives a crash).
//!
//! Not here: sockets, threads, real disks. The rim of the broker is tested with real processes.
//! Invariant: the same seed gives the same trace, whatever the machine, the process and the time of day.
#![forbid(unsafe_code)]

pub mod client;
pub mod cluster;
pub mod core;
pub mod desk;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod flaw;
pub(crate) mod flips;
pub mod history;
pub mod invariants;
pub mod lanes;
pub mod machine;
pub mod nemesis;
pub mod network;
pub mod plan;
pub mod rim;
pub mod run;
pub mod start;
pub mod topics;
pub mod trace;
pub mod world;
