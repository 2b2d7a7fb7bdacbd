//! Names of the files and directories of a log directory, told apart and made.
//!
//! A partition's directory is `<topic>-<partition>`; one that waits for its removal is
//! `<topic>-<partition>.<32 hex digits>-delete`. Inside, everything of a segment is named after the segment's base
//! offset in twenty digits. Nothing here looks into a file.

use strandline_protocol::ids::{LeaderEpoch, Offset};

/// Kafka's topic ids and epochs checkpoint of one partition.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// Which topic (by id) a partition directory belongs to.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Who voted for whom; only in the directory of `__cluster_metadata-0`.
pub const QUORUM_STATE: &str = "quorum-state";
/// Below these offsets nothing needs to be scanned after a crash; one file a log directory.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// High watermarks; one file a log directory.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Log start offsets that lie inside a segment; one file a log directory.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// How far compaction came; one file a log directory.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Whose log directory this is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Present only after a clean shutdown.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Half-finished output of a compaction.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Finished output of a compaction that is not yet in its place.
pub const SWAP_SUFFIX: &str = ".swap";

/// A partition that is being copied from another log directory.
const FUTURE_SUFFIX: &str = "-future";

/// The longest name that file systems allow.
const NAME_BYTES_MAX: usize = 255;

/// The files of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentFile {
    /// Record batches.
    Log,
    /// Offset to position.
    OffsetIndex,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TransactionIndex,
    /// State of the producers at the offset of the name.
    Snapshot,
}

impl SegmentFile {
    /// Every kind, the records first.
    pub const ALL: [Self; 5] = [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex, Self::Snapshot];

    /// The ending of the name, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }

    /// The file's name for a segment, or for a snapshot taken at `offset`.
    pub fn name(self, offset: Offset) -> String {
        format!("{:020}{}", offset.0, self.suffix())
    }
}

/// What a name inside a partition directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A file of the segment that begins at `base`.
    Segment {
        base: Offset,
        kind: SegmentFile,
    },
    /// A snapshot of the metadata log: everything below `end`, last written in `epoch`.
    Checkpoint {
        end: Offset,
        epoch: LeaderEpoch,
    },
    LeaderEpochCheckpoint,
    PartitionMetadata,
    QuorumState,
    /// Marked for removal.
    Deleted,
    /// Half-finished output of a compaction.
    Cleaned {
        base: Option<Offset>,
    },
    /// Finished output of a compaction that is not yet in its place: `target` is its final name.
    Swap {
        target: String,
        base: Option<Offset>,
    },
    /// A half-written small file.
    Temporary,
    Other,
}

impl FileName {
    /// Tells what `name` says.
    pub fn parse(name: &str) -> Self {
        match name {
            LEADER_EPOCH_CHECKPOINT => return Self::LeaderEpochCheckpoint,
            PARTITION_METADATA => return Self::PartitionMetadata,
            QUORUM_STATE => return Self::QuorumState,
            _ => {}
        }
        if name.ends_with(".deleted") {
            return Self::Deleted;
        }
        if name.ends_with(".tmp") || name.ends_with(".part") {
            return Self::Temporary;
        }
        if let Some(inner) = name.strip_suffix(CLEANED_SUFFIX) {
            return Self::Cleaned { base: leading_offset(inner) };
        }
        if let Some(inner) = name.strip_suffix(SWAP_SUFFIX) {
            return Self::Swap { target: inner.to_owned(), base: leading_offset(inner) };
        }
        segment_file(name).or_else(|| metadata_snapshot(name)).unwrap_or(Self::Other)
    }
}

/// The name of a snapshot of the metadata log.
pub fn metadata_snapshot_name(end: Offset, epoch: LeaderEpoch) -> String {
    format!("{:020}-{:010}.checkpoint", end.0, epoch.0)
}

/// What the name of a directory below the log directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryName {
    /// A partition.
    Partition { topic: String, partition: i32 },
    /// A copy of a partition that is being moved here from another log directory: `<topic>-<partition>.<32 hex digits>-future`.
    Future { topic: String, partition: i32 },
    /// A partition that waits for its removal.
    Deleted,
    /// Anything else: strays, foreign directories.
    Other,
}

impl DirectoryName {
    /// Tells what `name` says.
    pub fn parse(name: &str) -> Self {
        if name.contains('.') && name.ends_with("-delete") {
            return Self::Deleted;
        }
        if name.ends_with("-stray") {
            return Self::Other;
        }
        if let Some(copy) = name.strip_suffix(FUTURE_SUFFIX) {
            return match copy.rsplit_once('.').map(|(directory, _)| Self::parse(directory)) {
                Some(Self::Partition { topic, partition }) => Self::Future { topic, partition },
                _ => Self::Other,
            };
        }
        let Some((topic, digits)) = name.rsplit_once('-') else {
            return Self::Other;
        };
        match plain_number(digits).and_then(|number| i32::try_from(number).ok()) {
            Some(partition) if !topic.is_empty() => Self::Partition { topic: topic.to_owned(), partition },
            _ => Self::Other,
        }
    }
}

