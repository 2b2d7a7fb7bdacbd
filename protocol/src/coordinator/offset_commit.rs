//! Positions that groups have committed: `__consumer_offsets`.
//!
//! - `LegacyOffsetCommitKey`: key 0, version 0, never flexible
//! - `LegacyOffsetCommitValue`: key 0, version 0, never flexible
//! - `OffsetCommitKey`: key 1, version 0, never flexible
//! - `OffsetCommitValue`: key 1, versions 0 to 4, flexible from 4; v1: gains `expire_timestamp`; v2: loses `expire_timestamp`;
//!   v3: gains `leader_epoch`; v4: flexible; gains `topic_id` (KIP-482, KIP-915)

use strandline_protocol_derive::Wire;

use crate::ids::{LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 0, versions = 0, flexible = none)]
pub struct LegacyOffsetCommitKey {
    #[wire(name = "group")]
    pub group: String,
    #[wire(name = "topic")]
    pub topic: String,
    #[wire(name = "partition")]
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 0, versions = 0, flexible = none)]
pub struct LegacyOffsetCommitValue {
    #[wire(name = "offset")]
    pub offset: Offset,
    #[wire(name = "metadata")]
    pub metadata: String,
    #[wire(name = "commitTimestamp")]
    pub commit_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 1, versions = 0, flexible = none)]
pub struct OffsetCommitKey {
    #[wire(name = "group")]
    pub group: String,
    #[wire(name = "topic")]
    pub topic: String,
    #[wire(name = "partition")]
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 1, versions = 0..=4, flexible = 4..)]
pub struct OffsetCommitValue {
    #[wire(name = "offset")]
    pub offset: Offset,
    #[wire(versions = 3.., default = -1, ignorable, name = "leaderEpoch")]
    pub leader_epoch: LeaderEpoch,
    #[wire(name = "metadata")]
    pub metadata: String,
    #[wire(name = "commitTimestamp")]
    pub commit_timestamp: i64,
    #[wire(versions = 1, default = -1, ignorable, name = "expireTimestamp")]
    pub expire_timestamp: i64,
    #[wire(versions = 4.., tag = 0, ignorable, name = "topicId")]
    pub topic_id: TopicId,
}
