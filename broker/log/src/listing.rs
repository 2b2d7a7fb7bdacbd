//! What a partition directory holds, and what in it is left over.
//!
//! Leftovers of a crash, ours or Kafka's: files marked for removal, half-finished output of a compaction, indexes without
//! records, half-written small files. Finished output of a compaction that was not swapped in yet has to be put
//! in its place before anything else is looked at.

use std::collections::BTreeMap;
use std::ops::Range;

use strandline_protocol::ids::Offset;

use crate::disk::{DiskError, DiskOp, FilePath, Files};
use crate::names::{FileName, SegmentFile};
use crate::recover::RecoverError;
use crate::scan::{Depth, Scan};
use crate::transactions;

/// The files of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedSegment {
    pub(crate) base: Offset,
    /// Length of the `.log` file, with padding.
    pub(crate) bytes: u64,
    pub(crate) offset_index_bytes: Option<u64>,
    pub(crate) time_index_bytes: Option<u64>,
    pub(crate) transaction_index_bytes: Option<u64>,
}

impl ListedSegment {
    /// Entries of the transaction index.
    pub(crate) fn aborted(&self) -> u32 {
        let entries = self.transaction_index_bytes.unwrap_or(0) / transactions::ENTRY_BYTES as u64;
        u32::try_from(entries).unwrap_or(u32::MAX)
    }
}

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// By base offset.
    pub(crate) segments: Vec<ListedSegment>,
    /// By offset.
    pub(crate) snapshots: Vec<Offset>,
    pub(crate) has_epochs: bool,
    pub(crate) has_metadata: bool,
    pub(crate) leftovers: Vec<FilePath>,
}

impl Listing {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`RecoverError::Unfinished`] if a compaction has to be finished first.
    pub(crate) fn read(files: &dyn Files, directory: &FilePath) -> Result<Self, RecoverError> {
        let entries = files.list(directory)?;
        let named: Vec<(FilePath, FileName, u64)> = entries
            .iter()
            .filter(|entry| !entry.is_directory)
            .map(|entry| (directory.child(&entry.name), FileName::parse(&entry.name), entry.bytes))
            .collect();
        if named.iter().any(|(_, name, _)| matches!(name, FileName::Swap { .. })) {
            return Err(RecoverError::Unfinished { repairs: finish_compaction(files, directory, &named)? });
        }
        Ok(Self::of(&named))
    }

    fn of(named: &[(FilePath, FileName, u64)]) -> Self {
        let mut listing = Self::default();
        let sizes: BTreeMap<(Offset, SegmentFile), u64> = named
            .iter()
            .filter_map(|(_, name, bytes)| match name {
                FileName::Segment { base, kind } => Some(((*base, *kind), *bytes)),
                _ => None,
            })
            .collect();
        for (file, name, bytes) in named {
            match name {
                FileName::Segment { base, kind: SegmentFile::Log } => {
                    let size = |kind| sizes.get(&(*base, kind)).copied();
                    listing.segments.push(ListedSegment {
                        base: *base,
                        bytes: *bytes,
                        offset_index_bytes: size(SegmentFile::OffsetIndex),
                        time_index_bytes: size(SegmentFile::TimeIndex),
                        transaction_index_bytes: size(SegmentFile::TransactionIndex),
                    });
                }
                FileName::Segment { base, kind: SegmentFile::Snapshot } => listing.snapshots.push(*base),
                FileName::Segment { base, .. } if !sizes.contains_key(&(*base, SegmentFile::Log)) => {
                    listing.leftovers.push(file.clone());
                }
                FileName::Deleted | FileName::Cleaned { .. } | FileName::Temporary => listing.leftovers.push(file.clone()),
                FileName::LeaderEpochCheckpoint => listing.has_epochs = true,
                FileName::PartitionMetadata => listing.has_metadata = true,
                _ => {}
            }
        }
        listing.segments.sort_by_key(|segment| segment.base);
        listing.snapshots.sort_unstable();
        listing
    }
}

/// Puts the output of a compaction in the place of what it was made from. Output that may be incomplete, because
/// half-finished output lies at or before it, is removed instead.
///
/// Source: Kafka's `LogLoader`.
fn finish_compaction(
    files: &dyn Files,
    directory: &FilePath,
    named: &[(FilePath, FileName, u64)],
) -> Result<Vec<DiskOp>, DiskError> {
    let half_finished = named.iter().filter_map(|(_, name, _)| match name {
        FileName::Cleaned { base } => *base,
        _ => None,
    });
    let incomplete_from = half_finished.min().unwrap_or(Offset::MAX);
    let mut repairs = Vec::new();
    let mut replaced: Vec<Range<Offset>> = Vec::new();
    let mut renames = Vec::new();
    for (file, name, bytes) in named {
        let FileName::Swap { target, base: Some(base) } = name else {
            continue;
        };
        if *base >= incomplete_from {
            repairs.push(DiskOp::Delete { file: file.clone() });
            continue;
        }
        if target.ends_with(SegmentFile::Log.suffix()) {
            replaced.push(*base..end_of(files, file, *base, *bytes)?);
        }
        renames.push(DiskOp::Rename { from: file.clone(), to: directory.child(target) });
    }
    for (file, name, _) in named {
        if let FileName::Segment { base, .. } = name
            && replaced.iter().any(|range| range.contains(base))
        {
            repairs.push(DiskOp::Delete { file: file.clone() });
        }
    }
    repairs.extend(renames);
    Ok(repairs)
}

fn end_of(files: &dyn Files, file: &FilePath, base: Offset, bytes: u64) -> Result<Offset, DiskError> {
    let mut scan = Scan::new(files, file, 0, bytes);
    let mut end = base;
    while let Ok(batch) = scan.next(Depth::Header)? {
        end = Offset(batch.header.next_offset());
    }
    Ok(end)
}
