//! A share group as a value (KIP-932): members say what they subscribe to, and several may read one partition.
//!
//! Group epoch, assignment epoch and member epochs are as in a group of consumers; but members need not give anything back, so
//! each has its target at once. Only partitions that the share coordinator keeps a state for are assigned: the others are asked for
//! first ([`crate::coordinator::turn::Turn::want`]). Source: GroupMetadataManager.shareGroupHeartbeat, ShareGroup.

mod assignor;
mod heartbeat;
mod member;
mod offsets;
mod records;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId};
use strandline_protocol::messages::share_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use self::assignor::{Wish, assign};
use self::member::Member;
use self::topics::StateTopics;
use super::consumer::parts::Parts;
use super::consumer::{Counts, hash, wait_ms};
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::{Turn, Want};
use crate::image::Image;

pub(crate) use self::assignor::SIMPLE;
pub(crate) use self::heartbeat::{JOINING, LEAVING, refusal};
pub(crate) use self::records::share_group;

/// The protocol type of share groups, and their kind.
pub(crate) const SHARE: &str = "share";

/// How long the share coordinator may take to begin states before it is asked again.
const AGAIN_MS: u64 = 30_000;

#[derive(Debug)]
pub(crate) struct ShareGroup {
    pub id: GroupId,
    epoch: i32,
    assignment_epoch: i32,
    /// When the target was computed, by the wall clock; 0 if it never was.
    assigned_ms: i64,
    /// Of the topics that members subscribe to: when it changes, so may the assignment.
    metadata_hash: i64,
    members: BTreeMap<String, Member>,
    target: BTreeMap<String, Parts>,
    topics: StateTopics,
    /// The image that subscriptions were last held against; not kept in records.
    seen: Offset,
    /// When the states that are being begun were asked for, by the monotonic clock; not kept in records.
    asked_ms: Option<u64>,
}

