//! What of a share partition is not written yet, and the write that is under way.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

/// The states that are written, with Kafka's numbers (RecordState).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Available = 0,
    Acknowledged = 2,
    Archived = 4,
}

impl Saved {
    /// States of other numbers are read as available: whoever had the record has to get it again.
    pub(crate) fn from_number(number: i8) -> Self {
        match number {
            2 => Self::Acknowledged,
            4 => Self::Archived,
            _ => Self::Available,
        }
    }
}

/// Neighbours that are alike, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateBatch {
    pub first: Offset,
    pub last: Offset,
    pub state: Saved,
    pub deliveries: u16,
}

/// What the share coordinator is asked to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub number: u64,
    pub start: Offset,
    /// Offsets behind `start` that are done with.
    pub complete: u64,
    pub batches: Vec<StateBatch>,
}

/// Ranges of offsets that changed since they were last written.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    ranges: BTreeMap<i64, i64>,
    /// The start is to be written whatever else.
    pub(super) start: bool,
    /// The number of the last write that was taken.
    taken: u64,
    under_way: Option<BTreeMap<i64, i64>>,
}

impl Dirty {
    pub(super) fn add(&mut self, first: i64, last: i64) {
        match self.ranges.range_mut(..=first).next_back() {
            Some((_, end)) if end.saturating_add(1) >= first => *end = last.max(*end),
            _ => {
                self.ranges.insert(first, last);
            }
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn is_left(&self) -> bool {
        self.start || !self.ranges.is_empty()
    }

    fn is_due(&self) -> bool {
        self.under_way.is_none() && self.is_left()
    }

    /// The write that carries what changes now.
    pub(super) fn next_write(&self) -> u64 {
        self.taken + 1
    }

    pub(super) fn under_way(&self) -> u64 {
        self.taken
    }

    /// Begins a write, if one is due.
    pub(super) fn take(&mut self) -> Option<BTreeMap<i64, i64>> {
        if !self.is_due() {
            return None;
        }
        self.start = false;
        self.taken += 1;
        let ranges = std::mem::take(&mut self.ranges);
        self.under_way = Some(ranges.clone());
        Some(ranges)
    }

    /// The write is over. What it did not bring there is to be written still.
    pub(super) fn wrote(&mut self, is_written: bool) -> u64 {
        if let Some(ranges) = self.under_way.take()
            && !is_written
        {
            self.start = true;
            for (first, last) in ranges {
                self.add(first, last);
            }
        }
        self.taken
    }
}
