//! What a log still wants from the disk, in which order, and what becomes true when each wish is fulfilled.
//!
//! One operation is in flight at any time. Three places hold the others: `ahead` in strict order, then the batches that are
//! being gathered for the next append, and `behind`, whose operations (small files, removals) nobody waits for and which take
//! turns with the others, so that the burst at a roll delays an append by one small write at most. A release in `ahead`
//! moves its steps to `behind` when everything before it is done.

use std::collections::VecDeque;

use strandline_protocol::ids::Offset;

use crate::disk::{DiskOp, Durability, FilePath, Part};
use crate::segment::BatchEnd;

/// Bytes gathered for one append at most. Throughput stops growing well below; a crash may leave this much behind the
/// last good batch.
pub(crate) const APPEND_BYTES_MAX: u64 = 8 << 20;

/// What becomes true when an operation is done.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Nothing,
    /// Batches lie in the segment that begins at `base`, from `position` on.
    Appended {
        base: Offset,
        position: u64,
        bytes: u64,
        first: Offset,
        end: Offset,
        ends: Vec<BatchEnd>,
        durability: Durability,
    },
    /// Everything below `end` is durable.
    Durable {
        end: Offset,
    },
    /// The index files of the segment that begins at `base` are there.
    IndexesWritten {
        base: Offset,
    },
    /// Everything below `point` is durable and so is what is derived from it.
    Checkpointed {
        point: Offset,
    },
    /// The file waits for its removal.
    Doomed {
        files: Vec<FilePath>,
    },
    /// The directory waits for its removal.
    DoomedDirectory {
        directory: FilePath,
    },
    /// The directory has its new name.
    Renamed {
        directory: FilePath,
    },
    /// What a step of a compaction wrote is there.
    CleaningWritten,
    /// The files of the segment that begins at `base` have their final names.
    Settled {
        base: Offset,
    },
    /// The log is closed.
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Do {
        op: DiskOp,
        then: Then,
    },
    /// Everything before it is done, and these may follow.
    Release(Vec<Step>),
}

impl Step {
    pub(crate) fn plain(op: DiskOp) -> Self {
        Self::Do { op, then: Then::Nothing }
    }
}

/// Batches for the next append.
#[derive(Clone, Debug)]
pub(crate) struct Gather {
    pub(crate) file: FilePath,
    pub(crate) base: Offset,
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    pub(crate) first: Offset,
    pub(crate) end: Offset,
    pub(crate) parts: Vec<Part>,
    pub(crate) ends: Vec<BatchEnd>,
}

impl Gather {
    fn into_step(self, durability: Durability) -> Step {
        let Self { file, base, position, bytes, first, end, parts, ends } = self;
        Step::Do {
            op: DiskOp::Append { file, position, parts, durability },
            then: Then::Appended { base, position, bytes, first, end, ends, durability },
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    ahead: VecDeque<Step>,
    gather: Option<Gather>,
    behind: VecDeque<Step>,
    in_flight: Option<Then>,
    behind_is_next: bool,
}

impl Queue {
    /// Whether the log's directory is getting another name.
    pub(crate) fn is_renaming(&self) -> bool {
        let waits = |step: &Step| matches!(step, Step::Do { then: Then::Renamed { .. }, .. });
        matches!(self.in_flight, Some(Then::Renamed { .. })) || self.ahead.iter().any(waits)
    }

    /// The next operation; `None` while one is in flight or nothing is wanted.
    pub(crate) fn poll(&mut self, durability: Durability) -> Option<DiskOp> {
        if self.in_flight.is_some() {
            return None;
        }
        loop {
            let step = self.next(durability)?;
            match step {
                Step::Do { op, then } => {
                    self.in_flight = Some(then);
                    return Some(op);
                }
                Step::Release(steps) => self.behind.extend(steps),
            }
        }
    }

    fn next(&mut self, durability: Durability) -> Option<Step> {
        let turn = std::mem::replace(&mut self.behind_is_next, false);
        if turn && let Some(step) = self.behind.pop_front() {
            return Some(step);
        }
        let gather = &mut self.gather;
        let ordered = self.ahead.pop_front().or_else(|| gather.take().map(|gather| gather.into_step(durability)));
        if ordered.is_none() {
            return self.behind.pop_front();
        }
        self.behind_is_next = !self.behind.is_empty();
        ordered
    }

    /// The operation in flight ended.
    ///
    /// # Panics
    /// If none was in flight.
    pub(crate) fn take_in_flight(&mut self) -> Then {
        self.in_flight.take().expect("an operation ends after it was given out")
    }

    /// Does `step` after everything that is wanted in order.
    pub(crate) fn push(&mut self, step: Step, durability: Durability) {
        self.end_gather(durability);
        self.ahead.push_back(step);
    }

    /// The batches gathered so far go into an append of their own.
    pub(crate) fn end_gather(&mut self, durability: Durability) {
        if let Some(gather) = self.gather.take() {
            self.ahead.push_back(gather.into_step(durability));
        }
    }

    /// The batches being gathered, if there are any.
    pub(crate) fn gather(&mut self) -> Option<&mut Gather> {
        self.gather.as_mut()
    }

    /// Begins to gather.
    pub(crate) fn begin_gather(&mut self, gather: Gather) {
        assert!(self.gather.is_none(), "what was gathered is never dropped");
        self.gather = Some(gather);
    }

    /// Does `step` when there is nothing better to do.
    pub(crate) fn push_behind(&mut self, step: Step) {
        self.behind.push_back(step);
    }

    /// Puts everything that nobody waits for in order, before whatever is pushed next.
    pub(crate) fn order_all(&mut self, durability: Durability) {
        self.end_gather(durability);
        let mut ahead = VecDeque::new();
        ahead.append(&mut self.behind);
        for step in self.ahead.drain(..) {
            match step {
                Step::Release(steps) => ahead.extend(steps),
                other => ahead.push_back(other),
            }
        }
        self.ahead = ahead;
    }

    /// The batches that are wanted to be written and were not given out yet.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = &Part> {
        let queued = self.ahead.iter().filter_map(|step| match step {
            Step::Do { op: DiskOp::Append { parts, .. }, .. } => Some(parts),
            _ => None,
        });
        queued.chain(self.gather.iter().map(|gather| &gather.parts)).flatten()
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Drops everything but what is in flight.
    pub(crate) fn clear(&mut self) {
        self.ahead.clear();
        self.behind.clear();
        self.gather = None;
    }

    /// Whether nothing is in flight or wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.is_idle()
    }

    /// Whether nothing is wanted besides what is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.ahead.is_empty() && self.behind.is_empty() && self.gather.is_none()
    }
}
