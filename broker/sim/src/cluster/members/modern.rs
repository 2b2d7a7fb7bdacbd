//! A member of a group by the consumer protocol (KIP-848): one heartbeat at a time, in which it is told what it has from now on
//! and says what it gave back.

use std::collections::BTreeSet;

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};

use super::{Pass, Timing};
use crate::cluster::router::{Posted, Router};
use crate::cluster::seats::{Office, is_moved};
use crate::core::{Core, MS, MachineId};
use crate::dice::Dice;
use crate::history::PartitionKey;
use crate::invariants::Invariant;
use crate::topics::Topic;

/// The epoch of whoever is no member.
const OUT: i32 = 0;
const LEAVES: i32 = -1;

#[derive(Clone, Copy, Debug)]
struct Asked {
    posted: Posted,
    sent_us: u64,
    leaves: bool,
}

#[derive(Debug)]
pub(crate) struct Modern {
    group: GroupId,
    row: usize,
    timing: Timing,
    member: String,
    epoch: i32,
    asked: Option<Asked>,
    pub(super) beat_due_us: u64,
    not_before_us: u64,
    pub(super) owned: BTreeSet<PartitionKey>,
    /// Of these its worker has to let go.
    pub(super) revoking: BTreeSet<PartitionKey>,
    /// The next heartbeat says everything again.
    is_full: bool,
}

impl Modern {
    pub(in crate::cluster) fn new(group: &str, row: usize, timing: Timing, dice: &mut Dice) -> Self {
        Self {
            group: GroupId::from(group),
            row,
            timing,
            member: name(dice),
            epoch: OUT,
            asked: None,
            beat_due_us: 0,
            not_before_us: 0,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            is_full: true,
        }
    }

    pub(super) fn pass(&self) -> Option<Pass> {
        (self.epoch > OUT).then(|| Pass { member: self.member.clone(), epoch: self.epoch })
    }

    pub(super) fn let_go(&mut self, core: &mut Core) {
        for key in std::mem::take(&mut self.revoking) {
            self.owned.remove(&key);
            core.books.ownership.released(self.group.as_str(), &self.member, key);
        }
        self.is_full = true;
        self.beat_due_us = core.now_us;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.epoch > OUT && self.revoking.is_empty() && !self.is_full
    }

    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn crash(&mut self, core: &mut Core, dice: &mut Dice) {
        self.out(core);
        self.asked = None;
        self.member = name(dice);
    }

    fn out(&mut self, core: &mut Core) {
        core.books.ownership.gone(self.group.as_str(), &self.member);
        self.owned.clear();
        self.revoking.clear();
        self.epoch = OUT;
        self.is_full = true;
    }

    pub(super) fn lost(&mut self, core: &Core, machine: MachineId) {
        if let Some(asked) = self.asked.take_if(|asked| asked.posted.to == machine) {
            self.not_before_us = core.now_us + 50 * MS;
            self.is_full |= !asked.leaves;
            self.beat_due_us = core.now_us;
        }
    }

    pub(super) fn leave(&mut self, core: &mut Core, router: &mut Router) {
        if let Some(to) = router.seat(core, Office::Group, self.group.as_str()).filter(|_| self.epoch > OUT) {
            let version = router.version(core, ApiKey::ConsumerGroupHeartbeat, 1);
            let request = ConsumerGroupHeartbeatRequest {
                group_id: self.group.clone(),
                member_id: self.member.clone(),
                member_epoch: LEAVES,
                ..ConsumerGroupHeartbeatRequest::default()
            };
            core.note(format_args!("c{} leaves {}", router.id, self.group));
            let posted = router.post(core, to, version, &request.into());
            self.asked = Some(Asked { posted, sent_us: core.now_us, leaves: true });
        }
        self.out(core);
    }

