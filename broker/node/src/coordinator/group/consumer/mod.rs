//! A group of the consumer protocol (KIP-848) as a value: members say what they subscribe to and what they own, the
//! coordinator decides who gets what and moves them there one by one, without ever stopping all of them.
//!
//! Three epochs: the *group epoch* rises when members, subscriptions or topics change; a target is computed for it, then
//! the *assignment epoch* is the same; each member's *member epoch* follows as it comes to its target. All of it is in
//! records. Source: GroupMetadataManager.consumerGroupHeartbeat, ConsumerGroup.

mod assignor;
mod classic_members;
mod heartbeat;
mod member;
pub(crate) mod parts;
mod subscription;
mod target;

use std::collections::BTreeMap;

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::classic_group::{GroupMetadataValue, MemberMetadata};
use strandline_protocol::coordinator::consumer_group::{
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue, TopicPartition,
};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId, TopicName};
use strandline_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use self::classic_members::assignment_bytes;
use self::member::Progress;
use self::parts::Parts;
use self::subscription::Patterns;
use super::migration::stable;
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::Turn;
use crate::flaws::{self, Flaw};
use crate::image::Image;

pub(crate) use self::assignor::{ASSIGNORS, Counts};
pub(crate) use self::classic_members::Convert;
pub(crate) use self::heartbeat::{JOINING, LEAVING, refusal};
pub(crate) use self::member::{ClassicSide, Member};
pub(crate) use self::target::{hash, wait_ms};

#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub id: GroupId,
    epoch: i32,
    assignment_epoch: i32,
    /// When the target was computed, by the wall clock; 0 if it never was.
    assigned_ms: i64,
    /// Of the topics that members subscribe to: when it changes, so may the assignment.
    metadata_hash: i64,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    instances: BTreeMap<String, String>,
    target: BTreeMap<String, Parts>,
    /// Who holds a partition.
    holders: BTreeMap<(TopicId, i32), String>,
    patterns: Patterns,
    /// The image that subscriptions were last held against; not kept in records.
    seen: Offset,
    /// Since when it has no members, by the wall clock.
    empty_since_ms: i64,
}

impl ConsumerGroup {
    pub(crate) fn new(id: GroupId, now_ms: i64) -> Self {
        Self {
            id,
            epoch: 0,
            assignment_epoch: 0,
            assigned_ms: 0,
            metadata_hash: 0,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            target: BTreeMap::new(),
            holders: BTreeMap::new(),
            patterns: Patterns::default(),
            seen: Offset::NONE,
            empty_since_ms: now_ms,
        }
    }

    pub(crate) fn members_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn empty_since_ms(&self) -> i64 {
        self.empty_since_ms
    }

