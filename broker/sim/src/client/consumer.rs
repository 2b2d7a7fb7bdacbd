//! A consumer: reads partitions from anywhere, with or without a fetch session, by name or by id, waiting or not, and
//! tells the history what it was given. It compares checksums, expects the very record that it asked for, and no gap.

use std::collections::BTreeMap;

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicId, TopicName};
use strandline_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData,
};
use strandline_protocol::records::{Batches, Scratch, crc32c, open, position};
use strandline_protocol::wire::Records;

use super::link::{Link, Ticket};
use super::payload;
use crate::core::{ClientEvent, Core, MS, SECOND};
use crate::dice::Dice;
use crate::flaw::Flaw;
use crate::history::{PartitionKey, Seen};
use crate::invariants::Invariant;
use crate::topics::{Existence, Promise, Topic, Use};

/// Bytes that the records of one batch may unfold to; batches of the simulation are far smaller.
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// How a consumer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Keeps a fetch session.
    pub session: bool,
    pub committed_only: bool,
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub partition_bytes_max: i32,
    pub wait_ms: i32,
    pub pause_us: u64,
    /// Once in so many fetches it goes elsewhere; 0 for never.
    pub seek_one_in: u64,
}

/// A place in the list of topics, and a partition.
type Target = (usize, i32);

#[derive(Clone, Copy, Debug)]
struct Cursor {
    key: PartitionKey,
    /// The record wanted next.
    position: i64,
    /// What the session was told.
    told: Option<i64>,
    log_start: i64,
    high_watermark: i64,
}

/// What the broker remembers of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    id: i32,
    epoch: i32,
}

pub struct Consumer {
    link: Link,
    dice: Dice,
    habit: Habit,
    version: i16,
    cursors: BTreeMap<Target, Cursor>,
    forgotten: Vec<Target>,
    session: Session,
    under_way: Option<Ticket>,
    /// Reads everything there is to the end, and nothing else.
    audits: bool,
    scratch: Scratch,
}

impl Consumer {
    pub fn new(link: Link, dice: Dice, habit: Habit) -> Self {
        Self {
            link,
            dice,
            habit,
            version: 0,
            cursors: BTreeMap::new(),
            forgotten: Vec::new(),
            session: Session { id: 0, epoch: 0 },
            under_way: None,
            audits: false,
            scratch: Scratch::default(),
        }
    }

    /// Reads these from their log starts to their high watermarks.
    pub fn audit(&mut self, core: &mut Core, from: &[(usize, i32, i64)]) {
        self.audits = true;
        self.cursors = BTreeMap::new();
        for (topic, partition, log_start) in from {
            if let Some(known) = core.topics.get(*topic) {
                self.cursors.insert((*topic, *partition), cursor(known.key(*partition), *log_start));
            }
        }
        self.restart(core);
        self.link.turn_after(core, 0);
    }

    /// Where the reading of a partition stands: the next record, and the high watermark told last.
    pub fn reached(&self, topic: usize, partition: i32) -> Option<(i64, i64)> {
        self.cursors.get(&(topic, partition)).map(|cursor| (cursor.position, cursor.high_watermark))
    }

    pub fn start(&mut self, core: &mut Core) {
        self.restart(core);
        let delay_us = self.dice.below(SECOND);
        self.link.turn_after(core, delay_us);
    }

