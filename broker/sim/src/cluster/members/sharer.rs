//! A member of a share group (KIP-932): it is told which partitions to read, has a session with each of their leaders, is given
//! records and says what became of them: accepted, released, rejected, or nothing until the lock runs out.
//!
//! At the end of a run it accepts whatever it is given, until nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId};
use strandline_protocol::messages::share_acknowledge::{
    self, AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
};
use strandline_protocol::messages::share_fetch::{
    AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic, PartitionData, ShareFetchRequest, ShareFetchResponse,
};
use strandline_protocol::messages::share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strandline_protocol::records::{Batches, Scratch, open};

use super::worker::Diligence;
use crate::client::payload;
use crate::cluster::books::shared::Records;
use crate::cluster::router::{Heard, Posted, Router};
use crate::cluster::seats::{Office, is_moved};
use crate::core::{ClientEvent, Core, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::history::{PartitionKey, Seen};
use crate::invariants::Invariant;

const OUT: i32 = 0;
const LEAVES: i32 = -1;
/// The epoch that opens a session.
const OPENS: i32 = 0;
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// What is said of records, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept = 1,
    Release = 2,
    Reject = 3,
}

/// Records that it has, from whom, and until when it works on them.
#[derive(Clone, Copy, Debug)]
struct Held {
    key: PartitionKey,
    first: i64,
    last: i64,
    from: MachineId,
    until_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    key: PartitionKey,
    first: i64,
    last: i64,
    verdict: Verdict,
}

#[derive(Clone, Debug)]
struct UnderWay {
    posted: Posted,
    sent_us: u64,
    said: Vec<Said>,
    fetches: bool,
    /// Partitions that this broker led when it was asked.
    led: BTreeSet<PartitionKey>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    epoch: i32,
    places: BTreeSet<PartitionKey>,
    under_way: Option<UnderWay>,
}

pub(crate) struct Sharer {
    router: Router,
    dice: Dice,
    group: GroupId,
    row: usize,
    diligence: Diligence,
    beat_us: u64,
    member: String,
    epoch: i32,
    beat: Option<Posted>,
    beat_due_us: u64,
    owned: BTreeSet<PartitionKey>,
    sessions: BTreeMap<MachineId, Session>,
    held: Vec<Held>,
    away_until_us: u64,
    scratch: Scratch,
}

impl Sharer {
    pub(in crate::cluster) fn new(
        router: Router,
        mut dice: Dice,
        group: &str,
        row: usize,
        diligence: Diligence,
        beat_us: u64,
    ) -> Self {
        let member = format!("sharer-{:016x}", dice.roll());
        Self {
            router,
            dice,
            group: GroupId::from(group),
            row,
            diligence,
            beat_us,
            member,
            epoch: OUT,
            beat: None,
            beat_due_us: 0,
            owned: BTreeSet::new(),
            sessions: BTreeMap::new(),
            held: Vec::new(),
            away_until_us: 0,
            scratch: Scratch::default(),
        }
    }

    pub(crate) fn start(&mut self, core: &mut Core) {
        let delay_us = self.dice.below(2 * SECOND);
        self.router.turn_after(core, delay_us);
    }

    /// It is in, and nothing that it said is on its way.
    pub(in crate::cluster) fn is_settled(&self, core: &Core) -> bool {
        if core.topics.current(self.row).is_none() {
            // Nobody made the topic in time.
            return true;
        }
        let speaks = self.sessions.values().any(|session| session.under_way.as_ref().is_some_and(|way| !way.said.is_empty()));
        self.epoch > OUT && self.held.is_empty() && !speaks
    }

