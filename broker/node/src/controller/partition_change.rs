//! A change of one partition: the wanted replicas and in-sync set in, one record out. It elects the leader, keeps the
//! eligible leader replicas (KIP-966), ends a reassignment that is through, and says nothing if nothing changes.
//!
//! Election order: in-sync replicas, then eligible ones if nobody is in sync, each in the order of the assignment (so the
//! preferred one first); then the last known leader, where a crash may have cost every replica its place; then, only if
//! asked for by name, any live replica. The latter two may lose records: the new leader starts as recovering.
//!
//! Epochs: a record that names a leader (even the same one) raises the leader epoch, every record raises the partition
//! epoch. The leader epoch rises when the leader changes and when a replica leaves the assignment, not when only the
//! in-sync set shrinks. Source: metadata/.../controller/PartitionChangeBuilder.

use std::collections::BTreeMap;

use strandline_protocol::ids::{BrokerId, TopicId, Uuid};
use strandline_protocol::metadata::partition::PartitionChangeRecord;

use super::terms::{Electorate, Terms};
use crate::flaws::{self, Flaw};
use crate::image::topics::{LEADER_UNCHANGED, NO_LEADER, Partition, RECOVERING};

/// How far an election goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// The preferred replica if it can lead; otherwise as `Online`.
    Preferred,
    /// A leader that can lead stays; otherwise the first replica that can.
    Online,
    /// As `Online`, and any live replica before none.
    Unclean,
}

/// A change in the making: begins as the partition is, and is altered field by field.
pub(crate) struct PartitionChange<'a> {
    topic: TopicId,
    index: i32,
    partition: &'a Partition,
    pub isr: Vec<i32>,
    pub replicas: Vec<i32>,
    pub removing: Vec<i32>,
    pub adding: Vec<i32>,
    /// Of the leader; what the request says in AlterPartition.
    pub recovery: i8,
    pub election: Election,
    /// A broker that lost what it had not written: it is no eligible replica any more.
    pub unclean: Option<i32>,
    /// Directories that replicas are known to lie in, besides those that the partition says.
    pub directories: BTreeMap<i32, Uuid>,
    elr: Vec<i32>,
}

impl<'a> PartitionChange<'a> {
    pub(crate) fn of(topic: TopicId, index: i32, partition: &'a Partition) -> Self {
        Self {
            topic,
            index,
            partition,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing_replicas.clone(),
            adding: partition.adding_replicas.clone(),
            recovery: partition.leader_recovery_state,
            election: Election::Online,
            unclean: None,
            directories: BTreeMap::new(),
            elr: partition.elr.clone(),
        }
    }

    /// The record of the change, or nothing if it changes nothing.
    pub(crate) fn record(mut self, electorate: Electorate<'_>, terms: Terms) -> Option<PartitionChangeRecord> {
        self.complete_reassignment();
        self.keep_eligible(terms);
        let leader = self.elect(electorate, terms);
        let mut record = PartitionChangeRecord {
            partition_id: self.index,
            topic_id: self.topic,
            leader: leader.into(),
            ..Default::default()
        };
        let shrinks = self.partition.replicas.iter().any(|replica| !self.replicas.contains(replica));
        if leader == LEADER_UNCHANGED && shrinks {
            record.leader = self.partition.leader.into();
        }
        // Without eligible replicas an in-sync set never becomes empty: its last members are who may lead again.
        if self.isr != self.partition.isr && (terms.eligible_replicas || !self.isr.is_empty()) {
            record.isr = Some(ids(&self.isr));
        }
        record.eligible_leader_replicas = changed(&self.elr, &self.partition.elr);
        record.last_known_elr = changed(&self.last_known(&record, terms), &self.partition.last_known_elr);
        record.replicas = changed(&self.replicas, &self.partition.replicas);
        record.removing_replicas = changed(&self.removing, &self.partition.removing_replicas);
        record.adding_replicas = changed(&self.adding, &self.partition.adding_replicas);
        let directories = self.placed(electorate);
        record.directories = (directories != self.partition.directories).then_some(directories);
        if self.recovery != self.partition.leader_recovery_state {
            record.leader_recovery_state = self.recovery;
        }
        let nothing = PartitionChangeRecord { partition_id: self.index, topic_id: self.topic, ..Default::default() };
        (record != nothing).then_some(record)
    }

