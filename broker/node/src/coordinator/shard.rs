//! One coordinator: the state that a partition of an internal topic holds, and what of it is not committed yet.
//!
//! *Loading* (the log is read; requests are told to come again) and *active*. Records are applied as they are emitted
//! and gathered until the burst of inputs is over; then they are written as one batch, and replies wait until the high
//! watermark has passed it. If the log does not take a batch the state in memory is ahead of what can be committed, so
//! it is thrown away and read again.

use std::collections::VecDeque;

use bytes::Bytes;
use strandline_log::producers::Outcome;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{
    BatchBuilder, BatchOptions, BuildError, ControlType, EndTransactionMarker, NewRecord, ProducerStamp, Scratch,
    end_transaction_batch,
};

use super::kind::Kind;
use super::state::State;
use super::turn::{Emitted, Task, Transactional};
use crate::parked::ParkedId;

/// A batch that has reached this is closed, between two steps; one step is never torn apart.
const BATCH_BYTES_WANTED: usize = 512 << 10;

/// What waits for a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Reply(ParkedId),
    Task(Task),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Records below `next` are taken; those below `below` are to be.
    Loading {
        next: Offset,
        below: Offset,
    },
    Active,
}

pub(crate) struct Shard {
    pub kind: Kind,
    pub partition: i32,
    pub epoch: LeaderEpoch,
    pub phase: Phase,
    pub state: State,
    /// Emitted in this burst, by step.
    unwritten: Vec<Vec<Emitted>>,
    /// What waits for that which this burst emitted.
    unplaced: Vec<Waiter>,
    /// What waits for the high watermark, in order of offset.
    waiters: VecDeque<(Offset, Waiter)>,
    /// Behind everything that was written.
    end: Offset,
}

impl Shard {
    /// A shard that is to read its log up to `below`.
    pub(crate) fn new(kind: Kind, partition: i32, epoch: LeaderEpoch, from: Offset, below: Offset) -> Self {
        Self {
            kind,
            partition,
            epoch,
            phase: Phase::Loading { next: from, below },
            state: State::new(kind),
            unwritten: Vec::new(),
            unplaced: Vec::new(),
            waiters: VecDeque::new(),
            end: below,
        }
    }

    /// Takes what a step emitted.
    pub(crate) fn gather(&mut self, emitted: Vec<Emitted>) {
        if !emitted.is_empty() {
            self.unwritten.push(emitted);
        }
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Waits for everything emitted so far; gives the waiter back if all of that is committed.
    pub(crate) fn wait(&mut self, high_watermark: Offset, waiter: Waiter) -> Option<Waiter> {
        if self.has_unwritten() {
            self.unplaced.push(waiter);
        } else if self.end > high_watermark {
            self.waiters.push_back((self.end, waiter));
        } else {
            return Some(waiter);
        }
        None
    }

    /// The batches of this burst, in order.
    pub(crate) fn take_batches(&mut self, now_ms: i64) -> Result<Vec<Bytes>, BuildError> {
        let mut scratch = Scratch::default();
        let mut batches = Vec::new();
        let mut open: Option<(Option<Transactional>, BatchBuilder)> = None;
        for step in std::mem::take(&mut self.unwritten) {
            if open.as_ref().is_some_and(|(_, builder)| builder.size_estimate_bytes() >= BATCH_BYTES_WANTED) {
                close(&mut open, &mut batches, &mut scratch)?;
            }
            for emitted in step {
                let (record, transaction) = match emitted {
                    Emitted::Record { record, transaction } => (record, transaction),
                    Emitted::Marker { transaction, marker } => {
                        close(&mut open, &mut batches, &mut scratch)?;
                        let kind = if marker.outcome == Outcome::Commit { ControlType::Commit } else { ControlType::Abort };
                        let content = EndTransactionMarker { coordinator_epoch: marker.coordinator_epoch };
                        batches.push(end_transaction_batch(kind, content, stamp(transaction), now_ms, &mut scratch)?);
                        continue;
                    }
                };
                if open.as_ref().is_some_and(|(of, _)| *of != transaction) {
                    close(&mut open, &mut batches, &mut scratch)?;
                }
                let (_, builder) = open.get_or_insert_with(|| (transaction, BatchBuilder::new(options(transaction))));
                let value = record.value();
                let key = record.key();
                let record = NewRecord { timestamp: now_ms, key: Some(&key), value: value.as_deref(), ..NewRecord::default() };
                builder.append(&record)?;
            }
        }
        close(&mut open, &mut batches, &mut scratch)?;
        Ok(batches)
    }

    /// What was gathered is written up to here.
    pub(crate) fn on_written(&mut self, end: Offset) {
        assert!(end >= self.end, "a shard's records are written in order");
        self.end = end;
        self.waiters.extend(self.unplaced.drain(..).map(|waiter| (end, waiter)));
    }

    /// What waited for less than this.
    pub(crate) fn committed(&mut self, high_watermark: Offset) -> Vec<Waiter> {
        let count = self.waiters.partition_point(|(end, _)| *end <= high_watermark);
        self.waiters.drain(..count).map(|(_, waiter)| waiter).collect()
    }

    /// Whoever waits for a commit, when none will come. Tasks are found again in what is read then.
    pub(crate) fn give_up(&mut self) -> Vec<ParkedId> {
        let waiting = self.waiters.drain(..).map(|(_, waiter)| waiter).chain(self.unplaced.drain(..));
        let reply = |waiter| if let Waiter::Reply(parked) = waiter { Some(parked) } else { None };
        waiting.filter_map(reply).collect()
    }
}

fn close(
    open: &mut Option<(Option<Transactional>, BatchBuilder)>,
    batches: &mut Vec<Bytes>,
    scratch: &mut Scratch,
) -> Result<(), BuildError> {
    if let Some((_, mut builder)) = open.take() {
        batches.push(builder.build(scratch)?);
    }
    Ok(())
}

/// Records of a transaction carry its producer, and no sequence: the coordinator never sends twice.
fn options(transaction: Option<Transactional>) -> BatchOptions {
    let producer = transaction.map_or_else(ProducerStamp::default, stamp);
    BatchOptions { producer, transactional: transaction.is_some(), ..BatchOptions::default() }
}

fn stamp(transaction: Transactional) -> ProducerStamp {
    ProducerStamp { id: transaction.producer_id.0, epoch: transaction.producer_epoch.0, base_sequence: -1 }
}
