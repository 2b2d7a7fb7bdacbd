//! Proofs about every message in every version, driven by the specification rather than by examples.

mod bombs;
mod counting;
mod definitions;
mod generate;
mod oracle;
mod round_trips;
mod specification;
