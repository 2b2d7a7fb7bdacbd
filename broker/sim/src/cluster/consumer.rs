//! A consumer of a cluster: reads partitions from their leaders, believes no older leader than it knows, and tells the
//! history what it was given. At the end one of them reads everything.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use strandline_protocol::records::Scratch;

use super::reader::StableEnds;
use super::reading::{Isolation, Wanted, unfold};
use super::router::{Heard, Lead, Posted, Router};
use crate::core::{ClientEvent, Core, MS, SECOND};
use crate::dice::Dice;
use crate::history::{PartitionKey, Reach, Value};
use crate::invariants::Invariant;
use crate::topics::{Existence, Topic, Use};

/// The first version of Fetch that names topics by id.
const IDS_FROM_VERSION: i16 = 13;

/// How a consumer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habit {
    pub(super) wait_ms: i32,
    pub(super) partition_bytes_max: i32,
    pub(super) pause_us: u64,
    /// Once in so many fetches it goes back; 0 for never.
    pub(super) seek_one_in: u64,
    pub(super) isolation: Isolation,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    topic: usize,
    key: PartitionKey,
    /// The record wanted next.
    position: i64,
    /// Reads no further.
    until: Option<i64>,
}

pub(super) struct Consumer {
    router: Router,
    dice: Dice,
    habit: Habit,
    cursors: Vec<Cursor>,
    /// What was asked, of whom, and believing in which leader.
    under_way: Option<(Posted, i16, BTreeMap<PartitionKey, Lead>)>,
    audits: bool,
    /// What it found of committed records, if it reads those.
    found: BTreeSet<Value>,
    stable: StableEnds,
    scratch: Scratch,
}

impl Consumer {
    pub(super) fn new(router: Router, dice: Dice, habit: Habit) -> Self {
        Self {
            router,
            dice,
            habit,
            cursors: Vec::new(),
            under_way: None,
            audits: false,
            found: BTreeSet::new(),
            stable: StableEnds::default(),
            scratch: Scratch::default(),
        }
    }

    pub(super) fn start(&mut self, core: &mut Core) {
        let delay_us = self.dice.below(SECOND);
        self.router.turn_after(core, delay_us);
    }

    /// Reads exactly this.
    pub(super) fn audit(&mut self, core: &mut Core, reach: &BTreeMap<PartitionKey, Reach>) {
        self.audits = true;
        let place =
            |key: &PartitionKey| core.topics.existing().find(|(_, topic)| topic.id == key.topic).map(|(place, _)| place);
        self.cursors = reach
            .iter()
            .filter_map(|(key, reach)| {
                let topic = place(key)?;
                Some(Cursor { topic, key: *key, position: reach.log_start, until: Some(reach.high_watermark) })
            })
            .collect();
        self.router.turn_after(core, 0);
    }

    /// What it found, if it reads committed records.
    pub(super) fn found(&self) -> &BTreeSet<Value> {
        &self.found
    }

