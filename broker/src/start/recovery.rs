//! Opens what lies in the data directories, on several threads, and repairs it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use strandline_log::disk::{DiskError, DiskOp, FilePath, Files, LogDir};
use strandline_log::recover::{RecoverError, Shutdown};
use strandline_node::config::BrokerConfig;
use strandline_node::log_dirs::LogDirs;
use strandline_node::metadata_log::{LoadedMetadata, load};
use strandline_node::recovery::{Aside, FoundPartition, Opened, Survey, SurveyError, survey};
use strandline_node::{OfflinePartition, RecoveredPartition};

use super::StartError;
use crate::disk::files::Roots;
use crate::disk::freeing::Freeing;
use crate::disk::operations;

/// Everything that a start found.
pub(crate) struct Recovered {
    pub(crate) metadata: LoadedMetadata,
    pub(crate) partitions: Vec<RecoveredPartition>,
    /// Damaged ones, set aside.
    pub(crate) offline: Vec<OfflinePartition>,
    pub(crate) was_clean: bool,
    pub(crate) previous_broker_epoch: i64,
    /// Bytes of records that were read and checked.
    pub(crate) bytes_scanned: u64,
}

/// Opens the metadata log and every partition in the directories that work.
///
/// # Errors
/// [`StartError`] for the first thing that cannot be opened.
pub(crate) fn recover(
    roots: &Roots,
    log_dirs: &LogDirs,
    files: &(dyn Files + Sync),
    config: &BrokerConfig,
    now_ms: i64,
) -> Result<Recovered, StartError> {
    let mut survey = survey(files, &log_dirs.working().collect::<Vec<_>>())?;
    let freeing = Freeing::default();
    let mut metadata = load(files, now_ms)?;
    for op in metadata.repairs.drain(..) {
        perform(roots, &freeing, &op)?;
    }
    let doubles = survey.settle_doubles(files, &metadata.image, config, log_dirs);
    for op in doubles.map_err(|error| twice(roots, error))? {
        tracing::warn!(directory = %op.file(), "the partition lies in another log directory; put aside as -stray");
        perform(roots, &freeing, &op)?;
    }
    for directory in &survey.leftovers {
        perform(roots, &freeing, &DiskOp::DeleteDirectory { directory: directory.clone() })?;
    }
    let unsynced = Unsynced::default();
    let start =
        Start { roots, freeing: &freeing, unsynced: &unsynced, files, config, survey: &survey, metadata: &metadata, now_ms };
    let (mut partitions, mut offline, mut bytes_scanned) = (Vec::new(), Vec::new(), 0);
    for one in start.all()? {
        match one {
            One::Opened { recovered, scanned } => {
                partitions.push(*recovered);
                bytes_scanned += scanned;
            }
            One::Moved => {}
            One::Offline(partition) => offline.push(partition),
        }
    }
    unsynced.sync(roots)?;
    let was_clean = survey.shutdown == Shutdown::Clean;
    let previous_broker_epoch = survey.previous_broker_epoch;
    Ok(Recovered { metadata, partitions, offline, was_clean, previous_broker_epoch, bytes_scanned })
}

fn twice(roots: &Roots, error: SurveyError) -> StartError {
    match error {
        SurveyError::Twice { topic, partition, log_dirs } => {
            let directories = log_dirs.map(|log_dir| roots.of(log_dir).to_owned());
            StartError::Twice { topic: topic.to_string(), partition, directories }
        }
        error => StartError::Survey(error),
    }
}

/// What became of one partition's directory.
enum One {
    Opened {
        recovered: Box<RecoveredPartition>,
        scanned: u64,
    },
    /// It belongs to no topic.
    Moved,
    Offline(OfflinePartition),
}

/// Segments that a kill -9 left with records which may be in the page cache only, or that were cut: to be synced before anything is
/// served. One by one that is most of the time of a start with thousands of partitions, so a large number is synced as one: with their
/// file system.
#[derive(Default)]
struct Unsynced {
    files: Mutex<Vec<FilePath>>,
}

impl Unsynced {
    /// Up to so many are synced one by one: what else is written on the same file system need not be waited for.
    const ONE_BY_ONE_MAX: usize = 256;

    fn add(&self, file: &FilePath) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(file.clone());
    }

    fn sync(self, roots: &Roots) -> Result<(), DiskError> {
        let files = self.files.into_inner().unwrap_or_else(PoisonError::into_inner);
        if files.len() > Self::ONE_BY_ONE_MAX {
            let log_dirs: BTreeSet<LogDir> = files.iter().map(FilePath::log_dir).collect();
            return log_dirs.into_iter().try_for_each(|log_dir| {
                let synced = operations::sync_all_below(roots.of(log_dir));
                synced.map_err(|error| operations::disk_error(&FilePath::of(log_dir, ""), &error))
            });
        }
        files.iter().try_for_each(|file| operations::sync(roots, file).map_err(|error| operations::disk_error(file, &error)))
    }
}

