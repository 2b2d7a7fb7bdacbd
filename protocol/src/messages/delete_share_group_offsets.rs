//! DeleteShareGroupOffsets (key 92): forget topics of a share group (KIP-932).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 92, versions = 0, flexible = 0..)]
pub struct DeleteShareGroupOffsetsRequest {
    pub group_id: GroupId,
    pub topics: Vec<DeleteShareGroupOffsetsRequestTopic>,
}

/// An element of `DeleteShareGroupOffsetsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteShareGroupOffsetsRequestTopic {
    pub topic_name: TopicName,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 92, versions = 0, flexible = 0..)]
pub struct DeleteShareGroupOffsetsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub responses: Vec<DeleteShareGroupOffsetsResponseTopic>,
}

/// An element of `DeleteShareGroupOffsetsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteShareGroupOffsetsResponseTopic {
    pub topic_name: TopicName,
    pub topic_id: TopicId,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
