//! A process that works for a group: it is a member, reads what it is given from where the group stands, and commits how far it is;
//! by itself, or within transactions that write what stands for what it read (`scribe.rs`).
//!
//! At the end of a run it reads nothing more and commits what it has done.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId, TopicName};
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use strandline_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};

use super::scribe::Scribe;
use super::{Membership, Pass};
use crate::cluster::reader::Reader;
use crate::cluster::reading::Isolation;
use crate::cluster::router::{Heard, Posted, Router};
use crate::cluster::seats::{Office, is_moved};
use crate::core::{ClientEvent, Core, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::history::PartitionKey;
use crate::invariants::Invariant;

/// Whoever has to give something back and cannot commit it gives it back all the same after this.
const HURRY_US: u64 = 1500 * MS;

/// How a process behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Diligence {
    /// Between two looks around.
    pub(crate) pause_us: u64,
    /// Between two commits.
    pub(crate) commit_us: u64,
    /// Once in so many turns it leaves, or dies.
    pub(crate) leaves_one_in: u64,
    pub(crate) dies_one_in: u64,
}

/// How far it is in one partition.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Everything below was read.
    next: i64,
    committed: i64,
}

/// A question to the coordinator.
#[derive(Clone, Debug)]
struct Asked {
    posted: Posted,
    sent_us: u64,
    what: Question,
}

#[derive(Clone, Debug)]
enum Question {
    /// Where the group stands.
    Stand,
    Commit(BTreeMap<PartitionKey, i64>),
}

/// The generation that a member was in before.
#[derive(Clone, Debug, Default)]
struct Past {
    last: Option<Pass>,
    left: Option<Pass>,
    /// What was said in the name of that.
    posted: Option<Posted>,
}

impl Past {
    /// The member is in.
    fn note(&mut self, pass: Pass) {
        if self.last.as_ref() == Some(&pass) {
            return;
        }
        self.left = self.last.replace(pass);
    }

    fn is_asking(&self) -> bool {
        self.posted.is_some()
    }
}

pub(crate) struct Worker {
    router: Router,
    dice: Dice,
    group: GroupId,
    row: usize,
    pub(in crate::cluster) membership: Membership,
    diligence: Diligence,
    reader: Reader,
    places: BTreeMap<PartitionKey, Place>,
    asked: Option<Asked>,
    scribe: Option<Scribe>,
    commit_due_us: u64,
    /// Since when it has to give something back.
    hurries_since_us: Option<u64>,
    away_until_us: u64,
    past: Past,
}

impl Worker {
    pub(in crate::cluster) fn new(
        router: Router,
        dice: Dice,
        (group, row): (&str, usize),
        membership: Membership,
        diligence: Diligence,
        scribe: Option<Scribe>,
    ) -> Self {
        Self {
            router,
            dice,
            group: GroupId::from(group),
            row,
            membership,
            diligence,
            reader: Reader::new(Isolation::Committed),
            places: BTreeMap::new(),
            asked: None,
            scribe,
            commit_due_us: 0,
            hurries_since_us: None,
            away_until_us: 0,
            past: Past::default(),
        }
    }

    pub(crate) fn start(&mut self, core: &mut Core) {
        let delay_us = self.dice.below(2 * SECOND);
        self.router.turn_after(core, delay_us);
    }

    pub(crate) fn group(&self) -> &str {
        self.group.as_str()
    }

    /// Whether its output is written in transactions.
    pub(crate) fn is_transactional(&self) -> bool {
        self.scribe.is_some()
    }

    /// Nothing is under way, and it has its place in the group.
    pub(in crate::cluster) fn is_settled(&self, core: &Core) -> bool {
        if core.topics.current(self.row).is_none() {
            // Nobody made the topic in time.
            return true;
        }
        let is_done = match &self.scribe {
            Some(scribe) => scribe.is_idle(),
            None => self.places.values().all(|place| place.next == place.committed),
        };
        let stands = self.membership.owned().iter().all(|key| self.places.contains_key(key));
        is_done && stands && self.membership.is_settled() && self.asked.is_none()
    }

