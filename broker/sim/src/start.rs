//! How a machine comes to have a node: what the rim does between the start of the process and the node's first step,
//! one disk operation at a time, so that a crash may come between any two of them.
//!
//! Order: the marks of a clean shutdown are read and removed before anything else changes; the metadata log is recovered;
//! leftovers go, and what lies twice; every partition is opened and repaired.

use std::collections::VecDeque;

use strandline_log::disk::{DiskOp, FilePath, LogDir};
use strandline_log::names::CLEAN_SHUTDOWN;
use strandline_log::recover::{RecoverError, Report, Shutdown};
use strandline_node::config::BrokerConfig;
use strandline_node::log_dirs::LogDirs;
use strandline_node::metadata_log::{LoadError, LoadedMetadata, load};
use strandline_node::recovery::{Aside, Survey, SurveyError, survey};
use strandline_node::{OfflinePartition, RecoveredPartition, io::Now};
use strandline_protocol::ids::Offset;

use crate::disk::SimDisk;
use crate::flaw::Flaw;

/// How far [`Flaw::RecoveryPointAhead`] moves recovery points.
const AHEAD: i64 = 3;

/// Why a start came to an end.
#[derive(Debug)]
pub enum Refused {
    Survey(SurveyError),
    Metadata(LoadError),
    Partition { directory: FilePath, reason: RecoverError },
}

/// A partition that was found damaged.
pub struct SetAside {
    /// `None` if it belongs to no topic.
    pub offline: Option<OfflinePartition>,
    pub reason: RecoverError,
}

/// A partition that was opened.
pub struct OpenedPartition {
    pub recovered: RecoveredPartition,
    pub report: Report,
    pub shutdown: Shutdown,
    /// It is on its way to another log directory, and not the partition yet.
    pub is_copy: bool,
}

/// What is to be done next.
pub enum Next {
    /// Carry this out and come back.
    Perform(DiskOp),
    /// Look at this partition, put it aside, and come back.
    Opened(Box<OpenedPartition>),
    /// This partition is damaged; remember it, and come back.
    SetAside(Box<SetAside>),
    /// The node may be made.
    Ready(Box<LoadedMetadata>),
}

/// A start under way.
pub struct Start {
    survey: Survey,
    log_dirs: LogDirs,
    metadata: Option<LoadedMetadata>,
    repairs: VecDeque<DiskOp>,
    opened: Option<Box<OpenedPartition>>,
    next_partition: usize,
    flaw: Option<Flaw>,
}

impl Start {
    /// Looks at the log directories, those of them that work.
    ///
    /// # Errors
    /// [`Refused::Survey`]
    pub fn begin(disk: &SimDisk, log_dirs: LogDirs, working: &[LogDir], flaw: Option<Flaw>) -> Result<Self, Refused> {
        let mut survey = survey(disk, working).map_err(Refused::Survey)?;
        let mut repairs = VecDeque::new();
        if flaw != Some(Flaw::KeptMark) {
            let mark = |log_dir: &LogDir| DiskOp::Delete { file: FilePath::of(*log_dir, CLEAN_SHUTDOWN) };
            repairs.extend(working.iter().map(mark));
        }
        match flaw {
            Some(Flaw::TrustedTail) => {
                survey.partitions.iter_mut().for_each(|found| found.shutdown = Shutdown::Clean);
            }
            Some(Flaw::RecoveryPointAhead) => {
                for found in &mut survey.partitions {
                    found.checkpoints.recovery_point = Offset(found.checkpoints.recovery_point.0 + AHEAD);
                }
            }
            Some(Flaw::ForgottenLogStart) => {
                survey.partitions.iter_mut().for_each(|found| found.checkpoints.log_start = Offset::ZERO);
            }
            _ => {}
        }
        Ok(Self { survey, log_dirs, metadata: None, repairs, opened: None, next_partition: 0, flaw })
    }

    pub fn shutdown(&self) -> Shutdown {
        self.survey.shutdown
    }

    pub fn log_dirs(&self) -> LogDirs {
        self.log_dirs.clone()
    }

    /// Of the registration under which the directory was closed in order.
    pub fn previous_broker_epoch(&self) -> i64 {
        self.survey.previous_broker_epoch
    }

    /// Goes on, after what was asked for last is done.
    ///
    /// # Errors
    /// [`Refused`]; nothing below a recovery point was changed.
    pub fn advance(&mut self, disk: &SimDisk, config: &BrokerConfig, now: Now) -> Result<Next, Refused> {
        loop {
            if let Some(op) = self.repairs.pop_front() {
                return Ok(Next::Perform(op));
            }
            if let Some(opened) = self.opened.take() {
                return Ok(Next::Opened(opened));
            }
            let Some(metadata) = &mut self.metadata else {
                let mut loaded = load(disk, now.wall_ms).map_err(Refused::Metadata)?;
                self.repairs.extend(std::mem::take(&mut loaded.repairs));
                let doubles = self.survey.settle_doubles(disk, &loaded.image, config, &self.log_dirs);
                self.repairs.extend(doubles.map_err(Refused::Survey)?);
                let remove = |directory: &FilePath| DiskOp::DeleteDirectory { directory: directory.clone() };
                self.repairs.extend(self.survey.leftovers.iter().map(remove));
                self.metadata = Some(loaded);
                self.skip_repairs();
                continue;
            };
            let Some(found) = self.survey.partitions.get(self.next_partition).cloned() else {
                return match self.metadata.take() {
                    Some(metadata) => Ok(Next::Ready(Box::new(metadata))),
                    None => unreachable!("it was there a line above"),
                };
            };
            let opened = self.survey.open(disk, &found, config, &metadata.image, now.wall_ms);
            match opened {
                Ok(opened) => {
                    self.next_partition += 1;
                    let away = opened.out_of_the_way(&found, config, metadata);
                    if let Some(away) = away.filter(|_| self.flaw != Some(Flaw::StaleDirectories)) {
                        self.repairs.push_back(away);
                        continue;
                    }
                    self.repairs.extend(opened.repairs);
                    self.opened = Some(Box::new(OpenedPartition {
                        recovered: opened.recovered,
                        report: opened.report,
                        shutdown: found.shutdown,
                        is_copy: found.is_copy,
                    }));
                    self.skip_repairs();
                }
                Err(RecoverError::Unfinished { repairs }) => self.repairs.extend(repairs),
                Err(reason) if reason.is_damage() => {
                    self.next_partition += 1;
                    let offline = match self.survey.set_aside(disk, &found, &metadata.image) {
                        Aside::Offline(offline) => Some(offline),
                        Aside::Stray(op) => {
                            self.repairs.push_back(op);
                            None
                        }
                    };
                    return Ok(Next::SetAside(Box::new(SetAside { offline, reason })));
                }
                Err(reason) => return Err(Refused::Partition { directory: found.directory, reason }),
            }
        }
    }

    fn skip_repairs(&mut self) {
        if self.flaw == Some(Flaw::SkippedRepairs) {
            self.repairs.clear();
        }
    }
}
