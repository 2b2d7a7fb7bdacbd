//! Partitions join a transaction, or their leaders ask whether they did.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TransactionalId;

use super::entry::{Place, Producer};
use super::status::Status;
use super::{Transactions, emit, is_idle};
use crate::coordinator::turn::Turn;

impl Transactions {
    /// Adds partitions, beginning a transaction with the first; `client_version` is the `transaction.version` that the client
    /// works by.
    ///
    /// # Errors
    /// INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
    pub(crate) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        id: &TransactionalId,
        producer: Producer,
        places: &[Place],
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let now_ms = turn.now.wall_ms;
        let entry = self.of_producer(id, producer)?;
        if entry.status == Status::Ongoing && places.iter().all(|place| entry.partitions.contains(place)) {
            return Ok(());
        }
        if is_idle(entry.status) {
            entry.status = Status::Ongoing;
            entry.started_ms = now_ms;
            entry.partitions.clear();
        }
        entry.partitions.extend(places.iter().cloned());
        entry.updated_ms = now_ms;
        entry.client_version = client_version;
        emit(turn, id, entry);
        Ok(())
    }

    /// Which of the partitions have joined. Those of a transaction that is complete have left.
    ///
    /// # Errors
    /// As [`Transactions::add`].
    pub(crate) fn verify(
        &mut self,
        id: &TransactionalId,
        producer: Producer,
        places: &[Place],
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let entry = self.of_producer(id, producer)?;
        let joined = |place: &Place| entry.status == Status::Ongoing && entry.partitions.contains(place);
        let code = |place| if joined(place) { ErrorCode::NONE } else { ErrorCode::TRANSACTION_ABORTABLE };
        Ok(places.iter().map(code).collect())
    }
}
