//! Replicas of a cluster whose files cannot be trusted are made anew from their leader.
//!
//! What is to be done is read off the committed metadata, so that a restart in between goes on where it was:
//!
//! 1. The controller is told that the replica's directory is lost (AssignReplicasToDirs, [`Uuid::LOST_DIRECTORY`]): it takes the replica
//!    out of the in-sync set, and gives the lead to another.
//! 2. When that is committed and somebody else is in sync, the files go, and an empty log begins to follow.
//! 3. The controller is told where the new log lies: the replica may join again when it has caught up.
//!
//! Called for every committed change of a partition and for all of them when the broker serves, which is after it knows what was
//! committed before it registered: nobody but this process says anything about its directories from then on.
//!
//! Invariant: files are given up only while the committed in-sync set has somebody else and not this replica. Where nobody else is in
//! sync they may be all there is, and stay untouched.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::FilePath;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicId, Uuid};
use strandline_protocol::messages::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, RequestDirectoryData, RequestPartitionData, RequestTopicData,
};

use crate::broker::Broker;
use crate::controller_channel;
use crate::image::topics::Partition;
use crate::io::{Asker, Effect, Now, Tag};
use crate::parked::ParkedId;
use crate::replica::assign;

/// How long what the controller was told has time to be committed before it is told again.
const AGAIN_MS: u64 = 1000;

/// Partitions told of in one request at most. Source: AssignmentsManager.MAX_ASSIGNMENTS_PER_REQUEST.
const PARTITIONS_MAX: usize = 2250;

type Key = (TopicId, i32);

#[derive(Debug, Default)]
pub(crate) struct Renewals {
    /// Hosted, and found damaged by a reader.
    damaged: BTreeSet<Key>,
    /// Begun anew since the directory was told to be lost.
    fresh: BTreeSet<Key>,
    /// What the controller is to be told, until it is committed.
    wanted: BTreeMap<Key, Uuid>,
    under_way: bool,
    not_before_ms: u64,
}

impl Renewals {
    fn want(&mut self, key: Key, directory: Uuid) {
        if self.wanted.insert(key, directory) != Some(directory) {
            self.not_before_ms = 0;
        }
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        (!self.wanted.is_empty() && !self.under_way).then_some(self.not_before_ms)
    }
}

/// A reader found something else than what was written in a sealed segment. It may have come by while the file was being cut or
/// exchanged: only what the log still holds is taken at its word.
pub(crate) fn found_damaged(
    broker: &mut Broker,
    now: Now,
    log: &FilePath,
    base_offset: Offset,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    let directory = log.as_str().split('/').next().unwrap_or_default();
    let found = broker.replicas.iter().find(|(_, replica)| !replica.deleted && replica.log.directory() == directory);
    let Some((slot, replica)) = found else { return Vec::new() };
    let is_moving = replica.truncation.is_some() || broker.cleaning.holds(slot);
    if is_moving || !replica.log.is_sealed(base_offset) {
        return Vec::new();
    }
    let (topic, partition) = (replica.topic, replica.partition);
    broker.renewals.damaged.insert((topic, partition));
    look(broker, now, topic, partition, outbox)
}

/// Takes the next step of a partition's renewal, if it needs one. Answers with replies that wait in vain.
pub(crate) fn look(broker: &mut Broker, now: Now, id: TopicId, index: i32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    if broker.topology.is_alone() {
        return Vec::new();
    }
    let (key, here) = ((id, index), broker.identity.node_id);
    let state = broker.image.topics.by_id(id).and_then(|topic| topic.partitions.get(&index));
    let Some(state) = state.filter(|state| state.replicas.contains(&here)).cloned() else {
        broker.renewals.damaged.remove(&key);
        broker.renewals.fresh.remove(&key);
        broker.renewals.wanted.remove(&key);
        return Vec::new();
    };
    let is_offline = broker.offline.contains(id, index);
    // Whoever is the only replica goes on with what can be read.
    let is_damaged = is_offline || (broker.renewals.damaged.contains(&key) && state.replicas.len() > 1);
    if state.directory_of(here) != Some(Uuid::LOST_DIRECTORY) {
        if is_damaged {
            broker.renewals.want(key, Uuid::LOST_DIRECTORY);
        } else {
            broker.renewals.wanted.remove(&key);
            broker.renewals.fresh.remove(&key);
        }
        return Vec::new();
    }
    let may_renew = (is_damaged || !broker.renewals.fresh.contains(&key)) && has_others(&state, here);
    if may_renew {
        return renew(broker, now, key, &state, outbox);
    }
    if !is_damaged {
        let directory = broker.identity.directory;
        broker.renewals.want(key, directory);
    }
    Vec::new()
}

