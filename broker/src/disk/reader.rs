//! Reads of segments for fetches: the place is looked up, bytes are read and cut, and what a reader will ask for next
//! is read ahead.
//!
//! [`Reader::at_hand`] answers without waiting, from what was read ahead; [`Reader::read`] may wait for the disk and
//! runs on a thread. Bytes below a slice's `position_end` never change, so what was read ahead stays true; only a file
//! that is cut back, removed or renamed is forgotten ([`Reader::forget`]).
//!
//! What comes from a file is served only if its batches are sound ([`damage`]). What does not hold twice, or cannot be read, is told to the
//! node ([`Reader::report_to`]): the first time a segment may have been cut or exchanged under the reader's hands.
//!
//! Not here: the tail cache, which the log keeps, and who may read what, which the node decided.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use strandline_log::cut::{Before, Cut, Damage, cut, damage, part_of};
use strandline_log::disk::{DiskError, FilePath, Files};
use strandline_log::slice::{FileSlice, FirstBatch, Start};
use strandline_protocol::ids::Offset;
use strandline_protocol::records::BatchHeader;
use tokio::runtime::Handle;

use crate::disk::blocks::BLOCK_BYTES;
use crate::disk::indexes::Indexes;
use crate::disk::operations::disk_error;
use crate::disk::reading::LogFiles;

/// Bytes read at once: larger direct reads are hardly cheaper. One block less, so that an unaligned read fits a pooled
/// buffer of 1 MiB.
pub(crate) const READ_BYTES_MAX: usize = (1 << 20) - BLOCK_BYTES;

/// Bytes read at least, while the batch wanted is looked for.
const SEEK_BYTES: usize = 64 << 10;

/// Reads kept ahead, each at most 1 MiB: as many readers of old data go at full speed.
const AHEAD_MAX: usize = 32;

/// Reading ahead begins with answers of this size: smaller readers are at the tail, or slow.
const SEQUENTIAL_BYTES_MIN: usize = 128 << 10;

/// How long a suspicious read waits before it is made again: whoever cuts or exchanges a segment is done by then.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Damaged,
    Unreadable,
}

/// Who is told of trouble: with which segment, and its base offset.
type Alarm = Box<dyn Fn(Trouble, FilePath, Offset) + Send + Sync>;

/// Where a reader goes on, and the bytes there once they are read.
struct Ahead {
    log: FilePath,
    /// What the reader will ask for.
    from: Offset,
    position: u64,
    state: State,
}

/// How far reading ahead is: planned, then under way on a thread, then read. Whoever wants what is only planned reads
/// it himself; whoever wants what is under way waits for it.
enum State {
    Planned,
    UnderWay,
    Read(Bytes),
}

pub(crate) struct Reader {
    files: LogFiles,
    indexes: Indexes,
    /// The newest last.
    ahead: Mutex<VecDeque<Ahead>>,
    /// Something under way was read, or could not be.
    settled: Condvar,
    threads: Handle,
    alarm: OnceLock<Alarm>,
}

/// Why bytes of a file are no answer.
enum Fault {
    Disk(DiskError),
    /// It is something else than what was written there.
    Damage(String),
}

impl From<DiskError> for Fault {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// An answer, and where in the file it ends.
struct Found {
    batches: Bytes,
    end: u64,
}

impl Found {
    const fn nothing(position: u64) -> Self {
        Self { batches: Bytes::new(), end: position }
    }

    /// `batches` is a part of `bytes`, which lie at `position` and have to be sound.
    fn sound(bytes: &Bytes, position: u64, batches: Bytes, slice: &FileSlice, before: Before) -> Result<Self, Fault> {
        let answer = part_of(bytes, &batches);
        match damage(bytes, answer.clone(), slice, before) {
            None => Ok(Self { batches, end: position + answer.end as u64 }),
            Some(Damage { at, reason }) => Err(damaged(position + at as u64, reason)),
        }
    }
}

impl Reader {
    pub(crate) fn new(files: LogFiles, threads: Handle) -> Arc<Self> {
        let (ahead, settled) = (Mutex::default(), Condvar::new());
        Arc::new(Self { files, indexes: Indexes::default(), ahead, settled, threads, alarm: OnceLock::new() })
    }

    /// Says who is told of damaged segments and of those that cannot be read. To be called once.
    pub(crate) fn report_to(&self, alarm: impl Fn(Trouble, FilePath, Offset) + Send + Sync + 'static) {
        let first = self.alarm.set(Box::new(alarm)).is_ok();
        assert!(first, "the reader is connected once");
    }

    pub(crate) fn files(&self) -> &LogFiles {
        &self.files
    }

