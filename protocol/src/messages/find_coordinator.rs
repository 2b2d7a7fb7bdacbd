//! FindCoordinator (key 10): which broker coordinates a group, a transaction or a share partition.
//!
//! Versions 0 to 6, flexible from 3.
//!
//! - v1: the request gains `key_type`; the response gains `throttle_time_ms`, `error_message` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: flexible (KIP-482)
//! - v4: the request gains `coordinator_keys` and loses `key`; the response gains `coordinators` and loses `error_code`,
//!   `error_message`, `node_id`, `host`, `port` (KIP-699)
//! - v5: may be answered with TRANSACTION_ABORTABLE (KIP-890)
//! - v6: share partitions have coordinators (KIP-932)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::BrokerId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 10, versions = 0..=6, flexible = 3..)]
pub struct FindCoordinatorRequest {
    #[wire(versions = ..=3)]
    pub key: String,
    #[wire(versions = 1..)]
    pub key_type: i8,
    #[wire(versions = 4..)]
    pub coordinator_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 10, versions = 0..=6, flexible = 3..)]
pub struct FindCoordinatorResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    #[wire(versions = ..=3)]
    pub error_code: ErrorCode,
    #[wire(versions = 1..=3, nullable, ignorable)]
    pub error_message: Option<String>,
    #[wire(versions = ..=3)]
    pub node_id: BrokerId,
    #[wire(versions = ..=3)]
    pub host: String,
    #[wire(versions = ..=3)]
    pub port: i32,
    #[wire(versions = 4..)]
    pub coordinators: Vec<Coordinator>,
}

/// An element of `FindCoordinatorResponse::coordinators`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Coordinator {
    pub key: String,
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, ignorable)]
    pub error_message: Option<String>,
}