    pub(crate) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => self.turn(core),
            Heard::Lost(machine) => self.lost(core, machine),
            Heard::Reply(posted, response) => self.hear(core, posted, *response),
            Heard::Metadata | Heard::Nothing => {}
        }
        self.follow_membership();
    }

    fn lost(&mut self, core: &mut Core, machine: MachineId) {
        self.membership.lost(core, machine);
        self.reader.lost(&mut self.router, machine);
        self.past.posted.take_if(|late| late.to == machine);
        if let Some(asked) = self.asked.take_if(|asked| asked.posted.to == machine)
            && matches!(asked.what, Question::Commit(_))
        {
            // What is on its way still must not arrive behind the next.
            self.commit_due_us = core.now_us + 300 * MS;
        }
        if let Some(scribe) = &mut self.scribe {
            scribe.lost(core, machine);
        }
    }

    /// What is no longer its own it does not read.
    fn follow_membership(&mut self) {
        let gone: Vec<PartitionKey> =
            self.places.keys().filter(|key| !self.membership.owned().contains(key)).copied().collect();
        for key in gone {
            self.drop_place(key);
        }
    }

    fn drop_place(&mut self, key: PartitionKey) {
        self.places.remove(&key);
        self.reader.stop(key);
        if let Some(scribe) = &mut self.scribe {
            scribe.forget(key);
        }
    }

    fn turn(&mut self, core: &mut Core) {
        let pause_us = self.dice.spread(self.diligence.pause_us / 4, self.diligence.pause_us);
        self.router.turn_after(core, if core.draining { pause_us.min(50 * MS) } else { pause_us });
        if core.now_us < self.away_until_us && !core.draining {
            return;
        }
        if !core.draining && self.misbehaves(core) {
            return;
        }
        self.membership.turn(core, &mut self.router, &mut self.dice);
        self.give_back(core);
        self.ask(core);
        self.say_too_late(core);
        self.write(core);
        let has_room = self.scribe.as_ref().is_none_or(Scribe::has_room);
        if !core.draining && has_room {
            self.reader.turn(core, &mut self.router, &mut self.dice);
        }
    }

    /// Leaves, or dies; somebody takes its place after a while.
    fn misbehaves(&mut self, core: &mut Core) -> bool {
        if self.diligence.dies_one_in > 0 && self.dice.one_in(self.diligence.dies_one_in) {
            core.note(format_args!("c{} dies", self.router.id));
            core.mark("member died");
            self.router.crash(core);
            self.membership.crash(core, &mut self.dice);
            self.reader = Reader::new(Isolation::Committed);
            self.asked = None;
            self.past = Past::default();
            if let Some(scribe) = &mut self.scribe {
                scribe.crash(core);
            }
        } else if self.diligence.leaves_one_in > 0
            && self.dice.one_in(self.diligence.leaves_one_in)
            && self.scribe.as_ref().is_none_or(Scribe::is_idle)
        {
            core.mark("member left");
            self.membership.leave(core, &mut self.router);
        } else {
            return false;
        }
        self.follow_membership();
        self.away_until_us = core.now_us + self.dice.spread(50 * MS, 3 * SECOND);
        true
    }

    /// Gives back what the group wants back, once that is committed, or when it takes too long.
    fn give_back(&mut self, core: &mut Core) {
        let wanted = self.membership.wanted_back();
        if wanted.is_empty() {
            self.hurries_since_us = None;
            return;
        }
        let since_us = *self.hurries_since_us.get_or_insert(core.now_us);
        let is_done = match &self.scribe {
            Some(scribe) => !scribe.is_writing(),
            None => {
                let commits = matches!(self.asked.as_ref().map(|asked| &asked.what), Some(Question::Commit(_)));
                let is_behind = |key| self.places.get(key).is_some_and(|place| place.next > place.committed);
                !commits && !wanted.iter().any(is_behind)
            }
        };
        if is_done || core.now_us > since_us + HURRY_US {
            wanted.into_iter().for_each(|key| self.drop_place(key));
            self.membership.let_go(core);
            self.hurries_since_us = None;
        }
    }

    /// Asks the coordinator where the group stands, or tells it.
    fn ask(&mut self, core: &mut Core) {
        if self.asked.is_some() {
            return;
        }
        let Some(pass) = self.membership.pass() else { return };
        let unknown: BTreeSet<PartitionKey> =
            self.membership.owned().iter().filter(|key| !self.places.contains_key(key)).copied().collect();
        // The last transaction has to be over first: what it consumed is not known before.
        let may_look = self.scribe.as_ref().is_none_or(|scribe| !scribe.is_writing());
        if !unknown.is_empty() && self.hurries_since_us.is_none() && may_look {
            return self.look(core, &unknown, &pass);
        }
        let behind = self.places.iter().filter(|(_, place)| place.next > place.committed);
        let behind: BTreeMap<PartitionKey, i64> = behind.map(|(key, place)| (*key, place.next)).collect();
        let due = core.now_us >= self.commit_due_us || (self.hurries_since_us.is_some() && !core.draining);
        if self.scribe.is_none() && !behind.is_empty() && due {
            self.commit(core, behind, &pass);
        }
    }

    /// A thread that missed the rebalance commits in the name of the generation before. Nobody must take that.
    fn say_too_late(&mut self, core: &mut Core) {
        let Membership::Classic(_) = self.membership else { return };
        if let Some(pass) = self.membership.pass() {
            self.past.note(pass);
        }
        let Some((key, place)) = self.places.first_key_value() else { return };
        if core.draining || self.past.is_asking() || !self.dice.one_in(20) {
            return;
        }
        let offsets = BTreeMap::from([(*key, place.committed)]);
        let Some(pass) = self.past.left.take() else { return };
        self.past.posted = self.post_commit(core, &offsets, &pass);
    }

    fn look(&mut self, core: &mut Core, keys: &BTreeSet<PartitionKey>, pass: &Pass) {
        let Some(to) = self.router.seat(core, Office::Group, self.group.as_str()) else { return };
        let version = self.router.version(core, ApiKey::OffsetFetch, 7);
        let topics = by_topic(core, keys.iter().map(|key| (*key, key.partition)));
        let request = if version < 8 {
            let topic = |(_, name, partition_indexes): (TopicId, TopicName, Vec<i32>)| OffsetFetchRequestTopic {
                name,
                partition_indexes,
            };
            OffsetFetchRequest {
                group_id: self.group.clone(),
                topics: Some(topics.into_iter().map(topic).collect()),
                require_stable: true,
                ..OffsetFetchRequest::default()
            }
        } else {
            let topic = |(topic_id, name, partition_indexes)| OffsetFetchRequestTopics { name, topic_id, partition_indexes };
            let speaks_of_itself = matches!(self.membership, Membership::Modern(_)) && version >= 9;
            let group = OffsetFetchRequestGroup {
                group_id: self.group.clone(),
                member_id: speaks_of_itself.then(|| pass.member.clone()),
                member_epoch: if speaks_of_itself { pass.epoch } else { -1 },
                topics: Some(topics.into_iter().map(topic).collect()),
            };
            OffsetFetchRequest { groups: vec![group], require_stable: true, ..OffsetFetchRequest::default() }
        };
        let posted = self.router.post(core, to, version, &request.into());
        self.asked = Some(Asked { posted, sent_us: core.now_us, what: Question::Stand });
    }

    fn commit(&mut self, core: &mut Core, offsets: BTreeMap<PartitionKey, i64>, pass: &Pass) {
        let Some(posted) = self.post_commit(core, &offsets, pass) else { return };
        self.commit_due_us = core.now_us + self.diligence.commit_us;
        self.asked = Some(Asked { posted, sent_us: core.now_us, what: Question::Commit(offsets) });
    }

    fn post_commit(&mut self, core: &mut Core, offsets: &BTreeMap<PartitionKey, i64>, pass: &Pass) -> Option<Posted> {
        let to = self.router.seat(core, Office::Group, self.group.as_str())?;
        // Before version 9 there are no member epochs.
        let least = if matches!(self.membership, Membership::Modern(_)) { 9 } else { 2 };
        let version = self.router.version(core, ApiKey::OffsetCommit, least);
        let partition = |(key, offset): (&PartitionKey, &i64)| {
            let partition = OffsetCommitRequestPartition {
                partition_index: key.partition,
                committed_offset: Offset(*offset),
                ..OffsetCommitRequestPartition::default()
            };
            (*key, partition)
        };
        let topic = |(topic_id, name, partitions)| OffsetCommitRequestTopic { name, topic_id, partitions };
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: pass.epoch,
            member_id: pass.member.clone(),
            topics: by_topic(core, offsets.iter().map(partition)).into_iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        Some(self.router.post(core, to, version, &request.into()))
    }

    fn hear(&mut self, core: &mut Core, posted: Posted, response: Response) {
        match response {
            Response::Fetch(response) => {
                for (key, offset) in self.reader.hear(core, &mut self.router, posted, response) {
                    let Some(place) = self.places.get_mut(&key) else { continue };
                    place.next = offset + 1;
                    if let Some(scribe) = &mut self.scribe {
                        scribe.consume(key, offset);
                    }
                }
            }
            Response::OffsetFetch(response) => self.stood(core, posted, response),
            Response::OffsetCommit(response) => self.committed(core, posted, &response),
            Response::JoinGroup(_)
            | Response::SyncGroup(_)
            | Response::Heartbeat(_)
            | Response::LeaveGroup(_)
            | Response::ConsumerGroupHeartbeat(_) => self.membership.hear(core, &mut self.router, posted, &response),
            response => {
                let Some(scribe) = &mut self.scribe else { return };
                scribe.hear(core, &mut self.router, &mut self.dice, posted, &response);
            }
        }
        self.write(core);
    }

    /// The scribe goes on; after a transaction that came to nothing everything is read again.
    fn write(&mut self, core: &mut Core) {
        let Some(scribe) = &mut self.scribe else { return };
        let pass = self.membership.pass();
        scribe.turn(core, &mut self.router, &mut self.dice, self.hurries_since_us.is_some(), pass.as_ref());
        if scribe.take_undone() {
            self.places.clear();
            self.reader.stop_all();
        }
        if scribe.take_doubt() {
            self.membership.doubt(core);
        }
    }

    fn stood(&mut self, core: &mut Core, posted: Posted, response: OffsetFetchResponse) {
        let Some(asked) = self.asked.take_if(|asked| asked.posted == posted) else { return };
        let (code, found) = stands(response);
        if code != ErrorCode::NONE {
            return self.refused(core, code);
        }
        for (topic_id, name, partition, offset, code) in found {
            let topic = core.topics.existing().find(|(_, topic)| topic.id == topic_id || topic.name == name);
            let Some(key) = topic.map(|(_, topic)| topic.key(partition)) else { continue };
            match code {
                ErrorCode::NONE => self.begin(core, key, offset, &asked),
                ErrorCode::UNSTABLE_OFFSET_COMMIT => core.mark("offsets of an open transaction were waited for"),
                other => return self.refused(core, other),
            }
        }
    }

    /// Reads on from where the group stands.
    fn begin(&mut self, core: &mut Core, key: PartitionKey, offset: i64, asked: &Asked) {
        let group = self.group.as_str();
        if !core.coordinates(group, asked.posted.to) {
            // It asks again: see `books`.
            core.mark("a coordinator of the past said where a group stands");
            return self.router.unseat(Office::Group, group);
        }
        let judgement = core.books.offsets.told(group, key, asked.sent_us, core.now_us, offset);
        if let Err(before) = judgement {
            let story = format_args!("{group} {key} stands at {offset}, had committed {before}");
            return core.violate(Invariant::CommittedOffsetsStay, story);
        }
        if self.membership.owned().contains(&key) && !self.places.contains_key(&key) {
            core.note(format_args!("c{} reads {key} of {group} from {offset}", self.router.id));
            let offset = offset.max(0);
            self.places.insert(key, Place { next: offset, committed: offset });
            self.reader.read_from(key, offset);
        }
    }

    fn committed(&mut self, core: &mut Core, posted: Posted, response: &OffsetCommitResponse) {
        if self.past.posted.take_if(|late| *late == posted).is_some() {
            let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
            core.mark("commit of an earlier generation");
            if codes.any(|code| code == ErrorCode::NONE) {
                let story = format_args!("{}: a commit of an earlier generation is taken", self.group);
                core.violate(Invariant::CommittedOffsetsStay, story);
            }
            return;
        }
        let Some(asked) = self.asked.take_if(|asked| asked.posted == posted) else { return };
        let Question::Commit(offsets) = &asked.what else { return };
        let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        if let Some(code) = codes.find(|code| *code != ErrorCode::NONE) {
            return self.refused(core, code);
        }
        core.mark("offsets committed");
        for (key, offset) in offsets {
            let judgement = core.books.offsets.told(self.group.as_str(), *key, asked.sent_us, core.now_us, *offset);
            if let Err(before) = judgement {
                let story = format_args!("{} {key}: {offset} was committed after {before}", self.group);
                core.violate(Invariant::CommittedOffsetsStay, story);
            }
            if let Some(place) = self.places.get_mut(key) {
                place.committed = place.committed.max(*offset);
            }
        }
    }

    fn refused(&mut self, core: &mut Core, code: ErrorCode) {
        match code {
            code if is_moved(code) => {
                self.router.unseat(Office::Group, self.group.as_str());
                self.commit_due_us = core.now_us + 50 * MS;
            }
            // Its next heartbeat tells it more.
            ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::GROUP_ID_NOT_FOUND => {
                core.mark("commit refused");
                self.membership.doubt(core);
                self.commit_due_us = core.now_us + 50 * MS;
            }
            // A coordinator may know less of topics than its clients.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::UNSTABLE_OFFSET_COMMIT => {
                self.commit_due_us = core.now_us + 100 * MS;
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for offsets of {}", self.group)),
        }
    }
}

