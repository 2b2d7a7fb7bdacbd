//! What lies in the log directories at start: partitions with what the checkpoint files say of them.
//!
//! Reads through [`Files`] only. Shells call [`survey`] once, with the directories that can be used, then [`Survey::open`] for each partition, on as many
//! threads as they like, carry out the repairs that it names, and hand the logs to [`crate::boot::Boot`].

use std::collections::BTreeMap;

use strandline_log::checkpoints::{self, OffsetCheckpoint};
use strandline_log::clean_shutdown::CleanShutdown;
use strandline_log::disk::{DiskError, DiskOp, Entry, FilePath, Files, LogDir};
use strandline_log::format::FormatError;
use strandline_log::names::{
    CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, DirectoryName, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT,
};
use strandline_log::partition_metadata;
use strandline_log::recover::{Checkpoints, RecoverError, Recovery, Report, Shutdown, recover};
use strandline_protocol::ids::{Offset, TopicId, TopicName};

use crate::config::BrokerConfig;
use crate::controller::METADATA_DIRECTORY;
use crate::image::Image;
use crate::log_dirs::LogDirs;
use crate::metadata_log::LoadedMetadata;
use crate::node::RecoveredPartition;
use crate::offline::{Cause, OfflinePartition};
use crate::topology::Topology;

/// Largest checkpoint file that is read: a line takes at most 300 bytes, and there may be 200,000 partitions.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// Why the log directories cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{file}: {reason}")]
    Format { file: FilePath, reason: FormatError },
    /// Source: LogManager.loadLog.
    #[error("partition {topic}-{partition} lies in two log directories")]
    Twice { topic: TopicName, partition: i32, log_dirs: [LogDir; 2] },
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub topic: TopicName,
    pub partition: i32,
    pub directory: FilePath,
    /// It is a copy of a partition that is being moved here from another log directory.
    pub is_copy: bool,
    /// How the last process left its log directory.
    pub shutdown: Shutdown,
    pub checkpoints: Checkpoints,
    /// Below this the log was compacted; `None` if the checkpoint does not know it.
    pub cleaned_below: Option<Offset>,
}

/// The log directories at start.
#[derive(Debug)]
pub struct Survey {
    pub partitions: Vec<FoundPartition>,
    /// Clean if all of them were left so.
    pub shutdown: Shutdown,
    /// What the marks of a clean shutdown hold; -1 unless all of them hold the same.
    pub previous_broker_epoch: i64,
    /// Directories of deleted partitions that a crash left behind; to be removed.
    pub leftovers: Vec<FilePath>,
}

/// An opened partition.
pub struct Opened {
    pub recovered: RecoveredPartition,
    pub repairs: Vec<DiskOp>,
    pub report: Report,
}

/// What becomes of a partition whose files cannot be trusted.
pub enum Aside {
    /// It stays where it is, untouched.
    Offline(OfflinePartition),
    /// It belongs to no topic: its directory is moved out of the way.
    Stray(DiskOp),
}

/// Looks at log directories.
///
/// # Errors
/// [`SurveyError`] if one or one of its checkpoint files cannot be read.
pub fn survey(files: &dyn Files, log_dirs: &[LogDir]) -> Result<Survey, SurveyError> {
    let mut survey =
        Survey { partitions: Vec::new(), shutdown: Shutdown::Clean, previous_broker_epoch: -1, leftovers: Vec::new() };
    let mut epochs = Vec::with_capacity(log_dirs.len());
    for log_dir in log_dirs {
        let (shutdown, epoch) = look(files, *log_dir, &mut survey)?;
        if shutdown == Shutdown::Unclean {
            survey.shutdown = shutdown;
        }
        epochs.push(epoch);
    }
    if let [first, rest @ ..] = epochs.as_slice()
        && rest.iter().all(|epoch| epoch == first)
    {
        survey.previous_broker_epoch = *first;
    }
    Ok(survey)
}

