//! Kafka's wire protocol: bytes to messages and back.
//!
//! Not here: sockets, files, clocks, and any decision. The lowest floor of the house; everything above speaks in these types.
//!
//! A message is a struct with `#[derive(Wire)]`, and its attributes are its specification: see `wire`. Requests and responses
//! lie side by side in `messages`, one file an API; what is stored lies in `metadata`, `coordinator`, `control` and `stored`.
#![forbid(unsafe_code)]

pub mod api;
pub mod control;
pub mod coordinator;
pub mod error;
pub mod frame;
pub mod header;
pub mod ids;
pub mod messages;
pub mod metadata;
pub mod records;
pub mod spec;
pub mod stored;
pub mod wire;
