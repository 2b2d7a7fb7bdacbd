//! The log directories of a machine: the first holds the metadata log, and the others fail now and then, and what lies there with them.

use strandline_log::disk::{DiskError, FilePath, LogDir};
use strandline_node::log_dirs::{LogDirectory, LogDirs};

use super::Machine;
use crate::cluster::voters;
use crate::core::{Core, MS};
use crate::invariants::{Ending, Invariant};

/// Where a log directory of a machine is, as its configuration says.
pub(crate) fn log_dir_path(log_dir: LogDir) -> String {
    format!("/data/{}", log_dir.0)
}

impl Machine {
    pub(super) fn directories(&self) -> impl Iterator<Item = LogDir> + use<> {
        (0..self.log_dirs).map(LogDir)
    }

    /// Those whose device works.
    pub(super) fn working_directories(&self) -> impl Iterator<Item = LogDir> {
        self.directories().filter(|log_dir| !self.disk.is_broken(*log_dir))
    }

    /// What a start finds out about them. Of one that does not work it may not even know the id.
    pub(super) fn log_dirs_at_start(&mut self) -> LogDirs {
        let mut all = Vec::new();
        for log_dir in self.directories() {
            let mut id = voters::directory(self.id, self.replaced);
            id.0[14] = id.0[14].wrapping_add(u8::try_from(100 * log_dir.0).unwrap_or(u8::MAX));
            let is_broken = self.disk.is_broken(log_dir);
            all.push(LogDirectory {
                id: (!is_broken || self.dice.one_in(2)).then_some(id),
                path: log_dir_path(log_dir),
                takes_partitions: true,
                failed: is_broken.then(|| "input/output error".to_owned()),
            });
        }
        LogDirs::new(all)
    }

    /// The device of a directory works no more. Says whether there is such a directory: without the first one nothing works.
    pub fn break_directory(&mut self, core: &mut Core) -> bool {
        let fragile: Vec<LogDir> = self.working_directories().filter(|log_dir| *log_dir != LogDir::FIRST).collect();
        let Some(log_dir) = self.dice.pick(&fragile).copied() else { return false };
        core.note(format_args!("log directory {} of m{} works no more", log_dir.0, self.id));
        self.disk.break_dir(log_dir);
        if !self.is_off() {
            self.note_broken_directories(core);
        }
        true
    }

    /// Devices work again. Until the process starts again it knows nothing of that.
    pub fn mend_directories(&mut self, core: &mut Core) {
        if self.disk.mend_dirs() && self.dice.one_in(2) {
            self.crash_unless_off(core, Ending::Killed);
        }
    }

    /// Whether a directory does not work, or did not in this life.
    pub fn has_failed_directories(&self) -> bool {
        !self.faults.failed.is_empty() || self.working_directories().count() < usize::from(self.log_dirs)
    }

    pub(super) fn note_broken_directories(&mut self, core: &Core) {
        for log_dir in self.directories().filter(|log_dir| self.disk.is_broken(*log_dir)).collect::<Vec<_>>() {
            self.faults.failed.entry(log_dir).or_insert(core.now_us);
        }
    }

    /// The node gives up a directory: only one that failed, and never the first.
    pub(super) fn directory_given_up(&mut self, core: &mut Core, file: &FilePath, reason: &DiskError) {
        core.note(format_args!("m{} goes on without {}: {file}: {reason}", self.id, file.log_dir().0));
        core.mark("log directory given up");
        if file.log_dir() == LogDir::FIRST || !self.faults.failed.contains_key(&file.log_dir()) {
            core.violate(Invariant::FailsForAReason, format_args!("m{}: {file}: {reason}", self.id));
        }
    }

    /// Whether the process may end because of this directory: if it is the first, if none is left, or if the controller could not be
    /// told in time.
    pub(super) fn may_end_without(&self, core: &Core, log_dir: LogDir) -> bool {
        let Some(since_us) = self.faults.failed.get(&log_dir) else { return false };
        let patience_ms = u64::try_from(self.config.number("log.dir.failure.timeout.ms")).unwrap_or(0);
        let is_untold = core.now_us >= since_us + patience_ms * MS;
        let is_last = self.directories().all(|log_dir| self.faults.failed.contains_key(&log_dir));
        log_dir == LogDir::FIRST || is_last || is_untold
    }
}
