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

use std::collections::BTreeSet;

use strandline_log::disk::FilePath;
use strandline_protocol::ids::{Offset, TopicId, Uuid};

use crate::broker::Broker;
use crate::image::topics::Partition;
use crate::io::{Effect, Now};
use crate::offline::Cause;
use crate::parked::ParkedId;
use crate::replica::assign;
use crate::replica::assignments::{Key, tell_where};

#[derive(Debug, Default)]
pub(crate) struct Renewals {
    /// Hosted, and found damaged by a reader.
    damaged: BTreeSet<Key>,
    /// Begun anew since the directory was told to be lost.
    fresh: BTreeSet<Key>,
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
    let directory = log.directory();
    let found = broker.replicas.iter().find(|(_, replica)| !replica.deleted && *replica.log.directory() == directory);
    let Some((slot, replica)) = found else { return Vec::new() };
    let is_moving = replica.truncation.is_some() || broker.cleaning.holds(slot);
    if is_moving || !replica.log.is_sealed(base_offset) {
        return Vec::new();
    }
    let (topic, partition) = (replica.topic, replica.partition);
    damaged(broker, now, (topic, partition), outbox)
}

/// A hosted replica is damaged. Answers with replies that wait in vain.
pub(crate) fn damaged(broker: &mut Broker, now: Now, key: Key, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    broker.renewals.damaged.insert(key);
    look(broker, now, key.0, key.1, outbox)
}

/// Takes the next step of a partition's renewal, if it needs one, and sees to it that the controller knows where it lies. Answers
/// with replies that wait in vain.
pub(crate) fn look(broker: &mut Broker, now: Now, id: TopicId, index: i32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let (key, here) = ((id, index), broker.identity.node_id);
    let state = broker.image.topics.by_id(id).and_then(|topic| topic.partitions.get(&index));
    let Some(state) = state.filter(|state| state.replicas.contains(&here)).cloned() else {
        broker.renewals.damaged.remove(&key);
        broker.renewals.fresh.remove(&key);
        broker.assignments.forget(key);
        return Vec::new();
    };
    // Nobody has a copy for whoever is alone.
    if broker.is_alone {
        tell_where(broker, key, &state);
        return Vec::new();
    }
    let is_damaged = has_lost(broker, key, &state);
    if state.directory_of(here) != Some(Uuid::LOST_DIRECTORY) {
        if is_damaged {
            broker.assignments.want(key, Uuid::LOST_DIRECTORY);
        } else {
            broker.renewals.fresh.remove(&key);
            tell_where(broker, key, &state);
        }
        return Vec::new();
    }
    let may_renew = (is_damaged || !broker.renewals.fresh.contains(&key)) && has_others(&state, here);
    if may_renew {
        return renew(broker, now, key, &state, outbox);
    }
    if !is_damaged {
        tell_where(broker, key, &state);
    }
    Vec::new()
}

/// Whether this broker's copy is of no use any more. One that is away is, unless its directory is known and may come back.
fn has_lost(broker: &Broker, key: Key, state: &Partition) -> bool {
    match broker.offline.cause(key.0, key.1) {
        Some(Cause::Damaged { .. }) => true,
        Some(Cause::Away) => {
            let held = broker.moves.astray(key).or_else(|| state.directory_of(broker.identity.node_id));
            held.is_some_and(|held| !held.is_directory() || !broker.log_dirs.may_be_offline(held))
        }
        // Whoever is the only replica goes on with what can be read.
        None => broker.renewals.damaged.contains(&key) && state.replicas.len() > 1,
    }
}

/// Whether everything that was acknowledged is with others.
fn has_others(state: &Partition, here: i32) -> bool {
    !state.isr.is_empty() && !state.isr.contains(&here) && !state.elr.contains(&here) && state.leader != here
}

fn renew(broker: &mut Broker, now: Now, key: Key, state: &Partition, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let (id, index) = key;
    if let Some(gone) = broker.offline.take_one(id, index) {
        broker.host_unopened(gone);
    }
    let hosted = broker.replicas.slot(id, index).and_then(|slot| broker.replicas.get(slot));
    if hosted.is_some_and(|replica| replica.truncation.is_some()) {
        // Its files are in use: the end of the cut comes back here.
        return Vec::new();
    }
    let old = broker.replicas.unlink_one(id, index);
    let parked = old.map_or_else(Vec::new, |old| assign::drop_slot(broker, old, outbox));
    broker.renewals.damaged.remove(&key);
    broker.renewals.fresh.insert(key);
    assign::begin_anew(broker, now, id, index, state);
    tell_where(broker, key, state);
    parked
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
