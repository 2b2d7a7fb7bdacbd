//! The batches of one partition, and in which order they may go: a value without clock or socket.
//!
//! A batch is *fresh* until it is first taken; then it has a number for good and is *in flight* or waits to be sent
//! *again*. Numbers count records, so the sequence of a batch is its number seen from where the producer epoch began.
//!
//! Legal moves: fresh -> in flight -> {gone, again}; again -> in flight; again -> gone (too late).
//!
//! Invariants. After a failure nothing is taken until nothing is in flight, and then in the order of the numbers: so
//! the order of records survives retries. A batch that may have been stored keeps its sequence. The epoch is raised only
//! when the broker misses a batch in front of the first one that is left: then that one is not stored, and neither is
//! any behind it, so new sequences cannot store anything twice (KIP-360).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::ids::{ProducerEpoch, ProducerId};
use strandline_protocol::records::ProducerStamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::batch::Batch;
use super::delivery::Waiting;
use super::error::ProduceError;
use crate::backoff::{Backoff, Dice};

/// Sequences wrap from `i32::MAX` to 0.
const SEQUENCE_MASK: u64 = 0x7fff_ffff;

/// What the queues of a producer have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    /// Batches of one partition in flight.
    pub(super) in_flight_max: usize,
    pub(super) idempotent: bool,
}

/// Who the producer is to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

/// The identity in one partition, and the number of the record that has sequence 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reign {
    identity: Identity,
    origin: u64,
}

/// Batches of one partition.
#[derive(Debug, Default)]
pub(super) struct Queue {
    fresh: VecDeque<Batch>,
    again: VecDeque<Batch>,
    in_flight: Vec<u64>,
    next_number: u64,
    reign: Option<Reign>,
    /// A batch failed: nothing goes out before all in flight are back.
    gathering: bool,
    /// The epoch is to be raised when all are back.
    raise_epoch: bool,
    failures: u32,
    not_before: Option<Instant>,
    last_failure: Option<Arc<ProduceError>>,
}

/// Whether a batch that is not full waits for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing is in flight to the broker, or somebody waits for a flush: there is nothing to gain.
    AtOnce,
    /// The broker is busy with another request: up to the linger time, as Nagle has it.
    Linger,
}

/// What a record did to the queue that it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// There is something to send that was not there before, or a batch became full.
    Wake,
    Quiet,
}

impl Queue {
    /// Appends a record to the open batch, or opens one.
    pub(super) fn push(
        &mut self,
        waiting: Waiting,
        bytes: usize,
        room: OwnedSemaphorePermit,
        rules: &Rules,
        now: Instant,
    ) -> Joined {
        match self.fresh.back_mut().filter(|open| open.bytes + bytes <= rules.batch_bytes) {
            Some(open) => {
                open.push(waiting, bytes, room);
                Joined::Quiet
            }
            None => {
                let mut batch = Batch::new(now);
                batch.push(waiting, bytes, room);
                self.fresh.push_back(batch);
                Joined::Wake
            }
        }
    }

    /// Whether there is anything that is not in flight.
    pub(super) fn has_work(&self) -> bool {
        !self.fresh.is_empty() || !self.again.is_empty()
    }

    /// Whether a producer id is missing before anything can be taken.
    pub(super) fn wants_identity(&self, rules: &Rules) -> bool {
        rules.idempotent && self.has_work() && self.reign.is_none()
    }

    /// Gives the queue the identity that it wants.
    pub(super) fn identify(&mut self, identity: Identity) {
        self.reign.get_or_insert(Reign { identity, origin: self.next_number });
    }

    /// The moment from which `take` would answer with a batch, as far as that is a matter of time; `None` if it waits
    /// for something else.
    pub(super) fn ready_at(&self, rules: &Rules, pace: Pace, now: Instant) -> Option<Instant> {
        let blocked = self.in_flight.len() >= rules.in_flight_max
            || (self.gathering && !self.in_flight.is_empty())
            || (rules.idempotent && self.reign.is_none());
        if blocked {
            return None;
        }
        let after_failure = self.not_before.unwrap_or(now);
        if !self.again.is_empty() {
            return Some(after_failure);
        }
        let first = self.fresh.front()?;
        let at_once = pace == Pace::AtOnce || self.fresh.len() > 1;
        Some(if at_once { after_failure } else { after_failure.max(first.opened + rules.linger) })
    }

    /// The size of the batch that `take` would answer with.
    pub(super) fn next_bytes(&self) -> usize {
        self.again.front().or(self.fresh.front()).map_or(0, |batch| batch.bytes)
    }

    /// The next batch to send, stamped. Call it only when `ready_at` has come.
    pub(super) fn take(&mut self) -> Option<Batch> {
        if self.in_flight.is_empty() {
            self.gathering = false;
            if std::mem::take(&mut self.raise_epoch) && !self.begin_epoch() {
                return None;
            }
        }
        let mut batch = self.again.pop_front().or_else(|| self.fresh.pop_front())?;
        let number = *batch.number.get_or_insert(self.next_number);
        self.next_number = self.next_number.max(number + batch.records.len() as u64);
        if let Some(reign) = self.reign {
            batch.stamp = reign.stamp(number);
        }
        self.in_flight.push(number);
        Some(batch)
    }

