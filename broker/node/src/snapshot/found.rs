//! The snapshots that lie in the directory of the metadata log at start.
//!
//! Reads through [`Files`]. A file was whole before it got its name, so one that does not end with a footer is damage.

use strandline_log::disk::{DiskError, Entry, FilePath, Files};
use strandline_log::names::FileName;
use strandline_protocol::control::SnapshotHeaderRecord;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{Batches, Scratch, open};
use strandline_protocol::wire::Message;

use crate::controller::METADATA_DIRECTORY;
use crate::snapshot::write::SnapshotId;

/// The header batch takes some 90 bytes; voters, where Kafka wrote some, a few hundred more each.
pub(crate) const HEADER_BYTES_MAX: usize = 64 << 10;

/// A snapshot on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptSnapshot {
    pub id: SnapshotId,
    pub bytes: u64,
    /// The newest timestamp of what it holds.
    pub last_contained_ms: i64,
}

impl KeptSnapshot {
    pub(crate) fn file(&self) -> FilePath {
        FilePath::inside(METADATA_DIRECTORY, &self.id.file_name())
    }
}

/// What the start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundSnapshots {
    /// Oldest first.
    pub kept: Vec<KeptSnapshot>,
    /// Bytes of the log behind the newest one.
    pub beyond_bytes: u64,
}

impl FoundSnapshots {
    /// The snapshots among a directory's entries.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn list(files: &dyn Files, entries: &[Entry]) -> Result<Self, DiskError> {
        let mut kept = Vec::new();
        for entry in entries {
            if let FileName::Checkpoint { end, epoch } = FileName::parse(&entry.name) {
                let mut snapshot = KeptSnapshot { id: SnapshotId { end, epoch }, bytes: entry.bytes, last_contained_ms: 0 };
                let beginning = files.read(&snapshot.file(), 0, HEADER_BYTES_MAX)?;
                snapshot.last_contained_ms = last_contained_ms(&beginning).unwrap_or(0);
                kept.push(snapshot);
            }
        }
        kept.sort_by_key(|snapshot| snapshot.id);
        Ok(Self { kept, beyond_bytes: 0 })
    }

    pub(crate) fn newest(&self) -> Option<&KeptSnapshot> {
        self.kept.last()
    }

    /// Everything below is in the newest snapshot.
    pub fn newest_end(&self) -> Offset {
        self.newest().map_or(Offset::ZERO, |newest| newest.id.end)
    }
}

/// What the header says; nothing of a damaged file, which then counts as old.
pub(crate) fn last_contained_ms(beginning: &[u8]) -> Option<i64> {
    let batch = Batches::new(beginning).next()?.ok()?;
    let mut scratch = Scratch::default();
    let (_, mut records) = open(batch.bytes, HEADER_BYTES_MAX, &mut scratch).ok()?;
    let value = records.next()?.ok()?.value?;
    let header = SnapshotHeaderRecord::from_bytes(bytes::Bytes::copy_from_slice(value), 0).ok()?;
    Some(header.last_contained_log_timestamp)
}
