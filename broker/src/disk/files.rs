//! Segment files that are open for appending: where each ends, what its last partial block holds, how far space is
//! allocated.
//!
//! ```text
//!  0            position_of_block      end         up_to_block(end)      allocated
//!  |  whole blocks  |  partial block ..|.. zeros ..|   zeros (`ahead.rs`)  ..|
//! ```
//! A direct append writes whole blocks: the partial block again, its acknowledged prefix byte for byte the same, then
//! what is new, then zeros up to the block's end. A buffered append writes what is new where it belongs.
//!
//! Not here: when something is written (`mod.rs`), and through what (`uring.rs` or the call below).
//! Invariant: one append a file at a time; `end` moves only after the write is complete.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use strandline_log::disk::{Durability, FilePath, LogDir, Part};

use crate::disk::ahead::Ahead;
use crate::disk::blocks::{BLOCK_BYTES, Block, Blocks, down_to_block, up_to_block};

/// How a file is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Past the page cache, in whole blocks.
    Direct,
    /// Through the page cache.
    Buffered,
}

impl Access {
    pub(crate) fn open_flags(self) -> OFlags {
        match self {
            Access::Direct => OFlags::DIRECT | OFlags::CLOEXEC,
            Access::Buffered => OFlags::CLOEXEC,
        }
    }
}

/// A file open for appending.
pub(crate) struct LogFile {
    file: File,
    access: Access,
    state: Mutex<State>,
    /// Held while zeros are written ahead of the end.
    zeroing: Mutex<()>,
}

struct State {
    /// The logical end: where the next append goes.
    end: u64,
    /// The bytes between the last block boundary and `end`; empty for buffered files.
    partial: Vec<u8>,
    ahead: Ahead,
}

/// An append made ready to be written.
pub(crate) struct Staged {
    pub(crate) block: Block,
    /// Where in the file the write begins.
    pub(crate) position: u64,
    /// Bytes to be written, from the beginning of `block`.
    pub(crate) write_bytes: usize,
    /// Where in `block` the appended bytes begin.
    skip: usize,
    /// How many bytes are appended.
    pub(crate) payload: usize,
}

impl LogFile {
    /// Opens `path` to append at `position`; at position 0 it is made, with its directory, durably.
    pub(crate) fn open(path: &Path, position: u64, access: Access, blocks: &Arc<Blocks>) -> io::Result<Self> {
        let file = if position == 0 { create(path, access)? } else { open_existing(path, access)? };
        let partial = match access {
            Access::Direct => read_partial(&file, position, blocks)?,
            Access::Buffered => Vec::new(),
        };
        let ahead = Ahead::new(down_to_block(file.metadata()?.len()), position);
        Ok(Self { file, access, state: Mutex::new(State { end: position, partial, ahead }), zeroing: Mutex::default() })
    }

    /// Whether an append at `position` of `bytes` bytes can be written at once: the file ends there, space is
    /// allocated, and no zeros are being written into it.
    pub(crate) fn is_ready_for(&self, position: u64, bytes: usize) -> bool {
        let state = self.state();
        let end = up_to_block(position + bytes as u64);
        state.end == position && (self.access == Access::Buffered || state.ahead.is_ready_for(end))
    }

    pub(crate) fn ends_at(&self, position: u64) -> bool {
        self.state().end == position
    }

