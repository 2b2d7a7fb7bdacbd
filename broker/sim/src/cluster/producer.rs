//! A producer of a cluster: idempotent with acks=all and up to five batches under way a partition, or plain with acks=all or
//! acks=1 and one.
//!
//! A batch whose answer is lost, or says that this broker cannot take it now, is sent again to whoever leads then, in order
//! and with the same sequence. acks=1 promises nothing that a new leader has to keep: what it acknowledges counts as unknown.

use std::collections::{BTreeMap, VecDeque};

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::init_producer_id::InitProducerIdRequest;
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use strandline_protocol::records::{ProducerStamp, Scratch};

use super::router::{Heard, Posted, Router};
use crate::client::payload::{Made, Recipe, keys, make};
use crate::core::{ClientEvent, Core, MS, SECOND};
use crate::dice::Dice;
use crate::history::Delivery;
use crate::invariants::Invariant;
use crate::topics::{Promise, Topic, Use};

/// How a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Idempotent,
    PlainAll,
    PlainLeader,
}

/// How a producer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Which row of the plan it writes to.
    pub(super) row: usize,
    pub(super) style: Style,
    pub(super) interval_us: u64,
    /// A partition.
    pub(super) in_flight_max: usize,
}

#[derive(Clone, Debug)]
struct Batch {
    made: Made,
    posted: Option<Posted>,
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    None,
    Asked(Posted),
    Given { id: i64, epoch: i16 },
}

pub(super) struct Producer {
    router: Router,
    dice: Dice,
    manner: Manner,
    topic: Option<usize>,
    /// By partition, in order.
    queues: BTreeMap<i32, VecDeque<Batch>>,
    sequences: BTreeMap<i32, i32>,
    identity: Identity,
    session: u64,
    scratch: Scratch,
}

impl Producer {
    pub(super) fn new(router: Router, dice: Dice, manner: Manner) -> Self {
        Self {
            router,
            dice,
            manner,
            topic: None,
            queues: BTreeMap::new(),
            sequences: BTreeMap::new(),
            identity: Identity::None,
            session: 0,
            scratch: Scratch::default(),
        }
    }

    pub(super) fn start(&mut self, core: &mut Core) {
        let delay_us = self.dice.below(SECOND);
        self.router.turn_after(core, delay_us);
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.values().all(VecDeque::is_empty)
    }

