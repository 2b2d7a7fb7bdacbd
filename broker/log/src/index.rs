//! The offset index of a segment: offset to position in the `.log` file, sparse.
//!
//! Entries of 8 bytes, drawn in `FORMAT.md`: the last offset of a batch, relative to the segment's base offset, and the
//! position at which that batch begins; both grow from entry to entry. An active index is a `Vec` in memory and is written whole;
//! a sealed one may be mapped read-only. It never has to hold every batch, and an empty one is only slow: whoever looks
//! up begins at the position that [`lookup`] gives and walks from there.

use strandline_protocol::ids::Offset;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 8;

/// One entry, with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Last offset of the batch that begins at `position`.
    pub offset: Offset,
    pub position: u32,
}

/// Where to begin reading for `offset`: the position of the last entry at or below it, 0 if there is none.
///
/// `index` is what the file holds; trailing bytes that make no entry are ignored.
pub fn lookup(index: &[u8], base: Offset, offset: Offset) -> u32 {
    let at_or_below = partition_point(index, |entry| entry_of(entry, base).offset <= offset);
    match at_or_below.checked_sub(1) {
        Some(slot) => entry_at(index, base, slot).map_or(0, |entry| entry.position),
        None => 0,
    }
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

/// How many entries from the front grow in offset and position and lie inside a log of `log_bytes` bytes.
///
/// Kafka allocates its active index ahead, filled with zeros: the zeros are no entries.
pub fn valid_entries(index: &[u8], base: Offset, log_bytes: u64) -> usize {
    let mut last: Option<Entry> = None;
    for (slot, bytes) in index.chunks_exact(ENTRY_BYTES).enumerate() {
        let entry = entry_of(bytes, base);
        let grows = last.is_none_or(|last| entry.offset > last.offset && entry.position > last.position);
        let inside = entry.offset >= base && entry.position > 0 && u64::from(entry.position) < log_bytes;
        if !grows || !inside {
            return slot;
        }
        last = Some(entry);
    }
    entries(index)
}

/// The index of an active segment.
#[derive(Clone, Debug, Default)]
pub struct OffsetIndex {
    bytes: Vec<u8>,
}

impl OffsetIndex {
    /// Takes over the first `entries` entries of `bytes`.
    pub fn from_prefix(bytes: &[u8], entries: usize) -> Self {
        let end = (entries * ENTRY_BYTES).min(bytes.len());
        Self { bytes: bytes[..end].to_vec() }
    }

    /// Adds an entry. Offset and position must lie behind those of the last one.
    ///
    /// # Panics
    /// If the offset does not fit behind `base` in 31 bits: the segment should have been rolled.
    pub fn push(&mut self, base: Offset, entry: Entry) {
        debug_assert!(self.last(base).is_none_or(|last| entry.offset > last.offset));
        debug_assert!(self.last(base).is_none_or(|last| entry.position > last.position));
        let relative =
            i32::try_from(entry.offset.distance_from(base)).expect("a segment is rolled before its relative offsets overflow");
        self.bytes.extend_from_slice(&relative.to_be_bytes());
        self.bytes.extend_from_slice(&entry.position.to_be_bytes());
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
    let word = |start: usize| [bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]];
    let relative = i32::from_be_bytes(word(0));
    Entry { offset: Offset(base.0.saturating_add(i64::from(relative))), position: u32::from_be_bytes(word(4)) }
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

    const BASE: Offset = Offset(100);

    fn three() -> OffsetIndex {
        let mut index = OffsetIndex::default();
        for (offset, position) in [(109, 4_200), (150, 9_000), (151, 13_111)] {
            index.push(BASE, Entry { offset: Offset(offset), position });
        }
        index
    }

    #[test]
    fn an_offset_is_looked_up_at_or_below() {
        let index = three();
        let at = |offset| lookup(index.as_bytes(), BASE, Offset(offset));
        assert_eq!((at(99), at(100), at(108)), (0, 0, 0));
        assert_eq!((at(109), at(149)), (4_200, 4_200));
        assert_eq!((at(150), at(151), at(i64::MAX)), (9_000, 13_111, 13_111));
    }

    #[test]
    fn an_entry_is_relative_offset_then_position_big_endian() {
        assert_eq!(&three().as_bytes()[..8], [0, 0, 0, 9, 0, 0, 0x10, 0x68]);
    }

    #[test]
    fn zeros_behind_the_entries_are_no_entries() {
        let mut bytes = three().as_bytes().to_vec();
        bytes.resize(10 * ENTRY_BYTES + 3, 0);
        assert_eq!(valid_entries(&bytes, BASE, 20_000), 3);
        assert_eq!(valid_entries(&bytes, BASE, 13_111), 2);
        assert_eq!(valid_entries(&[0; 64], BASE, 20_000), 0);
    }

    #[test]
    fn truncation_drops_entries_at_and_above() {
        let mut index = three();
        index.truncate(BASE, Offset(150));
        assert_eq!(index.entries(), 1);
        assert_eq!(index.last(BASE), Some(Entry { offset: Offset(109), position: 4_200 }));
        index.truncate(BASE, Offset(0));
        assert_eq!(index.last(BASE), None);
    }

    #[test]
    fn a_short_or_empty_index_is_only_slow() {
        assert_eq!(lookup(&[], BASE, Offset(500)), 0);
        assert_eq!(lookup(&three().as_bytes()[..11], BASE, Offset(500)), 4_200);
    }
}
