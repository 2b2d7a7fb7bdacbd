//! What lies in a log directory at start: partitions with what the checkpoint files say of them.
//!
//! Reads through [`Files`] only. Shells call [`survey`] once, then [`Survey::open`] for each partition, on as many
//! threads as they like, carry out the repairs that it names, and hand the logs to [`crate::boot::Boot`].

use std::collections::BTreeMap;

use strandline_log::checkpoints;
use strandline_log::clean_shutdown::CleanShutdown;
use strandline_log::disk::{DiskError, DiskOp, FilePath, Files};
use strandline_log::format::FormatError;
use strandline_log::names::{
    CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, DirectoryName, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT, partition_directory,
};
use strandline_log::partition_metadata;
use strandline_log::recover::{Checkpoints, RecoverError, Recovery, Report, Shutdown, recover};
use strandline_protocol::ids::{Offset, TopicId, TopicName};

use crate::config::BrokerConfig;
use crate::controller::METADATA_DIRECTORY;
use crate::image::Image;
use crate::node::RecoveredPartition;
use crate::offline::OfflinePartition;
use crate::topology::Topology;

/// Largest checkpoint file that is read: a line takes at most 300 bytes, and there may be 200,000 partitions.
const CHECKPOINT_BYTES_MAX: usize = 64 << 20;

/// Why the log directory cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{file}: {reason}")]
    Format { file: FilePath, reason: FormatError },
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub topic: TopicName,
    pub partition: i32,
    pub checkpoints: Checkpoints,
    /// Below this the log was compacted; `None` if the checkpoint does not know it.
    pub cleaned_below: Option<Offset>,
}

/// A log directory at start.
#[derive(Debug)]
pub struct Survey {
    pub partitions: Vec<FoundPartition>,
    pub shutdown: Shutdown,
    /// What the mark of a clean shutdown holds; -1 without one.
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

/// Looks at a log directory.
///
/// # Errors
/// [`SurveyError`] if it or one of its checkpoint files cannot be read.
pub fn survey(files: &dyn Files) -> Result<Survey, SurveyError> {
    let recovery_points = offsets(files, RECOVERY_POINT_CHECKPOINT)?;
    let log_starts = offsets(files, LOG_START_CHECKPOINT)?;
    let high_watermarks = offsets(files, HIGH_WATERMARK_CHECKPOINT)?;
    let cleaned = offsets(files, CLEANER_CHECKPOINT)?;
    let (shutdown, previous_broker_epoch) = shutdown(files)?;
    let mut survey = Survey { partitions: Vec::new(), shutdown, previous_broker_epoch, leftovers: Vec::new() };
    for entry in
        files.list(&FilePath::top(""))?.into_iter().filter(|entry| entry.is_directory && entry.name != METADATA_DIRECTORY)
    {
        match DirectoryName::parse(&entry.name) {
            DirectoryName::Partition { topic, partition } => {
                let key = (topic.to_string(), partition);
                let offset = |known: &BTreeMap<(String, i32), Offset>| known.get(&key).copied().unwrap_or(Offset::ZERO);
                let checkpoints = Checkpoints {
                    recovery_point: offset(&recovery_points),
                    log_start: offset(&log_starts),
                    high_watermark: offset(&high_watermarks),
                };
                let cleaned_below = cleaned.get(&key).copied();
                let topic = TopicName::from(topic.to_string());
                survey.partitions.push(FoundPartition { topic, partition, checkpoints, cleaned_below });
            }
            DirectoryName::Deleted => survey.leftovers.push(FilePath::top(&entry.name)),
            _ => {}
        }
    }
    Ok(survey)
}

impl Survey {
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
            directory: partition_directory(found.topic.as_str(), found.partition).into(),
            config: config.log,
            checkpoints: found.checkpoints,
            shutdown: self.shutdown,
            now_ms,
        };
        let mut opened = recover(files, &recovery)?;
        opened.log.set_cleaned_below(found.cleaned_below);
        let topic = opened.log.topic_id();
        let recovered = RecoveredPartition {
            topic,
            name: found.topic.clone(),
            partition: found.partition,
            log: opened.log,
            high_watermark: found.checkpoints.high_watermark,
        };
        Ok(Opened { recovered, repairs: opened.repairs, report: opened.report })
    }

    /// Decides what becomes of a partition that was found damaged; everything else starts without it.
    pub fn set_aside(&self, files: &dyn Files, found: &FoundPartition, image: &Image) -> Aside {
        let directory = partition_directory(found.topic.as_str(), found.partition);
        let metadata = files.read(&FilePath::inside(&directory, PARTITION_METADATA), 0, CHECKPOINT_BYTES_MAX);
        // An id that cannot be read is taken to be the present topic's: nothing of it may be given up by mistake.
        let id = metadata.ok().and_then(|contents| partition_metadata::parse(&contents).ok());
        match id.or_else(|| image.topics.id_of(&found.topic)).filter(|id| belongs(found, image, *id)) {
            Some(topic) => Aside::Offline(OfflinePartition {
                topic,
                name: found.topic.clone(),
                partition: found.partition,
                checkpoints: found.checkpoints,
            }),
            None => Aside::Stray(out_of_the_way(found, id.unwrap_or(TopicId::ZERO))),
        }
    }
}

