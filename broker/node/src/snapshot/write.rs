//! The bytes of a snapshot, piece by piece: what Kafka's `RecordsSnapshotWriter` writes.
//!
//! ```text
//! | control batch: SnapshotHeader [KRaftVersion, KRaftVoters] | batches of metadata records ... | control batch: SnapshotFooter |
//! ```
//! Offsets count from 0 and have nothing to do with those of the log; every batch carries the epoch of the snapshot's
//! name. The header batch names the voters where they stand in the log, which is from `kraft.version` 1 on.
//!
//! A piece is a pure function of a shared image and of how far the snapshot came: it runs as a job, on a thread that
//! may take its time, and is bounded in bytes, so that a snapshot of any size costs the memory of one piece.

use std::sync::Arc;

use bytes::Bytes;
use strandline_log::disk::Part;
use strandline_log::names::metadata_snapshot_name;
use strandline_protocol::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{BatchBuilder, BatchOptions, ControlType, NewRecord, PREFIX_BYTES, Scratch, control_batch};
use strandline_protocol::wire::Message;

use crate::image::Image;
use crate::metadata_log::SnapshotVoters;
use crate::quorum::voters::QuorumRecord;
use crate::snapshot::records::{Fact, facts};

/// A piece ends behind the batch that reaches this: a disk writes it in a few milliseconds.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Records of one batch. Source: RaftSnapshotWriter takes batches of 1024.
const BATCH_RECORDS_MAX: usize = 1024;
/// A batch ends behind the record that reaches this; values of configurations may be long.
const BATCH_BYTES: usize = 256 << 10;

const FITS: &str = "a batch ends far below what it can hold";

/// What a snapshot holds: every record of the log below `end`, the last of which was written in `epoch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    pub end: Offset,
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// The name of its file.
    pub fn file_name(self) -> String {
        metadata_snapshot_name(self.end, self.epoch)
    }
}

/// The next piece of a snapshot, to be made.
#[derive(Clone, Debug)]
pub struct SnapshotPiece {
    pub(crate) id: SnapshotId,
    pub(crate) image: Arc<Image>,
    pub(crate) quorum: SnapshotVoters,
    /// Of the batches, by the wall clock.
    pub(crate) now_ms: i64,
    /// The newest timestamp of what the snapshot holds.
    pub(crate) last_contained_ms: i64,
    /// How many records of the image are written.
    pub(crate) records: usize,
}

/// A piece that was made.
#[derive(Debug)]
pub struct MadePiece {
    /// Whole batches.
    pub parts: Vec<Part>,
    /// What comes next; nothing behind the footer.
    pub next: Option<SnapshotPiece>,
}

impl SnapshotPiece {
    /// Makes it.
    pub fn make(mut self) -> MadePiece {
        let mut parts = Vec::new();
        let mut bytes = 0;
        let mut scratch = Scratch::default();
        let mut put = |batch: Bytes| {
            bytes += batch.len();
            parts.push(part(&batch));
            bytes >= PIECE_BYTES
        };
        if self.records == 0 {
            let value = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: self.last_contained_ms }.to_bytes(0);
            let mut header = vec![(ControlType::SnapshotHeader, value)];
            header.extend(self.quorum_records().iter().map(QuorumRecord::encoded));
            put(self.control(0, &header, &mut scratch));
        }
        let image = Arc::clone(&self.image);
        let mut rest = facts(&image).skip(self.records).peekable();
        while rest.peek().is_some() {
            let batch = self.batch(&mut rest, &mut scratch);
            if put(batch) {
                return MadePiece { parts, next: Some(self) };
            }
        }
        let value = SnapshotFooterRecord { version: 0 }.to_bytes(0);
        put(self.control(self.offset(), &[(ControlType::SnapshotFooter, value)], &mut scratch));
        MadePiece { parts, next: None }
    }

    fn quorum_records(&self) -> Vec<QuorumRecord> {
        let SnapshotVoters { version, voters } = &self.quorum;
        let version = Some(*version).filter(|version| *version > 0).map(QuorumRecord::Version);
        version.into_iter().chain(voters.clone().map(QuorumRecord::Voters)).collect()
    }

    /// The offset of the next batch: the header took the first ones.
    fn offset(&self) -> i64 {
        i64::try_from(self.records + 1 + self.quorum_records().len()).unwrap_or(i64::MAX)
    }

    fn batch<'a>(&mut self, facts: &mut impl Iterator<Item = Fact<'a>>, scratch: &mut Scratch) -> Bytes {
        let mut batch = BatchBuilder::new(self.options(self.offset()));
        for fact in facts.take(BATCH_RECORDS_MAX) {
            let record = fact.record();
            let value = record.encode(record.spec().versions.last);
            let record = NewRecord { timestamp: self.now_ms, key: None, value: Some(&value), headers: &[] };
            batch.append(&record).expect(FITS);
            self.records += 1;
            if batch.size_estimate_bytes() >= BATCH_BYTES {
                break;
            }
        }
        batch.build(scratch).expect(FITS)
    }

    fn control(&self, offset: i64, records: &[(ControlType, Bytes)], scratch: &mut Scratch) -> Bytes {
        let records: Vec<(ControlType, &[u8])> = records.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        control_batch(self.options(offset), self.now_ms, &records, scratch).expect(FITS)
    }

    fn options(&self, base_offset: i64) -> BatchOptions {
        BatchOptions { base_offset, partition_leader_epoch: self.id.epoch.0, ..BatchOptions::default() }
    }
}

fn part(batch: &Bytes) -> Part {
    let prefix = *batch.first_chunk().expect("a batch is longer than its prefix");
    Part { prefix, body: batch.slice(PREFIX_BYTES..) }
}