    /// Waits for zeros that are being written ahead, and allocates space so that an append of `bytes` bytes fits. Where
    /// that is not supported or there is no space, nothing happens: the write itself will say.
    pub(crate) fn make_room(&self, bytes: usize) {
        let _held = self.stop_zeroing();
        let mut state = self.state();
        let end = up_to_block(state.end + bytes as u64);
        let wanted = if self.access == Access::Direct { state.ahead.to_allocate(end) } else { None };
        let Some(range) = wanted else { return };
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), range.start, range.end - range.start) {
            Ok(()) => state.ahead.allocated(range.end),
            Err(Errno::OPNOTSUPP) => state.ahead.allocated(u64::MAX),
            Err(_) => {}
        }
    }

    /// Writes zeros into `range`, which [`LogFile::appended`] asked for, and waits for the device.
    pub(crate) fn write_zeros(&self, range: &Range<u64>, blocks: &Arc<Blocks>) {
        let _held = self.zeroing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.state().ahead.is_zeroing(range) {
            return;
        }
        let bytes = (range.end - range.start) as usize;
        let mut block = blocks.take(bytes);
        block.bytes_mut()[..bytes].fill(0);
        let result = write_fully(&self.file, &block.bytes()[..bytes], range.start, 0, ReadWriteFlags::DSYNC);
        self.state().ahead.zeroed(range, result.is_ok());
    }

    /// Nothing is written ahead any more, and nothing is under way: another may open the file now.
    pub(crate) fn retire(&self) {
        let _held = self.stop_zeroing();
        self.state().ahead.end();
    }

    /// Waits for zeros under way; those that were not begun are given up.
    fn stop_zeroing(&self) -> MutexGuard<'_, ()> {
        let held = self.zeroing.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().ahead.take_back();
        held
    }

    /// Lays the kept partial block and `parts` one behind the other in a block, padded with zeros.
    pub(crate) fn stage(&self, parts: &[Part], blocks: &Arc<Blocks>) -> Staged {
        let state = self.state();
        let skip = state.partial.len();
        let payload = parts.iter().map(Part::bytes).sum::<usize>();
        let filled = skip + payload;
        let mut block = blocks.take(filled);
        lay_out(block.bytes_mut(), &state.partial, parts);
        let write_bytes = match self.access {
            Access::Direct => filled.next_multiple_of(BLOCK_BYTES),
            Access::Buffered => filled,
        };
        block.bytes_mut()[filled..write_bytes].fill(0);
        Staged { block, position: state.end - skip as u64, write_bytes, skip, payload }
    }

    /// Writes what was staged, from its `done`th byte on, and waits for it.
    pub(crate) fn write(&self, staged: &Staged, done: usize, durability: Durability) -> io::Result<()> {
        let flags = match (self.access, durability) {
            (Access::Direct, Durability::Durable) => ReadWriteFlags::DSYNC,
            _ => ReadWriteFlags::empty(),
        };
        write_fully(&self.file, &staged.block.bytes()[..staged.write_bytes], staged.position, done, flags)?;
        if self.access == Access::Buffered && durability == Durability::Durable {
            rustix::fs::fdatasync(&self.file)?;
        }
        Ok(())
    }

    /// Moves the end behind what was written. Answers with the appended bytes, and with the range behind them that is to
    /// be filled with zeros meanwhile.
    pub(crate) fn appended(&self, staged: Staged, durability: Durability) -> (Bytes, Option<Range<u64>>) {
        let mut state = self.state();
        let filled = staged.skip + staged.payload;
        let end = staged.position + filled as u64;
        state.end = end;
        let mut zeros = None;
        if self.access == Access::Direct {
            let kept = filled % BLOCK_BYTES;
            state.partial.clear();
            state.partial.extend_from_slice(&staged.block.bytes()[filled - kept..filled]);
            if durability == Durability::Durable {
                zeros = state.ahead.appended(end, staged.write_bytes);
            }
        }
        (staged.block.share(staged.skip..filled), zeros)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    /// Cuts the file to `bytes` and makes contents and length durable. The file must be retired.
    pub(crate) fn cut(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.sync_all()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for LogFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn lay_out(target: &mut [u8], partial: &[u8], parts: &[Part]) {
    let mut rest = put(target, partial);
    for part in parts {
        rest = put(rest, &part.prefix);
        rest = put(rest, &part.body);
    }
}

fn put<'a>(target: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (front, rest) = target.split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    rest
}

fn write_fully(file: &File, bytes: &[u8], position: u64, mut done: usize, flags: ReadWriteFlags) -> io::Result<()> {
    while done < bytes.len() {
        match rustix::io::pwritev2(file, &[IoSlice::new(&bytes[done..])], position + done as u64, flags) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done = whole_or_all(done + written, bytes.len()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A direct write that ended inside a block goes on at that block's beginning.
pub(crate) fn whole_or_all(done: usize, bytes: usize) -> usize {
    if done >= bytes || !bytes.is_multiple_of(BLOCK_BYTES) { done } else { done - done % BLOCK_BYTES }
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let flags = OFlags::RDWR | OFlags::CREATE | access.open_flags();
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?);
    file.sync_all()?;
    sync_directory(directory)?;
    Ok(file)
}

fn open_existing(path: &Path, access: Access) -> io::Result<File> {
    Ok(File::from(rustix::fs::open(path, OFlags::RDWR | access.open_flags(), Mode::empty())?))
}

/// Makes `directory` durably if it is missing.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Ok(()) => sync_directory(directory.parent().unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Reads the bytes between the last block boundary before `position` and `position`.
fn read_partial(file: &File, position: u64, blocks: &Arc<Blocks>) -> io::Result<Vec<u8>> {
    let wanted = (position - down_to_block(position)) as usize;
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let mut block = blocks.take(BLOCK_BYTES);
    let read = rustix::io::pread(file, &mut block.bytes_mut()[..BLOCK_BYTES], down_to_block(position))?;
    if read < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(block.bytes()[..wanted].to_vec())
}

/// The files open for appending, at most as many as the limit says: the longest unused one makes room.
pub(crate) struct OpenFiles {
    open: Mutex<Table>,
    limit: usize,
}

#[derive(Default)]
struct Table {
    files: HashMap<FilePath, Entry>,
    /// Counts uses and sweeps; orders entries by age.
    clock: u64,
    swept: u64,
}

struct Entry {
    file: Arc<LogFile>,
    used: u64,
}

impl OpenFiles {
    pub(crate) fn new(limit: usize) -> Self {
        Self { open: Mutex::default(), limit }
    }

    pub(crate) fn get(&self, path: &FilePath) -> Option<Arc<LogFile>> {
        let mut table = self.table();
        table.clock += 1;
        let clock = table.clock;
        let entry = table.files.get_mut(path)?;
        entry.used = clock;
        Some(Arc::clone(&entry.file))
    }

    pub(crate) fn insert(&self, path: FilePath, file: Arc<LogFile>) {
        let mut table = self.table();
        table.clock += 1;
        let used = table.clock;
        table.files.insert(path, Entry { file, used });
        let evicted = if table.files.len() > self.limit { table.evict_oldest() } else { None };
        drop(table);
        drop(evicted);
    }

    /// Closes the file once nothing is under way with it. May wait for zeros that are being written.
    pub(crate) fn close(&self, path: &FilePath) -> Option<Arc<LogFile>> {
        let file = self.table().files.remove(path).map(|entry| entry.file)?;
        file.retire();
        Some(file)
    }

    /// Closes what lies in `directory`.
    pub(crate) fn close_inside(&self, directory: &FilePath) {
        let closed: Vec<_> =
            self.table().files.extract_if(|path, _| path.inside_of(directory).is_some()).map(|(_, entry)| entry.file).collect();
        closed.iter().for_each(|file| file.retire());
    }

    /// Closes files that were not used since the last call.
    pub(crate) fn close_idle(&self) {
        let mut table = self.table();
        let before = table.swept;
        table.files.retain(|_, entry| entry.used > before || Arc::strong_count(&entry.file) > 1);
        table.swept = table.clock;
    }

    pub(crate) fn count(&self) -> usize {
        self.table().files.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn evict_oldest(&mut self) -> Option<Entry> {
        let idle = self.files.iter().filter(|(_, entry)| Arc::strong_count(&entry.file) == 1);
        let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(path, _)| path.clone())?;
        self.files.remove(&oldest)
    }
}

/// Where the log directories are, by their place among them.
#[derive(Clone, Debug)]
pub(crate) struct Roots(Arc<[PathBuf]>);

impl Roots {
    pub(crate) fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(roots.into_iter().collect())
    }

    /// # Panics
    /// If there is no such directory.
    pub(crate) fn of(&self, log_dir: LogDir) -> &Path {
        &self.0[usize::from(log_dir.0)]
    }

    /// Where a file lies.
    pub(crate) fn locate(&self, file: &FilePath) -> PathBuf {
        self.of(file.log_dir()).join(file.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("strandline-files-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        path
    }

    fn part(byte: u8, bytes: usize) -> Part {
        Part { prefix: [byte; 16], body: Bytes::from(vec![byte; bytes - 16]) }
    }

    #[test]
    fn the_partial_block_is_written_again_with_what_follows() {
        let root = directory("partial");
        let blocks = Arc::new(Blocks::default());
        let file = LogFile::open(&root.join("t-0/0.log"), 0, Access::Direct, &blocks).unwrap();
        let first = file.stage(&[part(1, 5000)], &blocks);
        assert_eq!((first.position, first.write_bytes), (0, 8192));
        file.write(&first, 0, Durability::Durable).unwrap();
        assert_eq!(file.appended(first, Durability::Durable), (vec![1_u8; 5000].into(), None));
        let second = file.stage(&[part(2, 20), part(3, 30)], &blocks);
        assert_eq!((second.position, second.write_bytes, second.skip), (4096, 4096, 904));
        assert_eq!(&second.block.bytes()[..904], &[1_u8; 904]);
        assert_eq!(&second.block.bytes()[954..4096], &[0_u8; 4096 - 954]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_longest_unused_file_makes_room() {
        let root = directory("lru");
        let blocks = Arc::new(Blocks::default());
        let open = OpenFiles::new(2);
        let paths: Vec<_> = (0..3).map(|n| FilePath::top(&format!("{n}.log"))).collect();
        for (n, path) in paths.iter().enumerate() {
            let file = LogFile::open(&root.join(path.as_str()), 0, Access::Buffered, &blocks).unwrap();
            open.insert(path.clone(), Arc::new(file));
            if n == 1 {
                assert!(open.get(&paths[0]).is_some());
            }
        }
        assert_eq!(open.count(), 2);
        assert!(open.get(&paths[1]).is_none());
        open.close_idle();
        assert_eq!(open.count(), 2, "both were used since the last sweep");
        open.close_idle();
        assert_eq!(open.count(), 0);
        std::fs::remove_dir_all(root).unwrap();
    }
}
