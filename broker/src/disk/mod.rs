//! Carries out what logs want from the disk: three executors behind one list of operations.
//!
//! | executor   | an append is                                   | who waits for it            |
//! |------------|------------------------------------------------|-----------------------------|
//! | `uring`    | a direct write; all of an outbox in one call   | whoever waits for sockets   |
//! | `threads`  | a direct write                                 | a thread                    |
//! | `buffered` | a write into the page cache, fdatasync if asked | a thread                   |
//!
//! An append that first needs its file opened or space allocated takes the way of the threads under every executor, as
//! do all other operations. How an operation ended is told to the sink that [`Disk::connect`] was given, in bursts.
//!
//! Not here: deciding anything. Positions are the log's; blocks, padding and space ahead are ours.
//! Invariant: operations of one owner never overlap and never change places ([`lanes`]); every operation is answered.

mod ahead;
pub(crate) mod blocks;
pub(crate) mod files;
pub(crate) mod freeing;
mod indexes;
mod lanes;
mod narrow;
pub(crate) mod operations;
pub(crate) mod probe;
pub(crate) mod reader;
pub(crate) mod reading;
mod uring;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use strandline_log::disk::{DiskDone, DiskError, DiskOp, Durability, FilePath, Part};
use strandline_node::io::Owner;
use tokio::runtime::Handle;
use tracing::error;

use crate::disk::blocks::Blocks;
use crate::disk::files::{LogFile, OpenFiles, Roots, Staged, whole_or_all};
use crate::disk::freeing::Freeing;
use crate::disk::lanes::Lanes;
use crate::disk::narrow::Narrow;
use crate::disk::operations::{disk_error, or_missing};
use crate::disk::probe::Executor;
use crate::disk::reader::Reader;
use crate::disk::reading::LogFiles;
use crate::disk::uring::{Flight, Landed, Ring};
use crate::metrics::Metrics;

/// How an owner's operation ended.
pub(crate) type Ended = (Owner, Result<DiskDone, DiskError>);

type Sink = Box<dyn Fn(Vec<Ended>) + Send + Sync>;

/// What is remembered of an append under way.
struct Append {
    owner: Owner,
    file: FilePath,
    parts: usize,
    begun: Instant,
}

/// The executor of all log directories.
pub(crate) struct Disk {
    roots: Roots,
    executor: Executor,
    blocks: Arc<Blocks>,
    reader: Arc<Reader>,
    open: OpenFiles,
    ring: Option<Ring<Append>>,
    lanes: Lanes,
    narrow: Narrow,
    sink: OnceLock<Sink>,
    freeing: Freeing,
    threads: Handle,
    metrics: Arc<Metrics>,
}

