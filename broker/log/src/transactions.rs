//! Which transactions were aborted, and from where on a reader that wants only committed records must wait.
//!
//! A transaction is *ongoing* from its first record to its marker and *unreplicated* until its marker lies below the high
//! watermark; the smallest first offset of either is the first unstable offset. An aborted one is noted in the
//! transaction index of the segment that holds the marker: entries of 34 bytes, drawn in `FORMAT.md`, markers growing.

use bytes::Bytes;
use strandline_protocol::ids::{Offset, ProducerId};

use crate::disk::{DiskError, FilePath, Files};
use crate::format::FormatError;

/// Bytes of an index entry.
pub const ENTRY_BYTES: usize = 34;

/// Bytes of a transaction index that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    /// Its first record.
    pub first: Offset,
    /// Its marker.
    pub last: Offset,
    /// The last stable offset once the marker was written: no transaction that begins below it is missing from the
    /// index up to here.
    pub last_stable: Offset,
}

impl AbortedTransaction {
    /// Appends the entry to what a `.txnindex` holds.
    pub fn encode(&self, index: &mut Vec<u8>) {
        index.extend_from_slice(&0i16.to_be_bytes());
        for field in [self.producer_id.0, self.first.0, self.last.0, self.last_stable.0] {
            index.extend_from_slice(&field.to_be_bytes());
        }
    }

    fn touches(&self, from: Offset, below: Offset) -> bool {
        self.last >= from && self.first < below
    }
}

/// Renders a `.txnindex`.
pub fn encode(entries: &[AbortedTransaction]) -> Bytes {
    let mut index = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        entry.encode(&mut index);
    }
    Bytes::from(index)
}

/// Parses a `.txnindex`. Trailing bytes that make no entry, as a crash may leave them, are ignored.
///
/// # Errors
/// [`FormatError`] if an entry has an unknown version or does not lie behind the one before.
pub fn parse(index: &[u8]) -> Result<Vec<AbortedTransaction>, FormatError> {
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(index.len() / ENTRY_BYTES);
    for (place, bytes) in index.chunks_exact(ENTRY_BYTES).enumerate() {
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        if version != 0 {
            return Err(FormatError::Version { expected: 0, found: i32::from(version) });
        }
        let entry = entry_of(&bytes[2..]);
        if entry.first > entry.last || entries.last().is_some_and(|before| before.last >= entry.last) {
            return Err(FormatError::Order { entry: place });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry_of(bytes: &[u8]) -> AbortedTransaction {
    let field = |place: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&bytes[place * 8..place * 8 + 8]);
        i64::from_be_bytes(field)
    };
    AbortedTransaction {
        producer_id: ProducerId(field(0)),
        first: Offset(field(1)),
        last: Offset(field(2)),
        last_stable: Offset(field(3)),
    }
}

/// Which aborted transactions a reader of committed records has to know, as a job: sealed indexes lie in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortedQuery {
    /// First offset read.
    pub from: Offset,
    /// First offset not read.
    pub below: Offset,
    /// Indexes to ask, in order.
    pub indexes: Vec<AbortedIndex>,
}

/// Where a segment's aborted transactions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortedIndex {
    /// In this sealed `.txnindex`.
    File(FilePath),
    /// Here.
    Memory(Vec<AbortedTransaction>),
}