    pub(crate) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => self.turn(core),
            Heard::Lost(machine) => self.lost(core, machine),
            Heard::Reply(posted, response) => match *response {
                Response::ShareGroupHeartbeat(response) => self.told(core, posted, &response),
                Response::ShareFetch(response) => self.fetched(core, posted, response),
                Response::ShareAcknowledge(response) => self.acknowledged(core, posted, &response),
                _ => {}
            },
            Heard::Metadata | Heard::Nothing => {}
        }
    }

    /// Its session goes with the connection, and what it had of that broker.
    fn lost(&mut self, core: &mut Core, machine: MachineId) {
        self.beat.take_if(|posted| posted.to == machine);
        self.end_session(core, machine);
    }

    fn end_session(&mut self, core: &mut Core, machine: MachineId) {
        self.held.retain(|held| held.from != machine);
        let Some(session) = self.sessions.remove(&machine) else { return };
        for key in &session.places {
            self.router.forget(key.topic, key.partition);
        }
        if let Some(under_way) = session.under_way {
            self.in_doubt(core, &under_way);
        }
    }

    /// What was asked is not answered.
    fn in_doubt(&self, core: &mut Core, under_way: &UnderWay) {
        for said in under_way.said.iter().filter(|said| said.verdict != Verdict::Release) {
            core.books.shared.perhaps(&self.records(said.key, said.first, said.last));
        }
        if under_way.fetches {
            core.books.shared.lost(self.group.as_str());
        }
    }

    fn records(&self, key: PartitionKey, first: i64, last: i64) -> Records<'_> {
        Records { group: self.group.as_str(), member: &self.member, key, first, last }
    }

    fn out(&mut self, core: &mut Core) {
        self.epoch = OUT;
        self.owned.clear();
        let machines: Vec<MachineId> = self.sessions.keys().copied().collect();
        machines.into_iter().for_each(|machine| self.end_session(core, machine));
        self.beat_due_us = core.now_us;
    }

    fn turn(&mut self, core: &mut Core) {
        let pause_us = self.dice.spread(self.diligence.pause_us / 4, self.diligence.pause_us);
        self.router.turn_after(core, if core.draining { pause_us.min(50 * MS) } else { pause_us });
        if core.now_us < self.away_until_us && !core.draining {
            return;
        }
        if !core.draining && self.diligence.dies_one_in > 0 && self.dice.one_in(self.diligence.dies_one_in) {
            core.note(format_args!("c{} dies", self.router.id));
            core.mark("member died");
            self.router.crash(core);
            self.beat = None;
            self.out(core);
            self.member = format!("sharer-{:016x}", self.dice.roll());
            self.away_until_us = core.now_us + self.dice.spread(50 * MS, 3 * SECOND);
            return;
        }
        self.beat(core);
        self.read(core);
    }

    fn beat(&mut self, core: &mut Core) {
        if self.beat.is_some() || core.now_us < self.beat_due_us {
            return;
        }
        let Some(topic) = core.topics.current(self.row).and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let Some(to) = self.router.seat(core, Office::Group, self.group.as_str()) else { return };
        let leaves = !core.draining
            && self.epoch > OUT
            && self.diligence.leaves_one_in > 0
            && self.dice.one_in(self.diligence.leaves_one_in);
        let request = ShareGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: if leaves { LEAVES } else { self.epoch },
            subscribed_topic_names: (self.epoch == OUT || self.dice.one_in(3)).then(|| vec![topic.name.clone()]),
            ..ShareGroupHeartbeatRequest::default()
        };
        let version = self.router.version(core, ApiKey::ShareGroupHeartbeat, 1);
        self.beat = Some(self.router.post(core, to, version, &request.into()));
        self.beat_due_us = core.now_us + self.beat_us;
        if leaves {
            core.mark("member left");
            self.out(core);
            self.beat = None;
            self.away_until_us = core.now_us + self.dice.spread(50 * MS, 3 * SECOND);
        }
    }

    fn told(&mut self, core: &mut Core, posted: Posted, response: &ShareGroupHeartbeatResponse) {
        if self.beat.take_if(|beat| *beat == posted).is_none() {
            return;
        }
        match response.error_code {
            ErrorCode::NONE => {
                self.epoch = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    let lists = assignment.topic_partitions.iter();
                    let key = |topic: TopicId, partition: &i32| PartitionKey { topic, partition: *partition };
                    self.owned = lists.flat_map(|list| list.partitions.iter().map(|index| key(list.topic_id, index))).collect();
                    core.note(format_args!("c{} {} shares {:?}", self.router.id, self.member, self.owned));
                }
                if self.owned.is_empty() {
                    self.beat_due_us = core.now_us + 300 * MS;
                }
            }
            code if is_moved(code) => {
                self.router.unseat(Office::Group, self.group.as_str());
                self.beat_due_us = core.now_us + 100 * MS;
            }
            ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND => {
                core.mark("member is none any more");
                self.out(core);
            }
            // The feature is not known everywhere yet.
            ErrorCode::UNSUPPORTED_VERSION => self.beat_due_us = core.now_us + 200 * MS,
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a member of {}", self.group)),
        }
    }

    /// Asks every leader that it has something to ask.
    fn read(&mut self, core: &mut Core) {
        let mut wanted: BTreeMap<MachineId, BTreeSet<PartitionKey>> = BTreeMap::new();
        for key in &self.owned {
            match self.router.lead(key.topic, key.partition) {
                Some(lead) => drop(wanted.entry(lead.machine).or_default().insert(*key)),
                None => self.router.refresh(core),
            }
        }
        // With whom it reads nothing any more it still may have something to say.
        let known: Vec<MachineId> = self.sessions.keys().copied().collect();
        for machine in known {
            wanted.entry(machine).or_default();
        }
        for (to, places) in wanted {
            if self.sessions.entry(to).or_default().under_way.is_none() {
                self.ask(core, to, places);
            }
        }
    }

    fn ask(&mut self, core: &mut Core, to: MachineId, places: BTreeSet<PartitionKey>) {
        let said = self.say(core, to);
        let Some(session) = self.sessions.get_mut(&to) else { return };
        let opens = session.epoch == OPENS;
        if places.is_empty() && session.places.is_empty() && said.is_empty() {
            return;
        }
        let judge = core.judge_of_cluster.as_ref();
        let leads = |key: &&PartitionKey| judge.is_some_and(|judge| judge.leads_now(**key, to));
        let led = places.iter().filter(leads).copied().collect();
        let only_speaks = !opens && !said.is_empty() && self.dice.one_in(3);
        let request = if only_speaks {
            speaking(&self.group, &self.member, session.epoch, &said)
        } else {
            let added: BTreeSet<PartitionKey> = places.difference(&session.places).copied().collect();
            let forgotten: Vec<PartitionKey> = session.places.difference(&places).copied().collect();
            session.places = places;
            let request = fetching(&self.group, &self.member, session.epoch, &added, &forgotten, &said);
            ShareFetchRequest {
                max_wait_ms: [0, 50, 300][self.dice.index(3)],
                max_records: i32::try_from(self.dice.between(1, 8)).unwrap_or(1),
                share_acquire_mode: i8::from(self.dice.one_in(2)),
                ..request
            }
            .into()
        };
        session.epoch += 1;
        let version = self.router.version(core, request.key(), 1);
        let posted = self.router.post(core, to, version, &request);
        let under_way = UnderWay { posted, sent_us: core.now_us, said, fetches: !only_speaks, led };
        if let Some(session) = self.sessions.get_mut(&to) {
            session.under_way = Some(under_way);
        }
    }

    /// What it has to say to a broker now, in order.
    fn say(&mut self, core: &Core, to: MachineId) -> Vec<Said> {
        let session = self.sessions.get(&to);
        if session.is_none_or(|session| session.epoch == OPENS) {
            return Vec::new();
        }
        let is_due = |held: &Held| held.from == to && (core.draining || held.until_us <= core.now_us);
        let (due, kept): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held).into_iter().partition(is_due);
        self.held = kept;
        let mut said = Vec::new();
        for held in due {
            let verdict = match self.dice.below(20) {
                _ if core.draining => Verdict::Accept,
                0 => Verdict::Reject,
                1 | 2 => Verdict::Release,
                // It forgets them: the lock runs out.
                3 => continue,
                _ => Verdict::Accept,
            };
            said.push(Said { key: held.key, first: held.first, last: held.last, verdict });
        }
        said.sort_by_key(|said| (said.key, said.first));
        said
    }

    fn take(&mut self, posted: Posted) -> Option<UnderWay> {
        let session = self.sessions.get_mut(&posted.to)?;
        session.under_way.take_if(|under_way| under_way.posted == posted)
    }

    /// Whether a session goes on.
    fn goes_on(&mut self, core: &mut Core, to: MachineId, code: ErrorCode) -> bool {
        match code {
            ErrorCode::NONE => return true,
            ErrorCode::SHARE_SESSION_NOT_FOUND
            | ErrorCode::INVALID_SHARE_SESSION_EPOCH
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::SHARE_SESSION_LIMIT_REACHED => core.mark("share session lost"),
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a session of {}", self.group)),
        }
        self.end_session(core, to);
        false
    }

    fn acknowledged(&mut self, core: &mut Core, posted: Posted, response: &ShareAcknowledgeResponse) {
        let Some(under_way) = self.take(posted) else { return };
        if !self.goes_on(core, posted.to, response.error_code) {
            return;
        }
        let codes = response.responses.iter().flat_map(|topic| {
            topic.partitions.iter().map(|data| {
                let key = PartitionKey { topic: topic.topic_id, partition: data.partition_index };
                (key, data.error_code)
            })
        });
        let codes: BTreeMap<PartitionKey, ErrorCode> = codes.collect();
        self.counted(core, &under_way, &codes);
    }

    /// What was said counts, or does not.
    fn counted(&mut self, core: &mut Core, under_way: &UnderWay, codes: &BTreeMap<PartitionKey, ErrorCode>) {
        for said in under_way.said.iter().filter(|said| said.verdict != Verdict::Release) {
            let records =
                Records { group: self.group.as_str(), member: &self.member, key: said.key, first: said.first, last: said.last };
            let code = codes.get(&said.key);
            core.note(format_args!("c{} said {said:?}: {code:?}", self.router.id));
            match code {
                Some(&ErrorCode::NONE) => {
                    core.mark("shared records acknowledged");
                    core.books.shared.over(&records, core.now_us);
                }
                // It had them no more.
                Some(&ErrorCode::INVALID_RECORD_STATE) => core.mark("shared records came back too late"),
                Some(_) => core.books.shared.perhaps(&records),
                None => core.violate(Invariant::AnswersAsAsked, format_args!("nothing of {said:?} in {}", self.group)),
            }
        }
    }

    fn fetched(&mut self, core: &mut Core, posted: Posted, response: ShareFetchResponse) {
        let Some(under_way) = self.take(posted) else { return };
        if !self.goes_on(core, posted.to, response.error_code) {
            return;
        }
        let mut codes = BTreeMap::new();
        for topic in response.responses {
            for data in topic.partitions {
                let key = PartitionKey { topic: topic.topic_id, partition: data.partition_index };
                codes.insert(key, data.acknowledge_error_code);
                self.partition(core, &under_way, key, data);
            }
        }
        self.counted(core, &under_way, &codes);
    }

    fn partition(&mut self, core: &mut Core, under_way: &UnderWay, key: PartitionKey, data: PartitionData) {
        match data.error_code {
            ErrorCode::NONE => {}
            ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::KAFKA_STORAGE_ERROR => {
                core.mark("shared partition could not be read");
                // It stays in the session until the broker is told to forget it: else it goes on saying so for ever.
                self.held.retain(|held| held.key != key);
                return self.router.forget(key.topic, key.partition);
            }
            other => return core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for {key} of {}", self.group)),
        }
        let from = under_way.posted.to;
        let leads = core.judge_of_cluster.as_ref().is_some_and(|judge| judge.leads_now(key, from));
        let read = self.contents(core, key, &data);
        for acquired in &data.acquired_records {
            let (first, last) = (acquired.first_offset.0, acquired.last_offset.0);
            core.mark("shared records given");
            let (id, count) = (self.router.id, acquired.delivery_count);
            core.note(format_args!("c{id} is given {key} {first} to {last} by m{from}, delivery {count}"));
            let records = self.records(key, first, last);
            // What a leader of the past gives is given in vain: see `books`.
            let asked_us = (leads && under_way.led.contains(&key)).then_some(under_way.sent_us);
            if let Err(story) = core.books.shared.given(&records, acquired.delivery_count, asked_us) {
                core.violate(Invariant::SharedOnce, format_args!("{}: {story}", self.group));
            }
            if let Some(missing) = (first..=last).find(|offset| !read.contains(offset)) {
                let story = format_args!("{}: {key} {missing} was given without the record", self.group);
                core.violate(Invariant::AnswersAsAsked, story);
            }
            let until_us = core.now_us + self.dice.spread(MS, 2 * SECOND);
            self.held.push(Held { key, first, last, from, until_us });
        }
    }

    /// The offsets of the records that came, noted for the history.
    fn contents(&mut self, core: &mut Core, key: PartitionKey, data: &PartitionData) -> BTreeSet<i64> {
        let mut offsets = BTreeSet::new();
        let bytes = data.records.clone().into_bytes();
        for batch in Batches::new(&bytes).flatten() {
            let Ok((header, records)) = open(batch.bytes, DECOMPRESSED_BYTES_MAX, &mut self.scratch) else {
                core.violate(Invariant::DamageIsNotServed, format_args!("{key} in a share fetch"));
                return offsets;
            };
            for record in records.flatten() {
                let offset = header.base_offset + i64::from(record.offset_delta);
                let Some(read) = payload::read(&header, &record) else { continue };
                let (value, content, timestamp_ms) = (read.value, read.content, read.timestamp_ms);
                let judgement = core.history.see(Seen { partition: key, offset, value, content, timestamp_ms });
                core.judge(judgement);
                offsets.insert(offset);
            }
        }
        offsets
    }
}