/// Looks at one log directory. Answers with what its mark of a clean shutdown says.
fn look(files: &dyn Files, log_dir: LogDir, survey: &mut Survey) -> Result<(Shutdown, i64), SurveyError> {
    let recovery_points = offsets(files, log_dir, RECOVERY_POINT_CHECKPOINT)?;
    let log_starts = offsets(files, log_dir, LOG_START_CHECKPOINT)?;
    let high_watermarks = offsets(files, log_dir, HIGH_WATERMARK_CHECKPOINT)?;
    let cleaned = offsets(files, log_dir, CLEANER_CHECKPOINT)?;
    let (shutdown, broker_epoch) = shutdown(files, log_dir)?;
    let entries = files.list(&FilePath::of(log_dir, ""))?;
    for entry in entries.into_iter().filter(|entry| entry.is_directory && entry.name != METADATA_DIRECTORY) {
        let name = DirectoryName::parse(&entry.name);
        let is_copy = matches!(name, DirectoryName::Future { .. });
        match name {
            DirectoryName::Partition { topic, partition } | DirectoryName::Future { topic, partition } => {
                let key = (topic.to_string(), partition);
                let offset = |known: &BTreeMap<(String, i32), Offset>| known.get(&key).copied().unwrap_or(Offset::ZERO);
                let checkpoints = Checkpoints {
                    recovery_point: offset(&recovery_points),
                    log_start: offset(&log_starts),
                    high_watermark: offset(&high_watermarks),
                };
                let cleaned_below = cleaned.get(&key).copied();
                let topic = TopicName::from(topic.to_string());
                let directory = FilePath::of(log_dir, &entry.name);
                survey.partitions.push(FoundPartition {
                    topic,
                    partition,
                    directory,
                    is_copy,
                    shutdown,
                    checkpoints,
                    cleaned_below,
                });
            }
            DirectoryName::Deleted => survey.leftovers.push(FilePath::of(log_dir, &entry.name)),
            _ => {}
        }
    }
    Ok((shutdown, broker_epoch))
}

impl Survey {
    /// Decides which one is the partition where two directories hold it. Of a replica that was being moved when the process ended
    /// the one counts that lies where the metadata says: it has all that the other has. Answers with what puts the others out of the way.
    /// A topic that was deleted while its directory did not work, and made again, is told from the new one by its id: both are opened, for what
    /// is known of metadata at start may be old, and what is of no topic then goes as ever.
    ///
    /// # Errors
    /// [`SurveyError::Twice`] if both may be it. Source: LogManager.loadLog.
    pub fn settle_doubles(
        &mut self,
        files: &dyn Files,
        image: &Image,
        start: &BrokerConfig,
        log_dirs: &LogDirs,
    ) -> Result<Vec<DiskOp>, SurveyError> {
        let node = i32::try_from(start.number("node.id")).unwrap_or(i32::MAX);
        let mut by_name: BTreeMap<(TopicName, i32), Vec<&FoundPartition>> = BTreeMap::new();
        for found in self.partitions.iter().filter(|found| !found.is_copy) {
            by_name.entry((found.topic.clone(), found.partition)).or_default().push(found);
        }
        let mut away = Vec::new();
        for ((topic, partition), doubles) in by_name.into_iter().filter(|(_, found)| found.len() > 1) {
            let twice = |doubles: &[&FoundPartition]| {
                let log_dirs = [doubles[0].directory.log_dir(), doubles[1].directory.log_dir()];
                SurveyError::Twice { topic: topic.clone(), partition, log_dirs }
            };
            let mut by_id: BTreeMap<TopicId, Vec<&FoundPartition>> = BTreeMap::new();
            for found in &doubles {
                match topic_id_in(files, &found.directory) {
                    Some(id) => by_id.entry(id).or_default().push(found),
                    // It was being made when its device failed.
                    None if holds_nothing(files, &found.directory) => away.push(stray(&found.directory, TopicId::ZERO)),
                    None => return Err(twice(&doubles)),
                }
            }
            for (id, doubles) in by_id.into_iter().filter(|(_, found)| found.len() > 1) {
                let held = image.topics.by_id(id).and_then(|topic| topic.partitions.get(&partition)?.directory_of(node));
                let held = held.and_then(|held| log_dirs.online_place_of(held));
                let is_it = |found: &FoundPartition| Some(found.directory.log_dir()) == held;
                if !doubles.iter().any(|found| is_it(found)) {
                    return Err(twice(&doubles));
                }
                away.extend(doubles.iter().filter(|found| !is_it(found)).map(|found| stray(&found.directory, id)));
            }
        }
        let is_away = |found: &FoundPartition| {
            away.iter().any(|op| matches!(op, DiskOp::Rename { from, .. } if *from == found.directory))
        };
        self.partitions.retain(|found| !is_away(found));
        Ok(away)
    }

