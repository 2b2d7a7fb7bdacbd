//! Everything that a producer has in hand: queues by partition, who leads them, who waits for a flush.
//!
//! Under one short lock; nothing here waits. The dispatcher asks `pick` what to send, lanes bring back what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strandline_protocol::ids::{BrokerId, TopicId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::batch::Batch;
use super::builder::Settings;
use super::delivery::Waiting;
use super::error::ProduceError;
use super::queue::{Identity, Joined, Pace, PutBack, Queue};
use super::transaction::{AbortCause, Joining, Progress};
use crate::TopicPartition;
use crate::backoff::Dice;
use crate::error::KafkaError;
use crate::metadata::{Cluster, Topic};
use crate::partitioner::{Sticky, partition_of_key};
use crate::record::Record;

/// Requests in flight to one broker: more would only queue there.
const REQUESTS_IN_FLIGHT_MAX: usize = 5;

/// The place of a queue in the list of queues.
pub(super) type QueueIndex = usize;

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    topics: HashMap<String, TopicState>,
    lines: Vec<Line>,
    /// Lines that hold something which is not in flight.
    active: BTreeSet<QueueIndex>,
    requests_in_flight: BTreeMap<BrokerId, usize>,
    identity: Option<Identity>,
    /// Topics whose leaders have to be asked for.
    pub(super) stale: BTreeSet<String>,
    /// Records without a fate, by the number of flushes that had begun before them.
    outstanding: BTreeMap<u64, usize>,
    generation: u64,
    flushes: usize,
    pub(super) fatal: Option<ProduceError>,
    pub(super) ended: bool,
    /// Of a transactional producer.
    transaction: Option<Progress>,
    dice: Dice,
}

#[derive(Debug)]
struct TopicState {
    lines: Vec<QueueIndex>,
    /// Partitions that have a leader, or all if none has.
    usable: Vec<i32>,
    sticky: Sticky,
}

/// A partition: its queue and where that leads.
#[derive(Debug)]
struct Line {
    topic: Arc<str>,
    topic_id: TopicId,
    partition: i32,
    leader: Option<BrokerId>,
    queue: Queue,
}

/// A batch on its way to a broker.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) line: QueueIndex,
    pub(super) topic: Arc<str>,
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) batch: Batch,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// One request each.
    pub(super) shipments: Vec<(BrokerId, Vec<Parcel>)>,
    pub(super) wants_identity: bool,
    /// When to look again, if nobody calls earlier.
    pub(super) wake_at: Option<Instant>,
}

/// What came of a parcel.
#[derive(Debug)]
pub(super) enum Returned {
    /// Its fate is known.
    Done { line: QueueIndex, number: u64 },
    /// To be sent again.
    Back { line: QueueIndex, batches: Vec<Batch>, why: PutBack, elsewhere: bool },
}

impl State {
    pub(super) fn new(settings: Settings, transaction: Option<Progress>) -> Self {
        Self {
            settings,
            topics: HashMap::new(),
            lines: Vec::new(),
            active: BTreeSet::new(),
            requests_in_flight: BTreeMap::new(),
            identity: None,
            stale: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            generation: 0,
            flushes: 0,
            fatal: None,
            ended: false,
            transaction,
            dice: Dice::new(),
        }
    }

    pub(super) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Takes over a topic's partitions and leaders.
    pub(super) fn learn(&mut self, topic: &Arc<Topic>) {
        let known = self.topics.remove(&topic.name);
        let (mut lines, sticky) = known.map_or_else(Default::default, |known| (known.lines, known.sticky));
        let name: Arc<str> = topic.name.as_str().into();
        // A partition has the place of its index; what comes after a gap is not known yet.
        for (place, partition) in (0..).zip(&topic.partitions).take_while(|(place, one)| one.index == *place) {
            if lines.len() == place as usize {
                let (topic, topic_id) = (Arc::clone(&name), topic.id);
                let line = Line { topic, topic_id, partition: partition.index, leader: None, queue: Queue::default() };
                lines.push(self.lines.len());
                self.lines.push(line);
            }
            let line = &mut self.lines[lines[place as usize]];
            (line.leader, line.topic_id) = (partition.leader, topic.id);
        }
        let led = |partition: &&i32| topic.partition(**partition).is_some_and(|one| one.leader.is_some());
        let all: Vec<i32> = (0..lines.len() as i32).collect();
        let usable: Vec<i32> = all.iter().filter(led).copied().collect();
        let state = TopicState { lines, usable: if usable.is_empty() { all } else { usable }, sticky };
        self.topics.insert(topic.name.clone(), state);
    }

    /// Takes over what a refresh has found; what has a leader is not stale any more.
    pub(super) fn refreshed(&mut self, cluster: &Cluster) {
        let topics = std::mem::take(&mut self.stale);
        topics.iter().filter_map(|name| cluster.topic(name)).for_each(|topic| self.learn(topic));
    }

