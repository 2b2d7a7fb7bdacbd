//! Names that deleted partitions have not left yet.
//!
//! A topic may be made again under the name of one that was just deleted. Operations of two partitions know no order, so
//! the new one's first append could land in the old one's directory, which is then renamed and removed: acknowledged
//! records would be gone. And a log start of the old one that still stands in the checkpoint would hide the first records
//! of the new one after a crash. So a new partition writes nothing until the old directory has its other name and the
//! checkpoint was written without the old log start.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::FilePath;

#[derive(Debug, Default)]
pub struct Leaving {
    /// Slots of deleted partitions whose directory still has its old name, by that name.
    directories: BTreeMap<FilePath, u32>,
    /// Writes of the log-start checkpoint that are under way because of deleted partitions.
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

    /// The log-start checkpoint is being written without deleted partitions.
    pub fn begin_checkpoint(&mut self) {
        self.checkpoints += 1;
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