impl Disk {
    /// Opens log directories with an executor that was found to work in all of them.
    ///
    /// # Errors
    /// The ring cannot be set up.
    pub(crate) fn open(
        roots: Roots,
        executor: Executor,
        open_files_max: usize,
        threads: Handle,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Self>> {
        let blocks = Arc::<Blocks>::default();
        let files = LogFiles::new(roots.clone(), executor.access(), Arc::clone(&blocks));
        let ring = if executor == Executor::Uring { Some(Ring::new()?) } else { None };
        Ok(Arc::new(Self {
            roots,
            executor,
            blocks,
            reader: Reader::new(files, threads.clone()),
            open: OpenFiles::new(open_files_max),
            ring,
            lanes: Lanes::default(),
            narrow: Narrow::default(),
            sink: OnceLock::new(),
            freeing: Freeing::default(),
            threads,
            metrics,
        }))
    }

    /// Says who is told how operations end. To be called once, before the first [`Disk::submit`].
    pub(crate) fn connect(&self, sink: impl Fn(Vec<Ended>) + Send + Sync + 'static) {
        let first = self.sink.set(Box::new(sink)).is_ok();
        assert!(first, "the disk is connected once");
    }

    /// Reads of what is written here.
    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    pub(crate) fn open_files(&self) -> usize {
        self.open.count()
    }

    /// Carries out `ops`, those of one owner in their order. Does not wait for any of them.
    pub(crate) fn submit(self: &Arc<Self>, ops: impl Iterator<Item = (Owner, DiskOp)>) {
        let mut flights = Vec::new();
        for (owner, op) in ops {
            if let Some(op) = self.lanes.enter(owner, op) {
                self.begin(owner, op, &mut flights);
            }
        }
        self.fly(flights);
    }

    /// Nobody waits for what is written from now on: few operations at a time are enough, but for appends.
    pub(crate) fn take_time(&self) {
        self.narrow.begin();
    }

    /// Waits for completions of the ring for ever, and passes them on. Answers at once under the other executors.
    pub(crate) async fn reap(self: Arc<Self>) -> io::Result<()> {
        let Some(ring) = &self.ring else { return Ok(()) };
        let ready = ring.watch()?;
        let mut landed = Vec::new();
        loop {
            // Cleared before the reaping: what lands in between makes it readable again.
            ready.readable().await?.clear_ready();
            ring.reap(&mut landed);
            self.landed(&mut landed);
        }
    }

    /// Gives back what was not used for a while: descriptors and free buffers.
    pub(crate) fn trim(&self) {
        self.open.close_idle();
        self.reader.trim();
        self.blocks.trim();
    }

    fn begin(self: &Arc<Self>, owner: Owner, op: DiskOp, flights: &mut Vec<Flight<Append>>) {
        if let DiskOp::Append { file, position, parts, durability } = &op
            && let Some(open) = self.ready_to_fly(file, *position, parts)
        {
            let staged = open.stage(parts, &self.blocks);
            let tag = Append { owner, file: file.clone(), parts: parts.len(), begun: Instant::now() };
            flights.push(Flight { file: open, staged, durability: *durability, tag });
        } else if matches!(op, DiskOp::Append { .. }) {
            self.on_a_thread(move |disk| (owner, disk.carry_out(owner, op)));
        } else if let Some(op) = self.narrow.enter(owner, op) {
            self.in_turn(owner, op);
        }
    }

    /// Carries out what was let in, and then what it kept waiting.
    fn in_turn(self: &Arc<Self>, owner: Owner, op: DiskOp) {
        let disk = Arc::clone(self);
        self.threads.spawn_blocking(move || {
            let mut next = Some((owner, op));
            while let Some((owner, op)) = next {
                let ended = (owner, disk.carry_out(owner, op));
                next = disk.narrow.leave(owner);
                disk.ended(vec![ended]);
            }
        });
    }

    /// The file, if there is a ring and the append can be handed to it without waiting for anything first.
    fn ready_to_fly(&self, file: &FilePath, position: u64, parts: &[Part]) -> Option<Arc<LogFile>> {
        self.ring.as_ref()?;
        let bytes = parts.iter().map(Part::bytes).sum();
        self.open.get(file).filter(|file| file.is_ready_for(position, bytes))
    }

    fn fly(self: &Arc<Self>, mut flights: Vec<Flight<Append>>) {
        let Some(ring) = &self.ring else { return };
        if flights.is_empty() {
            return;
        }
        match ring.submit(&mut flights) {
            Ok(refused) => refused.into_iter().for_each(|flight| self.walk(flight, 0)),
            Err(error) => {
                // The kernel took back its promise in the middle of it: what is on its way is unknown.
                error!(%error, "io_uring refuses to take writes");
                std::process::abort();
            }
        }
    }

    fn landed(self: &Arc<Self>, landed: &mut Vec<Landed<Append>>) {
        let mut ended = Vec::with_capacity(landed.len());
        for Landed { flight, result } in landed.drain(..) {
            match result {
                Ok(written) if written >= flight.staged.write_bytes => {
                    ended.push((
                        flight.tag.owner,
                        Ok(self.written(&flight.tag, &flight.file, flight.staged, flight.durability)),
                    ));
                }
                Ok(written) => self.walk(flight, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.walk(flight, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.walk(flight, 0),
                Err(error) => ended.push((flight.tag.owner, Err(self.failed(&flight.tag.file, &error)))),
            }
        }
        self.ended(ended);
    }

    /// Ends on a thread what the ring did not, or not wholly.
    fn walk(self: &Arc<Self>, flight: Flight<Append>, written: usize) {
        self.on_a_thread(move |disk| {
            let Flight { file, staged, durability, tag } = flight;
            let done = whole_or_all(written, staged.write_bytes);
            let result = match file.write(&staged, done, durability) {
                Ok(()) => Ok(disk.written(&tag, &file, staged, durability)),
                Err(error) => Err(disk.failed(&tag.file, &error)),
            };
            (tag.owner, result)
        });
    }

    fn on_a_thread(self: &Arc<Self>, work: impl FnOnce(&Disk) -> Ended + Send + 'static) {
        let disk = Arc::clone(self);
        self.threads.spawn_blocking(move || {
            let ended = work(&disk);
            disk.ended(vec![ended]);
        });
    }

    fn ended(self: &Arc<Self>, ended: Vec<Ended>) {
        let next: Vec<_> = ended.iter().filter_map(|(owner, _)| self.lanes.leave(*owner)).collect();
        if let Some(sink) = self.sink.get()
            && !ended.is_empty()
        {
            sink(ended);
        }
        // Begun only now, so that the end of the one is told before the end of the other.
        let mut flights = Vec::new();
        for (owner, op) in next {
            self.begin(owner, op, &mut flights);
        }
        self.fly(flights);
    }

    fn append(&self, append: &Append, position: u64, parts: &[Part], durability: Durability) -> Result<DiskDone, DiskError> {
        let fail = |error: io::Error| self.failed(&append.file, &error);
        let file = self.opened(&append.file, position).map_err(fail)?;
        file.make_room(parts.iter().map(Part::bytes).sum());
        let staged = file.stage(parts, &self.blocks);
        file.write(&staged, 0, durability).map_err(fail)?;
        Ok(self.written(append, &file, staged, durability))
    }

    /// The file, open to append at `position`.
    fn opened(&self, path: &FilePath, position: u64) -> io::Result<Arc<LogFile>> {
        if let Some(file) = self.open.get(path).filter(|file| file.ends_at(position)) {
            return Ok(file);
        }
        let access = self.executor.access();
        let file = Arc::new(LogFile::open(&self.roots.locate(path), position, access, &self.blocks)?);
        self.open.insert(path.clone(), Arc::clone(&file));
        Ok(file)
    }

    fn written(&self, append: &Append, file: &Arc<LogFile>, staged: Staged, durability: Durability) -> DiskDone {
        let metrics = &self.metrics;
        metrics.disk_write_bytes.inc_by(staged.write_bytes as u64);
        metrics.disk_append_bytes.inc_by(staged.payload as u64);
        metrics.disk_write_seconds.observe(append.begun.elapsed().as_secs_f64());
        metrics.disk_group_batches.observe(append.parts as f64);
        let (bytes, zeros) = file.appended(staged, durability);
        if let Some(range) = zeros {
            let (file, blocks) = (Arc::clone(file), Arc::clone(&self.blocks));
            self.threads.spawn_blocking(move || file.write_zeros(&range, &blocks));
        }
        DiskDone::Appended(bytes)
    }

    fn failed(&self, file: &FilePath, error: &io::Error) -> DiskError {
        self.open.close(file);
        self.metrics.disk_errors.inc();
        disk_error(file, error)
    }

    /// An operation from beginning to end, on a thread that may wait.
    fn carry_out(&self, owner: Owner, op: DiskOp) -> Result<DiskDone, DiskError> {
        let roots = &self.roots;
        let (file, result) = match op {
            DiskOp::Append { file, position, parts, durability } => {
                let append = Append { owner, file, parts: parts.len(), begun: Instant::now() };
                return self.append(&append, position, &parts, durability);
            }
            DiskOp::Seal { file, bytes } => {
                let result = self.cut(&file, bytes).or_else(or_missing);
                (file, result)
            }
            DiskOp::Truncate { file, bytes } => {
                let result = self.cut(&file, bytes);
                (file, result)
            }
            DiskOp::Sync { file } => {
                let result = match self.open.get(&file) {
                    Some(open) => open.sync(),
                    None => operations::sync(roots, &file),
                };
                (file, result)
            }
            DiskOp::Write { file, contents } => {
                let result = operations::write(roots, &file, &contents);
                (file, result)
            }
            DiskOp::Rename { from, to } => {
                self.forget(&from);
                let result = operations::rename(roots, &from, &to);
                // Of what had this name before nothing may be believed either.
                self.reader.forget(&to);
                (from, result)
            }
            DiskOp::Delete { file } => {
                self.forget(&file);
                let result = operations::delete(roots, &file, &self.freeing);
                (file, result)
            }
            DiskOp::DeleteDirectory { directory } => {
                self.forget(&directory);
                let result = operations::delete_directory(roots, &directory, &self.freeing);
                (directory, result)
            }
        };
        result.map(|()| DiskDone::Done).map_err(|error| self.failed(&file, &error))
    }

    /// Cuts a file for good or for a while; the next append opens it anew.
    fn cut(&self, file: &FilePath, bytes: u64) -> io::Result<()> {
        self.reader.forget(file);
        match self.open.close(file) {
            Some(open) => open.cut(bytes),
            None => operations::cut(&self.roots, file, bytes),
        }
    }

    fn forget(&self, path: &FilePath) {
        self.open.close(path);
        self.open.close_inside(path);
        self.reader.forget(path);
    }
}

#[cfg(test)]
mod tests;