    /// Raises the epoch and numbers what is to be sent again anew, without gaps. False if the producer id has no epoch
    /// left: then the queue wants another identity.
    fn begin_epoch(&mut self) -> bool {
        let mut number = self.next_number;
        let origin = number;
        for batch in &mut self.again {
            batch.number = Some(number);
            number += batch.records.len() as u64;
        }
        self.next_number = number;
        self.reign = self.reign.and_then(|reign| {
            let epoch = reign.identity.epoch.next()?;
            Some(Reign { identity: Identity { epoch, ..reign.identity }, origin })
        });
        if self.reign.is_none() {
            // The identity that comes begins at the first of what is left.
            self.next_number = origin;
        }
        self.reign.is_some()
    }

    /// A batch came back stored, or failed for good.
    pub(super) fn done(&mut self, number: u64) {
        self.land(number);
        self.failures = 0;
        self.not_before = None;
    }

    /// Batches came back to be sent again: one, or the halves of one.
    pub(super) fn put_back(&mut self, batches: impl IntoIterator<Item = Batch>, why: PutBack, now: Instant, dice: &mut Dice) {
        for (index, batch) in batches.into_iter().enumerate() {
            let number = batch.number.expect("a batch that was taken has a number");
            if index == 0 {
                self.land(number);
                self.raise_epoch |= why.missing_before && self.is_first(number);
            }
            let place = self.again.partition_point(|other| other.number < Some(number));
            self.again.insert(place, batch);
        }
        self.gathering = true;
        if let Some(failure) = why.failure {
            self.last_failure = Some(Arc::new(failure));
            self.failures = self.failures.saturating_add(1);
            self.not_before = Some(now + Backoff::RETRY.after(self.failures, dice));
        }
    }

    fn land(&mut self, number: u64) {
        self.in_flight.retain(|other| *other != number);
    }

    /// Whether no batch in front of the first of these is left.
    pub(super) fn is_first_of(&self, batches: &[Batch]) -> bool {
        batches.first().and_then(|batch| batch.number).is_some_and(|number| self.is_first(number))
    }

    /// Forgets the identity. Call it only when nothing is at hand or in flight.
    pub(super) fn depose(&mut self) {
        debug_assert!(!self.has_work());
        debug_assert!(self.in_flight.is_empty());
        (self.reign, self.gathering, self.failures, self.not_before) = (None, false, 0, None);
    }

    /// Whether no batch in front of `number` is left.
    fn is_first(&self, number: u64) -> bool {
        let before = |other: &u64| *other < number;
        !self.in_flight.iter().any(before) && !self.again.iter().filter_map(|batch| batch.number.as_ref()).any(before)
    }

    /// Takes out what was not acknowledged in time and is not in flight, with the reason.
    pub(super) fn expired(&mut self, rules: &Rules, now: Instant) -> Vec<(Batch, ProduceError)> {
        let mut expired = Vec::new();
        for queue in [&mut self.again, &mut self.fresh] {
            while let Some(batch) = queue.pop_front_if(|batch| batch.opened + rules.delivery_timeout <= now) {
                let error = ProduceError::TimedOut {
                    after: rules.delivery_timeout,
                    maybe_written: batch.was_sent(),
                    last: self.last_failure.clone(),
                };
                expired.push((batch, error));
            }
        }
        expired
    }

    /// When the first batch that is not in flight will be too late.
    pub(super) fn expires_at(&self, rules: &Rules) -> Option<Instant> {
        let first = [self.again.front(), self.fresh.front()].into_iter().flatten().map(|batch| batch.opened).min();
        first.map(|opened| opened + rules.delivery_timeout)
    }

    /// Takes out everything that is not in flight.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Batch> {
        self.again.drain(..).chain(self.fresh.drain(..))
    }

    /// Keeps what stopped the queue from sending, for the error of those who wait too long.
    pub(super) fn note_failure(&mut self, failure: ProduceError) {
        self.last_failure = Some(Arc::new(failure));
    }
}

/// Why a batch is put back.
#[derive(Debug, Default)]
pub(super) struct PutBack {
    /// The broker misses a batch in front of it.
    pub(super) missing_before: bool,
    /// What went wrong; the next attempt waits its backoff. `None`: the next attempt differs from this one.
    pub(super) failure: Option<ProduceError>,
}

impl Reign {
    fn stamp(&self, number: u64) -> ProducerStamp {
        let sequence = number.wrapping_sub(self.origin) & SEQUENCE_MASK;
        ProducerStamp { id: self.identity.id.0, epoch: self.identity.epoch.0, base_sequence: sequence as i32 }
    }
}

#[cfg(test)]
mod tests;
