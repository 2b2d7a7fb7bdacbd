//! AssignReplicasToDirs (key 73): a broker reports in which directories its replicas lie (KIP-858).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, TopicId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 73, versions = 0, flexible = 0..)]
pub struct AssignReplicasToDirsRequest {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
    pub directories: Vec<RequestDirectoryData>,
}

/// An element of `AssignReplicasToDirsRequest::directories`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "DirectoryData")]
pub struct RequestDirectoryData {
    pub id: Uuid,
    pub topics: Vec<RequestTopicData>,
}

/// An element of `RequestDirectoryData::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct RequestTopicData {
    pub topic_id: TopicId,
    pub partitions: Vec<RequestPartitionData>,
}

/// An element of `RequestTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct RequestPartitionData {
    pub partition_index: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 73, versions = 0, flexible = 0..)]
pub struct AssignReplicasToDirsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub directories: Vec<ResponseDirectoryData>,
}

/// An element of `AssignReplicasToDirsResponse::directories`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "DirectoryData")]
pub struct ResponseDirectoryData {
    pub id: Uuid,
    pub topics: Vec<ResponseTopicData>,
}

/// An element of `ResponseDirectoryData::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct ResponseTopicData {
    pub topic_id: TopicId,
    pub partitions: Vec<ResponsePartitionData>,
}

/// An element of `ResponseTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct ResponsePartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
