//! What the node wants of its disk, and the jobs that it starts.

use strandline_log::disk::{DiskDone, DiskError, DiskOp, Files as _};
use strandline_log::lookup;
use strandline_log::recover::truncate;
use strandline_node::coordinator::loading::load;
use strandline_node::io::{Input, Job, JobId, JobResult};
use strandline_node::metadata_log::read_snapshot;

use super::Machine;
use crate::core::{Core, MachineEvent};
use crate::flaw::Flaw;
use crate::invariants::{Ending, Invariant};
use crate::lanes::{Lane, Teller};

impl Machine {
    /// An operation is handed to the disk.
    pub(super) fn begin(&mut self, core: &mut Core, teller: Teller, op: DiskOp) {
        if self.lanes.enter(teller, op) {
            self.fly(core, teller.lane());
        }
    }

    /// The operation at the head of a lane gets under way.
    pub(super) fn fly(&mut self, core: &mut Core, lane: Lane) {
        let Some((_, op)) = self.lanes.head(lane) else { return };
        let delay_us = self.faults.latency_us(op, self.write_us, &mut self.dice);
        self.post(core, delay_us, MachineEvent::DiskDone { lane });
    }

    pub(super) fn disk_done(&mut self, core: &mut Core, lane: Lane) {
        let Some(((teller, op), more)) = self.lanes.leave(lane) else { return };
        let result = self.perform(core, &op);
        core.note(format_args!("m{} {teller:?} {}", self.id, Shown(&op, &result)));
        if more {
            self.fly(core, lane);
        }
        if lane == Lane::Snapshot && result.is_ok() && matches!(op, DiskOp::Rename { .. }) {
            core.mark("metadata snapshot made");
        }
        match teller {
            Teller::Node(owner) => self.step(core, Input::Disk { owner, result }),
            Teller::Start => match result {
                Ok(_) => self.advance(core),
                Err(reason) => {
                    if self.faults.failed.is_empty() {
                        core.violate(Invariant::StartsAgain, format_args!("{reason}"));
                    }
                    core.mark("start ended by a failed operation");
                    self.end(core, Ending::Killed);
                }
            },
        }
    }

    pub(super) fn perform(&mut self, core: &mut Core, op: &DiskOp) -> Result<DiskDone, DiskError> {
        let log_dir = op.file().log_dir();
        if self.disk.is_broken(log_dir) {
            self.faults.failed.entry(log_dir).or_insert(core.now_us);
            self.disk.interrupt(op, &mut self.dice);
            return self.disk.perform(op);
        }
        let Some(failure) = self.faults.fate(log_dir, core.now_us) else { return self.disk.perform(op) };
        core.mark("operation failed");
        if core.flaw == Some(Flaw::IgnoredFailure) {
            // Told as done, and only begun.
            let bytes = self.disk.clone().perform(op);
            self.disk.interrupt(op, &mut self.dice);
            return bytes;
        }
        self.disk.interrupt(op, &mut self.dice);
        Err(failure.of(op))
    }

    pub(super) fn job_done(&mut self, core: &mut Core, job: JobId) {
        let Some(what) = self.jobs.remove(&job) else { return };
        let result = match what {
            Job::FindTimestamp(lookup) => JobResult::FoundTimestamp(lookup::find(&self.disk, &lookup)),
            Job::Truncate { log, end, now_ms } => JobResult::Truncated(truncate(&self.disk, *log, end, now_ms).map(Box::new)),
            Job::LoadCoordinator(piece) => JobResult::CoordinatorLoaded(load(&self.disk, &piece)),
            Job::ReadShare(wanted) => JobResult::ShareRead(strandline_node::share::spans::read(&self.disk, &wanted)),
            Job::Clean(mut round) => {
                let result = round.step(&self.disk);
                JobResult::Cleaned { round, result }
            }
            Job::ReadCopy(piece) => JobResult::CopyRead(strandline_node::copying::read(&self.disk, &piece)),
            Job::MeasureDirectory { .. } => JobResult::DirectoryMeasured { total_bytes: 1 << 40, usable_bytes: 1 << 39 },
            Job::MakeSnapshotPiece(piece) => JobResult::SnapshotPiece(piece.make()),
            Job::ReadSnapshot { id, file } => JobResult::SnapshotRead(read_snapshot(&self.disk, id, &file).map(Box::new)),
            Job::ReadPiece { file, position, bytes } => JobResult::PieceRead(self.disk.read(&file, position, bytes)),
        };
        self.step(core, Input::Job { job, result });
    }
}

/// An ended operation on one line.
struct Shown<'a>(&'a DiskOp, &'a Result<DiskDone, DiskError>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            DiskOp::Append { file, position, parts, durability } => {
                let bytes: usize = parts.iter().map(strandline_log::disk::Part::bytes).sum();
                write!(formatter, "append {file} at {position}: {bytes} bytes in {}, {durability:?}", parts.len())?;
            }
            DiskOp::Seal { file, bytes } => write!(formatter, "seal {file} at {bytes}")?,
            DiskOp::Truncate { file, bytes } => write!(formatter, "truncate {file} to {bytes}")?,
            DiskOp::Sync { file } => write!(formatter, "sync {file}")?,
            DiskOp::Write { file, contents } => write!(formatter, "write {file}: {} bytes", contents.len())?,
            DiskOp::Rename { from, to } => write!(formatter, "rename {from} to {to}")?,
            DiskOp::Delete { file } => write!(formatter, "delete {file}")?,
            DiskOp::DeleteDirectory { directory } => write!(formatter, "delete directory {directory}")?,
        }
        match self.1 {
            Ok(_) => Ok(()),
            Err(error) => write!(formatter, " FAILED {error}"),
        }
    }
}
