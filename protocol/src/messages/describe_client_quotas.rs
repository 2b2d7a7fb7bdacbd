//! DescribeClientQuotas (key 48): quotas that match a filter (KIP-546).
//!
//! Versions 0 to 1, flexible from 1.
//!
//! - v1: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 48, versions = 0..=1, flexible = 1..)]
pub struct DescribeClientQuotasRequest {
    pub components: Vec<ComponentData>,
    pub strict: bool,
}

/// An element of `DescribeClientQuotasRequest::components`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ComponentData {
    pub entity_type: String,
    pub match_type: i8,
    #[wire(nullable, name = "Match")]
    pub match_value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 48, versions = 0..=1, flexible = 1..)]
pub struct DescribeClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    #[wire(nullable)]
    pub entries: Option<Vec<EntryData>>,
}

/// An element of `DescribeClientQuotasResponse::entries`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EntryData {
    pub entity: Vec<EntityData>,
    pub values: Vec<ValueData>,
}

/// An element of `EntryData::entity`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EntityData {
    pub entity_type: String,
    #[wire(nullable)]
    pub entity_name: Option<String>,
}

/// An element of `EntryData::values`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ValueData {
    pub key: String,
    pub value: f64,
}
