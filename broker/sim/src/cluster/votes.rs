//! Votes of the quorum as they travel: who was asked, and who gave its vote to whom. A vote that was answered is kept, whatever happens
//! to the process or its power (Raft 5.2).

use std::collections::BTreeMap;

use strandline_node::Node;
use strandline_protocol::api::{Request, Response};

use super::plan::number;
use crate::core::MachineId;

#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// Who was asked for its vote, by whom and in which epoch; questions before an election are none.
    asked: BTreeMap<(MachineId, MachineId), i32>,
    /// By voter, the newest epoch in which it gave its vote, and to whom.
    given: BTreeMap<MachineId, (i32, i32)>,
}

impl Votes {
    /// One machine asks another one something.
    pub(crate) fn asked(&mut self, from: MachineId, to: MachineId, request: &Request) {
        let Request::Vote(asked) = request else { return };
        let mut partitions = asked.topics.iter().flat_map(|topic| &topic.partitions);
        match partitions.find(|partition| !partition.pre_vote) {
            Some(partition) => drop(self.asked.insert((to, from), partition.replica_epoch.0)),
            None => drop(self.asked.remove(&(to, from))),
        }
    }

    /// One machine answers another one. Says whether it gives its vote.
    pub(crate) fn answered(&mut self, from: MachineId, to: MachineId, answer: &Response) -> bool {
        let Response::Vote(answer) = answer else { return false };
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let asked = self.asked.get(&(from, to));
        // What is answered may still be the question before.
        let granted = partitions.find(|partition| partition.vote_granted && asked == Some(&partition.leader_epoch.0));
        if let Some(partition) = granted {
            self.given.insert(from, (partition.leader_epoch.0, number(to)));
        }
        granted.is_some()
    }

    /// The machine has another disk.
    pub(crate) fn forget(&mut self, machine: MachineId) {
        self.given.remove(&machine);
    }

    /// What a node does not know of the vote that it gave.
    pub(crate) fn missing(&self, machine: MachineId, node: &Node) -> Option<String> {
        let (epoch, candidate) = self.given.get(&machine)?;
        let quorum = node.quorum();
        let knows = quorum.epoch.0 > *epoch || (quorum.epoch.0 == *epoch && quorum.voted == Some(*candidate));
        let (voted, now) = (quorum.voted, quorum.epoch);
        (!knows).then(|| format!("m{machine} gave its vote to {candidate} in {epoch}, and knows {voted:?} in {now}"))
    }
}
