//! Writes in transactions what stands for what a worker consumed, and commits the group's offsets with it.
//!
//! A transaction: partitions join (clients of `transaction.version` 1 say so themselves), records are written to several partitions,
//! the group's offsets are committed, the transaction is ended. Whatever goes wrong ends it with an abort, and what it consumed is
//! consumed again; whoever is fenced, or dies, begins under a new epoch.
//!
//! Now and then a client of `transaction.version` 1 sends a batch when its transaction is over and the next one has not begun, to a
//! partition that was no part of it. Whoever takes that leaves it open for ever (KIP-890).

use std::collections::BTreeMap;

use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, ProducerEpoch, ProducerId, TransactionalId};
use strandline_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use strandline_protocol::messages::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use strandline_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use strandline_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use strandline_protocol::records::{ProducerStamp, Scratch};

use super::Pass;
use super::worker::by_topic;
use crate::client::payload::{Keys, Made, Recipe, make};
use crate::cluster::books::transactions::Fate;
use crate::cluster::router::{Posted, Router};
use crate::cluster::seats::{Office, is_moved};
use crate::core::{Core, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::history::{Delivery, PartitionKey};
use crate::invariants::Invariant;

/// A transaction consumes so many records at most.
const CONSUMED_MAX: usize = 12;
/// A transaction that did not come to its end within this is given up.
const PATIENCE_US: u64 = 4 * SECOND;

/// What a scribe is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// The `transaction.version` that it works by: 1 or 2.
    pub(crate) version: i16,
    /// Which row of the plan it writes to.
    pub(crate) row: usize,
    pub(crate) timeout_ms: i32,
    pub(crate) aborts_one_in: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

#[derive(Clone, Debug)]
struct Batch {
    key: PartitionKey,
    made: Made,
    posted: Option<Posted>,
    is_done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Writing,
    /// The group's partition joins.
    JoiningOffsets,
    Offsets,
    Ending {
        commits: bool,
    },
}

#[derive(Clone, Debug)]
struct Open {
    number: usize,
    stage: Stage,
    batches: Vec<Batch>,
    /// By partition: everything below is consumed.
    consumed: BTreeMap<PartitionKey, i64>,
    pass: Pass,
    begun_us: u64,
    wants_commit: bool,
    /// An end was asked for so many times.
    ends: u32,
    ended_us: u64,
}

/// What is sent behind the end of a transaction.
#[derive(Clone, Debug)]
struct Late {
    number: usize,
    batch: Batch,
}

pub(crate) struct Scribe {
    id: TransactionalId,
    group: GroupId,
    script: Script,
    identity: Option<Identity>,
    sequences: BTreeMap<PartitionKey, i32>,
    /// Consumed, and in no transaction yet.
    waiting: Vec<(PartitionKey, i64)>,
    open: Option<Open>,
    late: Option<Late>,
    /// The one request under way that is no Produce.
    asked: Option<Posted>,
    not_before_us: u64,
    session: u64,
    /// What was consumed is to be consumed again.
    undone: bool,
    doubts: bool,
    scratch: Scratch,
}

impl Scribe {
    pub(crate) fn new(id: &str, group: &str, script: Script) -> Self {
        Self {
            id: TransactionalId::from(id),
            group: GroupId::from(group),
            script,
            identity: None,
            sequences: BTreeMap::new(),
            waiting: Vec::new(),
            open: None,
            late: None,
            asked: None,
            not_before_us: 0,
            session: 0,
            undone: false,
            doubts: false,
            scratch: Scratch::default(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.late.is_none()
    }

    /// A transaction is open.
    pub(super) fn is_writing(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < 2 * CONSUMED_MAX
    }

    pub(super) fn consume(&mut self, key: PartitionKey, offset: i64) {
        self.waiting.push((key, offset));
    }

    /// A partition is somebody else's now.
    pub(super) fn forget(&mut self, key: PartitionKey) {
        self.waiting.retain(|(of, _)| *of != key);
        // It may be a member again by now, and commit in its new epoch what it consumed in another.
        let is_its = |open: &Open| open.consumed.contains_key(&key) && !matches!(open.stage, Stage::Ending { .. });
        if self.open.as_ref().is_some_and(is_its) {
            self.abort();
        }
    }

    pub(super) fn take_undone(&mut self) -> bool {
        std::mem::take(&mut self.undone)
    }

    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.doubts)
    }

    /// The process dies; what it had open the next one fences.
    pub(super) fn crash(&mut self, core: &mut Core) {
        self.begin_anew(core);
    }

    pub(super) fn lost(&mut self, core: &Core, machine: MachineId) {
        if self.asked.take_if(|asked| asked.to == machine).is_some() {
            // Without new epochs an end that is still on its way must not meet the next transaction.
            let pause_us = if self.script.version < 2 { 500 * MS } else { 20 * MS };
            self.not_before_us = core.now_us + pause_us;
        }
        if let Some(open) = &mut self.open {
            for batch in &mut open.batches {
                batch.posted.take_if(|posted| posted.to == machine);
            }
        }
        if let Some(late) = &mut self.late {
            late.batch.posted.take_if(|posted| posted.to == machine);
        }
    }

    /// Does what is next. `hurries`: its worker wants to give something back.
    pub(super) fn turn(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, hurries: bool, pass: Option<&Pass>) {
        if self.asked.is_some() || core.now_us < self.not_before_us {
            return;
        }
        if self.late.is_some() {
            return self.wait_for_late(core);
        }
        let Some(identity) = self.identity else { return self.init(core, router, dice) };
        if let Some(open) = &mut self.open {
            let is_over = core.now_us > open.begun_us + PATIENCE_US;
            if is_over && !matches!(open.stage, Stage::Ending { .. }) {
                core.mark("transaction took too long");
                open.stage = Stage::Ending { commits: false };
            }
            return self.go_on(core, router, dice, identity, pass);
        }
        let is_enough = self.waiting.len() >= CONSUMED_MAX || (!self.waiting.is_empty() && dice.one_in(3));
        if let Some(pass) = pass.filter(|_| is_enough && !hurries && !core.draining) {
            self.begin(core, dice, identity, pass.clone());
        }
    }

    fn init(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice) {
        let Some(to) = router.seat(core, Office::Transaction, self.id.as_str()) else { return };
        let version = router.version(core, ApiKey::InitProducerId, if dice.one_in(2) { 0 } else { 3 });
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: self.script.timeout_ms,
            ..InitProducerIdRequest::default()
        };
        self.asked = Some(router.post(core, to, version, &request.into()));
    }

    /// Begins a transaction over what waits.
    fn begin(&mut self, core: &mut Core, dice: &mut Dice, identity: Identity, pass: Pass) {
        let Some(sink) = core.topics.current(self.script.row).and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let count = self.waiting.len().min(CONSUMED_MAX);
        let taken: Vec<(PartitionKey, i64)> = self.waiting.drain(..count).collect();
        let number = core.books.transactions.begin();
        let mut consumed: BTreeMap<PartitionKey, i64> = BTreeMap::new();
        let mut parts: BTreeMap<i32, Vec<(PartitionKey, i64)>> = BTreeMap::new();
        for (key, offset) in taken {
            consumed.insert(key, offset + 1);
            let partition = i32::try_from(dice.index(sink.partitions.unsigned_abs() as usize)).unwrap_or(0);
            parts.entry(partition).or_default().push((key, offset));
        }
        let mut batches = Vec::new();
        for (partition, origins) in parts {
            let key = sink.key(partition);
            let sequence = self.sequences.get(&key).copied().unwrap_or(0);
            let recipe = Recipe {
                partition: key,
                session: session(&self.id, self.session),
                records: origins.len() as u64,
                timestamp_ms: core.wall_base_ms + i64::try_from(core.now_us / MS).unwrap_or(0),
                stamp: stamp(identity, sequence),
                delivery: Delivery::AtMostOnce,
                transactional: true,
                keys: Keys::Any,
            };
            let made = make(core, dice, &mut self.scratch, &recipe);
            self.sequences.insert(key, sequence + i32::try_from(made.values.len()).unwrap_or(0));
            for (value, origin) in made.values.iter().zip(origins) {
                core.books.transactions.writes(number, *value, self.group.as_str(), origin);
            }
            batches.push(Batch { key, made, posted: None, is_done: false });
        }
        core.note(format_args!("{} begins {number} in {identity:?}, consumes {consumed:?}", self.id));
        let stage = if self.script.version < 2 { Stage::Joining } else { Stage::Writing };
        let wants_commit = !dice.one_in(self.script.aborts_one_in);
        let begun_us = core.now_us;
        self.open = Some(Open { number, stage, batches, consumed, pass, begun_us, wants_commit, ends: 0, ended_us: 0 });
    }

    fn go_on(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, identity: Identity, pass: Option<&Pass>) {
        let Some(open) = &mut self.open else { return };
        let old = self.script.version < 2;
        if open.stage == Stage::Writing {
            if open.batches.iter().all(|batch| batch.is_done) {
                open.stage = if old { Stage::JoiningOffsets } else { Stage::Offsets };
            } else {
                return write(core, router, dice, &self.id, &mut open.batches, old);
            }
        }
        // Its worker's place in the group may have moved on; if it has none any more it tries by the one that it had.
        if let Some(pass) = pass.filter(|pass| pass.member == open.pass.member) {
            open.pass = pass.clone();
        }
        let (producer_id, producer_epoch) = (ProducerId(identity.id), ProducerEpoch(identity.epoch));
        let (key, least, most, request): (ApiKey, i16, i16, Request) = match open.stage {
            Stage::Joining => {
                let topics = by_topic(core, open.batches.iter().map(|batch| (batch.key, batch.key.partition)));
                let topic = |(_, name, partitions)| AddPartitionsToTxnTopic { name, partitions };
                let request = AddPartitionsToTxnRequest {
                    v3_and_below_transactional_id: self.id.clone(),
                    v3_and_below_producer_id: producer_id,
                    v3_and_below_producer_epoch: producer_epoch,
                    v3_and_below_topics: topics.into_iter().map(topic).collect(),
                    ..AddPartitionsToTxnRequest::default()
                };
                (ApiKey::AddPartitionsToTxn, 0, 3, request.into())
            }
            Stage::Writing => return,
            Stage::JoiningOffsets => {
                let request = AddOffsetsToTxnRequest {
                    transactional_id: self.id.clone(),
                    producer_id,
                    producer_epoch,
                    group_id: self.group.clone(),
                };
                (ApiKey::AddOffsetsToTxn, 0, 4, request.into())
            }
            Stage::Offsets => {
                let partition = |(key, offset): (&PartitionKey, &i64)| {
                    let partition = TxnOffsetCommitRequestPartition {
                        partition_index: key.partition,
                        committed_offset: Offset(*offset),
                        ..TxnOffsetCommitRequestPartition::default()
                    };
                    (*key, partition)
                };
                let topic = |(_, name, partitions)| TxnOffsetCommitRequestTopic { name, partitions };
                let request = TxnOffsetCommitRequest {
                    transactional_id: self.id.clone(),
                    group_id: self.group.clone(),
                    producer_id,
                    producer_epoch,
                    generation_id: open.pass.epoch,
                    member_id: open.pass.member.clone(),
                    topics: by_topic(core, open.consumed.iter().map(partition)).into_iter().map(topic).collect(),
                    ..TxnOffsetCommitRequest::default()
                };
                // Before version 3 there is no member to hold against the group.
                (ApiKey::TxnOffsetCommit, if old { 3 } else { 5 }, if old { 4 } else { 5 }, request.into())
            }
            Stage::Ending { commits } => {
                open.ends += 1;
                if open.ends == 1 {
                    // An answer that is lost came from the decision all the same: a later question only repeats it.
                    open.ended_us = core.now_us;
                }
                let request =
                    EndTxnRequest { transactional_id: self.id.clone(), producer_id, producer_epoch, committed: commits };
                (ApiKey::EndTxn, if old { 0 } else { 5 }, if old { 4 } else { 5 }, request.into())
            }
        };
        let (office, seat) = match open.stage {
            Stage::Offsets => (Office::Group, self.group.as_str()),
            _ => (Office::Transaction, self.id.as_str()),
        };
        let Some(to) = router.seat(core, office, seat) else { return };
        let version = router.version(core, key, least).min(most);
        self.asked = Some(router.post(core, to, version, &request));
    }

    pub(super) fn hear(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, posted: Posted, response: &Response) {
        if let Response::Produce(response) = response {
            return self.produced(core, router, posted, response);
        }
        if self.asked.take_if(|asked| *asked == posted).is_none() {
            return;
        }
        match response {
            Response::InitProducerId(response) => self.inited(core, router, response),
            Response::AddPartitionsToTxn(response) => {
                let topics = response.results_by_topic_v3_and_below.iter();
                let mut codes = topics.flat_map(|topic| &topic.results_by_partition).map(|result| result.partition_error_code);
                let code = codes.find(|code| *code != ErrorCode::NONE).unwrap_or(ErrorCode::NONE);
                self.stepped(core, router, code, Stage::Writing);
            }
            Response::AddOffsetsToTxn(response) => self.stepped(core, router, response.error_code, Stage::Offsets),
            Response::TxnOffsetCommit(response) => {
                let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|result| result.error_code);
                let code = codes.find(|code| *code != ErrorCode::NONE).unwrap_or(ErrorCode::NONE);
                let commits = self.open.as_ref().is_some_and(|open| open.wants_commit);
                self.stepped(core, router, code, Stage::Ending { commits });
            }
            Response::EndTxn(response) => self.ended(core, router, dice, response),
            _ => {}
        }
    }

    fn inited(&mut self, core: &mut Core, router: &mut Router, response: &InitProducerIdResponse) {
        match response.error_code {
            ErrorCode::NONE => {
                self.identity = Some(Identity { id: response.producer_id.0, epoch: response.producer_epoch.0 });
                self.sequences.clear();
                self.session += 1;
            }
            ErrorCode::CONCURRENT_TRANSACTIONS => self.not_before_us = core.now_us + 50 * MS,
            code if is_moved(code) => self.unseat(core, router, Office::Transaction),
            ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH => {}
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for {} to begin with", self.id)),
        }
    }

    fn unseat(&mut self, core: &Core, router: &mut Router, office: Office) {
        match office {
            Office::Group => router.unseat(office, self.group.as_str()),
            Office::Transaction => router.unseat(office, self.id.as_str()),
        }
        self.not_before_us = core.now_us + 50 * MS;
    }

    /// A step was answered.
    fn stepped(&mut self, core: &mut Core, router: &mut Router, code: ErrorCode, next: Stage) {
        let Some(open) = &mut self.open else { return };
        let office = if open.stage == Stage::Offsets { Office::Group } else { Office::Transaction };
        match code {
            // It was given up while this was asked.
            ErrorCode::NONE if matches!(open.stage, Stage::Ending { .. }) => {}
            ErrorCode::NONE => open.stage = next,
            ErrorCode::CONCURRENT_TRANSACTIONS => self.not_before_us = core.now_us + 30 * MS,
            code if is_moved(code) => self.unseat(core, router, office),
            // The coordinator of the transaction could not be asked, or knows less of topics than the client.
            ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::OPERATION_NOT_ATTEMPTED
            | ErrorCode::REQUEST_TIMED_OUT => self.not_before_us = core.now_us + 50 * MS,
            ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::GROUP_ID_NOT_FOUND => {
                core.mark("offsets of a transaction refused to whoever is no member");
                self.doubts = true;
                self.abort();
            }
            ErrorCode::TRANSACTION_ABORTABLE | ErrorCode::INVALID_TXN_STATE => self.abort(),
            ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
                core.mark("scribe fenced");
                self.begin_anew(core);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} in a transaction of {}", self.id)),
        }
    }

    /// Sends a batch to a partition that is no part of what has just ended, if there is one.
    fn send_late(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, ended: &[PartitionKey]) {
        let Some(identity) = self.identity else { return };
        let sink = core.topics.current(self.script.row).and_then(|topic| core.topics.get(topic)).cloned();
        let Some(sink) = sink else { return };
        let mut keys = (0..sink.partitions).map(|partition| sink.key(partition));
        let Some(key) = keys.find(|key| !ended.contains(key)) else { return };
        let recipe = Recipe {
            partition: key,
            session: session(&self.id, self.session),
            records: 1,
            timestamp_ms: core.wall_base_ms + i64::try_from(core.now_us / MS).unwrap_or(0),
            stamp: stamp(identity, self.sequences.get(&key).copied().unwrap_or(0)),
            delivery: Delivery::AtMostOnce,
            transactional: true,
            keys: Keys::Any,
        };
        let made = make(core, dice, &mut self.scratch, &recipe);
        let number = core.books.transactions.begin();
        made.values.iter().for_each(|value| core.books.transactions.writes(number, *value, self.group.as_str(), (key, -1)));
        let mut batches = [Batch { key, made, posted: None, is_done: false }];
        write(core, router, dice, &self.id, &mut batches, true);
        let [batch] = batches;
        self.late = Some(Late { number, batch });
    }

    /// Whatever became of it: the next transaction is of a new epoch.
    fn wait_for_late(&mut self, core: &mut Core) {
        if self.late.as_ref().is_some_and(|late| late.batch.posted.is_none()) {
            self.give_up_late(core);
            self.identity = None;
        }
    }

    fn give_up_late(&mut self, core: &mut Core) {
        let Some(late) = self.late.take() else { return };
        late.batch.made.values.iter().for_each(|value| core.history.give_up(*value));
        if let Err(story) = core.books.transactions.end(late.number, Fate::Aborted) {
            core.violate(Invariant::AbortedStaysUnseen, format_args!("{story}"));
        }
    }

    fn abort(&mut self) {
        if let Some(open) = &mut self.open {
            open.stage = Stage::Ending { commits: false };
        }
    }

    fn produced(&mut self, core: &mut Core, router: &mut Router, posted: Posted, response: &ProduceResponse) {
        if let Some(late) = self.late.as_mut().filter(|late| late.batch.posted == Some(posted)) {
            late.batch.posted = None;
            core.mark("batch behind the end of its transaction");
            let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
            if answers.any(|answer| answer.error_code == ErrorCode::NONE) {
                core.violate(Invariant::TransactionsWhole, format_args!("{}: a batch of no transaction is taken", self.id));
            }
            return;
        }
        let Some(open) = &mut self.open else { return };
        let Some(batch) = open.batches.iter_mut().find(|batch| batch.posted == Some(posted)) else { return };
        batch.posted = None;
        let answer = response.responses.iter().flat_map(|topic| &topic.partition_responses).next();
        let Some(answer) = answer.filter(|answer| answer.index == batch.key.partition) else {
            return core.violate(Invariant::AnswersAsAsked, format_args!("no answer for {} in {response:?}", batch.key));
        };
        match answer.error_code {
            ErrorCode::NONE => {
                batch.is_done = true;
                for (value, offset) in batch.made.values.iter().zip(answer.base_offset.0..) {
                    let judgement = core.history.acknowledge(*value, offset, core.now_us);
                    core.judge(judgement);
                }
            }
            ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::CONCURRENT_TRANSACTIONS => {
                router.forget(batch.key.topic, batch.key.partition);
                self.not_before_us = core.now_us + 30 * MS;
            }
            ErrorCode::TRANSACTION_ABORTABLE
            | ErrorCode::INVALID_TXN_STATE
            | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            | ErrorCode::UNKNOWN_PRODUCER_ID
            | ErrorCode::INVALID_TIMESTAMP => {
                core.mark("transaction has to be aborted");
                self.abort();
            }
            ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
                core.mark("scribe fenced");
                self.begin_anew(core);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for records of {}", self.id)),
        }
    }

    fn ended(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, response: &EndTxnResponse) {
        let Some(Stage::Ending { commits }) = self.open.as_ref().map(|open| open.stage) else { return };
        match response.error_code {
            ErrorCode::NONE => {
                let raised = Identity { id: response.producer_id.0, epoch: response.producer_epoch.0 };
                self.over(core, router, dice, commits, raised);
            }
            ErrorCode::CONCURRENT_TRANSACTIONS => self.not_before_us = core.now_us + 30 * MS,
            code if is_moved(code) => self.unseat(core, router, Office::Transaction),
            ErrorCode::INVALID_TXN_STATE
            | ErrorCode::TRANSACTION_ABORTABLE
            | ErrorCode::PRODUCER_FENCED
            | ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
                core.mark("end of a transaction refused");
                self.begin_anew(core);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} at the end of {}", self.id)),
        }
    }

    /// The transaction came to the end that was asked for.
    fn over(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice, commits: bool, raised: Identity) {
        let Some(open) = self.open.take() else { return };
        core.note(format_args!("{} ends {}: {}", self.id, open.number, if commits { "committed" } else { "aborted" }));
        core.mark(if commits { "transaction committed" } else { "transaction aborted" });
        end(core, &open, if commits { Fate::Committed } else { Fate::Aborted });
        if commits {
            for (key, offset) in &open.consumed {
                let group = self.group.as_str();
                let judgement = core.books.offsets.told(group, *key, open.ended_us, core.now_us, *offset);
                if let Err(before) = judgement {
                    let story = format_args!("{group} {key}: {offset} was committed after {before}");
                    core.violate(Invariant::CommittedOffsetsStay, story);
                }
            }
        } else {
            self.undo();
        }
        let ended: Vec<PartitionKey> = open.batches.iter().map(|batch| batch.key).collect();
        if self.script.version >= 2 {
            self.identity = Some(raised);
            self.sequences.clear();
            self.session += 1;
        } else if !commits {
            // What was under way may have been stored or not: sequences begin anew with a new epoch.
            self.identity = None;
        } else if !core.draining && dice.one_in(6) {
            self.send_late(core, router, dice, &ended);
        }
    }

    /// Under a new epoch. Nobody ends what was open but the coordinator.
    fn begin_anew(&mut self, core: &mut Core) {
        if let Some(open) = self.open.take() {
            let asked_for = open.ends > 0 && open.stage == Stage::Ending { commits: true };
            end(core, &open, if asked_for { Fate::Unknown } else { Fate::Aborted });
        }
        self.give_up_late(core);
        self.undo();
        self.identity = None;
        self.asked = None;
    }

    fn undo(&mut self) {
        self.waiting.clear();
        self.undone = true;
    }
}