    /// Kafka's name.
    pub(crate) fn state(&self) -> &'static str {
        let arrived = |member: &Member| member.progress == Progress::Stable && member.epoch == self.assignment_epoch;
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.assignment_epoch {
            "Assigning"
        } else if self.members.values().all(arrived) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether a member uses this topic now.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.members.values().any(|member| member.subscribed.contains(topic) || self.patterns.matches(member, topic))
    }

    /// Whether somebody who commits or reads offsets may, by the epoch that it believes in.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH; ILLEGAL_GENERATION for classic members.
    pub(crate) fn check_commit(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        if flaws::is(Flaw::MemberEpochIgnored) {
            return Ok(());
        }
        let member = self.members.get(member).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match &member.classic {
            _ if member.epoch == epoch => Ok(()),
            Some(_) => Err(ErrorCode::ILLEGAL_GENERATION),
            None => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// A member is replaced by what it has become; what is different is written.
    fn put(&mut self, turn: &mut Turn<'_>, member: Member) {
        let before = self.members.get(&member.id);
        if before.is_none_or(|before| before.metadata_record(&self.id) != member.metadata_record(&self.id)) {
            turn.emit(member.metadata_record(&self.id));
        }
        if before.is_none_or(|before| before.assignment_record(&self.id) != member.assignment_record(&self.id)) {
            turn.emit(member.assignment_record(&self.id));
        }
        self.keep(member);
    }

    fn keep(&mut self, member: Member) {
        self.let_go(&member.id);
        for place in member.holds().iter() {
            self.holders.insert(place, member.id.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out of the books, not out of the log.
    fn let_go(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        for place in member.holds().iter() {
            if self.holders.get(&place).is_some_and(|holder| holder == id) {
                self.holders.remove(&place);
            }
        }
        if let Some(instance) = &member.instance
            && self.instances.get(instance).is_some_and(|known| known == id)
        {
            self.instances.remove(instance);
        }
        Some(member)
    }

    fn session_timer(&self, member: &str) -> Timer {
        Timer::ConsumerSession { group: self.id.clone(), member: member.to_owned() }
    }

    fn sync_timer(&self, member: &str) -> Timer {
        Timer::ConsumerSync { group: self.id.clone(), member: member.to_owned() }
    }

    fn rebalance_timer(&self, member: &str) -> Timer {
        Timer::ConsumerRebalance { group: self.id.clone(), member: member.to_owned() }
    }

    fn epoch_record(&self) -> ConsumerOffsetsRecord {
        let value = ConsumerGroupMetadataValue { epoch: self.epoch, metadata_hash: self.metadata_hash };
        ConsumerOffsetsRecord::ConsumerGroupMetadata(ConsumerGroupMetadataKey { group_id: self.id.clone() }, Some(value))
    }

    fn assignment_epoch_record(&self) -> ConsumerOffsetsRecord {
        let value = ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: self.assignment_epoch,
            assignment_timestamp: self.assigned_ms,
        };
        let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: self.id.clone() };
        ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMetadata(key, Some(value))
    }

    fn target_record(&self, member: &str) -> ConsumerOffsetsRecord {
        let value = self.target.get(member).map(|parts| ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: parts.lists().map(|(topic_id, partitions)| TopicPartition { topic_id, partitions }).collect(),
        });
        let key = ConsumerGroupTargetAssignmentMemberKey { group_id: self.id.clone(), member_id: member.to_owned() };
        ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMember(key, value)
    }

    /// A classic group as a consumer group: members have what they were assigned last, and that is the target.
    pub(crate) fn of_classic(turn: &mut Turn<'_>, id: GroupId, generation: i32, members: Vec<Member>) -> Self {
        let mut group = Self { epoch: generation, assignment_epoch: generation, ..Self::new(id, turn.now.wall_ms) };
        turn.emit(group.epoch_record());
        for member in members {
            group.target.insert(member.id.clone(), member.assigned.clone());
            turn.emit(group.target_record(&member.id));
            turn.set_timer(group.session_timer(&member.id), member.session_timeout_ms(turn.consumer_config(&group.id)));
            group.put(turn, member);
        }
        turn.emit(group.assignment_epoch_record());
        group
    }

    /// The group as a classic one; `None` if it is empty, if one of its members does not speak the classic protocol, or if
    /// they have none in common.
    pub(crate) fn as_classic(&self, turn: &Turn<'_>) -> Option<GroupMetadataValue> {
        let sides: Option<Vec<&ClassicSide>> = self.members.values().map(|member| member.classic.as_ref()).collect();
        let sides = sides?;
        let speaks = |side: &ClassicSide, name: &str| side.protocols.iter().any(|protocol| protocol.name == name);
        let mut names = sides.first()?.protocols.iter().map(|protocol| &protocol.name);
        let protocol = names.find(|name| sides.iter().all(|side| speaks(side, name)))?.clone();
        let nothing = Parts::default();
        let member = |(member, side): (&Member, &ClassicSide)| {
            let offered = side.protocols.iter().find(|offered| offered.name == protocol);
            let target = self.target.get(&member.id).unwrap_or(&nothing);
            MemberMetadata {
                member_id: member.id.clone(),
                group_instance_id: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: side.session_timeout_ms,
                subscription: offered.map(|offered| offered.metadata.clone()).unwrap_or_default(),
                assignment: assignment_bytes(target, side, turn.image),
            }
        };
        let members = self.members.values().zip(sides).map(member).collect();
        // Members that had come to their target believe in this epoch, and are told to join again, not that they are lost.
        Some(stable(self.assignment_epoch, protocol, members, turn.now.wall_ms))
    }

    /// Takes every member out, of the log too.
    pub(crate) fn remove_all(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.remove(turn, id));
    }

    /// The records that say that the group, which has no members, is gone.
    pub(crate) fn tombstones(&self) -> Vec<ConsumerOffsetsRecord> {
        let target = ConsumerGroupTargetAssignmentMetadataKey { group_id: self.id.clone() };
        vec![
            ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMetadata(target, None),
            ConsumerOffsetsRecord::ConsumerGroupMetadata(ConsumerGroupMetadataKey { group_id: self.id.clone() }, None),
        ]
    }

    /// Takes what the log says of this group.
    pub(crate) fn replay(&mut self, record: ConsumerOffsetsRecord) {
        match record {
            ConsumerOffsetsRecord::ConsumerGroupMetadata(_, Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMetadata(_, Some(value)) => {
                self.assignment_epoch = value.assignment_epoch;
                self.assigned_ms = value.assignment_timestamp;
            }
            ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMember(key, Some(value)) => {
                let lists = value.topic_partitions.into_iter().map(|list| (list.topic_id, list.partitions));
                self.target.insert(key.member_id, Parts::of(lists));
            }
            ConsumerOffsetsRecord::ConsumerGroupTargetAssignmentMember(key, None) => {
                self.target.remove(&key.member_id);
            }
            ConsumerOffsetsRecord::ConsumerGroupMemberMetadata(key, Some(value)) => {
                let mut member = self.let_go(&key.member_id).unwrap_or_else(|| Member::new(key.member_id));
                member.replay_metadata(value);
                self.keep(member);
            }
            ConsumerOffsetsRecord::ConsumerGroupMemberMetadata(key, None) => {
                self.let_go(&key.member_id);
            }
            ConsumerOffsetsRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value)) => {
                // Compaction may leave what a member says of itself behind what it has.
                let mut member = self.let_go(&key.member_id).unwrap_or_else(|| Member::new(key.member_id));
                member.replay_assignment(value);
                self.keep(member);
            }
            ConsumerOffsetsRecord::ConsumerGroupCurrentMemberAssignment(key, None) => {
                if let Some(member) = self.let_go(&key.member_id) {
                    self.keep(Member {
                        epoch: 0,
                        previous_epoch: -1,
                        progress: Progress::Stable,
                        assigned: Parts::default(),
                        revoking: Parts::default(),
                        ..member
                    });
                }
            }
            _ => {}
        }
    }

    /// Starts the clocks of a group that was read from the log.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        self.empty_since_ms = turn.now.wall_ms;
        let config = turn.consumer_config(&self.id);
        for (id, member) in &self.members {
            turn.set_timer(self.session_timer(id), member.session_timeout_ms(config));
            if member.progress == Progress::Unrevoked {
                let timeout_ms = u64::try_from(member.rebalance_timeout_ms).unwrap_or(0);
                turn.set_timer(self.rebalance_timer(id), timeout_ms);
            }
        }
    }

    pub(crate) fn described(&self, turn: &Turn<'_>) -> DescribedGroup {
        let image = turn.image;
        let empty = Parts::default();
        let members = self.members.values().map(|member| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance.clone(),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.subscribed.iter().cloned().collect(),
            subscribed_topic_regex: member.regex.clone(),
            assignment: described_parts(image, &member.assigned),
            target_assignment: described_parts(image, self.target.get(&member.id).unwrap_or(&empty)),
            member_type: i8::from(member.classic.is_none()),
        });
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor_name: self.assignor(turn).to_owned(),
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }
}

/// Topics that are gone are left out.
fn described_parts(image: &Image, parts: &Parts) -> Assignment {
    let topic_partitions = parts.lists().filter_map(|(topic_id, partitions)| {
        let topic_name = image.topics.by_id(topic_id)?.name.clone();
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Assignment { topic_partitions: topic_partitions.collect() }
}
