//! DescribeLogDirs (key 35): log directories and the replicas in them (KIP-113).
//!
//! Versions 1 to 5, flexible from 2.
//!
//! - v2: flexible (KIP-482)
//! - v3: the response gains `error_code`
//! - v4: the response gains `total_bytes`, `usable_bytes` (KIP-827)
//! - v5: the response gains `is_cordoned` (KIP-1066)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::TopicName;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 35, versions = 1..=5, flexible = 2..)]
pub struct DescribeLogDirsRequest {
    #[wire(nullable)]
    pub topics: Option<Vec<DescribableLogDirTopic>>,
}

/// An element of `DescribeLogDirsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribableLogDirTopic {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 35, versions = 1..=5, flexible = 2..)]
pub struct DescribeLogDirsResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = 3.., ignorable)]
    pub error_code: ErrorCode,
    pub results: Vec<DescribeLogDirsResult>,
}

/// An element of `DescribeLogDirsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeLogDirsResult {
    pub error_code: ErrorCode,
    pub log_dir: String,
    pub topics: Vec<DescribeLogDirsTopic>,
    #[wire(versions = 4.., default = -1, ignorable)]
    pub total_bytes: i64,
    #[wire(versions = 4.., default = -1, ignorable)]
    pub usable_bytes: i64,
    #[wire(versions = 5.., ignorable)]
    pub is_cordoned: bool,
}

/// An element of `DescribeLogDirsResult::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeLogDirsTopic {
    pub name: TopicName,
    pub partitions: Vec<DescribeLogDirsPartition>,
}

/// An element of `DescribeLogDirsTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeLogDirsPartition {
    pub partition_index: i32,
    pub partition_size: i64,
    pub offset_lag: i64,
    pub is_future_key: bool,
}