    pub(super) fn turn(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice) {
        if self.asked.is_some() || core.now_us < self.not_before_us || core.now_us < self.beat_due_us {
            return;
        }
        let Some(topic) = core.topics.current(self.row).and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let Some(to) = router.seat(core, Office::Group, self.group.as_str()) else { return };
        let version = router.version(core, ApiKey::ConsumerGroupHeartbeat, 1);
        let request = self.beat(&topic, dice);
        let posted = router.post(core, to, version, &request.into());
        self.asked = Some(Asked { posted, sent_us: core.now_us, leaves: false });
        self.beat_due_us = core.now_us + self.timing.beat_us;
        self.is_full = false;
    }

    fn beat(&self, topic: &Topic, dice: &mut Dice) -> ConsumerGroupHeartbeatRequest {
        let says_all = self.is_full || self.epoch == OUT;
        let mine = self.owned.iter().filter(|key| key.topic == topic.id).map(|key| key.partition);
        let partitions: Vec<i32> = mine.collect();
        let list = RequestTopicPartitions { topic_id: topic.id, partitions };
        let lists = if list.partitions.is_empty() { Vec::new() } else { vec![list] };
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if says_all { self.timing.rebalance_ms } else { -1 },
            subscribed_topic_names: says_all.then(|| vec![topic.name.clone()]),
            // To say what it has although nothing changed is right too.
            topic_partitions: (says_all || dice.one_in(3)).then_some(lists),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    pub(super) fn hear(&mut self, core: &mut Core, router: &mut Router, posted: Posted, response: &Response) {
        let Some(asked) = self.asked.take_if(|asked| asked.posted == posted) else { return };
        if let Response::ConsumerGroupHeartbeat(response) = response
            && !asked.leaves
        {
            self.told(core, router, asked, response);
        }
    }

    fn told(&mut self, core: &mut Core, router: &mut Router, asked: Asked, response: &ConsumerGroupHeartbeatResponse) {
        match response.error_code {
            ErrorCode::NONE => self.taken(core, router, asked, response),
            code if is_moved(code) => {
                router.unseat(Office::Group, self.group.as_str());
                self.not_before_us = core.now_us + 50 * MS;
                self.beat_due_us = core.now_us;
                self.is_full = true;
            }
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND => {
                core.mark("member is none any more");
                self.out(core);
                self.beat_due_us = core.now_us;
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a member of {}", self.group)),
        }
    }

    fn taken(&mut self, core: &mut Core, router: &mut Router, asked: Asked, response: &ConsumerGroupHeartbeatResponse) {
        let group = self.group.as_str();
        let speaks_now = core.coordinates(group, asked.posted.to);
        if speaks_now && let Err(story) = core.books.ownership.confirmed(group, &self.member, asked.sent_us) {
            core.violate(Invariant::OneOwner, format_args!("{group}: {story}"));
        }
        if response.member_epoch < self.epoch {
            let story = format_args!("{group}: epoch {} after {}", response.member_epoch, self.epoch);
            core.violate(Invariant::OneOwner, story);
        }
        self.epoch = response.member_epoch;
        let Some(assignment) = &response.assignment else { return };
        let lists = assignment.topic_partitions.iter();
        let keys: BTreeSet<PartitionKey> = lists
            .flat_map(|list| {
                list.partitions.iter().map(|partition| PartitionKey { topic: list.topic_id, partition: *partition })
            })
            .collect();
        core.note(format_args!("c{} {} has {keys:?} in {}", router.id, self.member, self.epoch));
        core.mark("member was given its partitions");
        for key in keys.difference(&self.owned) {
            if speaks_now {
                core.books.ownership.given(group, &self.member, *key, self.epoch, core.now_us);
            }
        }
        self.revoking = self.owned.difference(&keys).copied().collect();
        self.owned.extend(keys);
        if !self.revoking.is_empty() {
            core.mark("member has to give back");
        }
    }
}

fn name(dice: &mut Dice) -> String {
    format!("member-{:016x}", dice.roll())
}
