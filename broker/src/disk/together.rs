//! Many small operations at once are made durable together.
//!
//! A broker that stops writes four small files for each of its partitions; so does the checkpoint of recovery points, and topics are
//! made and deleted by the thousand. Each of these operations alone is up to three syncs, and a device that is asked for thousands of
//! them keeps everybody waiting who writes to it, the appends of clients first. So up to [`ALONE_MAX`] at a time settle their own, and
//! more of them gather: all are carried out, then their file system is synced once, then everybody is told. Contents are durable
//! before they get their names: a file that is replaced is whole after a crash, in this way as in the other.
//!
//! What the log directory and the metadata log write never waits for others: votes and elections are made of it.
//! Not here: appends, which carry their own durability.

use std::sync::{Mutex, MutexGuard, PoisonError};

use strandline_log::disk::DiskOp;
use strandline_node::io::Owner;
use strandline_node::METADATA_SLOT;

/// How many operations may settle their own at a time. A sync of the file system also waits for what others wrote there, so it has
/// to be worth it.
pub(super) const ALONE_MAX: usize = 32;

/// Who makes an operation durable.
#[derive(Default)]
pub(super) struct Together {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Operations under way that settle their own.
    alone: usize,
    /// What comes with the next sync of the file system.
    gathered: Vec<(Owner, DiskOp)>,
    /// Whether somebody carries out gathered ones.
    is_worked_at: bool,
}

/// What is to be done with operations that were given to [`Together::enter`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Each of these is carried out alone; [`Together::leave`] when it has ended. The others wait.
    pub(super) alone: Vec<(Owner, DiskOp)>,
    /// Whether to begin the work on those that wait, until [`Together::next`] has nothing more.
    pub(super) begin: bool,
}

impl Together {
    pub(super) fn enter(&self, ops: Vec<(Owner, DiskOp)>) -> Way {
        let patient = ops.iter().filter(|(owner, _)| is_patient(*owner)).count();
        if patient == 0 {
            return Way { alone: ops, begin: false };
        }
        let mut state = self.state();
        if !state.is_worked_at && state.alone + patient <= ALONE_MAX {
            state.alone += patient;
            return Way { alone: ops, begin: false };
        }
        let (gathered, alone) = ops.into_iter().partition(|(owner, _)| is_patient(*owner));
        state.gathered.extend::<Vec<_>>(gathered);
        Way { alone, begin: !std::mem::replace(&mut state.is_worked_at, true) }
    }

    /// One that was carried out alone has ended.
    pub(super) fn leave(&self, owner: Owner) {
        if is_patient(owner) {
            self.state().alone -= 1;
        }
    }

    /// What was gathered meanwhile; with nothing the work is over.
    pub(super) fn next(&self) -> Vec<(Owner, DiskOp)> {
        let mut state = self.state();
        state.is_worked_at = !state.gathered.is_empty();
        std::mem::take(&mut state.gathered)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_patient(owner: Owner) -> bool {
    matches!(owner, Owner::Partition(slot) if slot != METADATA_SLOT)
}

#[cfg(test)]
mod tests {
    use strandline_log::disk::FilePath;

    use super::*;

    fn ops(count: u32) -> Vec<(Owner, DiskOp)> {
        (0..count).map(|slot| (Owner::Partition(slot), DiskOp::Sync { file: FilePath::top("a") })).collect()
    }

    #[test]
    fn few_settle_their_own_and_many_wait_for_each_other() {
        let together = Together::default();
        assert_eq!(together.enter(ops(30)), Way { alone: ops(30), begin: false });
        assert_eq!(together.enter(ops(3)), Way { alone: vec![], begin: true });
        assert_eq!(together.enter(ops(1)), Way { alone: vec![], begin: false }, "whoever works takes these too");
        assert_eq!(together.next().len(), 4);
        assert_eq!(together.enter(ops(2)), Way { alone: vec![], begin: false });
        assert_eq!(together.next().len(), 2);
        assert!(together.next().is_empty());
        (0..30).for_each(|slot| together.leave(Owner::Partition(slot)));
        assert_eq!(together.enter(ops(32)), Way { alone: ops(32), begin: false });
    }

    #[test]
    fn a_vote_waits_for_nobody() {
        let together = Together::default();
        assert!(together.enter(ops(40)).begin);
        for owner in [Owner::Directory(1), Owner::Snapshot, Owner::Partition(METADATA_SLOT)] {
            let vote = vec![(owner, DiskOp::Sync { file: FilePath::top("a") })];
            assert_eq!(together.enter(vote.clone()), Way { alone: vote, begin: false });
            together.leave(owner);
        }
        assert_eq!(together.next().len(), 40);
    }
}