    /// The batches of a slice, if they were read ahead.
    pub(crate) fn at_hand(self: &Arc<Self>, slice: &FileSlice) -> Option<Bytes> {
        let entry = {
            let mut ahead = self.ahead();
            let place = place_of(&ahead, slice)?;
            ahead.remove(place).filter(|entry| matches!(entry.state, State::Read(_)))?
        };
        self.cut_ahead(slice, entry)
    }

    /// The batches of a slice; waits for the disk.
    ///
    /// # Errors
    /// [`DiskError`] if a file cannot be read or holds something else than batches.
    pub(crate) fn read(self: &Arc<Self>, slice: &FileSlice) -> Result<Bytes, DiskError> {
        let mut known = None;
        if let Some(entry) = self.wait_for_ahead(slice) {
            known = Some(entry.position);
            if let Some(batches) = self.cut_ahead(slice, entry) {
                return Ok(batches);
            }
        }
        let found = match self.find(slice, known) {
            Err(Fault::Damage(_)) => {
                thread::sleep(SECOND_LOOK);
                self.forget(&slice.log);
                self.find(slice, None)
            }
            found => found,
        };
        let found = found.map_err(|fault| {
            let (trouble, error) = match fault {
                Fault::Disk(error) => (Trouble::Unreadable, error),
                Fault::Damage(reason) => (Trouble::Damaged, DiskError::Failed { file: slice.log.clone(), reason }),
            };
            if let Some(alarm) = self.alarm.get() {
                alarm(trouble, slice.log.clone(), slice.base_offset);
            }
            error
        })?;
        self.read_ahead(slice, &found);
        Ok(found.batches)
    }

    fn find(&self, slice: &FileSlice, known: Option<u64>) -> Result<Found, Fault> {
        let begin = match known {
            Some(position) => position,
            None => self.begin(slice)?,
        };
        self.read_from(slice, begin)
    }

    /// Forgets what was learned of the files at or below `path`.
    pub(crate) fn forget(&self, path: &FilePath) {
        self.indexes.forget(path);
        self.ahead().retain(|ahead| ahead.log != *path && ahead.log.inside_of(path).is_none());
    }

    /// Gives back what was read ahead and not asked for since the last call but one.
    pub(crate) fn trim(&self) {
        let mut ahead = self.ahead();
        let idle = ahead.len().div_ceil(2);
        ahead.drain(..idle);
    }

    fn begin(&self, slice: &FileSlice) -> Result<u64, DiskError> {
        match &slice.start {
            Start::Position(position) => Ok(*position),
            Start::Index(file) => self
                .indexes
                .position(self.files.roots(), file, slice.base_offset, slice.position_end, slice.from)
                .map_err(|error| disk_error(file, &error)),
        }
    }

    fn read_from(&self, slice: &FileSlice, begin: u64) -> Result<Found, Fault> {
        let bytes_max = (slice.bytes_max as usize).min(READ_BYTES_MAX);
        let mut position = begin;
        let mut before = Before::of(slice);
        let mut wanted = bytes_max.max(SEEK_BYTES);
        while position < slice.position_end {
            let room = usize::try_from(slice.position_end - position).unwrap_or(usize::MAX);
            let bytes = self.files.read_segment(&slice.log, position, wanted.min(room))?;
            let found = cut(&bytes, slice.from, slice.below, bytes_max, slice.first);
            match found.map_err(|error| damaged(position, &error.to_string()))? {
                Cut::Batches(batches) => return Found::sound(&bytes, position, batches, slice, before),
                Cut::Short { skipped, bytes: needed } => {
                    let stuck = skipped == 0 && (needed <= bytes.len() || bytes.len() == room);
                    if stuck {
                        return Err(damaged(position, "the segment ends inside a batch"));
                    }
                    before = before.skip(&bytes, skipped);
                    position += skipped as u64;
                    wanted = needed.max(SEEK_BYTES);
                }
            }
        }
        Ok(Found::nothing(position))
    }

