//! One transactional id: who produces under it, and what its transaction has come to.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::coordinator::TransactionStateRecord;
use strandline_protocol::coordinator::transaction_log::{PartitionsSchema, TransactionLogKey, TransactionLogValue};
use strandline_protocol::ids::{ProducerEpoch, ProducerId, TopicName, TransactionalId};

use super::status::Status;

/// Where in a topic.
pub(crate) type Place = (TopicName, i32);

/// A producer in one of its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// From this epoch on a producer needs a new id: the last epoch stays free for the coordinator, to fence with.
pub(super) const LAST_GIVEN_EPOCH: ProducerEpoch = ProducerEpoch(i16::MAX - 1);

/// No transaction has begun.
pub(crate) const NEVER: i64 = -1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub producer: Producer,
    /// The id before this one; a client that missed the change may still name it.
    pub previous_id: ProducerId,
    /// The id from the end of this transaction on, if the epochs of this one are used up.
    pub next_id: ProducerId,
    /// The epoch that the client saw before this one. Not in the log: after a move of the coordinator a retry is refused.
    pub last_epoch: ProducerEpoch,
    /// Another producer is about to take over: the one before must not go on. Not in the log.
    pub fenced: bool,
    pub timeout_ms: i32,
    pub status: Status,
    pub partitions: BTreeSet<Place>,
    /// By the wall clock, as all times here.
    pub started_ms: i64,
    pub updated_ms: i64,
    /// `transaction.version` of whoever wrote last: from 2 on every end raises the epoch.
    pub client_version: i16,
    /// Partitions of a decided transaction that have no marker yet, once markers are sent. Not in the log.
    pub unmarked: BTreeSet<Place>,
}

impl Entry {
    pub(crate) fn new(producer: Producer, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer,
            previous_id: ProducerId::NONE,
            next_id: ProducerId::NONE,
            last_epoch: ProducerEpoch::NONE,
            fenced: false,
            timeout_ms,
            status: Status::Empty,
            partitions: BTreeSet::new(),
            started_ms: NEVER,
            updated_ms: now_ms,
            client_version: 0,
            unmarked: BTreeSet::new(),
        }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.producer.epoch >= LAST_GIVEN_EPOCH
    }

    /// Whether the client gets a new epoch with every end of a transaction (KIP-890).
    pub(crate) fn raises_epochs(&self) -> bool {
        self.client_version >= super::RAISING_VERSION
    }

    /// Who the producer is once its transaction is complete.
    pub(crate) fn producer_after(&self) -> Producer {
        match self.next_id {
            ProducerId::NONE => self.producer,
            id => Producer { id, epoch: ProducerEpoch(0) },
        }
    }

    pub(crate) fn next_epoch(&self) -> ProducerEpoch {
        self.producer.epoch.next().unwrap_or(ProducerEpoch::MAX)
    }

    /// Reads what the log says; `None` if it is of a status that this version does not know.
    pub(crate) fn of_record(value: TransactionLogValue) -> Option<Self> {
        let status = Status::from_number(value.transaction_status)?;
        let topics = value.transaction_partitions.unwrap_or_default();
        let places = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            topic.partition_ids.into_iter().map(move |partition| (name.clone(), partition))
        });
        Some(Self {
            previous_id: value.previous_producer_id,
            next_id: value.next_producer_id,
            status,
            partitions: places.collect(),
            started_ms: value.transaction_start_timestamp_ms,
            client_version: value.client_transaction_version,
            ..Self::new(
                Producer { id: value.producer_id, epoch: value.producer_epoch },
                value.transaction_timeout_ms,
                value.transaction_last_update_timestamp_ms,
            )
        })
    }

    pub(crate) fn record(&self, id: &TransactionalId) -> TransactionStateRecord {
        let topics = by_topic(&self.partitions);
        let schema = |(topic, partition_ids)| PartitionsSchema { topic, partition_ids };
        let value = TransactionLogValue {
            producer_id: self.producer.id,
            previous_producer_id: self.previous_id,
            next_producer_id: self.next_id,
            producer_epoch: self.producer.epoch,
            next_producer_epoch: ProducerEpoch::NONE,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: self.status.number(),
            transaction_partitions: (self.status != Status::Empty).then(|| topics.into_iter().map(schema).collect()),
            transaction_last_update_timestamp_ms: self.updated_ms,
            transaction_start_timestamp_ms: self.started_ms,
            client_transaction_version: self.client_version,
        };
        TransactionStateRecord::TransactionLog(TransactionLogKey { transactional_id: id.clone() }, Some(value))
    }
}

/// Partitions in order, under their topics.
pub(crate) fn by_topic<'a>(places: impl IntoIterator<Item = &'a Place>) -> BTreeMap<TopicName, Vec<i32>> {
    let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(topic.clone()).or_default().push(*partition);
    }
    topics
}

/// The record that forgets an id.
pub(crate) fn tombstone(id: &TransactionalId) -> TransactionStateRecord {
    TransactionStateRecord::TransactionLog(TransactionLogKey { transactional_id: id.clone() }, None)
}