/// Everything of partitions, under their topics.
fn lists<T>(items: impl Iterator<Item = (PartitionKey, T)>) -> Vec<(TopicId, Vec<(i32, T)>)> {
    let mut topics: Vec<(TopicId, Vec<(i32, T)>)> = Vec::new();
    for (key, item) in items {
        match topics.last_mut().filter(|(topic, _)| *topic == key.topic) {
            Some((_, list)) => list.push((key.partition, item)),
            None => topics.push((key.topic, vec![(key.partition, item)])),
        }
    }
    topics
}

/// What is said, by partition.
fn batches(said: &[Said]) -> BTreeMap<PartitionKey, Vec<AcknowledgementBatch>> {
    let mut batches: BTreeMap<PartitionKey, Vec<AcknowledgementBatch>> = BTreeMap::new();
    for said in said {
        batches.entry(said.key).or_default().push(AcknowledgementBatch {
            first_offset: Offset(said.first),
            last_offset: Offset(said.last),
            acknowledge_types: vec![said.verdict as i8],
        });
    }
    batches
}

fn fetching(
    group: &GroupId,
    member: &str,
    epoch: i32,
    added: &BTreeSet<PartitionKey>,
    forgotten: &[PartitionKey],
    said: &[Said],
) -> ShareFetchRequest {
    let mut batches = batches(said);
    for key in added {
        batches.entry(*key).or_default();
    }
    let partition = |(partition_index, acknowledgement_batches)| FetchPartition {
        partition_index,
        acknowledgement_batches,
        ..Default::default()
    };
    let topic = |(topic_id, list): (TopicId, Vec<(i32, Vec<AcknowledgementBatch>)>)| FetchTopic {
        topic_id,
        partitions: list.into_iter().map(partition).collect(),
    };
    let gone = |(topic_id, list): (TopicId, Vec<(i32, ())>)| ForgottenTopic {
        topic_id,
        partitions: list.into_iter().map(|(partition, ())| partition).collect(),
    };
    ShareFetchRequest {
        group_id: Some(group.clone()),
        member_id: Some(member.to_owned()),
        share_session_epoch: epoch,
        min_bytes: 1,
        max_bytes: 4000,
        batch_size: 4,
        topics: lists(batches.into_iter()).into_iter().map(topic).collect(),
        forgotten_topics_data: lists(forgotten.iter().map(|key| (*key, ()))).into_iter().map(gone).collect(),
        ..ShareFetchRequest::default()
    }
}

fn speaking(group: &GroupId, member: &str, epoch: i32, said: &[Said]) -> Request {
    let batch = |batch: AcknowledgementBatch| share_acknowledge::AcknowledgementBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        acknowledge_types: batch.acknowledge_types,
    };
    let partition = |(partition_index, list): (i32, Vec<AcknowledgementBatch>)| AcknowledgePartition {
        partition_index,
        acknowledgement_batches: list.into_iter().map(batch).collect(),
    };
    let topic = |(topic_id, list): (TopicId, Vec<(i32, Vec<AcknowledgementBatch>)>)| AcknowledgeTopic {
        topic_id,
        partitions: list.into_iter().map(partition).collect(),
    };
    ShareAcknowledgeRequest {
        group_id: Some(group.clone()),
        member_id: Some(member.to_owned()),
        share_session_epoch: epoch,
        topics: lists(batches(said).into_iter()).into_iter().map(topic).collect(),
        ..ShareAcknowledgeRequest::default()
    }
    .into()
}
