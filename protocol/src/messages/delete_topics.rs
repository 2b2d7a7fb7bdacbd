//! DeleteTopics (key 20): delete topics (KIP-4).
//!
//! Versions 1 to 6, flexible from 4.
//!
//! - v2: answers first and throttles then (KIP-219)
//! - v3: may be answered with TOPIC_DELETION_DISABLED (KIP-322)
//! - v4: flexible (KIP-482)
//! - v5: the response gains `error_message`; may be answered with THROTTLING_QUOTA_EXCEEDED (KIP-599)
//! - v6: the request gains `topics` and loses `topic_names`; the response gains `topic_id` (KIP-516)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 20, versions = 1..=6, flexible = 4..)]
pub struct DeleteTopicsRequest {
    #[wire(versions = 6..)]
    pub topics: Vec<DeleteTopicState>,
    #[wire(versions = ..=5, ignorable)]
    pub topic_names: Vec<TopicName>,
    pub timeout_ms: i32,
}

/// An element of `DeleteTopicsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteTopicState {
    #[wire(nullable, default = null)]
    pub name: Option<TopicName>,
    pub topic_id: TopicId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 20, versions = 1..=6, flexible = 4..)]
pub struct DeleteTopicsResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub responses: Vec<DeletableTopicResult>,
}

/// An element of `DeleteTopicsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeletableTopicResult {
    #[wire(nullable = 6..)]
    pub name: Option<TopicName>,
    #[wire(versions = 6.., ignorable)]
    pub topic_id: TopicId,
    pub error_code: ErrorCode,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub error_message: Option<String>,
}
