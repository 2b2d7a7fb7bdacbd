//! WriteTxnMarkers (key 27): write a transaction's outcome into its partitions (KIP-98).
//!
//! Versions 1 to 2, flexible.
//!
//! - v2: the request gains `transaction_version` (KIP-1228)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 27, versions = 1..=2, flexible = 1..)]
pub struct WriteTxnMarkersRequest {
    pub markers: Vec<WritableTxnMarker>,
}

/// An element of `WriteTxnMarkersRequest::markers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WritableTxnMarker {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub transaction_result: bool,
    pub topics: Vec<WritableTxnMarkerTopic>,
    pub coordinator_epoch: i32,
    #[wire(versions = 2.., ignorable)]
    pub transaction_version: i8,
}

/// An element of `WritableTxnMarker::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WritableTxnMarkerTopic {
    pub name: TopicName,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 27, versions = 1..=2, flexible = 1..)]
pub struct WriteTxnMarkersResponse {
    pub markers: Vec<WritableTxnMarkerResult>,
}

/// An element of `WriteTxnMarkersResponse::markers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WritableTxnMarkerResult {
    pub producer_id: ProducerId,
    pub topics: Vec<WritableTxnMarkerTopicResult>,
}

/// An element of `WritableTxnMarkerResult::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WritableTxnMarkerTopicResult {
    pub name: TopicName,
    pub partitions: Vec<WritableTxnMarkerPartitionResult>,
}

/// An element of `WritableTxnMarkerTopicResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WritableTxnMarkerPartitionResult {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