/// Collects the transactions that began below `below` and whose markers lie at or behind `from`.
///
/// # Errors
/// [`DiskError`] if an index cannot be read or makes no sense.
pub fn aborted(files: &dyn Files, query: &AbortedQuery) -> Result<Vec<AbortedTransaction>, DiskError> {
    let mut found = Vec::new();
    for index in &query.indexes {
        let entries = match index {
            AbortedIndex::Memory(entries) => entries.clone(),
            // It has entries: where it is not, its segment was removed or moved meanwhile.
            AbortedIndex::File(file) => parse_file(file, &read_whole(files, file)?)?,
        };
        for entry in entries {
            if entry.touches(query.from, query.below) {
                found.push(entry);
            }
            if entry.last_stable >= query.below {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Reads a whole `.txnindex`; a missing one is empty.
pub(crate) fn read(files: &dyn Files, file: &FilePath) -> Result<Vec<AbortedTransaction>, DiskError> {
    match read_whole(files, file) {
        Err(DiskError::Missing { .. }) => Ok(Vec::new()),
        contents => parse_file(file, &contents?),
    }
}

fn read_whole(files: &dyn Files, file: &FilePath) -> Result<Vec<u8>, DiskError> {
    let mut contents = Vec::new();
    loop {
        let piece = files.read_segment(file, contents.len() as u64, READ_BYTES)?;
        contents.extend_from_slice(&piece);
        if piece.len() < READ_BYTES {
            return Ok(contents);
        }
    }
}

fn parse_file(file: &FilePath, contents: &[u8]) -> Result<Vec<AbortedTransaction>, DiskError> {
    parse(contents).map_err(|error| DiskError::Failed { file: file.clone(), reason: error.to_string() })
}

/// The transactions of one log that are not decided, or decided but not replicated.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    /// By first offset: transactions begin in the order of the log.
    ongoing: Vec<Ongoing>,
    /// By first offset.
    unreplicated: Vec<Completed>,
}

#[derive(Clone, Copy, Debug)]
struct Ongoing {
    first: Offset,
    producer_id: ProducerId,
}

#[derive(Clone, Copy, Debug)]
struct Completed {
    first: Offset,
    marker: Offset,
}

impl Transactions {
    /// Notes that `producer_id` began a transaction with the record at `first`.
    pub fn begin(&mut self, producer_id: ProducerId, first: Offset) {
        let place = self.ongoing.partition_point(|known| known.first < first);
        self.ongoing.insert(place, Ongoing { first, producer_id });
    }

    /// Notes the marker of the transaction that began at `first`. Answers with the last stable offset right behind it.
    pub fn complete(&mut self, first: Offset, marker: Offset) -> Offset {
        if let Some(place) = self.ongoing.iter().position(|known| known.first == first) {
            self.ongoing.remove(place);
            let place = self.unreplicated.partition_point(|known| known.first < first);
            self.unreplicated.insert(place, Completed { first, marker });
        }
        self.ongoing.first().map_or(marker.next(), |next| next.first)
    }

    /// Where the first transaction begins whose outcome a reader may not rely on yet.
    pub fn first_unstable(&self) -> Option<Offset> {
        let ongoing = self.ongoing.first().map(|known| known.first);
        let unreplicated = self.unreplicated.first().map(|known| known.first);
        ongoing.into_iter().chain(unreplicated).min()
    }

    /// What a reader of committed records may read up to: nothing of a transaction that is ongoing, or whose marker is not below the
    /// high watermark.
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        let ongoing = self.ongoing.first().map(|known| known.first);
        let unreplicated = self.unreplicated.iter().find(|known| known.marker >= high_watermark).map(|known| known.first);
        ongoing.into_iter().chain(unreplicated).fold(high_watermark, Offset::min)
    }

    /// The producer and first offset of the oldest transaction without a marker.
    pub fn oldest_ongoing(&self) -> Option<(ProducerId, Offset)> {
        self.ongoing.first().map(|known| (known.producer_id, known.first))
    }

    /// Forgets completed transactions whose markers lie below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|known| known.marker >= high_watermark);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ongoing.clear();
        self.unreplicated.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(producer: i64, first: i64, last: i64, last_stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first: Offset(first),
            last: Offset(last),
            last_stable: Offset(last_stable),
        }
    }

    #[test]
    fn an_index_is_read_back() {
        let entries = vec![entry(7, 0, 10, 11), entry(8, 5, 12, 13)];
        let bytes = encode(&entries);
        assert_eq!(bytes.len(), 2 * ENTRY_BYTES);
        assert_eq!(parse(&bytes), Ok(entries.clone()));
        assert_eq!(parse(&bytes[..ENTRY_BYTES + 5]), Ok(entries[..1].to_vec()));
        assert_eq!(parse(&[0; 2 * ENTRY_BYTES]), Err(FormatError::Order { entry: 1 }));
        assert_eq!(parse(&[1; ENTRY_BYTES]), Err(FormatError::Version { expected: 0, found: 0x0101 }));
    }

    #[test]
    fn the_first_unstable_offset_waits_for_the_marker_to_be_replicated() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.first_unstable(), None);
        transactions.begin(ProducerId(1), Offset(10));
        transactions.begin(ProducerId(2), Offset(12));
        assert_eq!(transactions.complete(Offset(10), Offset(20)), Offset(12), "another one is still open");
        assert_eq!(transactions.first_unstable(), Some(Offset(10)));
        transactions.on_high_watermark(Offset(20));
        assert_eq!(transactions.first_unstable(), Some(Offset(10)), "the marker itself is not below yet");
        transactions.on_high_watermark(Offset(21));
        assert_eq!(transactions.first_unstable(), Some(Offset(12)));
        assert_eq!(transactions.complete(Offset(12), Offset(30)), Offset(31));
    }

    #[test]
    fn a_search_ends_where_the_last_stable_offset_says_that_nothing_is_missing() {
        let query = |from, below| AbortedQuery {
            from: Offset(from),
            below: Offset(below),
            indexes: vec![AbortedIndex::Memory(vec![entry(1, 0, 10, 11), entry(2, 5, 20, 21), entry(3, 30, 40, 41)])],
        };
        let found = |from, below| {
            let found = aborted(&crate::memory::MemoryDisk::default(), &query(from, below)).expect("nothing is read");
            found.iter().map(|entry| entry.producer_id.0).collect::<Vec<_>>()
        };
        assert_eq!(found(0, 4), [1]);
        assert_eq!(found(11, 35), [2, 3]);
        assert_eq!(found(21, 30), Vec::<i64>::new());
    }
}
