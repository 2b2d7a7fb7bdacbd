//! Classic groups: `__consumer_offsets`.
//!
//! - `GroupMetadataKey`: key 2, version 0, never flexible
//! - `GroupMetadataValue`: key 2, versions 0 to 4, flexible from 4; v1: gains `rebalance_timeout`; v2: gains
//!   `current_state_timestamp`; v3: gains `group_instance_id`; v4: flexible (KIP-482, KIP-915)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 2, versions = 0, flexible = none)]
pub struct GroupMetadataKey {
    #[wire(name = "group")]
    pub group: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 2, versions = 0..=4, flexible = 4..)]
pub struct GroupMetadataValue {
    #[wire(name = "protocolType")]
    pub protocol_type: String,
    #[wire(name = "generation")]
    pub generation: i32,
    #[wire(nullable, name = "protocol")]
    pub protocol: Option<String>,
    #[wire(nullable, name = "leader")]
    pub leader: Option<String>,
    #[wire(versions = 2.., default = -1, ignorable, name = "currentStateTimestamp")]
    pub current_state_timestamp: i64,
    #[wire(name = "members")]
    pub members: Vec<MemberMetadata>,
}

/// Shared by fields of `GroupMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MemberMetadata {
    #[wire(name = "memberId")]
    pub member_id: String,
    #[wire(versions = 3.., nullable, default = null, ignorable, name = "groupInstanceId")]
    pub group_instance_id: Option<String>,
    #[wire(name = "clientId")]
    pub client_id: String,
    #[wire(name = "clientHost")]
    pub client_host: String,
    #[wire(versions = 1.., default = -1, ignorable, name = "rebalanceTimeout")]
    pub rebalance_timeout: i32,
    #[wire(name = "sessionTimeout")]
    pub session_timeout: i32,
    #[wire(name = "subscription")]
    pub subscription: Bytes,
    #[wire(name = "assignment")]
    pub assignment: Bytes,
}
