//! What goes wrong with a machine: failing and slow operations, damage at rest, clocks that jump.

use std::collections::BTreeMap;

use strandline_log::disk::{DiskError, DiskOp, LogDir};

use crate::core::MS;
use crate::dice::Dice;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// ENOSPC.
    Full,
    /// EIO.
    Broken,
}

impl Failure {
    pub fn of(self, op: &DiskOp) -> DiskError {
        let file = op.file().clone();
        match self {
            Self::Full => DiskError::Full { file },
            Self::Broken => DiskError::Failed { file, reason: "input/output error".to_owned() },
        }
    }
}

/// The state of what is wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The operation after so many more fails.
    pub doomed: Option<(u64, Failure)>,
    /// Log directories in which something failed in this life, and when that began.
    pub failed: BTreeMap<LogDir, u64>,
    /// Operations take so many times as long.
    pub slowness: u64,
    /// One read in so many fails; 0 for none.
    pub read_errors_one_in: u64,
    /// How far the wall clock is off.
    pub wall_offset_ms: i64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { doomed: None, failed: BTreeMap::new(), slowness: 1, read_errors_one_in: 0, wall_offset_ms: 0 }
    }
}

impl Faults {
    /// Counts an operation down and says whether this is the one that fails.
    pub fn fate(&mut self, log_dir: LogDir, now_us: u64) -> Option<Failure> {
        let (left, failure) = self.doomed?;
        if left > 0 {
            self.doomed = Some((left - 1, failure));
            return None;
        }
        self.doomed = None;
        self.failed.entry(log_dir).or_insert(now_us);
        Some(failure)
    }

    /// How long an operation takes on a device whose usual write takes `write_us`.
    pub fn latency_us(&self, op: &DiskOp, write_us: u64, dice: &mut Dice) -> u64 {
        let usual = match op {
            DiskOp::Append { .. } => write_us,
            DiskOp::Sync { .. } | DiskOp::Seal { .. } | DiskOp::Truncate { .. } => write_us * 2,
            DiskOp::Write { .. } | DiskOp::Rename { .. } | DiskOp::Delete { .. } | DiskOp::DeleteDirectory { .. } => {
                write_us * 3
            }
        };
        let long_tail = if dice.one_in(100) { 20 } else { 1 };
        let most = (usual * self.slowness * long_tail).max(10);
        dice.between(most / 3, most).min(3000 * MS)
    }
}
