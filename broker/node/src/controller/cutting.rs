//! The metadata log of a follower is cut back to where it agrees with its leader's.
//!
//! Steps, in this order: *quiet* (what the log still wants is done), *scanning* (a job reads the log anew up to the cut),
//! *repairing* (what the job found to be done is done, one after the other); then the new log is used. Only what is not
//! committed is ever cut, and the recovery point that is kept never passes what is committed, so a crash in between is
//! only a log that was not cut yet.

use std::collections::VecDeque;

use strandline_log::disk::DiskOp;
use strandline_log::log::Log;
use strandline_log::recover::Recovered;
use strandline_protocol::ids::Offset;

use super::Controller;
use crate::io::{Job, Now};

#[derive(Debug)]
pub(super) enum Cutting {
    Quiet { end: Offset },
    Scanning,
    Repairing { log: Box<Log>, ops: VecDeque<DiskOp>, under_way: bool },
}

impl Controller {
    /// The log is to end at `end`, or before.
    pub(crate) fn cut_back(&mut self, end: Offset) {
        assert!(end >= self.committed(), "what is committed is never cut");
        assert!(self.cutting.is_none(), "one cut at a time: nothing is fetched meanwhile");
        if end < self.end() {
            self.cutting = Some(Cutting::Quiet { end });
        }
    }

    /// The job that reads the log anew, when it is time for it.
    pub(crate) fn cutting_job(&mut self, now: Now) -> Option<Job> {
        let Some(Cutting::Quiet { end }) = self.cutting else { return None };
        if !self.log.is_idle() {
            return None;
        }
        self.cutting = Some(Cutting::Scanning);
        Some(Job::Truncate { log: Box::new(self.log.clone()), end, now_ms: now.wall_ms })
    }

    /// The job is done.
    pub(crate) fn on_scanned(&mut self, recovered: Recovered) {
        let ops = recovered.repairs.into();
        self.cutting = Some(Cutting::Repairing { log: Box::new(recovered.log), ops, under_way: false });
        self.finish_cutting();
    }

    /// Whether the old log gives out nothing any more.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.cutting, Some(Cutting::Scanning | Cutting::Repairing { .. }))
    }

    /// Whether the operation in flight is a repair.
    pub(super) fn is_repairing(&self) -> bool {
        matches!(self.cutting, Some(Cutting::Repairing { .. }))
    }

    /// The next repair, if none is in flight.
    pub(super) fn next_repair(&mut self) -> Option<DiskOp> {
        match &mut self.cutting {
            Some(Cutting::Repairing { ops, under_way, .. }) if !*under_way => {
                *under_way = true;
                ops.front().cloned()
            }
            _ => None,
        }
    }

    pub(super) fn repaired(&mut self) {
        if let Some(Cutting::Repairing { ops, under_way, .. }) = &mut self.cutting {
            ops.pop_front();
            *under_way = false;
        }
        self.finish_cutting();
    }

    fn finish_cutting(&mut self) {
        match self.cutting.take() {
            Some(Cutting::Repairing { log, ops, .. }) if ops.is_empty() => {
                self.log = *log;
                let end = self.end();
                let kept = self.uncommitted.partition_point(|(offset, _)| *offset < end);
                self.uncommitted.truncate(kept);
                self.quorum.on_cut(end);
            }
            other => self.cutting = other,
        }
    }
}