    /// Opens one partition.
    ///
    /// # Errors
    /// [`RecoverError`]; with `Unfinished` the repairs in it are carried out and the partition opened again.
    pub fn open(
        &self,
        files: &dyn Files,
        found: &FoundPartition,
        start: &BrokerConfig,
        image: &Image,
        now_ms: i64,
    ) -> Result<Opened, RecoverError> {
        let node = i32::try_from(start.number("node.id")).unwrap_or(i32::MAX);
        let config = image.layers(start, node).topic_config(image.topic_overrides(&found.topic));
        let recovery = Recovery {
            directory: found.directory.clone(),
            config: config.log,
            checkpoints: found.checkpoints,
            shutdown: found.shutdown,
            now_ms,
        };
        let mut opened = recover(files, &recovery)?;
        opened.log.set_cleaned_below(found.cleaned_below);
        let topic = opened.log.topic_id();
        // The checkpoints know partitions by name, and an earlier topic may have had the same: where no recovery point is known of this
        // log, the high watermark may be that one's, and records that nobody else has would count as replicated.
        let is_known = found.shutdown == Shutdown::Clean || opened.log.recovery_point() > opened.log.positions().log_start;
        let high_watermark = if is_known { found.checkpoints.high_watermark } else { opened.log.positions().log_start };
        let recovered = RecoveredPartition {
            topic,
            name: found.topic.clone(),
            partition: found.partition,
            log: opened.log,
            high_watermark,
        };
        Ok(Opened { recovered, repairs: opened.repairs, report: opened.report })
    }

    /// Decides what becomes of a partition that was found damaged; everything else starts without it.
    pub fn set_aside(&self, files: &dyn Files, found: &FoundPartition, image: &Image) -> Aside {
        // An id that cannot be read is taken to be the present topic's: nothing of it may be given up by mistake.
        let id = topic_id_in(files, &found.directory);
        if found.is_copy {
            return Aside::Stray(out_of_the_way(found, TopicId::ZERO));
        }
        match id.or_else(|| image.topics.id_of(&found.topic)).filter(|id| belongs(found, image, *id)) {
            Some(topic) => Aside::Offline(OfflinePartition {
                topic,
                name: found.topic.clone(),
                partition: found.partition,
                cause: Cause::Damaged { log_dir: found.directory.log_dir(), checkpoints: found.checkpoints },
            }),
            None => Aside::Stray(out_of_the_way(found, id.unwrap_or(TopicId::ZERO))),
        }
    }
}

fn belongs(found: &FoundPartition, image: &Image, id: TopicId) -> bool {
    let topic = image.topics.by_id(id);
    topic.is_some_and(|topic| topic.name == found.topic && topic.partitions.contains_key(&found.partition))
}

/// A copy is removed: what it was made from is elsewhere. Anything else is kept under another name.
fn out_of_the_way(found: &FoundPartition, id: TopicId) -> DiskOp {
    match found.is_copy {
        true => DiskOp::DeleteDirectory { directory: found.directory.clone() },
        false => stray(&found.directory, id),
    }
}

fn stray(from: &FilePath, id: TopicId) -> DiskOp {
    let to = FilePath::of(from.log_dir(), &format!("{from}.{:032x}-stray", u128::from_be_bytes(id.0)));
    DiskOp::Rename { from: from.clone(), to }
}

