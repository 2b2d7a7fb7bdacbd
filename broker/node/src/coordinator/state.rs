//! What a shard keeps, whatever its kind, and the records that say it.

use bytes::Bytes;
use strandline_protocol::coordinator::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};
use strandline_protocol::ids::Offset;
use strandline_protocol::wire::WireError;

use super::group::Groups;
use super::group::offsets::value_version;
use super::kind::Kind;
use super::loading::Loaded;
use super::share::ShareStates;
use super::timers::Timer;
use super::transaction::Transactions;
use super::turn::Turn;

/// The state of a shard.
#[derive(Debug)]
pub(crate) enum State {
    Groups(Groups),
    Shares(ShareStates),
    Transactions(Transactions),
}

impl State {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Groups => Self::Groups(Groups::default()),
            Kind::ShareStates => Self::Shares(ShareStates::default()),
            Kind::Transactions => Self::Transactions(Transactions::default()),
        }
    }

    /// Takes one thing that the log says.
    pub(crate) fn replay(&mut self, loaded: Loaded) {
        match self {
            Self::Groups(groups) => groups.replay(loaded),
            Self::Shares(states) => states.replay(loaded),
            Self::Transactions(transactions) => transactions.replay(loaded),
        }
    }

    /// Everything is read: clocks start.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Groups(groups) => groups.on_loaded(turn),
            Self::Shares(states) => states.on_loaded(turn),
            Self::Transactions(transactions) => transactions.on_loaded(turn),
        }
    }

    /// A timer of this shard is due.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match self {
            Self::Groups(groups) => groups.on_timer(turn, timer),
            // Their only timer is the log's.
            Self::Shares(_) => {}
            Self::Transactions(transactions) => transactions.on_timer(turn, &timer),
        }
    }

    /// What was emitted in this burst is written from `from` up to `end`.
    pub(crate) fn on_written(&mut self, from: Offset, end: Offset) {
        if let Self::Shares(states) = self {
            states.on_written(from, end);
        }
    }
}

/// A record of a coordinator's topic.
#[derive(Clone, Debug, PartialEq)]
pub enum StateRecord {
    Group(ConsumerOffsetsRecord),
    Share(ShareGroupStateRecord),
    /// With the version that its value is written in.
    Transaction {
        record: TransactionStateRecord,
        version: i16,
    },
}

impl StateRecord {
    /// Reads a record; `None` as value is a deletion.
    ///
    /// # Errors
    /// When the type of the key or the version of the value is unknown, or the bytes do not fit exactly.
    pub(crate) fn decode(kind: Kind, key: Bytes, value: Option<Bytes>) -> Result<Self, WireError> {
        match kind {
            Kind::Groups => ConsumerOffsetsRecord::decode(key, value).map(Self::Group),
            Kind::ShareStates => ShareGroupStateRecord::decode(key, value).map(Self::Share),
            Kind::Transactions => {
                let record = TransactionStateRecord::decode(key, value)?;
                Ok(Self::Transaction { record, version: 0 })
            }
        }
    }

    pub(crate) fn key(&self) -> Bytes {
        match self {
            Self::Group(record) => record.key(),
            Self::Share(record) => record.key(),
            Self::Transaction { record, .. } => record.key(),
        }
    }

    /// The value, in the version that Kafka 4.3.1 writes; `None` for a deletion.
    pub(crate) fn value(&self) -> Option<Bytes> {
        match self {
            Self::Group(record) => record.value(group_version(record)),
            Self::Share(record) => record.value(0),
            Self::Transaction { record, version } => record.value(*version),
        }
    }
}

impl From<ConsumerOffsetsRecord> for StateRecord {
    fn from(record: ConsumerOffsetsRecord) -> Self {
        Self::Group(record)
    }
}

impl From<ShareGroupStateRecord> for StateRecord {
    fn from(record: ShareGroupStateRecord) -> Self {
        Self::Share(record)
    }
}

/// All readable by the predecessors of 4.3.1.
fn group_version(record: &ConsumerOffsetsRecord) -> i16 {
    match record {
        ConsumerOffsetsRecord::OffsetCommit(_, Some(value)) => value_version(value),
        ConsumerOffsetsRecord::GroupMetadata(..) => 3,
        _ => 0,
    }
}