    /// A reassignment is through when every replica that is to stay is in sync. Source: PartitionReassignmentReplicas.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |replica: &i32| !self.removing.contains(replica);
        let replicas: Vec<i32> = self.replicas.iter().copied().filter(stays).collect();
        let isr: Vec<i32> = self.isr.iter().copied().filter(stays).collect();
        let early = flaws::is(Flaw::DropsReplicasEarly) && !isr.is_empty();
        if replicas.is_empty() || (replicas.iter().any(|replica| !isr.contains(replica)) && !early) {
            return;
        }
        self.replicas = replicas;
        self.isr = isr;
        self.removing = Vec::new();
        self.adding = Vec::new();
    }

    /// Below the minimum, who leaves the in-sync set stays eligible: nothing is acknowledged without him.
    fn keep_eligible(&mut self, terms: Terms) {
        let enough = self.isr.len() >= terms.min_isr.min(self.replicas.len()) && !flaws::is(Flaw::EligibleForever);
        if !terms.eligible_replicas || enough {
            self.elr = Vec::new();
            return;
        }
        for member in &self.partition.isr {
            if !self.elr.contains(member) {
                self.elr.push(*member);
            }
        }
        self.elr.retain(|member| {
            !self.isr.contains(member)
                && self.unclean.filter(|_| !flaws::is(Flaw::KeepsCrashedEligible)) != Some(*member)
                && self.replicas.contains(member)
        });
    }

    /// The new leader, [`NO_LEADER`], or [`LEADER_UNCHANGED`].
    fn elect(&mut self, electorate: Electorate<'_>, terms: Terms) -> i32 {
        let may_lead = |replica: i32| electorate.may_lead(replica, self.directory_of(replica));
        let clean = |replica: i32| {
            let counts = flaws::is(Flaw::ElectsAnybody) && self.replicas.contains(&replica);
            (counts || self.isr.contains(&replica) || (self.isr.is_empty() && self.elr.contains(&replica))) && may_lead(replica)
        };
        let current = self.partition.leader;
        let preferred = self.replicas.first().copied().filter(|first| self.election == Election::Preferred && clean(*first));
        let stays = || (clean(current)).then_some(current);
        let first_clean = || self.replicas.iter().copied().find(|replica| clean(*replica));
        let chosen = preferred.or_else(stays).or_else(first_clean);
        let leader = match chosen {
            Some(leader) => leader,
            None => {
                let last_known = self.last_known_leader(terms).filter(|leader| may_lead(*leader));
                let any = || {
                    let asked = self.election == Election::Unclean;
                    self.replicas.iter().copied().find(|replica| asked && may_lead(*replica))
                };
                match last_known.or_else(any) {
                    Some(leader) => return self.elect_unclean(leader),
                    None => NO_LEADER,
                }
            }
        };
        let outside = flaws::is(Flaw::ElectsAnybody) && leader != NO_LEADER && !self.isr.contains(&leader);
        if self.elr.contains(&leader) || outside {
            self.isr = vec![leader];
            self.elr.retain(|member| *member != leader);
        }
        if leader == current { LEADER_UNCHANGED } else { leader }
    }

    /// The leader may miss records that were acknowledged: he is alone in sync, and recovers.
    fn elect_unclean(&mut self, leader: i32) -> i32 {
        self.isr = vec![leader];
        self.elr = Vec::new();
        self.recovery = RECOVERING;
        leader
    }

    /// Where all in-sync and eligible replicas crashed and a crash may cost records, the last leader has the most of them.
    /// A topic whose records are on the device before they count keeps its replicas eligible through crashes; if none is
    /// left their disks are gone, and only a human may say what is to be given up.
    fn last_known_leader(&self, terms: Terms) -> Option<i32> {
        let nobody = self.isr.is_empty() && self.elr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            [leader] if terms.eligible_replicas && terms.forgets_in_crash && nobody && self.replicas.contains(leader) => {
                Some(*leader)
            }
            _ => None,
        }
    }

    /// Names the leader that the partition had when its in-sync set became empty; forgotten when there is a leader again.
    fn last_known(&self, record: &PartitionChangeRecord, terms: Terms) -> Vec<i32> {
        if !terms.eligible_replicas {
            return Vec::new();
        }
        let emptied = record.isr.as_ref().is_some_and(Vec::is_empty);
        if emptied && self.partition.leader != NO_LEADER {
            return vec![self.partition.leader];
        }
        let named: i32 = record.leader.into();
        let leader = if named == LEADER_UNCHANGED { self.partition.leader } else { named };
        if leader != NO_LEADER {
            return Vec::new();
        }
        self.partition.last_known_elr.iter().copied().filter(|known| self.replicas.contains(known)).collect()
    }

    fn placed(&self, electorate: Electorate<'_>) -> Vec<Uuid> {
        let place = |replica: &i32| self.directory_of(*replica).unwrap_or_else(|| electorate.directory(*replica));
        self.replicas.iter().map(place).collect()
    }

    /// Where a replica lies with the change, if that is known.
    fn directory_of(&self, replica: i32) -> Option<Uuid> {
        self.directories.get(&replica).copied().or_else(|| self.partition.directory_of(replica))
    }
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

fn changed(now: &[i32], before: &[i32]) -> Option<Vec<BrokerId>> {
    (now != before).then(|| ids(now))
}

#[cfg(test)]
#[path = "partition_change_tests.rs"]
mod tests;