impl ShareGroup {
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: 0,
            assignment_epoch: 0,
            assigned_ms: 0,
            metadata_hash: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            topics: StateTopics::default(),
            seen: Offset::NONE,
            asked_ms: None,
        }
    }

    pub(crate) fn members_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name.
    pub(crate) fn state(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }

    pub(crate) fn topics(&self) -> &StateTopics {
        &self.topics
    }

    fn session_timer(&self, member: &str) -> Timer {
        Timer::ShareSession { group: self.id.clone(), member: member.to_owned() }
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
        self.members.insert(member.id.clone(), member);
    }

    /// Holds subscriptions against the topics that there are; raises the group epoch if something changed, and asks for the
    /// states that are missing.
    fn refresh(&mut self, turn: &mut Turn<'_>, members_changed: bool) {
        let asks_again = self.asked_ms.is_none_or(|asked| turn.now.monotonic_ms >= asked + AGAIN_MS);
        let is_waiting = !self.topics.initializing().is_empty();
        if !members_changed && self.seen == turn.image.end && !(is_waiting && asks_again) {
            return;
        }
        self.seen = turn.image.end;
        let counts = self.counts(turn.image);
        let hash = hash(&counts);
        if members_changed || hash != self.metadata_hash {
            self.metadata_hash = hash;
            self.raise(turn);
        }
        self.begin_states(turn, &counts);
    }

    fn raise(&mut self, turn: &mut Turn<'_>) {
        self.epoch += 1;
        turn.emit(self.epoch_record());
    }

    /// Asks for the states of subscribed partitions that have none.
    fn begin_states(&mut self, turn: &mut Turn<'_>, counts: &Counts) {
        let wanted: Parts = counts.iter().flat_map(|(topic, count)| (0..*count).map(move |index| (*topic, index))).collect();
        let missing = wanted.without(self.topics.initialized());
        let new = missing.without(self.topics.initializing());
        if !new.is_empty() {
            for (topic, partitions) in new.lists() {
                let Some(known) = turn.image.topics.by_id(topic) else { continue };
                self.topics.begin(topic, &known.name, &Parts::of([(topic, partitions)]));
            }
            turn.emit(self.topics.record(&self.id));
        }
        let asks_again = self.asked_ms.is_none_or(|asked| turn.now.monotonic_ms >= asked + AGAIN_MS);
        let asked = if asks_again { self.topics.initializing().clone() } else { new };
        if !asked.is_empty() {
            self.asked_ms = Some(turn.now.monotonic_ms);
            turn.want(Want::BeginStates { group: self.id.clone(), state_epoch: self.epoch, parts: asked });
        }
    }

    /// The share coordinator has begun these states, or could not.
    pub(crate) fn on_begun(&mut self, turn: &mut Turn<'_>, begun: &Parts, failed: &Parts) {
        let new = self.topics.initializing().both(begun);
        if !new.is_empty() {
            self.topics.begun(&new);
            turn.emit(self.topics.record(&self.id));
            if !self.members.is_empty() {
                self.raise(turn);
                self.retarget(turn);
            }
        }
        if !failed.is_empty() || self.topics.initializing().is_empty() {
            // The next heartbeat asks again.
            self.asked_ms = None;
        }
    }

    /// How long it is until the next target may be computed.
    fn assignment_wait_ms(&self, turn: &Turn<'_>) -> i32 {
        wait_ms(turn.now.wall_ms, self.assigned_ms, turn.share_config(&self.id).assignment_interval_ms)
    }

    /// Computes the target if the group epoch has passed it, and it is not too young.
    fn retarget(&mut self, turn: &mut Turn<'_>) {
        if self.assignment_epoch >= self.epoch || self.assignment_wait_ms(turn) > 0 {
            return;
        }
        let wish = |member: &Member| {
            let topics: BTreeSet<TopicId> = topics_of(member, turn.image).collect();
            Wish {
                may: self.topics.initialized().iter().filter(|(topic, _)| topics.contains(topic)).collect(),
                had: self.target.get(&member.id).cloned().unwrap_or_default(),
            }
        };
        let wishes = self.members.values().map(|member| (member.id.clone(), wish(member))).collect();
        for (member, parts) in assign(&wishes) {
            if self.target.get(&member) != Some(&parts) {
                self.target.insert(member.clone(), parts);
                turn.emit(self.target_record(&member));
            }
        }
        self.assignment_epoch = self.epoch;
        self.assigned_ms = turn.now.wall_ms;
        turn.emit(self.assignment_epoch_record());
    }

    /// Partitions of every topic that somebody subscribes to and that exists.
    fn counts(&self, image: &Image) -> Counts {
        let topics = self.members.values().flat_map(|member| topics_of(member, image));
        let count = |id: TopicId| {
            let partitions = image.topics.by_id(id)?.partitions.len();
            Some((id, i32::try_from(partitions).ok()?))
        };
        topics.filter_map(count).collect()
    }

    /// Starts the clocks of a group that was read from the log.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        let timeout_ms = turn.share_config(&self.id).session_timeout_ms;
        for id in self.members.keys() {
            turn.set_timer(self.session_timer(id), timeout_ms);
        }
        let deleting: Vec<TopicId> = self.topics.deleting().collect();
        for topic in deleting {
            // Nobody knows how far that came.
            self.topics.deleted(topic);
            turn.emit(self.topics.record(&self.id));
        }
    }

    pub(crate) fn described(&self, image: &Image) -> DescribedGroup {
        let members = self.members.values().map(|member| DescribedMember {
            member_id: member.id.clone(),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.subscribed.iter().cloned().collect(),
            assignment: described_parts(image, &member.assigned),
        });
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor_name: SIMPLE.to_owned(),
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }

    /// Whether the group may be deleted, or its offsets changed.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP.
    pub(crate) fn check_empty(&self) -> Result<(), ErrorCode> {
        if self.members.is_empty() { Ok(()) } else { Err(ErrorCode::NON_EMPTY_GROUP) }
    }
}

fn topics_of<'a>(member: &'a Member, image: &'a Image) -> impl Iterator<Item = TopicId> + 'a {
    member.subscribed.iter().filter_map(|name| image.topics.id_of(name))
}

/// Topics that are gone are left out.
fn described_parts(image: &Image, parts: &Parts) -> Assignment {
    let topic_partitions = parts.lists().filter_map(|(topic_id, partitions)| {
        let topic_name = image.topics.by_id(topic_id)?.name.clone();
        Some(TopicPartitions { topic_id, topic_name, partitions })
    });
    Assignment { topic_partitions: topic_partitions.collect() }
}