struct Start<'a> {
    roots: &'a Roots,
    freeing: &'a Freeing,
    unsynced: &'a Unsynced,
    files: &'a (dyn Files + Sync),
    config: &'a BrokerConfig,
    survey: &'a Survey,
    metadata: &'a LoadedMetadata,
    now_ms: i64,
}

impl Start<'_> {
    fn all(&self) -> Result<Vec<One>, StartError> {
        let threads = usize::try_from(self.config.number("num.recovery.threads.per.data.dir")).unwrap_or(1).max(1);
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(self.survey.partitions.len()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(found) = self.survey.partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.one(found);
                        results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                    }
                });
            }
        });
        results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }

    fn one(&self, found: &FoundPartition) -> Result<One, StartError> {
        let opened = match self.open(found) {
            Ok(opened) => opened,
            Err(StartError::Partition { reason, .. }) if reason.is_damage() => return self.set_aside(found, &reason),
            Err(error) => return Err(error),
        };
        if let Some(op) = opened.out_of_the_way(found, self.config, self.metadata) {
            tracing::warn!(topic = %found.topic, partition = found.partition, "belongs to no topic; its directory was put aside as -stray");
            perform(self.roots, self.freeing, &op)?;
            return Ok(One::Moved);
        }
        self.repair(&opened.repairs)?;
        if let Some(stop) = &opened.report.stop
            && opened.report.bytes_cut > 0
        {
            tracing::debug!(topic = %found.topic, partition = found.partition, bytes = opened.report.bytes_cut, %stop, "cut the end of the log");
        }
        Ok(One::Opened { recovered: Box::new(opened.recovered), scanned: opened.report.bytes_scanned })
    }

    /// Repairs are durable one before the other; only what comes last may be made so later, together with that of other partitions.
    fn repair(&self, repairs: &[DiskOp]) -> Result<(), DiskError> {
        let (last, before) = match repairs.split_last() {
            Some((last @ (DiskOp::Truncate { .. } | DiskOp::Sync { .. }), before)) => (Some(last), before),
            _ => (None, repairs),
        };
        for op in before {
            perform(self.roots, self.freeing, op)?;
        }
        match last {
            Some(DiskOp::Truncate { file, bytes }) => {
                operations::shorten(self.roots, file, *bytes).map_err(|error| operations::disk_error(file, &error))?;
                self.unsynced.add(file);
            }
            Some(DiskOp::Sync { file }) => self.unsynced.add(file),
            _ => {}
        }
        Ok(())
    }

    /// Nothing of a damaged partition is changed, and everything else starts.
    fn set_aside(&self, found: &FoundPartition, reason: &RecoverError) -> Result<One, StartError> {
        match self.survey.set_aside(self.files, found, &self.metadata.image) {
            Aside::Offline(offline) => {
                tracing::error!(
                    topic = %found.topic, partition = found.partition, %reason,
                    "the partition is damaged and offline; its files are untouched. Stop the broker and bring its directory back from \
                     a copy, or delete the topic; `strandline log dump FILE` shows what can still be read"
                );
                Ok(One::Offline(offline))
            }
            Aside::Stray(op) => {
                tracing::warn!(topic = %found.topic, partition = found.partition, %reason, "damaged, and belongs to no topic; its directory was put aside as -stray");
                perform(self.roots, self.freeing, &op)?;
                Ok(One::Moved)
            }
        }
    }

    /// An interrupted compaction is finished first, once.
    fn open(&self, found: &FoundPartition) -> Result<Opened, StartError> {
        let open = || self.survey.open(self.files, found, self.config, &self.metadata.image, self.now_ms);
        let result = match open() {
            Err(RecoverError::Unfinished { repairs }) => {
                for op in &repairs {
                    perform(self.roots, self.freeing, op)?;
                }
                open()
            }
            result => result,
        };
        result.map_err(|reason| StartError::Partition { topic: found.topic.to_string(), partition: found.partition, reason })
    }
}

/// Carries out one repair and waits for it.
fn perform(roots: &Roots, freeing: &Freeing, op: &DiskOp) -> Result<(), DiskError> {
    let (file, result) = match op {
        DiskOp::Seal { file, bytes } | DiskOp::Truncate { file, bytes } => {
            (file, operations::cut(roots, file, *bytes).or_else(operations::or_missing))
        }
        DiskOp::Sync { file } => (file, operations::sync(roots, file)),
        DiskOp::Write { file, contents } => (file, operations::write(roots, file, contents)),
        DiskOp::Rename { from, to } => (from, operations::rename(roots, from, to)),
        DiskOp::Delete { file } => (file, operations::delete(roots, file, freeing)),
        DiskOp::DeleteDirectory { directory } => (directory, operations::delete_directory(roots, directory, freeing)),
        DiskOp::Append { file, .. } => {
            return Err(DiskError::Failed { file: file.clone(), reason: "a repair never appends".to_owned() });
        }
    };
    result.map_err(|error| operations::disk_error(file, &error))
}
