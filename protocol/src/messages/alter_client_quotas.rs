//! AlterClientQuotas (key 49): set and remove quotas (KIP-546).
//!
//! Versions 0 to 1, flexible from 1.
//!
//! - v1: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 49, versions = 0..=1, flexible = 1..)]
pub struct AlterClientQuotasRequest {
    pub entries: Vec<RequestEntryData>,
    pub validate_only: bool,
}

/// An element of `AlterClientQuotasRequest::entries`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "EntryData")]
pub struct RequestEntryData {
    pub entity: Vec<RequestEntityData>,
    pub ops: Vec<OpData>,
}

/// An element of `RequestEntryData::entity`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "EntityData")]
pub struct RequestEntityData {
    pub entity_type: String,
    #[wire(nullable)]
    pub entity_name: Option<String>,
}

/// An element of `RequestEntryData::ops`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OpData {
    pub key: String,
    pub value: f64,
    pub remove: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 49, versions = 0..=1, flexible = 1..)]
pub struct AlterClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub entries: Vec<ResponseEntryData>,
}

/// An element of `AlterClientQuotasResponse::entries`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "EntryData")]
pub struct ResponseEntryData {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub entity: Vec<ResponseEntityData>,
}

/// An element of `ResponseEntryData::entity`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "EntityData")]
pub struct ResponseEntityData {
    pub entity_type: String,
    #[wire(nullable)]
    pub entity_name: Option<String>,
}
