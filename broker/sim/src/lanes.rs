//! The order of disk operations: those of one owner never overlap and never change places, as in the broker's executors.
//! Operations of a start come one after the other, before there is a node that could want any.

use std::collections::{BTreeMap, VecDeque};

use strandline_log::disk::{DiskOp, LogDir};
use strandline_node::io::Owner;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Start,
    Directory(LogDir),
    Snapshot,
    Partition(u32),
}

/// Who is told how an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    Start,
    Node(Owner),
}

impl Teller {
    pub fn lane(self) -> Lane {
        match self {
            Self::Start => Lane::Start,
            Self::Node(Owner::Directory { log_dir, .. }) => Lane::Directory(log_dir),
            Self::Node(Owner::Snapshot) => Lane::Snapshot,
            Self::Node(Owner::Partition(slot)) => Lane::Partition(slot),
        }
    }
}

/// What is under way and what waits behind it, by lane.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: BTreeMap<Lane, VecDeque<(Teller, DiskOp)>>,
}

impl Lanes {
    /// Takes an operation; answers whether it may begin at once.
    pub fn enter(&mut self, teller: Teller, op: DiskOp) -> bool {
        let waiting = self.lanes.entry(teller.lane()).or_default();
        waiting.push_back((teller, op));
        waiting.len() == 1
    }

    /// The operation at the head of a lane has ended; the second answer says whether another may begin now.
    pub fn leave(&mut self, lane: Lane) -> Option<((Teller, DiskOp), bool)> {
        let waiting = self.lanes.get_mut(&lane)?;
        let ended = waiting.pop_front()?;
        let more = !waiting.is_empty();
        if !more {
            self.lanes.remove(&lane);
        }
        Some((ended, more))
    }

    /// The operation that is under way in a lane.
    pub fn head(&self, lane: Lane) -> Option<&(Teller, DiskOp)> {
        self.lanes.get(&lane)?.front()
    }

    /// How many operations of a lane are under way or wait.
    pub fn depth(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, VecDeque::len)
    }

    /// The process ends: what is under way everywhere; what waited never happens.
    pub fn abandon(&mut self) -> Vec<DiskOp> {
        let lanes = std::mem::take(&mut self.lanes);
        lanes.into_values().filter_map(|mut waiting| waiting.pop_front()).map(|(_, op)| op).collect()
    }
}

#[cfg(test)]
mod tests {
    use strandline_log::disk::FilePath;

    use super::*;

    #[test]
    fn operations_of_the_directory_share_a_lane_and_those_of_partitions_do_not() {
        let mut lanes = Lanes::default();
        let directory = |number| Owner::Directory { log_dir: LogDir::FIRST, number };
        let op = || DiskOp::Sync { file: FilePath::top("f") };
        assert!(lanes.enter(Teller::Node(directory(1)), op()));
        assert!(!lanes.enter(Teller::Node(directory(2)), op()));
        assert!(lanes.enter(Teller::Node(Owner::Partition(1)), op()));
        assert!(lanes.enter(Teller::Node(Owner::Partition(2)), op()));
        let ended = lanes.leave(Lane::Directory(LogDir::FIRST));
        assert!(matches!(ended, Some(((Teller::Node(Owner::Directory { number: 1, .. }), _), true))));
        assert_eq!(lanes.abandon().len(), 3);
        assert!(lanes.leave(Lane::Directory(LogDir::FIRST)).is_none());
    }
}