fn end(core: &mut Core, open: &Open, fate: Fate) {
    for batch in open.batches.iter().filter(|batch| !batch.is_done) {
        batch.made.values.iter().for_each(|value| core.history.give_up(*value));
    }
    if let Err(story) = core.books.transactions.end(open.number, fate) {
        core.violate(Invariant::AbortedStaysUnseen, format_args!("{story}"));
    }
}

/// Sends what is not under way.
fn write(core: &mut Core, router: &mut Router, dice: &mut Dice, id: &TransactionalId, batches: &mut [Batch], old: bool) {
    for batch in batches.iter_mut().filter(|batch| !batch.is_done && batch.posted.is_none()) {
        let Some(lead) = router.lead(batch.key.topic, batch.key.partition) else {
            router.refresh(core);
            continue;
        };
        let name = core.topics.by_id(batch.key.topic).map(|topic| topic.name.clone()).unwrap_or_default();
        // From version 12 on the leader adds the partition.
        let version = router.version(core, ApiKey::Produce, if old { 7 } else { 12 });
        let version = if old { version.min(11) } else { version };
        let data = PartitionProduceData { index: batch.key.partition, records: Some(batch.made.bytes.clone().into()) };
        let topic_data = if version >= 13 {
            TopicProduceData { topic_id: batch.key.topic, partition_data: vec![data], ..TopicProduceData::default() }
        } else {
            TopicProduceData { name, partition_data: vec![data], ..TopicProduceData::default() }
        };
        let timeout_ms = [300, 1500, 20_000][dice.index(3)];
        let request = ProduceRequest { transactional_id: Some(id.clone()), acks: -1, timeout_ms, topic_data: vec![topic_data] };
        batch.posted = Some(router.post(core, lead.machine, version, &request.into()));
    }
}

fn session(id: &TransactionalId, session: u64) -> u64 {
    (1 << 63) | ((crate::dice::fnv(id.as_str().as_bytes()) & 0x7fff) << 32) | session
}

fn stamp(identity: Identity, base_sequence: i32) -> ProducerStamp {
    ProducerStamp { id: identity.id, epoch: identity.epoch, base_sequence }
}
