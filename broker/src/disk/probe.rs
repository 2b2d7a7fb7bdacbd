//! Which executor this data directory can have: found by trying, once, at start.
//!
//! A file in the data directory is opened past the page cache and written through the ring, durably; what fails decides.
//! File systems in memory accept direct IO and do nothing of the kind: they count as refusing it.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use strandline_log::disk::{Durability, Part};

use crate::disk::blocks::Blocks;
use crate::disk::files::{Access, LogFile};
use crate::disk::uring::{Flight, Ring};

const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// The name of the file that is tried. Begins with a dot, so that nobody takes it for a partition.
const TRIAL: &str = ".trial/write";

/// A ring that does not answer a 4 KiB write within this is not used.
const RING_PATIENCE: Duration = Duration::from_secs(2);

/// How appends reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executor {
    /// Direct writes through io_uring.
    Uring,
    /// Direct writes by threads.
    Threads,
    /// Writes through the page cache, fdatasync where durability is asked for.
    Buffered,
}

impl Executor {
    pub(crate) const ALL: [Executor; 3] = [Executor::Uring, Executor::Threads, Executor::Buffered];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Executor::Uring => "uring",
            Executor::Threads => "threads",
            Executor::Buffered => "buffered",
        }
    }

    pub(crate) fn access(self) -> Access {
        match self {
            Executor::Uring | Executor::Threads => Access::Direct,
            Executor::Buffered => Access::Buffered,
        }
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What `log.io.executor` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Auto,
    Forced(Executor),
}

#[derive(Debug, thiserror::Error)]
#[error("expected auto, uring, threads or buffered, found {0}")]
pub(crate) struct UnknownExecutor(String);

impl FromStr for Choice {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, UnknownExecutor> {
        if text == "auto" {
            return Ok(Choice::Auto);
        }
        let forced = Executor::ALL.into_iter().find(|executor| executor.name() == text);
        forced.map(Choice::Forced).ok_or_else(|| UnknownExecutor(text.to_owned()))
    }
}

/// What was found, and why not something faster.
pub(crate) struct Found {
    pub(crate) executor: Executor,
    /// Why the executors before this one were passed over.
    pub(crate) passed_over: Vec<(Executor, io::Error)>,
}

/// Tries executors in the directory `root`, the fastest first.
pub(crate) fn probe(root: &Path) -> Found {
    let mut passed_over = Vec::new();
    let executor = Executor::ALL.into_iter().find(|&executor| match try_out(root, executor) {
        Ok(()) => true,
        Err(error) => {
            passed_over.push((executor, error));
            false
        }
    });
    let _ = std::fs::remove_dir_all(root.join(TRIAL).parent().unwrap_or(root));
    Found { executor: executor.unwrap_or(Executor::Buffered), passed_over }
}

fn try_out(root: &Path, executor: Executor) -> io::Result<()> {
    match executor {
        Executor::Uring => is_on_a_device(root).and_then(|()| write_through_ring(root)),
        Executor::Threads => is_on_a_device(root).and_then(|()| write_directly(root)),
        Executor::Buffered => Ok(()),
    }
}

fn is_on_a_device(root: &Path) -> io::Result<()> {
    match rustix::fs::statfs(root)?.f_type as u64 {
        TMPFS_MAGIC | RAMFS_MAGIC => Err(io::Error::other("the file system is in memory")),
        _ => Ok(()),
    }
}

fn trial_file(root: &Path, blocks: &Arc<Blocks>) -> io::Result<LogFile> {
    let file = LogFile::open(&root.join(TRIAL), 0, Access::Direct, blocks)?;
    file.make_room(1);
    Ok(file)
}

fn trial_part() -> Part {
    Part { prefix: [0; 16], body: Bytes::new() }
}

fn write_directly(root: &Path) -> io::Result<()> {
    let blocks = Arc::new(Blocks::default());
    let file = trial_file(root, &blocks)?;
    file.write(&file.stage(&[trial_part()], &blocks), 0, Durability::Durable)
}

fn write_through_ring(root: &Path) -> io::Result<()> {
    let blocks = Arc::new(Blocks::default());
    let file = Arc::new(trial_file(root, &blocks)?);
    let ring = Ring::new()?;
    let staged = file.stage(&[trial_part()], &blocks);
    ring.submit(&mut vec![Flight { file, staged, durability: Durability::Durable, tag: () }])?;
    let since = Instant::now();
    let mut landed = Vec::new();
    while landed.is_empty() {
        if since.elapsed() > RING_PATIENCE {
            // Dropping it would wait for the write.
            std::mem::forget(ring);
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::yield_now();
        ring.reap(&mut landed);
    }
    landed.pop().map_or(Ok(()), |landed| landed.result.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_memory_is_written_through_the_page_cache() {
        let root = Path::new("/dev/shm").join(format!("strandline-probe-{}", std::process::id()));
        if std::fs::create_dir(&root).is_err() {
            return; // no such file system on this machine
        }
        let found = probe(&root);
        assert_eq!(found.executor, Executor::Buffered);
        assert_eq!(found.passed_over.len(), 2);
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing is left behind");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_executor_is_chosen_by_name() {
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        assert_eq!("threads".parse::<Choice>().unwrap(), Choice::Forced(Executor::Threads));
        assert!("fastest".parse::<Choice>().is_err());
    }
}