    /// Which partition a record of a known topic goes to.
    pub(super) fn place(&mut self, record: &Record) -> Result<i32, ProduceError> {
        let unknown = |partition| ProduceError::UnknownPartition { topic: record.topic.clone(), partition };
        let topic = self.topics.get_mut(&record.topic).ok_or_else(|| unknown(-1))?;
        let partitions = topic.lines.len() as i32;
        match (record.partition, &record.key) {
            (Some(partition), _) if (0..partitions).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(unknown(partition)),
            _ if partitions == 0 => Err(unknown(0)),
            (None, Some(key)) => Ok(partition_of_key(key, partitions)),
            (None, None) => {
                let batch_bytes = self.settings.rules.batch_bytes;
                Ok(topic.sticky.place(&topic.usable, record.size_bytes(), batch_bytes, &mut self.dice))
            }
        }
    }

    /// Puts a record into its queue. `partition` is from `place`.
    pub(super) fn push(&mut self, waiting: Waiting, partition: i32, room: OwnedSemaphorePermit, now: Instant) -> Joined {
        let record = waiting.record();
        let bytes = record.size_bytes();
        let topic = self.topics.get(&record.topic).expect("a record is placed before it is pushed");
        let line = topic.lines[partition as usize];
        *self.outstanding.entry(waiting.generation).or_default() += 1;
        self.active.insert(line);
        self.lines[line].queue.push(waiting, bytes, room, &self.settings.rules, now)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What to send now, and when to look again.
    pub(super) fn pick(&mut self, now: Instant) -> Picked {
        let mut picked = Picked::default();
        loop {
            let mut round: BTreeMap<BrokerId, (usize, Vec<Parcel>)> = BTreeMap::new();
            picked.wake_at = None;
            for line in self.active.iter().copied().collect::<Vec<_>>() {
                self.pick_from(line, now, &mut round, &mut picked);
            }
            if round.is_empty() {
                return picked;
            }
            for (broker, (_, parcels)) in round {
                *self.requests_in_flight.entry(broker).or_default() += 1;
                picked.shipments.push((broker, parcels));
            }
        }
    }

    /// Takes at most one batch of a line into the request that its leader gets this round.
    fn pick_from(
        &mut self,
        index: QueueIndex,
        now: Instant,
        round: &mut BTreeMap<BrokerId, (usize, Vec<Parcel>)>,
        picked: &mut Picked,
    ) {
        let (rules, line) = (&self.settings.rules, &mut self.lines[index]);
        earlier(&mut picked.wake_at, line.queue.expires_at(rules));
        if line.queue.wants_identity(rules) {
            match self.identity {
                Some(identity) => line.queue.identify(identity),
                None => picked.wants_identity = true,
            }
        }
        let in_flight = line.leader.and_then(|leader| self.requests_in_flight.get(&leader)).copied().unwrap_or(0);
        let at_once = in_flight == 0 || self.flushes > 0 || self.ended;
        let pace = if at_once { Pace::AtOnce } else { Pace::Linger };
        let Some(ready_at) = line.queue.ready_at(rules, pace, now) else { return };
        if ready_at > now {
            return earlier(&mut picked.wake_at, Some(ready_at));
        }
        let Some(leader) = line.leader else {
            self.stale.insert(line.topic.to_string());
            return;
        };
        if in_flight >= REQUESTS_IN_FLIGHT_MAX {
            return;
        }
        if self.transaction.as_mut().is_some_and(|transaction| !transaction.admits(index)) {
            return;
        }
        let next = line.queue.next_bytes();
        if round.get(&leader).is_some_and(|(bytes, _)| bytes + next > self.settings.request_bytes_max) {
            return;
        }
        let Some(batch) = line.queue.take() else {
            // The producer id has run out of epochs.
            (self.identity, picked.wants_identity) = (None, true);
            return;
        };
        let (topic, topic_id, partition) = (Arc::clone(&line.topic), line.topic_id, line.partition);
        let (bytes, parcels) = round.entry(leader).or_default();
        *bytes += next;
        parcels.push(Parcel { line: index, topic, topic_id, partition, batch });
        if !line.queue.has_work() {
            self.active.remove(&index);
        }
    }

    /// A request is over.
    pub(super) fn returned(&mut self, broker: BrokerId, all: Vec<Returned>, now: Instant) {
        if let Some(count) = self.requests_in_flight.get_mut(&broker) {
            *count = count.saturating_sub(1);
        }
        for one in all {
            match one {
                Returned::Done { line, number } => self.lines[line].queue.done(number),
                Returned::Back { line: index, batches, why, elsewhere } => {
                    let line = &mut self.lines[index];
                    // Within a transaction the epoch is not raised: it has to be aborted, and ends under its epoch.
                    let lost = self.transaction.is_some() && why.missing_before && line.queue.is_first_of(&batches);
                    let cause = why.failure.clone().filter(|_| lost);
                    let why = PutBack { missing_before: why.missing_before && self.transaction.is_none(), ..why };
                    line.queue.put_back(batches, why, now, &mut self.dice);
                    self.active.insert(index);
                    if let (Some(transaction), Some(cause)) = (&mut self.transaction, cause) {
                        transaction.lose(cause);
                    }
                    if elsewhere {
                        self.stale.insert(line.topic.to_string());
                    }
                }
            }
        }
    }

    /// Why nothing is sent any more: the producer has ended, or its transaction can only be aborted.
    pub(super) fn stopped(&self) -> Option<ProduceError> {
        let doomed = || self.transaction.as_ref()?.doomed().cloned().map(|cause| ProduceError::Abortable { cause });
        self.fatal.clone().or_else(doomed)
    }

    /// Takes out what is too late. After a fatal error, or when the producer is closed, or when its transaction is to be
    /// aborted, that is everything at hand.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(Batch, ProduceError)> {
        let (rules, stopped) = (&self.settings.rules, self.stopped());
        let mut overdue = Vec::new();
        self.active.retain(|index| {
            let queue = &mut self.lines[*index].queue;
            match &stopped {
                Some(error) => overdue.extend(queue.drain().map(|batch| (batch, error.clone()))),
                None => overdue.extend(queue.expired(rules, now)),
            }
            queue.has_work()
        });
        overdue.into_iter().map(|(batch, error)| self.fail(batch, error)).collect()
    }