/// The directory of a partition.
pub fn partition_directory(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The directory of a partition that waits for its removal. `unique` keeps it apart from an earlier one of that name.
pub fn deleted_directory(directory: &str, unique: u128) -> String {
    let (topic, partition) = directory.rsplit_once('-').unwrap_or((directory, "0"));
    let ending = format!("-{partition}.{unique:032x}-delete");
    let kept: String = topic.chars().take(NAME_BYTES_MAX.saturating_sub(ending.len())).collect();
    kept + &ending
}

/// The directory of a copy of a partition that is being moved here. `unique` keeps it apart from an earlier one. Nothing if the name is
/// too long (KAFKA-4893).
pub fn future_directory(directory: &str, unique: u128) -> Option<String> {
    Some(format!("{directory}.{unique:032x}{FUTURE_SUFFIX}")).filter(|name| name.len() <= NAME_BYTES_MAX)
}

fn segment_file(name: &str) -> Option<FileName> {
    SegmentFile::ALL.into_iter().find_map(|kind| {
        let digits = name.strip_suffix(kind.suffix())?;
        Some(FileName::Segment { base: Offset(plain_number(digits)?), kind })
    })
}

fn metadata_snapshot(name: &str) -> Option<FileName> {
    let (end, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    let epoch = i32::try_from(plain_number(epoch)?).ok()?;
    Some(FileName::Checkpoint { end: Offset(plain_number(end)?), epoch: LeaderEpoch(epoch) })
}

fn leading_offset(name: &str) -> Option<Offset> {
    let (digits, _) = name.split_once('.')?;
    plain_number(digits).map(Offset)
}

/// Digits only: Rust's own parser would let a sign pass.
fn plain_number(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_segment_file_is_told_from_its_offset_and_back() {
        for kind in SegmentFile::ALL {
            let name = kind.name(Offset(368_769));
            assert_eq!(FileName::parse(&name), FileName::Segment { base: Offset(368_769), kind }, "{name}");
        }
        assert_eq!(SegmentFile::Log.name(Offset(5)), "00000000000000000005.log");
    }

    #[test]
    fn a_metadata_snapshot_is_named_by_end_and_epoch() {
        let name = metadata_snapshot_name(Offset(12), LeaderEpoch(3));
        assert_eq!(name, "00000000000000000012-0000000003.checkpoint");
        assert_eq!(FileName::parse(&name), FileName::Checkpoint { end: Offset(12), epoch: LeaderEpoch(3) });
    }

    #[test]
    fn leftovers_are_recognised() {
        assert_eq!(FileName::parse("00000000000000000000.log.deleted"), FileName::Deleted);
        assert_eq!(
            FileName::parse("00000000000000000007.log.swap"),
            FileName::Swap { target: "00000000000000000007.log".into(), base: Some(Offset(7)) }
        );
        assert_eq!(FileName::parse("00000000000000000007.index.cleaned"), FileName::Cleaned { base: Some(Offset(7)) });
        assert_eq!(FileName::parse("leader-epoch-checkpoint.tmp"), FileName::Temporary);
        assert_eq!(FileName::parse("-0000000000000000001.log"), FileName::Other);
        assert_eq!(FileName::parse("notes.txt"), FileName::Other);
    }

    #[test]
    fn a_partition_directory_may_hold_dashes_in_its_topic() {
        assert_eq!(DirectoryName::parse("a-b-12"), DirectoryName::Partition { topic: "a-b".into(), partition: 12 });
        assert_eq!(DirectoryName::parse("lost+found"), DirectoryName::Other);
        assert_eq!(DirectoryName::parse("a-+1"), DirectoryName::Other);
    }

    #[test]
    fn a_copy_is_named_after_its_partition() {
        let name = future_directory("a.b-c-12", 0xab).expect("short enough");
        assert_eq!(name, "a.b-c-12.000000000000000000000000000000ab-future");
        assert_eq!(DirectoryName::parse(&name), DirectoryName::Future { topic: "a.b-c".into(), partition: 12 });
        assert_eq!(future_directory(&partition_directory(&"t".repeat(249), 7), 1), None);
        assert_eq!(DirectoryName::parse("strange-future"), DirectoryName::Other);
    }

    #[test]
    fn a_deleted_directory_keeps_within_the_longest_name() {
        let name = deleted_directory(&partition_directory(&"t".repeat(249), 7), 0xab);
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(name.ends_with("-7.000000000000000000000000000000ab-delete"), "{name}");
        assert_eq!(DirectoryName::parse(&name), DirectoryName::Deleted);
    }
}