    pub fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        if self.link.breaks(core, &event) {
            self.restart(core);
            let pause_us = self.dice.between(50 * MS, 500 * MS);
            return self.link.turn_after(core, pause_us);
        }
        if self.link.is_turn(&event) {
            return self.turn(core);
        }
        if let ClientEvent::Reply { connection, correlation, response } = event
            && let Some(ticket) = self.link.receive(connection, correlation)
            && self.under_way == Some(ticket)
            && let Response::Fetch(response) = *response
        {
            self.under_way = None;
            let before: i64 = self.cursors.values().map(|cursor| cursor.position).sum();
            self.fetched(core, response);
            let idle = before == self.cursors.values().map(|cursor| cursor.position).sum::<i64>();
            let most_us = if idle { self.habit.pause_us * 4 } else { self.habit.pause_us };
            let pause_us = if !idle && self.dice.one_in(3) { 0 } else { self.dice.below(most_us) };
            self.link.turn_after(core, pause_us);
        }
    }

    /// A new connection knows no session, and speaks another version.
    fn restart(&mut self, core: &mut Core) {
        self.under_way = None;
        self.session = Session { id: 0, epoch: 0 };
        self.cursors.values_mut().for_each(|cursor| cursor.told = None);
        self.forgotten.clear();
        let churning = core.topics.iter().any(|topic| topic.used_for == Use::Churning);
        let least = if churning && self.dice.one_in(2) { 13 } else { 4 };
        self.version = self.link.version(core, ApiKey::Fetch, least);
    }

    fn turn(&mut self, core: &mut Core) {
        if self.under_way.is_some() {
            return;
        }
        if !self.audits {
            self.choose(core);
        }
        if self.cursors.is_empty() {
            return self.link.turn_after(core, 300 * MS);
        }
        let request = self.request(core);
        self.under_way = Some(self.link.send(core, self.version, &request.into()));
    }

    /// Goes over what is read: topics come and go, and now and then another place is looked at.
    fn choose(&mut self, core: &mut Core) {
        let exists = |topic: usize| core.topics.get(topic).is_some_and(|topic| topic.existence == Existence::Exists);
        let gone: Vec<Target> = self.cursors.keys().filter(|(topic, _)| !exists(*topic)).copied().collect();
        for target in gone {
            self.leave(target);
        }
        if self.cursors.is_empty() || self.dice.one_in(40) {
            let by_name = self.version < 13;
            let known: Vec<(usize, PartitionKey, i32)> = core
                .topics
                .existing()
                .filter(|(_, topic)| !by_name || topic.used_for != Use::Churning)
                .flat_map(|(place, topic)| (0..topic.partitions).map(move |partition| (place, topic.key(partition), partition)))
                .collect();
            if let Some((place, key, partition)) = self.dice.pick(&known).copied() {
                let from = if self.dice.one_in(2) { 0 } else { core.history.acknowledged_end(key) };
                self.cursors.entry((place, partition)).or_insert_with(|| cursor(key, from));
            }
        }
        if self.cursors.len() > 1 && self.dice.one_in(60) {
            let targets: Vec<Target> = self.cursors.keys().copied().collect();
            if let Some(target) = self.dice.pick(&targets) {
                self.leave(*target);
            }
        }
        if self.habit.seek_one_in > 0 && self.dice.one_in(self.habit.seek_one_in) {
            let place = self.dice.index(self.cursors.len());
            if let Some(cursor) = self.cursors.values_mut().nth(place) {
                let span = u64::try_from(cursor.high_watermark - cursor.log_start).unwrap_or(0);
                cursor.position = cursor.log_start + i64::try_from(self.dice.below(span + 1)).unwrap_or(0);
            }
        }
    }

    fn leave(&mut self, target: Target) {
        if let Some(cursor) = self.cursors.remove(&target)
            && cursor.told.is_some()
        {
            self.forgotten.push(target);
        }
    }

    fn request(&mut self, core: &mut Core) -> FetchRequest {
        let has_session = self.habit.session && self.version >= 7;
        let incremental = has_session && self.session.epoch > 0;
        let mut topics: BTreeMap<usize, Vec<FetchPartition>> = BTreeMap::new();
        for ((topic, partition), cursor) in &mut self.cursors {
            if incremental && cursor.told == Some(cursor.position) {
                continue;
            }
            cursor.told = Some(cursor.position);
            topics.entry(*topic).or_default().push(FetchPartition {
                partition: *partition,
                fetch_offset: Offset(cursor.position),
                partition_max_bytes: self.habit.partition_bytes_max,
                ..FetchPartition::default()
            });
        }
        let named = |place: usize| {
            let topic = core.topics.get(place);
            let name = topic.map(|topic| topic.name.clone()).unwrap_or_default();
            let id = topic.map_or(TopicId::ZERO, |topic| topic.id);
            if self.version >= 13 { (TopicName::default(), id) } else { (name, TopicId::ZERO) }
        };
        let topics = topics.into_iter().map(|(place, partitions)| {
            let (topic, topic_id) = named(place);
            FetchTopic { topic, topic_id, partitions }
        });
        let forgotten = if incremental { std::mem::take(&mut self.forgotten) } else { Vec::new() };
        let forgotten_topics_data = forgotten.into_iter().map(|(place, partition)| {
            let (topic, topic_id) = named(place);
            ForgottenTopic { topic, topic_id, partitions: vec![partition] }
        });
        FetchRequest {
            max_wait_ms: if self.audits { 0 } else { self.habit.wait_ms },
            min_bytes: self.habit.bytes_min,
            max_bytes: self.habit.bytes_max,
            isolation_level: i8::from(self.habit.committed_only),
            session_id: if has_session { self.session.id } else { 0 },
            session_epoch: if has_session { self.session.epoch } else { -1 },
            topics: topics.collect(),
            forgotten_topics_data: forgotten_topics_data.collect(),
            ..FetchRequest::default()
        }
    }

    fn fetched(&mut self, core: &mut Core, response: FetchResponse) {
        match response.error_code {
            ErrorCode::NONE => {}
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND | ErrorCode::INVALID_FETCH_SESSION_EPOCH => {
                core.mark("fetch session was lost");
                return self.restart_session();
            }
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => return self.restart_session(),
            other => return core.violate(Invariant::AnswersAsAsked, format_args!("fetch as a whole: {other:?}")),
        }
        if self.habit.session && response.session_id != 0 {
            let epoch = if self.session.epoch == i32::MAX { 1 } else { self.session.epoch + 1 };
            self.session = Session { id: response.session_id, epoch };
        } else {
            self.restart_session();
        }
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        // Who gets nothing of a partition in an answer that is not empty may get it with the next one.
        let is_empty = partitions.all(|data| data.records.as_ref().is_none_or(Records::is_empty));
        for topic in response.responses {
            for data in topic.partitions {
                let target = self.cursors.keys().copied().find(|(place, partition)| {
                    *partition == data.partition_index
                        && core.topics.get(*place).is_some_and(|known| {
                            if self.version >= 13 { known.id == topic.topic_id } else { known.name == topic.topic }
                        })
                });
                // A session may still tell of a partition that was left a moment ago.
                let Some(target) = target else { continue };
                self.partition(core, target, data, is_empty);
            }
        }
    }

    fn restart_session(&mut self) {
        self.session = Session { id: 0, epoch: 0 };
        self.cursors.values_mut().for_each(|cursor| cursor.told = None);
    }

    fn partition(&mut self, core: &mut Core, target: Target, data: PartitionData, is_empty: bool) {
        let Some(topic) = core.topics.get(target.0).cloned() else { return };
        if let Some(cursor) = self.cursors.get(&target) {
            core.check_refusal(cursor.key, cursor.position, &data);
        }
        match data.error_code {
            ErrorCode::NONE => self.records(core, &topic, target, data, is_empty),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(core, &topic, target, &data),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                if topic.existence == Existence::Exists {
                    let story = format_args!("{:?} for {}-{}, which exists", data.error_code, topic.name, target.1);
                    core.violate(Invariant::AnswersAsAsked, story);
                }
                self.leave(target);
            }
            ErrorCode::KAFKA_STORAGE_ERROR => {
                let explained =
                    core.reads_may_fail || matches!(topic.used_for, Use::Expiring | Use::DeletingRecords | Use::Churning);
                if !explained {
                    core.violate(Invariant::AnswersAsAsked, format_args!("{}-{} cannot be read", topic.name, target.1));
                }
                core.mark("fetch met unreadable records");
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("fetch of {}-{}: {other:?}", topic.name, target.1)),
        }
    }

    fn out_of_range(&mut self, core: &mut Core, topic: &Topic, target: Target, data: &PartitionData) {
        let Some(cursor) = self.cursors.get_mut(&target) else { return };
        let (start, end) = (data.log_start_offset.0, data.high_watermark.0);
        // Below version 5 the log start is not told.
        let below = cursor.position < start || start < 0;
        let above = cursor.position > end;
        if !(below || above) || (above && topic.promise == Promise::Fsync) {
            let story = format_args!("{}-{} offset {} is out of {start}..{end}", topic.name, target.1, cursor.position);
            core.violate(Invariant::AnswersAsAsked, story);
        }
        core.mark("fetch out of range");
        cursor.position = if above || start < 0 { end } else { start };
    }

    fn records(&mut self, core: &mut Core, topic: &Topic, target: Target, data: PartitionData, is_empty: bool) {
        let Some(cursor) = self.cursors.get_mut(&target) else { return };
        cursor.high_watermark = data.high_watermark.0;
        if data.log_start_offset.0 >= 0 {
            cursor.log_start = data.log_start_offset.0;
        }
        let bytes = data.records.unwrap_or_default().into_bytes();
        let wanted = cursor.position;
        let bound = if self.habit.committed_only { data.last_stable_offset.0 } else { data.high_watermark.0 };
        for batch in Batches::new(&bytes) {
            let Ok(batch) = batch else {
                core.damage_read = true;
                return;
            };
            let checked = core.flaw != Some(Flaw::UncheckedReads);
            if checked && crc32c(&batch.bytes[position::ATTRIBUTES..]) != batch.header.crc {
                core.note(format_args!("c reads {}-{} at {wanted}: bad checksum", topic.name, target.1));
                core.damage_read = true;
                return;
            }
            let Ok((header, records)) = open(batch.bytes, DECOMPRESSED_BYTES_MAX, &mut self.scratch) else {
                core.violate(Invariant::DamageIsNotServed, format_args!("{}-{} at {wanted}", topic.name, target.1));
                return;
            };
            for record in records {
                let Ok(record) = record else {
                    core.violate(Invariant::DamageIsNotServed, format_args!("{}-{} at {wanted}", topic.name, target.1));
                    return;
                };
                let offset = header.base_offset + i64::from(record.offset_delta);
                if offset < cursor.position {
                    continue;
                }
                if offset > cursor.position && topic.used_for == Use::Compacting {
                    cursor.position = offset;
                }
                if offset > cursor.position && core.reads_may_fail {
                    core.damage_read = true;
                    return;
                }
                if offset > cursor.position {
                    let story = format_args!("{}-{} gives {offset} for {}", topic.name, target.1, cursor.position);
                    return core.violate(Invariant::ReadsWithoutGap, story);
                }
                if offset >= bound {
                    let story = format_args!("{}-{} gives {offset}, readable to {bound}", topic.name, target.1);
                    return core.violate(Invariant::ReadsBelowHighWatermark, story);
                }
                let Some(read) = payload::read(&header, &record).filter(|read| read.timestamp_kept) else {
                    let story = format_args!("{}-{} at {offset} is no record of ours", topic.name, target.1);
                    return core.violate(Invariant::DamageIsNotServed, story);
                };
                let seen = Seen {
                    partition: cursor.key,
                    offset,
                    value: read.value,
                    content: read.content,
                    timestamp_ms: read.timestamp_ms,
                };
                let judgement = core.history.see(seen);
                core.judge(judgement);
                cursor.position += 1;
            }
            if topic.used_for == Use::Compacting {
                // What compaction took from the end of a batch is read too.
                cursor.position = cursor.position.max(header.next_offset());
            }
        }
        // Deletions that are over leave nothing behind, also at the end.
        if self.audits && topic.used_for == Use::Compacting && is_empty {
            cursor.position = cursor.position.max(cursor.high_watermark);
        }
        if cursor.position > wanted {
            core.note(format_args!("c{} reads {}-{} {wanted}..{}", self.link.id, topic.name, target.1, cursor.position));
        }
    }
}

fn cursor(key: PartitionKey, position: i64) -> Cursor {
    Cursor { key, position, told: None, log_start: 0, high_watermark: 0 }
}

/// What a consumer is like.
pub fn habit(dice: &mut Dice) -> Habit {
    Habit {
        session: dice.percent(60),
        committed_only: dice.one_in(3),
        bytes_min: [0, 1, 500, 100_000][dice.index(4)],
        bytes_max: [1, 3000, 1 << 20][dice.index(3)],
        partition_bytes_max: [1, 1000, 50_000, 1 << 20][dice.index(4)],
        wait_ms: [0, 20, 500, 5000][dice.index(4)],
        pause_us: dice.spread(5 * MS, SECOND),
        seek_one_in: [0, 30, 8][dice.index(3)],
    }
}

/// What reads everything at the end is like.
pub fn audit_habit(dice: &mut Dice) -> Habit {
    Habit {
        session: dice.one_in(2),
        bytes_min: 0,
        bytes_max: 8 << 20,
        partition_bytes_max: 1 << 20,
        pause_us: MS,
        seek_one_in: 0,
        ..habit(dice)
    }
}
