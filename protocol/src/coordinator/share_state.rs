//! State of share partitions: `__share_group_state`.
//!
//! - `ShareSnapshotKey`: key 0, version 0, never flexible
//! - `ShareSnapshotValue`: key 0, version 0, flexible
//! - `ShareUpdateKey`: key 1, version 0, never flexible
//! - `ShareUpdateValue`: key 1, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 0, versions = 0, flexible = none)]
pub struct ShareSnapshotKey {
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 0, versions = 0, flexible = 0..)]
pub struct ShareSnapshotValue {
    pub snapshot_epoch: i32,
    pub state_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start_offset: Offset,
    #[wire(tag = 0, default = -1)]
    pub delivery_complete_count: i32,
    pub create_timestamp: i64,
    pub write_timestamp: i64,
    pub state_batches: Vec<ShareSnapshotStateBatch>,
}

/// An element of `ShareSnapshotValue::state_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "StateBatch")]
pub struct ShareSnapshotStateBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_state: i8,
    pub delivery_count: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 1, versions = 0, flexible = none)]
pub struct ShareUpdateKey {
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 1, versions = 0, flexible = 0..)]
pub struct ShareUpdateValue {
    pub snapshot_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start_offset: Offset,
    #[wire(tag = 0, default = -1)]
    pub delivery_complete_count: i32,
    pub state_batches: Vec<ShareUpdateStateBatch>,
}

/// An element of `ShareUpdateValue::state_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "StateBatch")]
pub struct ShareUpdateStateBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_state: i8,
    pub delivery_count: i16,
}
