//! AlterReplicaLogDirs (key 34): move replicas between the log directories of a broker (KIP-113).
//!
//! Versions 1 to 2, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::TopicName;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 34, versions = 1..=2, flexible = 2..)]
pub struct AlterReplicaLogDirsRequest {
    pub dirs: Vec<AlterReplicaLogDir>,
}

/// An element of `AlterReplicaLogDirsRequest::dirs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterReplicaLogDir {
    pub path: String,
    pub topics: Vec<AlterReplicaLogDirTopic>,
}

/// An element of `AlterReplicaLogDir::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterReplicaLogDirTopic {
    pub name: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 34, versions = 1..=2, flexible = 2..)]
pub struct AlterReplicaLogDirsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<AlterReplicaLogDirTopicResult>,
}

/// An element of `AlterReplicaLogDirsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterReplicaLogDirTopicResult {
    pub topic_name: TopicName,
    pub partitions: Vec<AlterReplicaLogDirPartitionResult>,
}

/// An element of `AlterReplicaLogDirTopicResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterReplicaLogDirPartitionResult {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
