//! Walking through a segment file batch by batch, as recovery and rebuilding do.
//!
//! The walk reads large pieces, but of a batch that it only has to recognise it reads the header alone. It ends at the end of the
//! file, at space allocated ahead (zeros), or at something that is no good batch, and says which; it never goes on behind that.

use bytes::Bytes;
use strandline_protocol::records::{BatchHeader, HEADER_BYTES, crc32c, position};

use crate::disk::{DiskError, FilePath, Files};

/// Bytes read at first: an idle partition has little behind its last index entry but space allocated ahead.
const WINDOW_BYTES_MIN: usize = 16 << 10;

/// Bytes read at once when it turns out to be a longer walk.
const WINDOW_BYTES_MAX: usize = 1 << 20;

/// How much of each batch is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The header: the batch was checked before.
    Header,
    /// Every byte, against the checksum.
    Checksum,
}

/// A batch in a file.
#[derive(Clone, Debug)]
pub(crate) struct BatchInFile {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    /// The whole batch if its checksum was compared or it is small, otherwise its beginning.
    pub(crate) bytes: Bytes,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Nothing follows.
    #[error("the file ends")]
    End,
    /// Space that was allocated ahead, or padding.
    #[error("zeros follow")]
    Zeros,
    #[error("the file ends inside a batch")]
    Torn,
    #[error("a length or format that no batch has")]
    NoBatch,
    #[error("the checksum does not hold")]
    Checksum,
    #[error("an offset that was there before")]
    OffsetBack,
    #[error("a leader epoch below the one before")]
    EpochBack,
    #[error("an offset behind which records are missing, or that belongs behind the segment")]
    OffsetAhead,
    #[error("the log was to end here")]
    Bound,
}

/// A walk through one file.
pub(crate) struct Scan<'a> {
    files: &'a dyn Files,
    file: &'a FilePath,
    /// Where the next batch begins.
    position: u64,
    /// Nothing is read from here on.
    end: u64,
    window: Bytes,
    window_start: u64,
    window_bytes: usize,
    bytes_read: u64,
}

impl<'a> Scan<'a> {
    /// Begins at `position`, where a batch begins, and goes no further than `end`.
    pub(crate) fn new(files: &'a dyn Files, file: &'a FilePath, position: u64, end: u64) -> Self {
        let window_bytes = WINDOW_BYTES_MIN;
        Self { files, file, position, end, window: Bytes::new(), window_start: position, window_bytes, bytes_read: 0 }
    }

    /// Begins with bytes of the file that an earlier walk read ([`Scan::last_read`]).
    pub(crate) fn knowing(mut self, (start, bytes): (u64, Bytes)) -> Self {
        (self.window_start, self.window) = (start, bytes);
        self
    }

    /// The piece that was read last, and where in the file it begins.
    pub(crate) fn last_read(&self) -> (u64, Bytes) {
        (self.window_start, self.window.clone())
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    pub(crate) fn file(&self) -> &'a FilePath {
        self.file
    }

    /// Behind the batches that there were so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch, or why there is none.
    ///
    /// # Errors
    /// [`DiskError`] if the file cannot be read.
    pub(crate) fn next(&mut self, depth: Depth) -> Result<Result<BatchInFile, Stop>, DiskError> {
        let head = self.bytes_at(self.position, HEADER_BYTES)?;
        if let Some(stop) = stop_at(&head) {
            return Ok(Err(stop));
        }
        let Ok(header) = BatchHeader::parse(&head) else {
            return Ok(Err(Stop::NoBatch));
        };
        let size = header.size_bytes();
        let next = self.position + size as u64;
        if next > self.end {
            return Ok(Err(Stop::Torn));
        }
        let wanted = if depth == Depth::Checksum || header.is_control() { size } else { HEADER_BYTES };
        let bytes = self.bytes_at(self.position, wanted)?;
        if bytes.len() < wanted {
            return Ok(Err(Stop::Torn));
        }
        if depth == Depth::Checksum && crc32c(&bytes[position::ATTRIBUTES..]) != header.crc {
            return Ok(Err(Stop::Checksum));
        }
        let batch = BatchInFile { position: self.position, header, bytes };
        self.position = next;
        Ok(Ok(batch))
    }

    /// Up to `bytes` bytes at `position`, fewer only at the end.
    fn bytes_at(&mut self, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        let room = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let bytes = bytes.min(room);
        let inside = position.checked_sub(self.window_start).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = inside
            && let Some(end) = start.checked_add(bytes)
            && end <= self.window.len()
        {
            return Ok(self.window.slice(start..end));
        }
        self.window = self.files.read_segment(self.file, position, bytes.max(self.window_bytes).min(room))?;
        self.window_start = position;
        self.window_bytes = (self.window_bytes * 4).min(WINDOW_BYTES_MAX);
        self.bytes_read += self.window.len() as u64;
        Ok(self.window.slice(..bytes.min(self.window.len())))
    }
}

/// Tells ends that need no look at the header's fields.
fn stop_at(head: &[u8]) -> Option<Stop> {
    if head.is_empty() {
        return Some(Stop::End);
    }
    if head.iter().all(|byte| *byte == 0) {
        return Some(Stop::Zeros);
    }
    (head.len() < HEADER_BYTES).then_some(Stop::Torn)
}
