//! The time index of a segment: timestamp to offset, sparse.
//!
//! Entries of 12 bytes, drawn in `FORMAT.md`: the largest timestamp seen so far, and the last offset of the first batch that
//! had it, relative to the segment's base offset. Timestamps grow strictly from entry to entry. The last entry of a sealed
//! segment is the segment's largest timestamp: retention and lookups by time depend on it.

use strandline_protocol::ids::Offset;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 12;

/// One entry, with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Every earlier batch of the segment is older than this.
    pub timestamp_ms: i64,
    /// Last offset of the batch that has it.
    pub offset: Offset,
}

/// The last entry with a timestamp at or below `timestamp_ms`.
pub fn lookup(index: &[u8], base: Offset, timestamp_ms: i64) -> Option<Entry> {
    let at_or_below = partition_point(index, |entry| entry_of(entry, base).timestamp_ms <= timestamp_ms);
    entry_at(index, base, at_or_below.checked_sub(1)?)
}

/// The last entry whose batch ends below `offset`.
pub fn last_below(index: &[u8], base: Offset, offset: Offset) -> Option<Entry> {
    let below = partition_point(index, |entry| entry_of(entry, base).offset < offset);
    entry_at(index, base, below.checked_sub(1)?)
}

/// Number of whole entries in `index`.
pub fn entries(index: &[u8]) -> usize {
    index.len() / ENTRY_BYTES
}

/// The entry in `slot`, if there is one.
pub fn entry_at(index: &[u8], base: Offset, slot: usize) -> Option<Entry> {
    let start = slot.checked_mul(ENTRY_BYTES)?;
    let bytes = index.get(start..start.checked_add(ENTRY_BYTES)?)?;
    Some(entry_of(bytes, base))
}

/// How many entries from the front grow in timestamp and do not go back in offset.
///
/// Kafka allocates its active index ahead, filled with zeros: the zeros are no entries.
pub fn valid_entries(index: &[u8], base: Offset) -> usize {
    let mut last: Option<Entry> = None;
    for (slot, bytes) in index.chunks_exact(ENTRY_BYTES).enumerate() {
        let entry = entry_of(bytes, base);
        let grows = last.is_none_or(|last| entry.timestamp_ms > last.timestamp_ms && entry.offset > last.offset);
        let empty = entry.timestamp_ms == 0 && entry.offset == base && slot + 1 < entries(index);
        if !grows || entry.offset < base || entry.timestamp_ms < 0 || empty {
            return slot;
        }
        last = Some(entry);
    }
    entries(index)
}

/// The time index of an active segment.
#[derive(Clone, Debug, Default)]
pub struct TimeIndex {
    bytes: Vec<u8>,
}

impl TimeIndex {
    /// Takes over the first `entries` entries of `bytes`.
    pub fn from_prefix(bytes: &[u8], entries: usize) -> Self {
        let end = (entries * ENTRY_BYTES).min(bytes.len());
        Self { bytes: bytes[..end].to_vec() }
    }

    /// Adds an entry if its timestamp is larger than that of the last one.
    ///
    /// # Panics
    /// If the offset does not fit behind `base` in 31 bits: the segment should have been rolled.
    pub fn push(&mut self, base: Offset, entry: Entry) {
        if entry.timestamp_ms < 0 || self.last(base).is_some_and(|last| entry.timestamp_ms <= last.timestamp_ms) {
            return;
        }
        let relative =
            i32::try_from(entry.offset.distance_from(base)).expect("a segment is rolled before its relative offsets overflow");
        self.bytes.extend_from_slice(&entry.timestamp_ms.to_be_bytes());
        self.bytes.extend_from_slice(&relative.to_be_bytes());
    }

    /// What the file holds.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        entries(&self.bytes)
    }

    /// The newest entry.
    pub fn last(&self, base: Offset) -> Option<Entry> {
        entry_at(&self.bytes, base, self.entries().checked_sub(1)?)
    }

    /// Removes entries at or above `offset`.
    pub fn truncate(&mut self, base: Offset, offset: Offset) {
        let kept = partition_point(&self.bytes, |entry| entry_of(entry, base).offset < offset);
        self.bytes.truncate(kept * ENTRY_BYTES);
    }
}

fn entry_of(bytes: &[u8], base: Offset) -> Entry {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&bytes[..8]);
    let mut relative = [0; 4];
    relative.copy_from_slice(&bytes[8..ENTRY_BYTES]);
    Entry {
        timestamp_ms: i64::from_be_bytes(timestamp),
        offset: Offset(base.0.saturating_add(i64::from(i32::from_be_bytes(relative)))),
    }
}

/// Number of entries for which `holds` says yes; it must say yes for a prefix.
fn partition_point(index: &[u8], holds: impl Fn(&[u8]) -> bool) -> usize {
    let (mut low, mut high) = (0, entries(index));
    while low < high {
        let middle = low + (high - low) / 2;
        let start = middle * ENTRY_BYTES;
        if holds(&index[start..start + ENTRY_BYTES]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Offset = Offset(1_000);

    fn three() -> TimeIndex {
        let mut index = TimeIndex::default();
        for (timestamp_ms, offset) in [(50, 1_003), (70, 1_010), (90, 1_011)] {
            index.push(BASE, Entry { timestamp_ms, offset: Offset(offset) });
        }
        index
    }

    #[test]
    fn a_timestamp_is_looked_up_at_or_below() {
        let index = three();
        let at = |timestamp| lookup(index.as_bytes(), BASE, timestamp).map(|entry| entry.offset.0);
        assert_eq!((at(49), at(50), at(69)), (None, Some(1_003), Some(1_003)));
        assert_eq!((at(70), at(90), at(i64::MAX)), (Some(1_010), Some(1_011), Some(1_011)));
    }

    #[test]
    fn a_timestamp_that_is_not_larger_adds_nothing() {
        let mut index = three();
        index.push(BASE, Entry { timestamp_ms: 90, offset: Offset(1_020) });
        index.push(BASE, Entry { timestamp_ms: -1, offset: Offset(1_020) });
        assert_eq!(index.entries(), 3);
    }

    #[test]
    fn zeros_behind_the_entries_are_no_entries() {
        let mut bytes = three().as_bytes().to_vec();
        bytes.resize(20 * ENTRY_BYTES, 0);
        assert_eq!(valid_entries(&bytes, BASE), 3);
        assert_eq!(valid_entries(&[0; 240], BASE), 0);
    }

    #[test]
    fn the_last_entry_below_an_offset_is_found() {
        let index = three();
        let below = |offset| last_below(index.as_bytes(), BASE, Offset(offset)).map(|entry| entry.timestamp_ms);
        assert_eq!((below(1_003), below(1_004), below(1_011), below(5_000)), (None, Some(50), Some(70), Some(90)));
    }

    #[test]
    fn truncation_drops_entries_at_and_above() {
        let mut index = three();
        index.truncate(BASE, Offset(1_011));
        assert_eq!(index.last(BASE), Some(Entry { timestamp_ms: 70, offset: Offset(1_010) }));
    }
}