/// Whether no segment in a directory has anything in it.
fn holds_nothing(files: &dyn Files, directory: &FilePath) -> bool {
    let is_empty = |entry: &Entry| entry.bytes == 0 || !entry.name.contains(".log");
    files.list(directory).is_ok_and(|entries| entries.iter().all(is_empty))
}

/// The topic that a partition's directory says it belongs to.
fn topic_id_in(files: &dyn Files, directory: &FilePath) -> Option<TopicId> {
    let contents = files.read(&directory.child(PARTITION_METADATA), 0, CHECKPOINT_BYTES_MAX).ok()?;
    partition_metadata::parse(&contents).ok()
}

impl Opened {
    /// The move out of the way of a directory that belongs to no topic of the image: the topic was deleted, or deleted
    /// and made again, and the process ended before its directory was gone. Nothing of it is removed. Such a partition
    /// is not handed to the node.
    ///
    /// Only a node that is alone may judge so by its own metadata log: that of a member of a cluster may end with a removal
    /// that is never committed. Its node decides when it knows what is committed (`replica::assign::all`).
    pub fn out_of_the_way(&self, found: &FoundPartition, start: &BrokerConfig, metadata: &LoadedMetadata) -> Option<DiskOp> {
        let id = self.recovered.topic;
        let is_alone = || Topology::read(start).is_ok_and(|topology| metadata.is_alone(&topology));
        (!belongs(found, &metadata.image, id) && is_alone()).then(|| out_of_the_way(found, id))
    }
}

/// What the first directory's checkpoint of recovery points says of one partition; 0 if it does not know it.
pub(crate) fn recovery_point_of(files: &dyn Files, topic: &str, partition: i32) -> Result<Offset, SurveyError> {
    let points = offsets(files, LogDir::FIRST, RECOVERY_POINT_CHECKPOINT)?;
    Ok(points.get(&(topic.to_owned(), partition)).copied().unwrap_or(Offset::ZERO))
}

/// Has the first directory's checkpoint forget the recovery point of a log that is not there; nothing if it does not know it.
pub(crate) fn forget_recovery_point(files: &dyn Files, topic: &str, partition: i32) -> Result<Option<DiskOp>, SurveyError> {
    let mut points = offsets(files, LogDir::FIRST, RECOVERY_POINT_CHECKPOINT)?;
    let known = points.remove(&(topic.to_owned(), partition));
    let left = points.into_iter().map(|((topic, partition), offset)| OffsetCheckpoint { topic, partition, offset });
    let contents = checkpoints::encode(&left.collect::<Vec<_>>());
    Ok(known.map(|_| DiskOp::Write { file: FilePath::of(LogDir::FIRST, RECOVERY_POINT_CHECKPOINT), contents }))
}

/// The mark of a clean shutdown counts once: whoever serves from the directory removes it first.
fn shutdown(files: &dyn Files, log_dir: LogDir) -> Result<(Shutdown, i64), DiskError> {
    match files.read(&FilePath::of(log_dir, CLEAN_SHUTDOWN), 0, CHECKPOINT_BYTES_MAX) {
        // Kafka before 4.0 wrote nothing into it.
        Ok(contents) => Ok((Shutdown::Clean, CleanShutdown::parse(&contents).map_or(-1, |mark| mark.broker_epoch))),
        Err(DiskError::Missing { .. }) => Ok((Shutdown::Unclean, -1)),
        Err(error) => Err(error),
    }
}

fn offsets(files: &dyn Files, log_dir: LogDir, name: &str) -> Result<BTreeMap<(String, i32), Offset>, SurveyError> {
    let file = FilePath::of(log_dir, name);
    let contents = match files.read(&file, 0, CHECKPOINT_BYTES_MAX) {
        Ok(contents) => contents,
        Err(DiskError::Missing { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let entries = checkpoints::parse(&contents).map_err(|reason| SurveyError::Format { file, reason })?;
    Ok(entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect())
}