    /// Everything that was to be read was.
    pub(super) fn is_through(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.until.is_some_and(|until| cursor.position >= until))
    }

    pub(super) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => self.turn(core),
            Heard::Lost(machine) => {
                if self.under_way.take_if(|(posted, ..)| posted.to == machine).is_some() {
                    self.forget_all();
                    let pause_us = self.dice.between(20 * MS, 300 * MS);
                    self.router.turn_after(core, pause_us);
                }
            }
            Heard::Reply(posted, response) => {
                let Some((_, version, leads)) = self.under_way.take_if(|(waiting, ..)| *waiting == posted) else { return };
                if let Response::Fetch(response) = *response {
                    self.fetched(core, version, &leads, response);
                }
                let pause_us = if self.audits { MS } else { self.dice.below(self.habit.pause_us) };
                self.router.turn_after(core, pause_us);
            }
            Heard::Metadata => self.router.turn_after(core, MS),
            Heard::Nothing => {}
        }
    }

    fn forget_all(&mut self) {
        for cursor in &self.cursors {
            self.router.forget(cursor.key.topic, cursor.key.partition);
        }
    }

    fn turn(&mut self, core: &mut Core) {
        if self.under_way.is_some() {
            return;
        }
        self.router.turn_after(core, 300 * MS);
        if !self.audits {
            self.choose(core);
        }
        let wanting: Vec<(Cursor, Option<Lead>)> = self
            .cursors
            .iter()
            .filter(|cursor| cursor.until.is_none_or(|until| cursor.position < until))
            .map(|cursor| (*cursor, self.router.lead(cursor.key.topic, cursor.key.partition)))
            .collect();
        if wanting.iter().any(|(_, lead)| lead.is_none()) {
            self.router.refresh(core);
        }
        let leaders: Vec<usize> = wanting.iter().filter_map(|(_, lead)| lead.map(|lead| lead.machine)).collect();
        let Some(to) = self.dice.pick(&leaders).copied() else { return };
        let asked: Vec<(Cursor, Lead)> =
            wanting.into_iter().filter_map(|(cursor, lead)| Some((cursor, lead.filter(|lead| lead.machine == to)?))).collect();
        self.fetch(core, to, &asked);
    }

    fn choose(&mut self, core: &mut Core) {
        let exists = |topic: usize| core.topics.get(topic).is_some_and(|topic| topic.existence == Existence::Exists);
        self.cursors.retain(|cursor| exists(cursor.topic));
        if self.cursors.is_empty() || self.dice.one_in(20) {
            let known: Vec<(usize, PartitionKey)> = core
                .topics
                .existing()
                .flat_map(|(place, topic)| (0..topic.partitions).map(move |partition| (place, topic.key(partition))))
                .filter(|(_, key)| self.cursors.iter().all(|cursor| cursor.key != *key))
                .collect();
            if let Some((topic, key)) = self.dice.pick(&known).copied() {
                let position = if self.dice.one_in(2) { 0 } else { core.history.acknowledged_end(key) };
                self.cursors.push(Cursor { topic, key, position, until: None });
            }
        }
        if self.habit.seek_one_in > 0 && self.dice.one_in(self.habit.seek_one_in) {
            let place = self.dice.index(self.cursors.len());
            if let Some(cursor) = self.cursors.get_mut(place) {
                cursor.position = i64::try_from(self.dice.below(cursor.position.unsigned_abs() + 1)).unwrap_or(0);
            }
        }
    }

    fn fetch(&mut self, core: &mut Core, to: usize, asked: &[(Cursor, Lead)]) {
        let version = self.router.version(core, ApiKey::Fetch, IDS_FROM_VERSION);
        let mut topics: BTreeMap<usize, Vec<FetchPartition>> = BTreeMap::new();
        for (cursor, lead) in asked {
            topics.entry(cursor.topic).or_default().push(FetchPartition {
                partition: cursor.key.partition,
                fetch_offset: Offset(cursor.position),
                current_leader_epoch: LeaderEpoch(lead.epoch),
                partition_max_bytes: self.habit.partition_bytes_max,
                ..FetchPartition::default()
            });
        }
        let topics = topics.into_iter().map(|(place, partitions)| {
            let topic_id = core.topics.get(place).map(|topic| topic.id).unwrap_or_default();
            FetchTopic { topic: TopicName::default(), topic_id, partitions }
        });
        let request = FetchRequest {
            max_wait_ms: if self.audits { 0 } else { self.habit.wait_ms },
            min_bytes: 1,
            max_bytes: 8 << 20,
            session_id: 0,
            session_epoch: -1,
            isolation_level: self.habit.isolation as i8,
            topics: topics.collect(),
            ..FetchRequest::default()
        };
        let leads = asked.iter().map(|(cursor, lead)| (cursor.key, *lead)).collect();
        let posted = self.router.post(core, to, version, &request.into());
        self.under_way = Some((posted, version, leads));
    }

    fn fetched(&mut self, core: &mut Core, version: i16, leads: &BTreeMap<PartitionKey, Lead>, response: FetchResponse) {
        if response.error_code != ErrorCode::NONE {
            let story = format_args!("fetch v{version} as a whole: {:?}", response.error_code);
            return core.violate(Invariant::AnswersAsAsked, story);
        }
        for topic in response.responses {
            for data in topic.partitions {
                let key = PartitionKey { topic: topic.topic_id, partition: data.partition_index };
                let Some(place) = self.cursors.iter().position(|cursor| cursor.key == key) else { continue };
                let Some(topic) = core.topics.get(self.cursors[place].topic).cloned() else { continue };
                self.partition(core, &topic, place, leads.get(&key).copied(), data);
            }
        }
    }

    fn partition(&mut self, core: &mut Core, topic: &Topic, place: usize, lead: Option<Lead>, data: PartitionData) {
        let cursor = self.cursors[place];
        core.check_refusal(cursor.key, cursor.position, &data);
        match data.error_code {
            ErrorCode::NONE => self.records(core, topic, place, lead, data),
            ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::OFFSET_NOT_AVAILABLE => {
                core.mark(match data.error_code {
                    ErrorCode::NOT_LEADER_OR_FOLLOWER => "fetch met no leader",
                    ErrorCode::FENCED_LEADER_EPOCH => "fetch believed in an old leader",
                    ErrorCode::UNKNOWN_LEADER_EPOCH => "fetch met a leader that was behind",
                    ErrorCode::OFFSET_NOT_AVAILABLE => "fetch came before the high watermark was known",
                    _ => "fetch met an unknown partition",
                });
                self.router.forget(cursor.key.topic, cursor.key.partition);
                self.router.refresh(core);
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                // A consumer asks for what it saw the end of, or for what was acknowledged; a leader that is none any more may not
                // have that.
                let owes = core.judge_of_cluster.as_ref().is_some_and(|judge| {
                    let newest = judge.placed(cursor.key).map(|placed| placed.leader_epoch);
                    !judge.is_void(cursor.key) && lead.map(|lead| lead.epoch) == newest
                });
                if owes && topic.existence == Existence::Exists {
                    let story = format_args!("{} {}: {} is out of range at {lead:?}", topic.name, cursor.key, cursor.position);
                    core.violate(Invariant::RecordsStay, story);
                }
                core.mark("fetch out of range");
                self.cursors[place].position = 0;
            }
            // Files go with a deleted topic, or a replica that moved, while they are being read.
            ErrorCode::KAFKA_STORAGE_ERROR => {
                core.mark("fetch met unreadable records");
                self.router.forget(cursor.key.topic, cursor.key.partition);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("fetch of {} {}: {other:?}", topic.name, cursor.key)),
        }
    }

    fn records(&mut self, core: &mut Core, topic: &Topic, place: usize, lead: Option<Lead>, data: PartitionData) {
        let cursor = self.cursors[place];
        if let Some(lead) = lead {
            self.stable.told(core, cursor.key, lead, data.last_stable_offset.0);
        }
        let isolation = self.habit.isolation;
        let wanted = Wanted { topic, key: cursor.key, position: cursor.position, isolation };
        // Deletions that are over leave nothing behind, also at the end of a compacted log.
        let has_nothing = data.records.as_ref().is_none_or(|records| records.is_empty());
        let end = cursor.until.filter(|_| has_nothing && topic.used_for == Use::Compacting).unwrap_or(0);
        let found = &mut self.found;
        let at = unfold(core, &mut self.scratch, &wanted, data, |_, read| {
            if isolation == Isolation::Committed {
                found.insert(read.value);
            }
        });
        let at = at.max(end);
        if at > cursor.position {
            self.cursors[place].position = at;
            let (name, partition) = (&topic.name, cursor.key.partition);
            core.note(format_args!("c{} reads {name}-{partition} {}..{at}", self.router.id, cursor.position));
        }
    }
}

/// What a consumer is like.
pub(super) fn habit(dice: &mut Dice) -> Habit {
    Habit {
        wait_ms: [0, 20, 500, 3000][dice.index(4)],
        partition_bytes_max: [1, 1000, 1 << 20][dice.index(3)],
        pause_us: dice.spread(5 * MS, SECOND),
        seek_one_in: [0, 30, 8][dice.index(3)],
        isolation: if dice.one_in(3) { Isolation::Committed } else { Isolation::Uncommitted },
    }
}
