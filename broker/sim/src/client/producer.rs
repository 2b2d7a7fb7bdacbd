//! A producer: plain with acks 0, 1 or all, with or without retries, or idempotent with up to five requests under way.
//!
//! After a lost connection an idempotent producer sends everything without a reply again, in order and with the same
//! sequences; a plain one that retries may store twice and says so to the history; one that does not retry gives up.

use std::collections::{BTreeMap, VecDeque};

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use strandline_protocol::records::{ProducerStamp, Scratch};

use super::link::{Link, Ticket};
use super::payload::{Made, Recipe, keys, make};
use crate::core::{ClientEvent, ClientId, Core, MS, SECOND};
use crate::dice::Dice;
use crate::history::Delivery;
use crate::invariants::Invariant;
use crate::topics::{Existence, Promise, Topic, Use};

/// How a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain { acks: i16, retries: bool },
    Idempotent,
}

/// How a producer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Which row of the plan it writes to.
    pub row: usize,
    pub style: Style,
    pub interval_us: u64,
    pub in_flight_max: usize,
}

#[derive(Clone, Debug)]
struct Batch {
    partition: i32,
    made: Made,
    attempts: u32,
}

/// Batches to different partitions that are sent together.
#[derive(Clone, Debug)]
struct Parcel {
    batches: Vec<Batch>,
    ticket: Option<Ticket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    None,
    Asked(Ticket),
    Given { id: i64, epoch: i16 },
}

pub struct Producer {
    link: Link,
    dice: Dice,
    manner: Manner,
    topic: Option<usize>,
    parcels: VecDeque<Parcel>,
    identity: Identity,
    session: u64,
    sequences: BTreeMap<i32, i32>,
    scratch: Scratch,
}

impl Producer {
    pub fn new(link: Link, dice: Dice, manner: Manner) -> Self {
        let (parcels, sequences) = (VecDeque::new(), BTreeMap::new());
        Self {
            link,
            dice,
            manner,
            topic: None,
            parcels,
            identity: Identity::None,
            session: 0,
            sequences,
            scratch: Scratch::default(),
        }
    }

    pub fn start(&mut self, core: &mut Core) {
        let delay_us = self.dice.below(SECOND);
        self.link.turn_after(core, delay_us);
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.parcels.is_empty()
    }