    pub(super) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => self.turn(core),
            Heard::Lost(machine) => {
                if matches!(self.identity, Identity::Asked(posted) if posted.to == machine) {
                    self.identity = Identity::None;
                }
                for batch in self.queues.values_mut().flatten() {
                    batch.posted.take_if(|posted| posted.to == machine);
                }
                if let Some(topic) = self.topic.and_then(|topic| core.topics.get(topic)) {
                    (0..topic.partitions).for_each(|partition| self.router.forget(topic.id, partition));
                }
            }
            Heard::Reply(posted, response) => match *response {
                Response::Produce(response) => self.produced(core, posted, &response),
                Response::InitProducerId(response) if self.identity == Identity::Asked(posted) => {
                    self.identity = match response.error_code {
                        ErrorCode::NONE => Identity::Given { id: response.producer_id.0, epoch: response.producer_epoch.0 },
                        _ => Identity::None,
                    };
                }
                _ => {}
            },
            Heard::Metadata | Heard::Nothing => {}
        }
    }

    fn turn(&mut self, core: &mut Core) {
        let pause_us = self.dice.spread(self.manner.interval_us / 8, self.manner.interval_us);
        // Whoever waits for a chance to send again looks more often.
        let waits = self.queues.values().flatten().any(|batch| batch.posted.is_none());
        self.router.turn_after(core, if waits { pause_us.min(100 * MS) } else { pause_us });
        let current = core.topics.current(self.manner.row);
        if self.topic != current {
            self.begin_anew(core);
            self.topic = current;
        }
        let Some(topic) = self.topic.and_then(|topic| core.topics.get(topic)).cloned() else { return };
        if self.manner.style == Style::Idempotent && !matches!(self.identity, Identity::Given { .. }) {
            return self.ask_identity(core);
        }
        if !core.draining {
            let partition = i32::try_from(self.dice.index(topic.partitions.unsigned_abs() as usize)).unwrap_or(0);
            let burst = if self.dice.one_in(4) { self.manner.in_flight_max } else { 1 };
            for _ in 0..burst {
                if self.queues.entry(partition).or_default().len() < self.manner.in_flight_max {
                    self.produce(core, &topic, partition);
                }
            }
        }
        let partitions: Vec<i32> = self.queues.keys().copied().collect();
        for partition in partitions {
            self.send_waiting(core, &topic, partition);
        }
    }

    fn ask_identity(&mut self, core: &mut Core) {
        if self.identity == Identity::None && !core.draining {
            let version = self.router.version(core, ApiKey::InitProducerId, 0);
            let request =
                InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
            let to = self.router.anybody();
            self.identity = Identity::Asked(self.router.post(core, to, version, &request.into()));
        }
    }

    fn produce(&mut self, core: &mut Core, topic: &Topic, partition: i32) {
        let records = if self.dice.one_in(4) { self.dice.between(1, 12) } else { 1 };
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let stamp = match self.identity {
            Identity::Given { id, epoch } => ProducerStamp { id, epoch, base_sequence: sequence },
            _ => ProducerStamp::default(),
        };
        let recipe = Recipe {
            partition: topic.key(partition),
            session: (self.router.id as u64) << 32 | self.session,
            records,
            timestamp_ms: core.wall_base_ms + i64::try_from(core.now_us / MS).unwrap_or(0),
            stamp,
            delivery: if self.manner.style == Style::Idempotent { Delivery::AtMostOnce } else { Delivery::MayRepeat },
            transactional: false,
            keys: keys(topic.used_for),
        };
        let made = make(core, &mut self.dice, &mut self.scratch, &recipe);
        self.sequences.insert(partition, sequence + i32::try_from(records).unwrap_or(0));
        self.queues.entry(partition).or_default().push_back(Batch { made, posted: None, attempts: 0 });
    }

    /// Sends what is not under way, in order.
    fn send_waiting(&mut self, core: &mut Core, topic: &Topic, partition: i32) {
        let Some(lead) = self.router.lead(topic.id, partition) else { return self.router.refresh(core) };
        let least = if topic.used_for == Use::Churning { 13 } else { 7 };
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        for batch in queue.iter_mut().filter(|batch| batch.posted.is_none()) {
            let version = self.router.version(core, ApiKey::Produce, least);
            if batch.attempts > 0 {
                core.mark("batch sent again");
            }
            batch.attempts += 1;
            let data = PartitionProduceData { index: partition, records: Some(batch.made.bytes.clone().into()) };
            let topic_data = if version >= 13 {
                TopicProduceData { name: TopicName::default(), topic_id: topic.id, partition_data: vec![data] }
            } else {
                TopicProduceData { name: topic.name.clone(), partition_data: vec![data], ..Default::default() }
            };
            let timeout_ms = [300, 1500, 20_000][self.dice.index(3)];
            let acks = if self.manner.style == Style::PlainLeader { 1 } else { -1 };
            let request = ProduceRequest { transactional_id: None, acks, timeout_ms, topic_data: vec![topic_data] };
            batch.posted = Some(self.router.post(core, lead.machine, version, &request.into()));
        }
    }

    fn produced(&mut self, core: &mut Core, posted: Posted, response: &ProduceResponse) {
        let found = self
            .queues
            .iter()
            .find_map(|(partition, queue)| Some((*partition, queue.iter().position(|batch| batch.posted == Some(posted))?)));
        let Some((partition, place)) = found else { return };
        let answer = response.responses.iter().flat_map(|topic| &topic.partition_responses).next();
        let Some(answer) = answer.filter(|answer| answer.index == partition) else {
            return core.violate(Invariant::AnswersAsAsked, format_args!("no answer for {partition} in {response:?}"));
        };
        self.judge(core, partition, place, answer.error_code, answer.base_offset.0);
    }

    fn judge(&mut self, core: &mut Core, partition: i32, place: usize, code: ErrorCode, base_offset: i64) {
        let Some(queue) = self.queues.get_mut(&partition) else { return };
        let topic = self.topic.and_then(|topic| core.topics.get(topic)).cloned();
        match code {
            ErrorCode::NONE => {
                let Some(batch) = queue.remove(place) else { return };
                for (value, offset) in batch.made.values.iter().zip(base_offset..) {
                    if self.manner.style == Style::PlainLeader {
                        core.history.give_up(*value);
                        continue;
                    }
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
            | ErrorCode::KAFKA_STORAGE_ERROR => {
                core.mark(match code {
                    ErrorCode::NOT_LEADER_OR_FOLLOWER => "produce met no leader",
                    ErrorCode::NOT_ENOUGH_REPLICAS => "produce met too few replicas",
                    ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => "too few replicas after the append",
                    ErrorCode::REQUEST_TIMED_OUT => "produce timed out in the broker",
                    _ => "produce met an unknown partition",
                });
                queue[place].posted = None;
                if let Some(topic) = topic {
                    self.router.forget(topic.id, partition);
                }
            }
            // Behind one that has to be sent again.
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER if place > 0 => queue[place].posted = None,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_EPOCH => {
                core.mark("producer lost its place");
                let keeps = topic.as_ref().is_some_and(|topic| topic.promise == Promise::Fsync);
                if keeps && self.manner.in_flight_max == 1 {
                    let story = format_args!("{code:?} for {:?} in {partition}", queue[place].made.values);
                    core.violate(Invariant::ProducersSurvive, story);
                }
                self.begin_anew(core);
            }
            // Clocks of brokers jump; those of producers do not.
            ErrorCode::INVALID_TIMESTAMP => {
                core.mark("produce refused for its timestamp");
                self.begin_anew(core);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a good batch")),
        }
    }

    /// What is under way may have been stored or not; the next batch is the first of a new session.
    fn begin_anew(&mut self, core: &mut Core) {
        for batch in std::mem::take(&mut self.queues).into_values().flatten() {
            batch.made.values.iter().for_each(|value| core.history.give_up(*value));
        }
        self.session += 1;
        self.sequences.clear();
        self.identity = Identity::None;
    }
}

/// What a producer is like.
pub(super) fn manner(dice: &mut Dice, row: usize) -> Manner {
    let style = match dice.below(6) {
        0 => Style::PlainLeader,
        1 => Style::PlainAll,
        _ => Style::Idempotent,
    };
    let in_flight_max = if style == Style::Idempotent { [1, 1, 2, 5][dice.index(4)] } else { 1 };
    Manner { row, style, interval_us: dice.spread(20 * MS, SECOND), in_flight_max }
}
