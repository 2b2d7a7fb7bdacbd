//! Kafka's wire protocol.
#![forbid(unsafe_code)]

pub mod records;
