//! DescribeCluster (key 60): brokers or controllers of the cluster (KIP-700).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the request gains `endpoint_type`; the response gains `endpoint_type` (KIP-919)
//! - v2: the request gains `include_fenced_brokers`; the response gains `is_fenced` (KIP-1073)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::BrokerId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 60, versions = 0..=2, flexible = 0..)]
pub struct DescribeClusterRequest {
    pub include_cluster_authorized_operations: bool,
    #[wire(versions = 1.., default = 1)]
    pub endpoint_type: i8,
    #[wire(versions = 2..)]
    pub include_fenced_brokers: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 60, versions = 0..=2, flexible = 0..)]
pub struct DescribeClusterResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    #[wire(versions = 1.., default = 1)]
    pub endpoint_type: i8,
    pub cluster_id: String,
    #[wire(default = -1)]
    pub controller_id: BrokerId,
    pub brokers: Vec<DescribeClusterBroker>,
    #[wire(default = -2_147_483_648)]
    pub cluster_authorized_operations: i32,
}

/// An element of `DescribeClusterResponse::brokers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeClusterBroker {
    pub broker_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(nullable, default = null)]
    pub rack: Option<String>,
    #[wire(versions = 2..)]
    pub is_fenced: bool,
}