    pub fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        if self.link.breaks(core, &event) {
            return self.broken(core);
        }
        if self.link.is_turn(&event) {
            return self.turn(core);
        }
        if let ClientEvent::Reply { connection, correlation, response } = event
            && let Some(ticket) = self.link.receive(connection, correlation)
        {
            match *response {
                Response::Produce(response) => self.produced(core, ticket, &response),
                Response::InitProducerId(response) if self.identity == Identity::Asked(ticket) => {
                    self.identify(core, &response);
                }
                _ => {}
            }
        }
    }

    fn identify(&mut self, core: &mut Core, response: &InitProducerIdResponse) {
        self.identity = match response.error_code {
            ErrorCode::NONE => Identity::Given { id: response.producer_id.0, epoch: response.producer_epoch.0 },
            other => {
                core.violate(Invariant::AnswersAsAsked, format_args!("a producer id: {other:?}"));
                Identity::None
            }
        };
        core.mark("producer id given");
    }

    fn turn(&mut self, core: &mut Core) {
        let pause_us = self.dice.spread(self.manner.interval_us / 8, self.manner.interval_us);
        self.link.turn_after(core, pause_us);
        if !self.aim(core) {
            return;
        }
        if self.manner.style == Style::Idempotent && !matches!(self.identity, Identity::Given { .. }) {
            if self.identity == Identity::None && !core.draining {
                let version = self.link.version(core, ApiKey::InitProducerId, 0);
                let request =
                    InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
                self.identity = Identity::Asked(self.link.send(core, version, &request.into()));
            }
            return;
        }
        if let Some(waiting) = self.parcels.iter().position(|parcel| parcel.ticket.is_none()) {
            return self.send(core, waiting);
        }
        let burst = if self.dice.one_in(4) { self.manner.in_flight_max } else { 1 };
        for _ in 0..burst {
            if self.parcels.len() < self.manner.in_flight_max && !core.draining {
                self.produce(core);
            }
        }
    }

    /// Finds the topic to write to; one that is going away is left.
    fn aim(&mut self, core: &mut Core) -> bool {
        let current = core.topics.current(self.manner.row);
        if self.topic != current {
            self.give_all_up(core);
            self.topic = current;
            self.sequences.clear();
            self.session += 1;
            self.identity = Identity::None;
        }
        self.topic.is_some()
    }

    fn produce(&mut self, core: &mut Core) {
        let Some(topic) = self.topic.and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let wanted = if self.dice.one_in(5) { self.dice.between(1, 3) } else { 1 };
        let mut batches: Vec<Batch> = Vec::new();
        for _ in 0..wanted {
            let partition = i32::try_from(self.dice.index(topic.partitions.unsigned_abs() as usize)).unwrap_or(0);
            if batches.iter().all(|batch| batch.partition != partition) {
                let made = self.batch(core, &topic, partition);
                batches.push(Batch { partition, made, attempts: 0 });
            }
        }
        self.parcels.push_back(Parcel { batches, ticket: None });
        self.send(core, self.parcels.len() - 1);
    }

    fn batch(&mut self, core: &mut Core, topic: &Topic, partition: i32) -> Made {
        let records = if self.dice.one_in(4) { self.dice.between(1, 12) } else { 1 };
        let sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        let stamp = match self.identity {
            Identity::Given { id, epoch } => ProducerStamp { id, epoch, base_sequence: sequence },
            _ => ProducerStamp::default(),
        };
        let delivery = match self.manner.style {
            Style::Plain { retries: true, .. } => Delivery::MayRepeat,
            _ => Delivery::AtMostOnce,
        };
        let session = (self.link.id as u64) << 32 | self.session;
        let timestamp_ms = core.wall_base_ms + i64::try_from(core.now_us / MS).unwrap_or(0);
        let (partition_key, keys) = (topic.key(partition), keys(topic.used_for));
        let recipe =
            Recipe { partition: partition_key, session, records, timestamp_ms, stamp, delivery, transactional: false, keys };
        let made = make(core, &mut self.dice, &mut self.scratch, &recipe);
        self.sequences.insert(partition, sequence + i32::try_from(records).unwrap_or(0));
        made
    }

    fn send(&mut self, core: &mut Core, place: usize) {
        let Some(topic) = self.topic.and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let least = if topic.used_for == Use::Churning { 13 } else { 7 };
        let version = self.link.version(core, ApiKey::Produce, least);
        let acks = match self.manner.style {
            Style::Plain { acks, .. } => acks,
            Style::Idempotent => -1,
        };
        let parcel = &mut self.parcels[place];
        if parcel.batches.iter().any(|batch| batch.attempts > 0) {
            core.mark("batch sent again");
        }
        parcel.batches.iter_mut().for_each(|batch| batch.attempts += 1);
        let data = parcel
            .batches
            .iter()
            .map(|batch| PartitionProduceData { index: batch.partition, records: Some(batch.made.bytes.clone().into()) });
        let topic_data = if version >= 13 {
            TopicProduceData { name: TopicName::default(), topic_id: topic.id, partition_data: data.collect() }
        } else {
            TopicProduceData { name: topic.name, partition_data: data.collect(), ..Default::default() }
        };
        let timeout_ms = [50, 1000, 20_000][self.dice.index(3)];
        let request = ProduceRequest { transactional_id: None, acks, timeout_ms, topic_data: vec![topic_data] };
        let ticket = self.link.send(core, version, &request.into());
        parcel.ticket = Some(ticket);
        if acks == 0 {
            self.link.expect_nothing(ticket);
            if let Some(parcel) = self.parcels.remove(place) {
                give_up(core, &parcel.batches);
            }
        }
    }

    fn produced(&mut self, core: &mut Core, ticket: Ticket, response: &ProduceResponse) {
        let Some(place) = self.parcels.iter().position(|parcel| parcel.ticket == Some(ticket)) else { return };
        let Some(mut parcel) = self.parcels.remove(place) else { return };
        let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answers: BTreeMap<i32, (ErrorCode, i64)> =
            answers.map(|answer| (answer.index, (answer.error_code, answer.base_offset.0))).collect();
        let mut again = Vec::new();
        let mut lost_place = false;
        for batch in parcel.batches.drain(..) {
            let Some((code, base_offset)) = answers.get(&batch.partition).copied() else {
                let story = format_args!("no answer for partition {} in {response:?}", batch.partition);
                core.violate(Invariant::AnswersAsAsked, story);
                continue;
            };
            match self.judge(core, &batch, code, base_offset) {
                Fate::Done => {}
                Fate::Again => again.push(batch),
                Fate::LostPlace => lost_place = true,
            }
        }
        if !again.is_empty() {
            parcel.batches = again;
            parcel.ticket = None;
            self.parcels.insert(place, parcel);
        }
        if lost_place {
            self.begin_anew(core);
        }
    }

    fn judge(&mut self, core: &mut Core, batch: &Batch, code: ErrorCode, base_offset: i64) -> Fate {
        let retries = match self.manner.style {
            Style::Plain { retries, .. } => retries,
            Style::Idempotent => true,
        };
        match code {
            ErrorCode::NONE => {
                for (value, offset) in batch.made.values.iter().zip(base_offset..) {
                    let judgement = core.history.acknowledge(*value, offset, core.now_us);
                    core.judge(judgement);
                }
                return Fate::Done;
            }
            ErrorCode::REQUEST_TIMED_OUT => core.mark("produce timed out in the broker"),
            ErrorCode::KAFKA_STORAGE_ERROR => core.mark("produce refused by a closing log"),
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::INVALID_PRODUCER_EPOCH => {
                core.mark("producer lost its place");
                let promise = self.topic.and_then(|topic| core.topics.get(topic)).map(|topic| topic.promise);
                if self.manner.in_flight_max == 1 && promise == Some(Promise::Fsync) {
                    core.violate(Invariant::ProducersSurvive, format_args!("{code:?} for {:?}", batch.made.values));
                }
                give_up(core, std::slice::from_ref(batch));
                return Fate::LostPlace;
            }
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                let topic = self.topic.and_then(|topic| core.topics.get(topic));
                if topic.is_some_and(|topic| topic.existence == Existence::Exists) {
                    core.violate(Invariant::AnswersAsAsked, format_args!("{code:?}, and the topic exists"));
                }
                give_up(core, std::slice::from_ref(batch));
                return Fate::LostPlace;
            }
            ErrorCode::INVALID_TIMESTAMP => {
                core.mark("produce refused for its timestamp");
                end_refused(core, batch);
                return Fate::LostPlace;
            }
            other => {
                core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a good batch"));
                return Fate::Done;
            }
        }
        if retries {
            return Fate::Again;
        }
        if code == ErrorCode::KAFKA_STORAGE_ERROR {
            end_refused(core, batch)
        } else {
            give_up(core, std::slice::from_ref(batch))
        }
        Fate::Done
    }

    fn broken(&mut self, core: &mut Core) {
        if let Identity::Asked(_) = self.identity {
            self.identity = Identity::None;
        }
        match self.manner.style {
            Style::Plain { retries: false, .. } => {
                self.give_all_up(core);
                self.session += 1;
            }
            _ => self.parcels.iter_mut().for_each(|parcel| parcel.ticket = None),
        }
        let pause_us = self.dice.between(100 * MS, 600 * MS);
        self.link.turn_after(core, pause_us);
    }

    /// What is under way may have been stored or not; the next batch is the first of a new session.
    fn begin_anew(&mut self, core: &mut Core) {
        self.give_all_up(core);
        self.link.hang_up(core);
        self.session += 1;
        self.sequences.clear();
        self.identity = Identity::None;
        self.link.turn_after(core, 500 * MS);
    }

    fn give_all_up(&mut self, core: &mut Core) {
        for parcel in self.parcels.drain(..) {
            give_up(core, &parcel.batches);
        }
    }
}

enum Fate {
    Done,
    Again,
    /// Later sequences make no sense any more.
    LostPlace,
}

fn give_up(core: &mut Core, batches: &[Batch]) {
    for value in batches.iter().flat_map(|batch| &batch.made.values) {
        core.history.give_up(*value);
    }
}

/// Refused for certain only if no earlier attempt can have been stored.
fn end_refused(core: &mut Core, batch: &Batch) {
    for value in &batch.made.values {
        if batch.attempts == 1 { core.history.refuse(*value) } else { core.history.give_up(*value) }
    }
}

/// What a producer of this place in the list is like.
pub fn manner(dice: &mut Dice, _id: ClientId, row: usize) -> Manner {
    let style = match dice.below(6) {
        0 => Style::Plain { acks: 0, retries: false },
        1 => Style::Plain { acks: 1, retries: dice.one_in(2) },
        2 => Style::Plain { acks: -1, retries: dice.one_in(2) },
        _ => Style::Idempotent,
    };
    let in_flight_max = match style {
        Style::Plain { .. } => 1,
        Style::Idempotent => [1, 2, 5][dice.index(3)],
    };
    Manner { row, style, interval_us: dice.spread(20 * MS, 2 * SECOND), in_flight_max }
}