fn belongs(found: &FoundPartition, image: &Image, id: TopicId) -> bool {
    let topic = image.topics.by_id(id);
    topic.is_some_and(|topic| topic.name == found.topic && topic.partitions.contains_key(&found.partition))
}

fn out_of_the_way(found: &FoundPartition, id: TopicId) -> DiskOp {
    let directory = partition_directory(found.topic.as_str(), found.partition);
    let to = FilePath::top(&format!("{directory}.{:032x}-stray", u128::from_be_bytes(id.0)));
    DiskOp::Rename { from: FilePath::top(&directory), to }
}

impl Opened {
    /// The move out of the way of a directory that belongs to no topic of the image: the topic was deleted, or deleted
    /// and made again, and the process ended before its directory was gone. Nothing of it is removed. Such a partition
    /// is not handed to the node.
    ///
    /// Only a node that is alone may judge so by its own metadata log: that of a member of a cluster may end with a removal
    /// that is never committed. Its node decides when it knows what is committed (`replica::assign::all`).
    pub fn out_of_the_way(&self, found: &FoundPartition, start: &BrokerConfig, image: &Image) -> Option<DiskOp> {
        let id = self.recovered.topic;
        let is_alone = || Topology::read(start).is_ok_and(|topology| topology.is_alone());
        (!belongs(found, image, id) && is_alone()).then(|| out_of_the_way(found, id))
    }
}

/// What the checkpoint of recovery points says of one partition; 0 if it does not know it.
pub(crate) fn recovery_point_of(files: &dyn Files, topic: &str, partition: i32) -> Result<Offset, SurveyError> {
    let points = offsets(files, RECOVERY_POINT_CHECKPOINT)?;
    Ok(points.get(&(topic.to_owned(), partition)).copied().unwrap_or(Offset::ZERO))
}

/// The mark of a clean shutdown counts once: whoever serves from the directory removes it first.
fn shutdown(files: &dyn Files) -> Result<(Shutdown, i64), DiskError> {
    match files.read(&FilePath::top(CLEAN_SHUTDOWN), 0, CHECKPOINT_BYTES_MAX) {
        // Kafka before 4.0 wrote nothing into it.
        Ok(contents) => Ok((Shutdown::Clean, CleanShutdown::parse(&contents).map_or(-1, |mark| mark.broker_epoch))),
        Err(DiskError::Missing { .. }) => Ok((Shutdown::Unclean, -1)),
        Err(error) => Err(error),
    }
}

fn offsets(files: &dyn Files, name: &str) -> Result<BTreeMap<(String, i32), Offset>, SurveyError> {
    let file = FilePath::top(name);
    let contents = match files.read(&file, 0, CHECKPOINT_BYTES_MAX) {
        Ok(contents) => contents,
        Err(DiskError::Missing { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let entries = checkpoints::parse(&contents).map_err(|reason| SurveyError::Format { file, reason })?;
    Ok(entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect())
}
