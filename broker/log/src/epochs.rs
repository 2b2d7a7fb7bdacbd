//! Which leader epoch began at which offset: what two replicas compare to find where they diverge.
//!
//! Entries grow strictly in epoch and in start offset. The cache is never ahead of the log: every batch carries its
//! epoch, so whatever the checkpoint file does not know yet is found again by the scan past the recovery point.
//!
//! Source: KIP-101, KIP-279; the answers of [`LeaderEpochs::end_offset_for`] are those of Kafka's `OffsetForLeaderEpoch`.

use std::fmt::Write;

use bytes::Bytes;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use crate::format::{FormatError, checkpoint, parse_checkpoint};

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

/// The end of an epoch, as `OffsetForLeaderEpoch` and diverging fetches are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// Where the next epoch begins, or the log's end.
    pub end: Offset,
}

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// Parses a `leader-epoch-checkpoint`.
    ///
    /// # Errors
    /// [`FormatError`] if it is no checkpoint, or its entries do not grow.
    pub fn parse(contents: &[u8]) -> Result<Self, FormatError> {
        let entries = parse_checkpoint(contents, |line| {
            let (epoch, start) = line.split_once(' ')?;
            let entry = EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) };
            (entry.epoch.0 >= 0 && entry.start.0 >= 0).then_some(entry)
        })?;
        let grows = |pair: &[EpochEntry]| pair[0].epoch < pair[1].epoch && pair[0].start <= pair[1].start;
        match entries.windows(2).position(|pair| !grows(pair)) {
            Some(place) => Err(FormatError::Order { entry: place + 1 }),
            None => Ok(Self { entries }),
        }
    }

    /// Renders a `leader-epoch-checkpoint`.
    pub fn encode(&self) -> Bytes {
        checkpoint(&self.entries, |text, entry| {
            let _ = write!(text, "{} {}", entry.epoch, entry.start);
        })
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[inline]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that `epoch` begins at `start`. Says whether anything changed: an epoch that is known already does not.
    ///
    /// Entries that the new one contradicts, because they are not older or begin no earlier, are dropped.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        assert!(epoch.0 >= 0 && start.0 >= 0, "an epoch and its start are never negative");
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start <= start) {
            return false;
        }
        while self.entries.last().is_some_and(|last| last.epoch >= epoch || last.start >= start) {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start });
        true
    }

    /// The end of `epoch` in a log that ends at `log_end`; `None` if the epoch is unknown and above all known ones.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some(EpochEnd { epoch, end: log_end });
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(higher)?.start;
        let floor = higher.checked_sub(1).map_or(epoch, |place| self.entries[place].epoch);
        Some(EpochEnd { epoch: floor, end })
    }

    /// The epoch that wrote `offset`; `None` below the first known epoch.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        Some(self.entries[after.checked_sub(1)?].epoch)
    }

    /// Forgets epochs that begin at or behind `end`. Says whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start < end);
        self.entries.len() != before
    }

    /// Forgets epochs that ended at or before `start`; the one that holds `start` now begins there. Says whether
    /// anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let ended = self.entries.partition_point(|entry| entry.start <= start);
        let Some(current) = ended.checked_sub(1) else {
            return false;
        };
        if current == 0 && self.entries[0].start == start {
            return false;
        }
        self.entries.drain(..current);
        self.entries[0].start = start;
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect()
    }

    fn end(epochs: &LeaderEpochs, epoch: i32) -> Option<(i32, i64)> {
        epochs.end_offset_for(LeaderEpoch(epoch), Offset(100)).map(|end| (end.epoch.0, end.end.0))
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(end(&epochs, 7), Some((7, 100)), "the latest epoch ends at the log's end");
        assert_eq!(end(&epochs, 4), Some((4, 30)));
        assert_eq!(end(&epochs, 5), Some((4, 30)), "an unknown epoch in between is answered by the one before");
        assert_eq!(end(&epochs, 1), Some((1, 10)), "below the first known one");
        assert_eq!(end(&epochs, 8), None);
        assert_eq!(end(&epochs, -1), None);
        assert_eq!(end(&LeaderEpochs::default(), 0), None);
    }

    #[test]
    fn an_epoch_that_is_known_changes_nothing() {
        let mut epochs = epochs(&[(2, 10)]);
        assert!(!epochs.assign(LeaderEpoch(2), Offset(15)));
        assert!(epochs.assign(LeaderEpoch(3), Offset(15)));
        assert_eq!(pairs(&epochs), [(2, 10), (3, 15)]);
    }

    #[test]
    fn a_new_epoch_drops_the_ones_it_contradicts() {
        let mut epochs = epochs(&[(2, 10), (3, 20), (4, 20)]);
        assert_eq!(pairs(&epochs), [(2, 10), (4, 20)], "an epoch without records gives way");
        epochs.assign(LeaderEpoch(3), Offset(15));
        assert_eq!(pairs(&epochs), [(2, 10), (3, 15)]);
    }

    #[test]
    fn truncation_from_the_end_forgets_epochs_that_begin_there() {
        let mut epochs = epochs(&[(2, 10), (3, 20), (4, 30)]);
        assert!(epochs.truncate_from_end(Offset(20)));
        assert!(!epochs.truncate_from_end(Offset(11)));
        assert_eq!(pairs(&epochs), [(2, 10)]);
    }

    #[test]
    fn truncation_from_the_start_moves_the_start_of_the_current_epoch() {
        let mut epochs = epochs(&[(2, 10), (3, 20), (4, 30)]);
        assert!(epochs.truncate_from_start(Offset(25)));
        assert_eq!(pairs(&epochs), [(3, 25), (4, 30)]);
        assert!(!epochs.truncate_from_start(Offset(25)));
        assert!(!epochs.truncate_from_start(Offset(24)));
    }

    #[test]
    fn the_checkpoint_is_read_back() {
        let epochs = epochs(&[(0, 0), (3, 20)]);
        assert_eq!(&epochs.encode()[..], b"0\n2\n0 0\n3 20\n");
        assert_eq!(LeaderEpochs::parse(&epochs.encode()), Ok(epochs));
        assert_eq!(LeaderEpochs::parse(b"0\n2\n3 5\n2 9\n"), Err(FormatError::Order { entry: 1 }));
        assert_eq!(LeaderEpochs::parse(b"0\n1\n-1 9\n"), Err(FormatError::Line { line: 3 }));
    }

    #[test]
    fn the_epoch_of_an_offset_is_the_last_one_that_began_by_then() {
        let epochs = epochs(&[(2, 10), (3, 20)]);
        let of = |offset| epochs.epoch_of(Offset(offset)).map(|epoch| epoch.0);
        assert_eq!((of(9), of(10), of(19), of(500)), (None, Some(2), Some(2), Some(3)));
    }
}
