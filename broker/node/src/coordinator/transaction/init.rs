//! A producer takes a transactional id over: it gets an epoch that fences whoever had the id before.
//!
//! An open transaction is aborted first, under an epoch that nobody gets; the client comes again.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerEpoch, ProducerId, TransactionalId};

use super::ending::Fence;
use super::entry::{Entry, NEVER, Producer};
use super::status::Status;
use super::{Refusal, Transactions, emit};
use crate::coordinator::turn::Turn;
use crate::flaws::{self, Flaw};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct InitRequest {
    pub id: TransactionalId,
    pub timeout_ms: i32,
    /// What a producer that recovers believes to be (KIP-360); a new one names nothing.
    pub expected: Option<Producer>,
}

impl Transactions {
    /// Gives the producer its id and epoch; `fresh` is used only where a new id is needed.
    ///
    /// # Errors
    /// CONCURRENT_TRANSACTIONS, PRODUCER_FENCED, or [`Refusal::NeedsProducerId`].
    pub(crate) fn init(
        &mut self,
        turn: &mut Turn<'_>,
        request: &InitRequest,
        fresh: Option<ProducerId>,
    ) -> Result<Producer, Refusal> {
        let now_ms = turn.now.wall_ms;
        let Some(entry) = self.entries.get_mut(&request.id) else {
            let producer = Producer { id: fresh.ok_or(Refusal::NeedsProducerId)?, epoch: ProducerEpoch(0) };
            let entry = Entry::new(producer, request.timeout_ms, now_ms);
            emit(turn, &request.id, &entry);
            self.entries.insert(request.id.clone(), entry);
            return Ok(producer);
        };
        if !request.expected.is_none_or(|expected| is_known(entry, expected)) {
            return Err(ErrorCode::PRODUCER_FENCED.into());
        }
        match entry.status {
            Status::PrepareCommit | Status::PrepareAbort => Err(ErrorCode::CONCURRENT_TRANSACTIONS.into()),
            Status::Ongoing => {
                entry.fence(turn, &request.id, Fence::TakenOver);
                Err(ErrorCode::CONCURRENT_TRANSACTIONS.into())
            }
            Status::Empty | Status::CompleteCommit | Status::CompleteAbort => {
                entry.take_over(request, fresh)?;
                entry.fenced = false;
                entry.status = Status::Empty;
                entry.timeout_ms = request.timeout_ms;
                entry.partitions.clear();
                entry.started_ms = NEVER;
                entry.updated_ms = now_ms;
                entry.client_version = 0;
                emit(turn, &request.id, entry);
                Ok(entry.producer)
            }
        }
    }
}

/// Whether a producer may be this one: it is, or it missed the answer that gave it another epoch or id.
fn is_known(entry: &Entry, expected: Producer) -> bool {
    let (current, last) = (entry.producer, entry.last_epoch);
    let same = expected.id == current.id && (expected.epoch == current.epoch || expected.epoch == last);
    let before = expected.id == entry.previous_id && current.epoch == ProducerEpoch(0) && expected.epoch == last;
    same || (before && last != ProducerEpoch::NONE)
}

impl Entry {
    /// The next epoch, or the first of a fresh id; a retry gets what it missed.
    fn take_over(&mut self, request: &InitRequest, fresh: Option<ProducerId>) -> Result<(), Refusal> {
        let current = self.producer;
        if request.expected.is_some_and(|expected| expected != current) {
            // `is_known` held: nobody else has initialised since, or the last epoch would be forgotten.
            return if self.fenced { Err(ErrorCode::PRODUCER_FENCED.into()) } else { Ok(()) };
        }
        let last = request.expected.map_or(ProducerEpoch::NONE, |expected| expected.epoch);
        if self.is_exhausted() {
            self.producer = Producer { id: fresh.ok_or(Refusal::NeedsProducerId)?, epoch: ProducerEpoch(0) };
            self.previous_id = current.id;
        } else if !flaws::is(Flaw::InitKeepsEpoch) {
            self.producer.epoch = self.next_epoch();
        }
        self.last_epoch = last;
        Ok(())
    }
}