    /// What was read ahead for a slice, or at least where it begins.
    fn wait_for_ahead(&self, slice: &FileSlice) -> Option<Ahead> {
        let mut ahead = self.ahead();
        loop {
            let place = place_of(&ahead, slice)?;
            if !matches!(ahead[place].state, State::UnderWay) {
                return ahead.remove(place);
            }
            ahead = self.settled.wait(ahead).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn cut_ahead(self: &Arc<Self>, slice: &FileSlice, entry: Ahead) -> Option<Bytes> {
        let State::Read(bytes) = entry.state else { return None };
        let inside = usize::try_from(slice.position_end.saturating_sub(entry.position)).unwrap_or(usize::MAX);
        let bytes = bytes.slice(..bytes.len().min(inside));
        match cut(&bytes, slice.from, slice.below, slice.bytes_max as usize, slice.first) {
            Ok(Cut::Batches(batches)) if !batches.is_empty() => {
                let found = Found::sound(&bytes, entry.position, batches, slice, Before::of(slice)).ok()?;
                self.read_ahead(slice, &found);
                Some(found.batches)
            }
            _ => None,
        }
    }

    /// Begins to read what follows an answer, if its reader goes through the file.
    fn read_ahead(self: &Arc<Self>, slice: &FileSlice, found: &Found) {
        if found.batches.len() < SEQUENTIAL_BYTES_MIN || found.end >= slice.position_end {
            return;
        }
        let Some(from) = next_offset(&found.batches) else { return };
        self.note(Ahead { log: slice.log.clone(), from, position: found.end, state: State::Planned });
        let reader = Arc::clone(self);
        let next = FileSlice { from, first: FirstBatch::Whole, ..slice.clone() };
        let position = found.end;
        self.threads.spawn_blocking(move || reader.fill(&next, position));
    }

    fn note(&self, entry: Ahead) {
        let mut ahead = self.ahead();
        if ahead.len() >= AHEAD_MAX {
            ahead.pop_front();
        }
        ahead.push_back(entry);
    }

    fn fill(&self, next: &FileSlice, position: u64) {
        {
            let mut ahead = self.ahead();
            let Some(place) = place_of(&ahead, next) else { return };
            ahead[place].state = State::UnderWay;
        }
        let room = usize::try_from(next.position_end - position).unwrap_or(usize::MAX);
        let read = self.files.read_segment(&next.log, position, room.min(READ_BYTES_MAX));
        let mut ahead = self.ahead();
        if let Some(place) = place_of(&ahead, next) {
            match read {
                Ok(bytes) => ahead[place].state = State::Read(bytes),
                // The error is told to who asks for these bytes.
                Err(_) => drop(ahead.remove(place)),
            }
        }
        drop(ahead);
        self.settled.notify_all();
    }

    fn ahead(&self) -> MutexGuard<'_, VecDeque<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(ahead: &VecDeque<Ahead>, slice: &FileSlice) -> Option<usize> {
    ahead.iter().position(|ahead| ahead.from == slice.from && ahead.log == slice.log)
}

/// The offset behind the last of `batches`.
fn next_offset(batches: &Bytes) -> Option<Offset> {
    let mut position = 0;
    let mut next = None;
    while let Ok(header) = BatchHeader::parse(batches.get(position..)?) {
        next = Some(Offset(header.next_offset()));
        position += header.size_bytes();
    }
    next
}

fn damaged(position: u64, reason: &str) -> Fault {
    Fault::Damage(format!("at byte {position}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, Scratch};
    use tokio::runtime::Runtime;

    use super::*;
    use crate::disk::files::{Access, Roots};

    const BATCHES: i64 = 200;
    const VALUE_BYTES: usize = 20_000;

    struct Bench {
        root: PathBuf,
        contents: Vec<u8>,
        runtime: Runtime,
    }

    impl Bench {
        /// A segment of batches of three records each.
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("strandline-reader-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("t-0")).unwrap();
            let contents: Vec<u8> = (0..BATCHES).flat_map(batch).collect();
            std::fs::write(root.join("t-0/0.log"), &contents).unwrap();
            Self { root, contents, runtime: Runtime::new().unwrap() }
        }

        fn reader(&self) -> Arc<Reader> {
            let files = LogFiles::new(Roots::new([self.root.clone()]), Access::Direct, Arc::default());
            Reader::new(files, self.runtime.handle().clone())
        }

        fn slice(&self, from: i64, bytes_max: u32) -> FileSlice {
            FileSlice {
                log: FilePath::inside("t-0", "0.log"),
                base_offset: Offset(0),
                next_offset: Offset(BATCHES * 3),
                start: Start::Position(0),
                from: Offset(from),
                below: Offset(BATCHES * 3),
                position_end: self.contents.len() as u64,
                bytes_max,
                first: FirstBatch::Whole,
            }
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }

    fn batch(number: i64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset: number * 3, ..BatchOptions::default() });
        let value = vec![number as u8; VALUE_BYTES / 3];
        for _ in 0..3 {
            builder.append(&NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() }).unwrap();
        }
        builder.build(&mut Scratch::default()).unwrap()
    }

    #[test]
    fn a_reader_goes_through_a_segment_without_gap_or_repetition() {
        let bench = Bench::new("through");
        for bytes_max in [1, 50_000, 300_000, 1 << 20, u32::MAX] {
            let reader = bench.reader();
            let (mut offset, mut read) = (0, Vec::new());
            while offset < BATCHES * 3 {
                let slice = bench.slice(offset, bytes_max);
                let batches = reader.at_hand(&slice).unwrap_or_else(|| reader.read(&slice).unwrap());
                assert!(!batches.is_empty());
                read.extend_from_slice(&batches);
                offset = next_offset(&batches).unwrap().0;
            }
            assert_eq!(read, bench.contents, "{bytes_max}");
        }
    }

    #[test]
    fn what_a_sequential_reader_wants_next_is_at_hand_until_it_is_forgotten() {
        let bench = Bench::new("ahead");
        let reader = bench.reader();
        let first = reader.read(&bench.slice(0, 300_000)).unwrap();
        let slice = bench.slice(next_offset(&first).unwrap().0, 300_000);
        let since = Instant::now();
        while !matches!(reader.ahead().front().unwrap().state, State::Read(_)) {
            assert!(since.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
        assert!(reader.at_hand(&bench.slice(0, 300_000)).is_none());
        assert!(reader.at_hand(&slice).is_some_and(|batches| batches.len() > 250_000));
        reader.forget(&FilePath::top("t-0"));
        assert!(reader.ahead().is_empty());
    }

    #[test]
    fn batches_outside_the_bounds_are_left_out() {
        let bench = Bench::new("bounds");
        let reader = bench.reader();
        let slice = FileSlice { below: Offset(12), ..bench.slice(4, 1 << 20) };
        assert_eq!(reader.read(&slice).unwrap(), [batch(1), batch(2), batch(3)].concat());
        let end = (batch(0).len() * 3 + 100) as u64;
        let slice = FileSlice { position_end: end, ..bench.slice(3, 1 << 20) };
        assert_eq!(reader.read(&slice).unwrap(), [batch(1), batch(2)].concat());
        let slice = FileSlice { first: FirstBatch::Fitting, ..bench.slice(3, 100) };
        assert_eq!(reader.read(&slice).unwrap(), Bytes::new());
    }

    #[test]
    fn a_batch_with_a_turned_bit_is_not_served_and_is_told() {
        let bench = Bench::new("turned");
        let one = batch(0).len();
        let mut contents = bench.contents.clone();
        contents[one * 150 + 1000] ^= 4;
        std::fs::write(bench.root.join("t-0/0.log"), contents).unwrap();
        let reader = bench.reader();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        reader.report_to(move |trouble, file, base| tell.lock().unwrap().push((trouble, file, base)));
        assert!(reader.read(&bench.slice(0, 300_000)).is_ok());
        assert!(matches!(reader.read(&bench.slice(150 * 3, 300_000)), Err(DiskError::Failed { .. })));
        assert_eq!(*told.lock().unwrap(), [(Trouble::Damaged, FilePath::inside("t-0", "0.log"), Offset(0))]);
        assert!(reader.read(&bench.slice(151 * 3, 300_000)).is_ok());
    }

    /// Of what the checksum does not cover, too: the base offset and the leader epoch.
    #[test]
    fn a_batch_that_does_not_fit_its_neighbours_is_not_served() {
        for (byte, bit) in [(7, 1), (7, 4), (6, 1), (0, 0x40), (15, 1), (12, 0x80)] {
            let bench = Bench::new(&format!("neighbours-{byte}-{bit}"));
            let mut contents = bench.contents.clone();
            contents[batch(0).len() * 150 + byte] ^= bit;
            std::fs::write(bench.root.join("t-0/0.log"), contents).unwrap();
            let (reader, mut from, mut read) = (bench.reader(), 140 * 3, Vec::new());
            while let Ok(batches) = reader.read(&bench.slice(from, 50_000)) {
                read.extend_from_slice(&batches);
                from = next_offset(&batches).unwrap().0;
            }
            assert!(from <= 150 * 3, "byte {byte}, bit {bit}: read to {from}");
            assert!(bench.contents[batch(0).len() * 140..].starts_with(&read), "byte {byte}, bit {bit}");
        }
    }

    #[test]
    fn a_missing_or_broken_file_is_an_error_and_no_panic() {
        let bench = Bench::new("broken");
        let reader = bench.reader();
        let slice = FileSlice { log: FilePath::inside("t-0", "1.log"), ..bench.slice(0, 100) };
        assert!(matches!(reader.read(&slice), Err(DiskError::Missing { .. })));
        std::fs::write(bench.root.join("t-0/1.log"), vec![0xee; 10_000]).unwrap();
        assert!(matches!(reader.read(&slice), Err(DiskError::Failed { .. })));
    }
}
