//! Names that deleted partitions have not left yet.
//!
//! A topic may be made again under the name of one that was just deleted. Operations of two partitions know no order, so
//! the new one's first append could land in the old one's directory, which is then renamed and removed: acknowledged
//! records would be gone. And the checkpoints know partitions by name: a log start of the old one would hide the first records
//! of the new one after a crash, with its high watermark records would count as committed that nobody else has, and below its recovery
//! point a torn tail would count as damage. So a new
//! partition writes nothing until the old directory has its other name and the checkpoints were written without the old one.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::{FilePath, LogDir};

#[derive(Debug, Default)]
pub struct Leaving {
    /// Slots of deleted partitions whose directory still has its old name, by that name.
    directories: BTreeMap<FilePath, u32>,
    /// Log directories whose checkpoints describe no deleted partition. Of others they may: the process before may have ended
    /// between the removal of a partition and the next checkpoint.
    forgotten: BTreeSet<LogDir>,
    /// Those among the others in which a partition was made.
    due: BTreeSet<LogDir>,
    /// Writes of checkpoints without deleted partitions that are under way.
    checkpoints: usize,
    /// Slots that were kept waiting.
    waiting: BTreeSet<u32>,
}

impl Leaving {
    /// Whether a deleted partition's directory still has this name.
    pub fn has(&self, directory: &FilePath) -> bool {
        self.directories.contains_key(directory)
    }

    /// A deleted partition gives its directory another name.
    pub fn begin(&mut self, directory: FilePath, slot: u32) {
        self.directories.insert(directory, slot);
    }

    /// A partition is deleted: the checkpoints of its log directory may describe it for a while.
    pub fn deleted(&mut self, log_dir: LogDir) {
        self.forgotten.remove(&log_dir);
    }

    /// A partition is made in a log directory.
    pub fn made(&mut self, log_dir: LogDir) {
        if !self.forgotten.contains(&log_dir) {
            self.due.insert(log_dir);
        }
    }

    /// The log directories whose checkpoints are to be written now; each write comes back to `checkpointed`. In one that does not work
    /// nothing is held, and nothing written.
    pub fn take_due(&mut self, is_working: impl Fn(LogDir) -> bool) -> BTreeSet<LogDir> {
        let mut due = std::mem::take(&mut self.due);
        due.retain(|log_dir| is_working(*log_dir));
        self.forgotten.extend(&due);
        self.checkpoints += due.len();
        due
    }

    /// Whether a partition that has not written anything must not do so yet; it is remembered, and comes back from
    /// `renamed` or `checkpointed`.
    pub fn holds(&mut self, slot: u32, directory: &FilePath) -> bool {
        if self.directories.is_empty() && self.checkpoints == 0 {
            return false;
        }
        let held = self.checkpoints > 0 || self.directories.contains_key(directory);
        if held {
            self.waiting.insert(slot);
        }
        held
    }

    /// The directory of the deleted partition in `slot` has its other name. Answers with the slots to look at again.
    pub fn renamed(&mut self, slot: u32) -> BTreeSet<u32> {
        self.directories.retain(|_, old| *old != slot);
        std::mem::take(&mut self.waiting)
    }

    /// A checkpoint was written. Answers with the slots to look at again.
    pub fn checkpointed(&mut self) -> BTreeSet<u32> {
        self.checkpoints = self.checkpoints.saturating_sub(1);
        std::mem::take(&mut self.waiting)
    }
}
