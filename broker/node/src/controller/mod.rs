//! The controller of a quorum of one: it decides, writes what it decided to the metadata log, and answers when that is
//! committed.
//!
//! *Emit = apply + write*: a record is applied to the controller's image as it is emitted, so that the next decision
//! knows it; the broker's image follows when the record is committed, which for a quorum of one means durable. A failed
//! write of the metadata log ends the process, so nothing is ever rolled back in memory.

pub(crate) mod alter_partition;
mod batches;
pub(crate) mod directories;
pub(crate) mod elections;
pub(crate) mod eligibility;
pub(crate) mod feature_levels;
pub(crate) mod fencing;
mod liveness;
pub(crate) mod membership;
#[cfg(test)]
mod model_tests;
mod partition_change;
mod placement;
pub(crate) mod producer_ids;
pub(crate) mod reassignments;
mod registrations;
mod terms;
pub(crate) mod topics;
#[cfg(test)]
mod worlds;

use std::collections::VecDeque;

use strandline_log::disk::{DiskDone, DiskError, DiskOp};
use strandline_log::log::Log;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::metadata::MetadataRecord;

use crate::image::Image;
use crate::io::Now;
use liveness::Liveness;

/// The topic of the metadata log, as checkpoint files name it.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
/// The directory of the metadata log.
pub(crate) const METADATA_DIRECTORY: &str = "__cluster_metadata-0";
/// Most records of one decision: they are one batch and so one fact. Source: QuorumController.MAX_RECORDS_PER_USER_OP.
pub(crate) const RECORDS_PER_DECISION_MAX: usize = 10_000;

pub struct Controller {
    /// Ahead of the broker's: holds what was emitted.
    pub image: Image,
    /// Who was heard of lately.
    pub(crate) liveness: Liveness,
    log: Log,
    epoch: LeaderEpoch,
    emitted: VecDeque<(Offset, MetadataRecord)>,
}

impl Controller {
    /// Takes the metadata log and what its records came to; `epoch` is new and its own.
    pub fn new(log: Log, image: Image, epoch: LeaderEpoch) -> Self {
        Self { image, liveness: Liveness::default(), log, epoch, emitted: VecDeque::new() }
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Everything before this offset is committed.
    pub fn committed(&self) -> Offset {
        self.log.positions().readable_end
    }

    /// The end of what was emitted.
    pub fn end(&self) -> Offset {
        self.log.positions().log_end
    }

    /// Applies records and hands them to the log as one batch. Answers with the offset behind the last one: what was
    /// decided is true when everything before it is committed.
    pub fn emit(&mut self, now: Now, records: Vec<MetadataRecord>) -> Offset {
        if records.is_empty() {
            return self.end();
        }
        assert!(records.len() <= RECORDS_PER_DECISION_MAX, "a decision is one batch");
        let base = self.end();
        let batch = batches::of_records(now.wall_ms, base, self.epoch, &records);
        self.append(now, batch);
        for (index, record) in records.into_iter().enumerate() {
            let offset = Offset(base.0 + i64::try_from(index).unwrap_or(i64::MAX));
            self.image.apply(offset, &record).expect("a decision was made on this very image");
            self.emitted.push_back((offset, record));
        }
        self.end()
    }

    /// Emits more records than one decision can hold; each of them must be true by itself.
    pub fn emit_all(&mut self, now: Now, mut records: Vec<MetadataRecord>) -> Offset {
        while records.len() > RECORDS_PER_DECISION_MAX {
            let rest = records.split_off(RECORDS_PER_DECISION_MAX);
            self.emit(now, records);
            records = rest;
        }
        self.emit(now, records)
    }

    /// Begins the epoch: Kafka's quorum marks it by a control record that names the leader.
    pub fn begin_epoch(&mut self, now: Now, leader: i32) {
        let batch = batches::leader_change(now.wall_ms, self.end(), self.epoch, leader);
        self.append(now, batch);
    }

    /// The next operation of the metadata log, if none is in flight.
    pub fn poll(&mut self, now: Now) -> Option<DiskOp> {
        self.log.poll(now.wall_ms)
    }

    /// Tells how the last operation ended; answers with the records that are committed now, in order.
    ///
    /// # Errors
    /// The disk's, which end the process.
    pub fn on_disk(
        &mut self,
        now: Now,
        result: Result<DiskDone, DiskError>,
    ) -> Result<Vec<(Offset, MetadataRecord)>, DiskError> {
        self.log.on_done(now.wall_ms, result)?;
        let committed = self.committed();
        let count = self.emitted.partition_point(|(offset, _)| *offset < committed);
        Ok(self.emitted.drain(..count).collect())
    }

    fn append(&mut self, now: Now, batch: bytes::Bytes) {
        self.log
            .append_as_is(now.wall_ms, batch)
            .expect("batches of the controller are well formed and its epoch is the newest");
    }
}
