//! The transactional ids of one shard: what `__transaction_state` says of them, as a value.
//!
//! A decision is a record. Once *prepared* is committed nothing can change how the transaction ends: the shard has its markers
//! written to every partition (`crate::markers`), again and again until all have theirs, and then it is *complete*.
//! Source: TransactionCoordinator, TransactionMetadata, TransactionStateManager.

mod adding;
mod ending;
pub(crate) mod entry;
mod expiry;
mod init;
pub(crate) mod listing;
pub(crate) mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use strandline_protocol::coordinator::TransactionStateRecord;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TransactionalId;

use self::entry::{Entry, Place, Producer};
use self::status::{End, Status};
use super::loading::Loaded;
use super::state::StateRecord;
use super::timers::Timer;
use super::turn::{Task, Turn};
use crate::features::TRANSACTION_VERSION;
use crate::flaws::{self, Flaw};

pub(crate) use self::ending::EndRequest;
pub(crate) use self::init::InitRequest;

/// The `transaction.version` from which on clients get a new epoch with every end.
pub(crate) const RAISING_VERSION: i16 = 2;
/// The `transaction.version` from which on records are written in a version that has room for more.
const FLEXIBLE_VERSION: i16 = 1;

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Code(ErrorCode),
    /// It may be once the caller has a fresh producer id to give.
    NeedsProducerId,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// A decided transaction and the partitions that have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub end: End,
    pub producer: Producer,
    pub version: i16,
    pub places: Vec<Place>,
}

/// What was decided since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionTotals {
    pub committed: u64,
    pub aborted: u64,
    /// Of those, the ones whose time was over.
    pub timed_out: u64,
}

/// All transactional ids of a shard.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    entries: BTreeMap<TransactionalId, Entry>,
}

impl Transactions {
    /// Takes one thing that the log says.
    pub(crate) fn replay(&mut self, loaded: Loaded) {
        let Loaded::Record { record, .. } = loaded else { return };
        let StateRecord::Transaction { record, .. } = *record else { return };
        let TransactionStateRecord::TransactionLog(key, value) = record;
        match value.map(Entry::of_record) {
            Some(Some(entry)) => {
                self.entries.insert(key.transactional_id, entry);
            }
            // A status of a later version: the id stays as it was.
            Some(None) => {}
            None => {
                self.entries.remove(&key.transactional_id);
            }
        }
    }

    /// Everything is read: clocks start, and what was decided is carried out.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        turn.set_timer(Timer::AbortTimedOut, turn.settings.abort_timed_out_interval_ms);
        turn.set_timer(Timer::ExpireTransactionalIds, turn.settings.remove_expired_interval_ms);
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.status.is_prepared()) {
            if flaws::is(Flaw::DecisionsNotResumed) {
                break;
            }
            turn.when_committed(Task::SendMarkers { id: id.clone(), producer: entry.producer });
        }
    }

    /// Counts ids by where they stand.
    pub(crate) fn count_into(&self, counts: &mut BTreeMap<&'static str, usize>) {
        for entry in self.entries.values() {
            *counts.entry(entry.status.name()).or_default() += 1;
        }
    }

    /// A timer of this shard is due.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: &Timer) {
        match timer {
            Timer::AbortTimedOut => self.abort_timed_out(turn),
            Timer::ExpireTransactionalIds => self.expire(turn),
            _ => {}
        }
    }

    /// The entry of a producer that must be the current one, and whose transaction before is complete.
    fn of_producer(&mut self, id: &TransactionalId, producer: Producer) -> Result<&mut Entry, ErrorCode> {
        let entry = self.entries.get_mut(id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        // Whoever gets another id with this end was told so, and may be here already.
        if entry.status.is_prepared() && [entry.producer, entry.producer_after()].contains(&producer) {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        if entry.producer.id != producer.id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        if entry.producer.epoch != producer.epoch {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        Ok(entry)
    }
}

/// The `transaction.version` of the cluster.
fn cluster_version(turn: &Turn<'_>) -> i16 {
    turn.image.features.get(TRANSACTION_VERSION).copied().unwrap_or(0)
}

/// Writes what an entry has become.
fn emit(turn: &mut Turn<'_>, id: &TransactionalId, entry: &Entry) {
    write(turn, entry.record(id));
}

fn write(turn: &mut Turn<'_>, record: TransactionStateRecord) {
    let version = i16::from(cluster_version(turn) >= FLEXIBLE_VERSION);
    turn.emit(StateRecord::Transaction { record, version });
}

/// Whether an entry may begin something new.
fn is_idle(status: Status) -> bool {
    status == Status::Empty || status.is_complete()
}
