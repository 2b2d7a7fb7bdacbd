//! What the log says of groups and offsets, taken in its order.

use strandline_log::producers::Outcome;
use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::ids::{GroupId, ProducerId};

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::share::{ShareGroup, share_group};
use super::{Groups, offsets};
use crate::coordinator::loading::Loaded;
use crate::coordinator::state::StateRecord;
use crate::flaws::{self, Flaw};

impl Groups {
    /// Takes one thing that the log says.
    pub(crate) fn replay(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Record { record, producer } => match *record {
                StateRecord::Group(record) => self.replay_record(record, producer),
                // Of other kinds.
                StateRecord::Share(_) | StateRecord::Transaction { .. } => {}
            },
            Loaded::Marker { producer, outcome } => self.offsets.decide(producer, outcome == Outcome::Commit),
        }
    }

    fn replay_record(&mut self, record: ConsumerOffsetsRecord, producer: Option<ProducerId>) {
        match record {
            ConsumerOffsetsRecord::OffsetCommit(key, value) => {
                let (group, place) = (GroupId::from(key.group), (key.topic.into(), key.partition));
                let committed = value.map(offsets::committed);
                if committed.is_some() {
                    self.replay_group_of_offsets(&group);
                }
                match (producer, committed) {
                    (Some(producer), Some(committed)) if !flaws::is(Flaw::PendingCountsWhenLoaded) => {
                        self.offsets.apply_pending(producer, group, place, committed)
                    }
                    (_, committed) => self.offsets.apply(group, place, committed),
                }
            }
            ConsumerOffsetsRecord::GroupMetadata(key, Some(value)) => {
                let group = GroupId::from(key.group);
                self.consumer.remove(&group);
                self.classic.insert(group.clone(), ClassicGroup::of_record(group, value));
            }
            ConsumerOffsetsRecord::GroupMetadata(key, None) => {
                self.classic.remove(key.group.as_str());
            }
            ConsumerOffsetsRecord::ConsumerGroupMetadata(key, None) => {
                self.consumer.remove(&key.group_id);
                if self.offsets.has_any(&key.group_id) {
                    self.replay_group_of_offsets(&key.group_id);
                }
            }
            ConsumerOffsetsRecord::ShareGroupMetadata(key, None) => {
                self.share.remove(&key.group_id);
            }
            other if share_group(&other).is_some() => {
                let Some((group, is_deletion)) = share_group(&other) else { return };
                if !is_deletion {
                    self.share.entry(group.clone()).or_insert_with(|| ShareGroup::new(group.clone()));
                }
                if let Some(group) = self.share.get_mut(&group) {
                    group.replay(other);
                }
            }
            other => {
                let Some((group, is_deletion)) = consumer_group(&other) else { return };
                if !is_deletion {
                    self.classic.remove(&group);
                    self.consumer.entry(group.clone()).or_insert_with(|| ConsumerGroup::new(group.clone(), 0));
                }
                if let Some(group) = self.consumer.get_mut(&group) {
                    group.replay(other);
                }
            }
        }
    }

    /// Offsets alone make a group, without members and of no protocol.
    fn replay_group_of_offsets(&mut self, group: &GroupId) {
        if !self.consumer.contains_key(group) {
            self.classic.entry(group.clone()).or_insert_with(|| ClassicGroup::new(group.clone(), 0));
        }
    }
}

/// The consumer group that a record says something of, and whether it deletes. Other records are of kinds of groups that
/// this coordinator does not have: they stay in the log.
fn consumer_group(record: &ConsumerOffsetsRecord) -> Option<(GroupId, bool)> {
    match record {
        ConsumerOffsetsRecord::ConsumerGroupMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ConsumerGroupMemberMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMetadata(key, value) => {
            Some((key.group_id.clone(), value.is_none()))
        }
        ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMember(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ConsumerGroupCurrentMemberAssignment(key, value) => {
            Some((key.group_id.clone(), value.is_none()))
        }
        _ => None,
    }
}