    /// The records of a batch were not produced; answers with what their callers are told.
    pub(super) fn fail(&mut self, batch: Batch, error: ProduceError) -> (Batch, ProduceError) {
        // Under the same lock: whoever waits until all records have their fate knows then what it means.
        self.settle(&batch);
        let error = self.failed(error);
        (batch, error)
    }

    /// A record was not produced. An error that ends the producer is kept, any other one dooms a transaction.
    pub(super) fn failed(&mut self, error: ProduceError) -> ProduceError {
        if error.is_fatal() {
            return self.fatal.get_or_insert(error).clone();
        }
        match &mut self.transaction {
            Some(transaction) => transaction.lose(error),
            None => error,
        }
    }

    /// Counts records whose fate is known.
    pub(super) fn settle(&mut self, batch: &Batch) {
        for waiting in &batch.records {
            if let Some(count) = self.outstanding.get_mut(&waiting.generation) {
                *count -= 1;
            }
        }
        self.outstanding.retain(|_, count| *count > 0);
    }

    /// Begins a flush; answers with the generation that has to be over before it ends.
    pub(super) fn begin_flush(&mut self) -> u64 {
        self.flushes += 1;
        self.generation += 1;
        self.generation - 1
    }

    pub(super) fn end_flush(&mut self) {
        self.flushes -= 1;
    }

    /// Whether every record of this generation and of those before has its fate.
    pub(super) fn is_over(&self, generation: u64) -> bool {
        self.outstanding.first_key_value().is_none_or(|(first, _)| *first > generation)
    }

    /// Records without a fate.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.values().sum()
    }

    pub(super) fn identify(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Goes on under this identity; if it is another one, sequences begin anew everywhere. Call it only when nothing is at hand
    /// or in flight.
    pub(super) fn reign(&mut self, identity: Identity) {
        if self.identity.replace(identity) != Some(identity) {
            self.lines.iter_mut().for_each(|line| line.queue.depose());
        }
    }

    /// The transaction of a transactional producer.
    pub(super) fn with_transaction<T>(&mut self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(self.transaction.as_mut().expect("only a transactional producer's calls come here"))
    }

    /// How partitions come to take part in a transaction; `None` without one.
    pub(super) fn joining(&self) -> Option<Joining> {
        self.transaction.as_ref().map(|transaction| transaction.joining)
    }

    /// Partitions that the coordinator is to be told of, and who tells; nobody does once nothing is sent any more.
    pub(super) fn untold(&self) -> Option<(Identity, Vec<(QueueIndex, TopicPartition)>)> {
        let untold = self.transaction.as_ref().filter(|_| self.stopped().is_none())?.untold();
        let named = |index: &QueueIndex| {
            let line = &self.lines[*index];
            (*index, (line.topic.to_string(), line.partition))
        };
        let named: Vec<_> = untold.iter().map(named).collect();
        Some((self.identity?, named)).filter(|(_, named)| !named.is_empty())
    }

    pub(super) fn told(&mut self, lines: &[QueueIndex]) {
        self.with_transaction(|transaction| transaction.told(lines));
    }

    pub(super) fn doom(&mut self, cause: AbortCause) {
        self.with_transaction(|transaction| transaction.doom(cause));
    }

    /// Notes why lines without a leader or an identity cannot send.
    pub(super) fn note_failure(&mut self, failure: &ProduceError) {
        for index in &self.active {
            self.lines[*index].queue.note_failure(failure.clone());
        }
    }
}

fn earlier(wake_at: &mut Option<Instant>, other: Option<Instant>) {
    *wake_at = [*wake_at, other].into_iter().flatten().min();
}