/// Where a group stands, partition by partition: topic, index, offset, error; and the error of the whole.
type Stands = (ErrorCode, Vec<(TopicId, TopicName, i32, i64, ErrorCode)>);

fn stands(response: OffsetFetchResponse) -> Stands {
    let mut found = Vec::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let offset = partition.committed_offset.0;
            found.push((TopicId::ZERO, topic.name.clone(), partition.partition_index, offset, partition.error_code));
        }
    }
    let mut code = response.error_code;
    for group in response.groups {
        code = group.error_code;
        for topic in group.topics {
            for partition in topic.partitions {
                let offset = partition.committed_offset.0;
                let (id, name) = (topic.topic_id, topic.name.clone());
                found.push((id, name, partition.partition_index, offset, partition.error_code));
            }
        }
    }
    (code, found)
}

/// What belongs to partitions, under their topics.
pub(super) fn by_topic<T>(core: &Core, items: impl Iterator<Item = (PartitionKey, T)>) -> Vec<(TopicId, TopicName, Vec<T>)> {
    let mut topics: Vec<(TopicId, TopicName, Vec<T>)> = Vec::new();
    for (key, item) in items {
        match topics.last_mut().filter(|(id, ..)| *id == key.topic) {
            Some((_, _, list)) => list.push(item),
            None => {
                let name = core.topics.by_id(key.topic).map(|topic| topic.name.clone()).unwrap_or_default();
                topics.push((key.topic, name, vec![item]));
            }
        }
    }
    topics
}
