//! A transaction ends: by its producer, because another one takes over, or because its time is over.
//!
//! A client that works by `transaction.version` 2 gets a new epoch with every end, so that nothing that was sent before and
//! arrives later can touch the next transaction (KIP-890). A retry is then recognised by naming the epoch before.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerEpoch, ProducerId, TransactionalId};

use super::entry::{Entry, LAST_GIVEN_EPOCH, Place, Producer};
use super::status::{End, Status};
use super::{Decided, RAISING_VERSION, Refusal, Transactions, cluster_version, emit};
use crate::coordinator::turn::{Task, Turn};
use crate::flaws::{self, Flaw};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    pub id: TransactionalId,
    pub producer: Producer,
    pub end: End,
    /// The `transaction.version` that the client works by.
    pub client_version: i16,
}

/// Why the coordinator itself aborts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// Another producer has come: the one before must not go on.
    TakenOver,
    TimedOut,
}

impl Transactions {
    /// Decides how a transaction ends, and answers with who the producer is from now on. `fresh` is used only where a new id
    /// is needed.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE, or
    /// [`Refusal::NeedsProducerId`].
    pub(crate) fn end(
        &mut self,
        turn: &mut Turn<'_>,
        request: &EndRequest,
        fresh: Option<ProducerId>,
    ) -> Result<Producer, Refusal> {
        let entry = self.entries.get_mut(&request.id).ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
        let caller = entry.caller(request.producer)?;
        let invalid = Err(ErrorCode::INVALID_TXN_STATE.into());
        let is_same = End::of_status(entry.status) == Some(request.end);
        let aborts_nothing = request.client_version >= RAISING_VERSION && request.end == End::Abort;
        match (entry.status, caller) {
            (Status::PrepareCommit | Status::PrepareAbort, _) if is_same => Err(ErrorCode::CONCURRENT_TRANSACTIONS.into()),
            (Status::CompleteCommit | Status::CompleteAbort, Caller::Retries) if is_same => Ok(entry.producer),
            (Status::Ongoing, Caller::IsCurrent) => entry.decide(turn, request, fresh),
            (Status::Empty | Status::CompleteCommit | Status::CompleteAbort, Caller::IsCurrent) if aborts_nothing => {
                entry.decide(turn, request, fresh)
            }
            _ => invalid,
        }
    }

    /// What is decided of an id, if that is still this producer's transaction. From now on its partitions are waited for.
    pub(crate) fn decided(&mut self, id: &TransactionalId, producer: Producer) -> Option<Decided> {
        let entry = self.entries.get_mut(id)?;
        let is_it = entry.status.is_prepared() && entry.producer == producer;
        let end = End::of_status(entry.status).filter(|_| is_it)?;
        entry.unmarked = entry.partitions.clone();
        let places = entry.partitions.iter().cloned().collect();
        Some(Decided { end, producer, version: entry.client_version, places })
    }

    /// When the end of an id's transaction was decided, by the wall clock, if its markers are still to be written.
    pub(crate) fn decided_ms(&self, id: &TransactionalId) -> Option<i64> {
        self.entries.get(id).filter(|entry| entry.status.is_prepared()).map(|entry| entry.updated_ms)
    }

    /// Partitions have their marker, or are no more. With the last one the transaction is complete: says whether it is now.
    pub(crate) fn marked(&mut self, turn: &mut Turn<'_>, id: &TransactionalId, producer: Producer, places: &[Place]) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let end = End::of_status(entry.status).filter(|_| entry.status.is_prepared() && entry.producer == producer);
        let Some(end) = end else { return false };
        for place in places {
            entry.unmarked.remove(place);
        }
        let is_complete = entry.unmarked.is_empty() || flaws::is(Flaw::CompletesEarly);
        if is_complete {
            entry.complete(turn, id, end);
        }
        is_complete
    }
}

/// What the epoch that a client names says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    IsCurrent,
    /// It has not heard how its transaction ended.
    Retries,
}

impl Entry {
    fn caller(&self, named: Producer) -> Result<Caller, ErrorCode> {
        let current = self.producer;
        let complete = self.status.is_complete();
        let raised = self.raises_epochs() && !self.fenced && (self.status.is_prepared() || complete);
        let missed_id = raised
            && complete
            && named.id == self.previous_id
            && current.epoch == ProducerEpoch(0)
            && named.epoch == LAST_GIVEN_EPOCH;
        if missed_id {
            return Ok(Caller::Retries);
        }
        if named.id != current.id {
            return Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        }
        // The epoch behind the last one that is given out is the coordinator's own: nobody may go on under it.
        let may_go_on = named.epoch < LAST_GIVEN_EPOCH || self.next_id != ProducerId::NONE;
        if raised && may_go_on && named.epoch.next() == Some(current.epoch) {
            return Ok(Caller::Retries);
        }
        if named.epoch != current.epoch || self.fenced || (self.raises_epochs() && self.status.is_prepared()) {
            return Err(ErrorCode::PRODUCER_FENCED);
        }
        // Without new epochs the same end told twice looks the same.
        let ended = self.status.is_prepared() || complete;
        Ok(if ended && !self.raises_epochs() { Caller::Retries } else { Caller::IsCurrent })
    }

    fn decide(&mut self, turn: &mut Turn<'_>, request: &EndRequest, fresh: Option<ProducerId>) -> Result<Producer, Refusal> {
        let raises = request.client_version >= RAISING_VERSION;
        if raises && self.is_exhausted() {
            self.next_id = fresh.ok_or(Refusal::NeedsProducerId)?;
        }
        if raises && !flaws::is(Flaw::EndKeepsEpoch) {
            self.last_epoch = self.producer.epoch;
            self.producer.epoch = self.next_epoch();
        }
        self.client_version = request.client_version;
        self.prepare(turn, &request.id, request.end);
        Ok(self.producer_after())
    }

    /// Aborts the open transaction under an epoch that its producer does not have.
    pub(super) fn fence(&mut self, turn: &mut Turn<'_>, id: &TransactionalId, why: Fence) {
        self.client_version = cluster_version(turn);
        self.last_epoch = if self.raises_epochs() { self.producer.epoch } else { ProducerEpoch::NONE };
        self.producer.epoch = self.next_epoch();
        self.fenced = why == Fence::TakenOver;
        self.prepare(turn, id, End::Abort);
    }

    fn prepare(&mut self, turn: &mut Turn<'_>, id: &TransactionalId, end: End) {
        match end {
            End::Commit => turn.transaction_totals.committed += 1,
            End::Abort => turn.transaction_totals.aborted += 1,
        }
        self.status = end.prepared();
        self.updated_ms = turn.now.wall_ms;
        if self.partitions.is_empty() {
            self.started_ms = self.updated_ms;
        }
        emit(turn, id, self);
        turn.when_committed(Task::SendMarkers { id: id.clone(), producer: self.producer });
    }

    fn complete(&mut self, turn: &mut Turn<'_>, id: &TransactionalId, end: End) {
        self.status = end.complete();
        self.partitions.clear();
        self.updated_ms = turn.now.wall_ms;
        if self.next_id != ProducerId::NONE {
            self.previous_id = self.producer.id;
            self.producer = self.producer_after();
            self.next_id = ProducerId::NONE;
        }
        emit(turn, id, self);
    }

    /// Whether it has been open for longer than its producer said.
    pub(super) fn is_overdue(&self, now_ms: i64) -> bool {
        let due_ms = self.started_ms.saturating_add(i64::from(self.timeout_ms));
        self.status == Status::Ongoing && due_ms < now_ms
    }
}