/// Whether everything that was acknowledged is with others.
fn has_others(state: &Partition, here: i32) -> bool {
    !state.isr.is_empty() && !state.isr.contains(&here) && !state.elr.contains(&here) && state.leader != here
}

fn renew(broker: &mut Broker, now: Now, key: Key, state: &Partition, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let (id, index) = key;
    let old = match broker.offline.take_one(id, index) {
        Some(gone) => {
            broker.host_unopened(gone);
            broker.replicas.unlink_one(id, index)
        }
        None => {
            let slot = broker.replicas.slot(id, index);
            let is_cut = slot.and_then(|slot| broker.replicas.get(slot)).is_some_and(|replica| replica.truncation.is_some());
            // Its files are in use: the end of the cut comes back here.
            if is_cut { None } else { broker.replicas.unlink_one(id, index) }
        }
    };
    let Some(old) = old else { return Vec::new() };
    let parked = assign::drop_slot(broker, old, outbox);
    broker.renewals.damaged.remove(&key);
    broker.renewals.fresh.insert(key);
    let directory = broker.identity.directory;
    broker.renewals.want(key, directory);
    assign::begin_anew(broker, now, id, index, state);
    parked
}

/// Tells the controller what it is to be told.
pub(crate) fn ask(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if broker.renewals.next_due_ms().is_none_or(|due_ms| due_ms > now.monotonic_ms) {
        return;
    }
    let mut request = AssignReplicasToDirsRequest {
        broker_id: BrokerId(broker.identity.node_id),
        broker_epoch: broker.identity.epoch,
        directories: Vec::new(),
    };
    for ((topic, partition), directory) in broker.renewals.wanted.iter().take(PARTITIONS_MAX) {
        add(&mut request, *directory, *topic, *partition);
    }
    broker.renewals.not_before_ms = now.monotonic_ms + AGAIN_MS;
    let tag = Tag { asker: Asker::Directories, number: 0 };
    // If nobody leads, it is told again.
    broker.renewals.under_way = controller_channel::ask(broker, now, tag, request.into(), outbox).is_ok();
}

fn add(request: &mut AssignReplicasToDirsRequest, directory: Uuid, topic: TopicId, partition: i32) {
    let partition = RequestPartitionData { partition_index: partition };
    let known = request.directories.iter_mut().find(|known| known.id == directory);
    match known {
        Some(known) => match known.topics.iter_mut().find(|known| known.topic_id == topic) {
            Some(known) => known.partitions.push(partition),
            None => known.topics.push(RequestTopicData { topic_id: topic, partitions: vec![partition] }),
        },
        None => {
            let topics = vec![RequestTopicData { topic_id: topic, partitions: vec![partition] }];
            request.directories.push(RequestDirectoryData { id: directory, topics });
        }
    }
}

/// The controller answered, or did not. What it took in the committed metadata will say.
pub(crate) fn answered(broker: &mut Broker, now: Now, response: Option<Response>) {
    broker.renewals.under_way = false;
    let well = matches!(response, Some(Response::AssignReplicasToDirs(response)) if response.error_code == ErrorCode::NONE);
    let pause_ms = if well { AGAIN_MS } else { broker.settings.replica_backoff_ms };
    broker.renewals.not_before_ms = now.monotonic_ms + pause_ms;
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::LeaderEpoch;

    use super::*;

    #[test]
    fn files_are_given_up_only_when_others_have_what_was_acknowledged() {
        let state = |leader: i32, isr: &[i32], elr: &[i32]| Partition {
            replicas: vec![1, 2, 3],
            directories: Vec::new(),
            isr: isr.to_vec(),
            elr: elr.to_vec(),
            last_known_elr: Vec::new(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            leader_recovery_state: 0,
            leader,
            leader_epoch: LeaderEpoch(5),
            partition_epoch: 0,
        };
        assert!(has_others(&state(2, &[2, 3], &[]), 1));
        assert!(!has_others(&state(2, &[1, 2, 3], &[]), 1), "it still counts");
        assert!(!has_others(&state(-1, &[1], &[]), 1), "nobody else has it");
        assert!(!has_others(&state(-1, &[], &[1]), 1), "it may be elected");
        assert!(!has_others(&state(-1, &[], &[]), 1), "nobody has it");
    }
}
