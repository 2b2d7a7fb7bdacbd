//! Lanes: operations of one owner never overlap and never change places.
//!
//! A partition's operations go through a lane of their own; those of a log directory itself share one, so that a slow
//! directory holds up no other, and those of the metadata snapshot have one too. A lane exists only while something is under way in it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use strandline_log::disk::{DiskOp, LogDir};
use strandline_node::io::Owner;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Partition(u32),
    Directory(LogDir),
    Snapshot,
}

impl From<Owner> for Lane {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Partition(slot) => Lane::Partition(slot),
            Owner::Directory { log_dir, .. } => Lane::Directory(log_dir),
            Owner::Snapshot => Lane::Snapshot,
        }
    }
}

/// What waits behind the operation under way, by lane.
#[derive(Default)]
pub(crate) struct Lanes {
    busy: Mutex<HashMap<Lane, VecDeque<(Owner, DiskOp)>>>,
}

impl Lanes {
    /// Takes the owner's lane; answers with the operation if the lane was free and it may begin, keeps it otherwise.
    pub(crate) fn enter(&self, owner: Owner, op: DiskOp) -> Option<DiskOp> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match busy.get_mut(&owner.into()) {
            Some(waiting) => {
                waiting.push_back((owner, op));
                None
            }
            None => {
                busy.insert(owner.into(), VecDeque::new());
                Some(op)
            }
        }
    }

    /// The operation under way in the owner's lane has ended; answers with the one that may begin now.
    pub(crate) fn leave(&self, owner: Owner) -> Option<(Owner, DiskOp)> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let next = busy.get_mut(&owner.into()).and_then(VecDeque::pop_front);
        if next.is_none() {
            busy.remove(&owner.into());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use strandline_log::disk::FilePath;

    use super::*;

    fn sync(name: &str) -> DiskOp {
        DiskOp::Sync { file: FilePath::top(name) }
    }

    #[test]
    fn operations_of_one_owner_wait_for_each_other_in_order() {
        let lanes = Lanes::default();
        let owner = Owner::Partition(3);
        assert_eq!(lanes.enter(owner, sync("a")), Some(sync("a")));
        assert_eq!(lanes.enter(owner, sync("b")), None);
        assert_eq!(lanes.enter(owner, sync("c")), None);
        assert_eq!(lanes.enter(Owner::Partition(4), sync("d")), Some(sync("d")));
        assert_eq!(lanes.leave(owner), Some((owner, sync("b"))));
        assert_eq!(lanes.leave(owner), Some((owner, sync("c"))));
        assert_eq!(lanes.leave(owner), None);
        assert_eq!(lanes.enter(owner, sync("e")), Some(sync("e")));
    }

    #[test]
    fn all_operations_of_a_directory_share_one_lane() {
        let lanes = Lanes::default();
        let owner = |log_dir, number| Owner::Directory { log_dir: LogDir(log_dir), number };
        assert!(lanes.enter(owner(0, 1), sync("a")).is_some());
        assert!(lanes.enter(owner(0, 2), sync("b")).is_none());
        assert!(lanes.enter(owner(1, 3), sync("c")).is_some(), "another directory does not wait");
        assert_eq!(lanes.leave(owner(0, 1)), Some((owner(0, 2), sync("b"))));
    }
}
