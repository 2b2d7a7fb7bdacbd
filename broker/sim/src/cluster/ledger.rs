//! Which batches were ever given to a disk, over all replicas: what log matching is checked by.
//!
//! Raft's property says that two logs with a record of the same offset and epoch are the same up to there. It follows by
//! induction from two things that can be looked at batch by batch: that (offset, epoch) names one batch, and that it always
//! stands behind a record of the same epoch. So a check costs as much as was written, never as much as is stored.

use std::collections::BTreeMap;

use strandline_log::disk::Part;
use strandline_protocol::records::position;

use crate::history::PartitionKey;

/// A log of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogKey {
    Metadata,
    Partition(PartitionKey),
}

/// A batch on its way to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) base: i64,
    pub(super) epoch: i32,
    last: i64,
    crc: u32,
    /// Which epoch wrote the record before it; `None` where the log begins.
    pub(super) before: Option<i32>,
}

impl Written {
    /// What a part of an append says of itself; nothing if it is no batch.
    pub(super) fn of(part: &Part) -> Option<Self> {
        let whole = |at: usize| part.body.get(at - part.prefix.len()..);
        let base = i64::from_be_bytes(*part.prefix.first_chunk()?);
        let epoch = i32::from_be_bytes(*part.prefix[12..].first_chunk()?);
        let crc = u32::from_be_bytes(*whole(position::CRC)?.first_chunk()?);
        let delta = i32::from_be_bytes(*whole(position::LAST_OFFSET_DELTA)?.first_chunk()?);
        Some(Self { base, epoch, last: base + i64::from(delta), crc, before: None })
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    written: BTreeMap<(LogKey, i64, i32), Written>,
}

impl Ledger {
    /// Notes a batch.
    ///
    /// # Errors
    /// The other batch of the same offset and epoch, if the two are not the same or do not stand behind the same.
    pub(super) fn note(&mut self, log: LogKey, batch: Written) -> Result<(), Written> {
        let known = self.written.entry((log, batch.base, batch.epoch)).or_insert(batch);
        let same = (known.last, known.crc) == (batch.last, batch.crc);
        let same_before = known.before.is_none() || batch.before.is_none() || known.before == batch.before;
        if !same || !same_before {
            return Err(*known);
        }
        known.before = known.before.or(batch.before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, epoch: i32, crc: u32, before: Option<i32>) -> Written {
        Written { base, epoch, last: base, crc, before }
    }

    #[test]
    fn offset_and_epoch_name_one_batch_behind_one_epoch() {
        let mut ledger = Ledger::default();
        let mut note = |batch| ledger.note(LogKey::Metadata, batch).is_ok();
        assert!(note(batch(5, 2, 77, None)));
        assert!(note(batch(5, 2, 77, Some(1))));
        assert!(note(batch(5, 3, 78, Some(2))), "another epoch may write another batch");
        assert!(!note(batch(5, 2, 78, Some(1))), "another batch");
        assert!(!note(batch(5, 2, 77, Some(0))), "behind another epoch");
    }
}
