//! A follower's log is cut back: read anew up to the cut by a job, then repaired on disk, then used.
//!
//! Steps, in this order: *quiet* (the log's last operations end), *scanning* (the job), *noting* (checkpoints of the log directory get the lower
//! recovery point and log start; with the old ones a crash right behind the cut would look like damage), *cutting* (the repairs,
//! one after the other), and for a log that begins again *beginning* (its first file gets its name: without it a start would find the
//! old log, whatever was said of the new one). What the partition is to become meanwhile is kept, and begun when the log is whole again.

use std::collections::VecDeque;

use strandline_log::disk::DiskOp;
use strandline_log::log::Log;
use strandline_log::recover::Recovered;
use strandline_protocol::ids::Offset;

/// Where the log is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At a batch's end, at or before this.
    At(Offset),
    /// Everything goes; the log begins again here.
    Restart(Offset),
}

#[derive(Debug)]
pub(crate) enum Step {
    Quiet,
    Scanning,
    Noting {
        cut: Box<Log>,
        repairs: VecDeque<DiskOp>,
    },
    Cutting {
        cut: Box<Log>,
        repairs: VecDeque<DiskOp>,
    },
    /// The log is in its place, and is made.
    Beginning,
}

#[derive(Debug)]
pub(crate) struct Truncation {
    pub(crate) cut: Cut,
    pub(crate) step: Step,
}

impl Truncation {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, step: Step::Quiet }
    }

    /// Whether operations of the slot are repairs and not the old log's.
    pub(crate) fn owns_the_disk(&self) -> bool {
        matches!(self.step, Step::Noting { .. } | Step::Cutting { .. } | Step::Scanning)
    }

    /// The job is done.
    pub(crate) fn scanned(&mut self, recovered: Recovered) {
        assert!(matches!(self.step, Step::Scanning), "a scan ends after it began");
        self.step = Step::Noting { cut: Box::new(recovered.log), repairs: recovered.repairs.into() };
    }

    /// The log that will be used, as far as it is known: what checkpoints have to say of the partition.
    pub(crate) fn noted(&self) -> Option<&Log> {
        match &self.step {
            Step::Noting { cut, .. } | Step::Cutting { cut, .. } => Some(cut),
            Step::Quiet | Step::Scanning | Step::Beginning => None,
        }
    }

    /// The checkpoints are on disk.
    pub(crate) fn begin_cutting(&mut self) {
        self.step = match std::mem::replace(&mut self.step, Step::Quiet) {
            Step::Noting { cut, repairs } => Step::Cutting { cut, repairs },
            other => other,
        };
    }

    /// The next repair; `Err` with the whole log when there is none.
    pub(crate) fn next_repair(self) -> Result<(DiskOp, Self), Box<Log>> {
        match self.step {
            Step::Cutting { cut, mut repairs } => match repairs.pop_front() {
                Some(op) => Ok((op, Self { cut: self.cut, step: Step::Cutting { cut, repairs } })),
                None => Err(cut),
            },
            _ => panic!("repairs come after the checkpoints"),
        }
    }
}
