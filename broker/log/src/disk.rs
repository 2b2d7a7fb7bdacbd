//! The closed list of what a log can want from a disk, and what comes back.
//!
//! A log never touches a file: it answers with [`DiskOp`]s, and whoever holds it (the broker's executors, or the
//! simulator) carries them out and tells the log how each ended. Positions and sizes here are *logical*: blocks,
//! alignment, padding and space allocated ahead are the executor's business and are drawn in `FORMAT.md`.
//!
//! Order: the operations of one partition are carried out one after the other, in the order in which the log gave
//! them; a log gives the next one only after it was told how the last one ended. Operations of different partitions
//! know no order. A file is named by its log directory and the path below that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::names::{FileName, SWAP_SUFFIX};

/// One of a broker's log directories, by its place among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogDir(pub u16);

impl LogDir {
    /// The one that holds the metadata log.
    pub const FIRST: Self = Self(0);
}

/// Where a file or directory lies: in which log directory, and its path below that, for example
/// `orders-0/00000000000000000000.log`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath {
    log_dir: LogDir,
    path: Arc<str>,
}

impl FilePath {
    /// Names a file or directory directly below a log directory.
    pub fn of(log_dir: LogDir, name: &str) -> Self {
        Self { log_dir, path: name.into() }
    }

    /// Names a file or directory directly below the first log directory.
    pub fn top(name: &str) -> Self {
        Self::of(LogDir::FIRST, name)
    }

    /// Names `name` inside `directory`, which lies below the first log directory.
    pub fn inside(directory: &str, name: &str) -> Self {
        Self::top(directory).child(name)
    }

    /// Names `name` inside this directory.
    pub fn child(&self, name: &str) -> Self {
        Self { log_dir: self.log_dir, path: format!("{}/{name}", self.path).into() }
    }

    /// The log directory.
    pub fn log_dir(&self) -> LogDir {
        self.log_dir
    }

    /// The directory directly below the log directory in which the file lies, or that it is.
    pub fn directory(&self) -> Self {
        match self.path.split_once('/') {
            Some((directory, _)) => Self::of(self.log_dir, directory),
            None => self.clone(),
        }
    }

    /// The name inside `directory`, if it lies there.
    pub fn inside_of(&self, directory: &Self) -> Option<&str> {
        let rest = self.path.strip_prefix(&*directory.path).and_then(|rest| rest.strip_prefix('/'));
        rest.filter(|_| self.log_dir == directory.log_dir)
    }

    /// Under which name the file lies once it was put in its place, if this is the name of output of a compaction that
    /// waits for that.
    pub fn settled(&self) -> Option<Self> {
        self.path.strip_suffix(SWAP_SUFFIX).map(|settled| Self { log_dir: self.log_dir, path: settled.into() })
    }

    /// Whether it is half of a file that is still being written, or was when a process ended.
    pub fn is_temporary(&self) -> bool {
        self.path.rsplit('/').next().is_some_and(|name| FileName::parse(name) == FileName::Temporary)
    }

    /// The path below the log directory, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.path
    }
}

impl From<&str> for FilePath {
    fn from(name: &str) -> Self {
        Self::top(name)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)
    }
}

/// Whether a finished append is on the device or only in the operating system's keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes are on the device when the append is done (`durability=fsync`).
    Durable,
    /// The bytes survive the death of the process, not a power cut (`durability=replicated`).
    Written,
}

/// Bytes of a stamped batch: the first 16 carry the base offset, the length and the leader epoch and were made by the
/// log; the rest lies as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Replaces the first 16 bytes of the batch.
    pub prefix: [u8; 16],
    /// The batch from its 17th byte on.
    pub body: Bytes,
}

impl Part {
    /// Bytes that the part takes in the file.
    pub fn bytes(&self) -> usize {
        self.prefix.len() + self.body.len()
    }
}

/// One wish of a log. Every one of them either happens wholly or fails; a failed one fails the log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Puts `parts` one after the other at `position`, which is the file's logical end, in one write. Position 0 makes
    /// the file, and its directory if it is missing; both are durable with the first durable append. Answered by
    /// [`DiskDone::Appended`].
    Append { file: FilePath, position: u64, parts: Vec<Part>, durability: Durability },
    /// The file ends for good at `bytes`: what lies behind is cut off, contents and length are made durable, and the
    /// file is closed for appending. A missing file stays missing.
    Seal { file: FilePath, bytes: u64 },
    /// Cuts the file back to `bytes` and makes that durable; appending goes on from there.
    Truncate { file: FilePath, bytes: u64 },
    /// Makes everything appended so far durable.
    Sync { file: FilePath },
    /// Makes or replaces a small file, whole and durably (a temporary name, sync, rename, sync of the directory). Makes
    /// its directory if that is missing.
    Write { file: FilePath, contents: Bytes },
    /// Gives a file or directory another name, durably.
    Rename { from: FilePath, to: FilePath },
    /// Removes a file; one that is missing already is fine.
    Delete { file: FilePath },
    /// Removes a directory and what it holds; one that is missing already is fine.
    DeleteDirectory { directory: FilePath },
}

impl DiskOp {
    /// The file or directory that it is about; of a new name, the old one.
    pub fn file(&self) -> &FilePath {
        match self {
            Self::Append { file, .. }
            | Self::Seal { file, .. }
            | Self::Truncate { file, .. }
            | Self::Sync { file }
            | Self::Write { file, .. }
            | Self::Rename { from: file, .. }
            | Self::Delete { file }
            | Self::DeleteDirectory { directory: file } => file,
        }
    }
}

/// How an operation ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// The appended bytes in one piece, exactly those of the parts: the log keeps them as its tail cache.
    Appended(Bytes),
    /// Anything else.
    Done,
}

/// Why an operation failed. The kinds are those that somebody acts on differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No space left on the device, or over a quota.
    #[error("no space left for {file}")]
    Full { file: FilePath },
    /// The file or directory does not exist.
    #[error("{file} does not exist")]
    Missing { file: FilePath },
    /// Anything else that the operating system reports.
    #[error("{file}: {reason}")]
    Failed { file: FilePath, reason: String },
}

impl DiskError {
    /// What it is about.
    pub fn file(&self) -> &FilePath {
        let (Self::Full { file } | Self::Missing { file } | Self::Failed { file, .. }) = self;
        file
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name inside the directory.
    pub name: String,
    /// The file's length in bytes; 0 for directories.
    pub bytes: u64,
    pub is_directory: bool,
}

/// Reading, for jobs that run outside the node's step: recovery, lookups by time, dumps. The broker reads real files,
/// the simulator its simulated disk, tests a map.
pub trait Files {
    /// Lists a directory in order of name; a missing one is `Missing`.
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError>;

    /// Reads up to `bytes` bytes at `position`; fewer only at the end of the file.
    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError>;

    /// Reads a file of a finished segment, as [`Files::read`] does. Output of a compaction may have been put in its place since
    /// the reader was sent to it: it is the same file, under its final name.
    fn read_segment(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        match (self.read(file, position, bytes), file.settled()) {
            (Err(DiskError::Missing { .. }), Some(settled)) => self.read(&settled, position, bytes),
            (result, _) => result,
        }
    }
}
