//! What the committed metadata makes of this broker's replicas: hosted, led, followed, given up.
//!
//! Called for every committed change of a partition, and for all of them when the broker begins to serve. The same state
//! twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::{FilePath, LogDir};
use strandline_log::log::Log;
use strandline_log::names::partition_directory;
use strandline_protocol::ids::{Offset, TopicId, TopicName, Uuid};

use crate::broker::Broker;
use crate::cleaning;
use crate::coordinator;
use crate::flaws::{self, Flaw};
use crate::image::Image;
use crate::image::topics::Partition;
use crate::io::{Effect, Now};
use crate::node::RecoveredPartition;
use crate::offline::{Cause, OfflinePartition};
use crate::parked::ParkedId;
use crate::replica::follower::Follower;
use crate::replica::leader::Leader;
use crate::replica::{Replica, Role, moving, renewal};

/// Hosts every partition that the committed image gives to this broker, with the logs that were found at start. Logs that
/// belong to no such partition are deleted: their topic is gone, or its replicas are elsewhere now.
pub(crate) fn all(broker: &mut Broker, now: Now, recovered: Vec<RecoveredPartition>, outbox: &mut Vec<Effect>) {
    let (copies, whole): (Vec<_>, Vec<_>) = recovered.into_iter().partition(RecoveredPartition::is_copy);
    let by_key = |found: RecoveredPartition| ((found.topic, found.partition), found);
    let mut logs: BTreeMap<(TopicId, i32), RecoveredPartition> = whole.into_iter().map(by_key).collect();
    let copied: BTreeSet<(TopicId, i32)> = copies.iter().map(|copy| (copy.topic, copy.partition)).collect();
    broker.refresh_all_topics();
    let here = broker.identity.node_id;
    let known = |broker: &Broker, id: TopicId, index: i32| {
        let topic = broker.image.topics.by_id(id);
        topic.and_then(|topic| topic.partitions.get(&index)).is_some_and(|partition| partition.replicas.contains(&here))
    };
    let strays: Vec<(TopicId, i32)> = logs.keys().copied().filter(|(id, index)| !known(broker, *id, *index)).collect();
    for key in strays {
        if let Some(stray) = logs.remove(&key) {
            let slot = broker.host(stray.topic, stray.name, stray.partition, stray.log, Offset::ZERO);
            broker.replicas.unlink_one(stray.topic, stray.partition);
            drop_slot(broker, slot, outbox);
        }
    }
    let ids: Vec<TopicId> = broker.image.topics.iter().map(|topic| topic.id).collect();
    for id in ids {
        let Some(topic) = broker.image.topics.by_id(id) else { continue };
        let (name, partitions) = (topic.name.clone(), topic.partitions.keys().copied().collect::<Vec<i32>>());
        for partition in partitions {
            let found = logs.remove(&(id, partition));
            let is_missing = found.is_none() && known(broker, id, partition) && !broker.offline.contains(id, partition);
            let state = broker.image.topics.by_id(id).and_then(|topic| topic.partitions.get(&partition));
            // The same if what a copy was made from is not here.
            if is_missing && (copied.contains(&(id, partition)) || state.is_some_and(|state| is_away(broker, state))) {
                broker.offline.insert(OfflinePartition { topic: id, name: name.clone(), partition, cause: Cause::Away });
            }
            one(broker, now, id, partition, found, outbox);
        }
    }
    for copy in copies {
        moving::found(broker, now, copy, outbox);
    }
}

/// Whether a replica of which a start has found nothing may lie in a directory that is not here: then an empty log must not take its
/// place, as long as it counts.
pub(crate) fn is_away(broker: &Broker, state: &Partition) -> bool {
    let here = broker.identity.node_id;
    let counts = [&state.isr, &state.elr, &state.last_known_elr].iter().any(|members| members.contains(&here));
    match state.directory_of(here) {
        _ if flaws::is(Flaw::BegunAnewElsewhere) => false,
        Some(held) if held.is_directory() => broker.log_dirs.online_place_of(held).is_none(),
        // Whoever is the only replica goes on with what is left.
        Some(Uuid::LOST_DIRECTORY) if state.replicas.len() > 1 => counts,
        // The controller may not have heard where it was put. Kafka makes it anew.
        _ => counts && broker.log_dirs.has_failed(),
    }
}

/// Follows a changed or new partition. Answers with parked replies that will not get what they wait for.
pub(crate) fn changed(
    broker: &mut Broker,
    now: Now,
    topic: TopicId,
    partition: i32,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    if let Some(name) = broker.image.topics.by_id(topic).map(|topic| topic.name.clone()) {
        broker.auto_creating.remove(&name);
    }
    if partition == 0 && broker.replicas.slot(topic, partition).is_none() {
        broker.refresh_topic(topic);
    }
    one(broker, now, topic, partition, None, outbox)
}

/// A topic is gone, and its replicas with it. Answers with parked replies that will not get what they wait for.
pub(crate) fn topic_removed(
    broker: &mut Broker,
    now: Now,
    topic: TopicId,
    name: &TopicName,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    broker.host_to_delete(topic);
    broker.moves.topic_removed(topic);
    let mut lost = Vec::new();
    for slot in broker.replicas.unlink(topic) {
        lost.append(&mut drop_slot(broker, slot, outbox));
    }
    broker.refresh_topic(topic);
    coordinator::on_topic_removed(broker, now, topic, name, outbox);
    lost
}

/// Another image takes the place of the committed one, because the records between them are gone from every log. Answers with
/// parked replies that will not get what they wait for. A broker that is not `is_started` assigns nothing yet.
pub(crate) fn replaced(
    broker: &mut Broker,
    now: Now,
    image: Image,
    is_started: bool,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    let before = std::mem::replace(&mut broker.image, image);
    let mut lost = Vec::new();
    if !is_started {
        return lost;
    }
    for topic in before.topics.iter().filter(|topic| broker.image.topics.by_id(topic.id).is_none()).collect::<Vec<_>>() {
        lost.append(&mut topic_removed(broker, now, topic.id, &topic.name, outbox));
    }
    broker.refresh_all_topics();
    let partitions: Vec<(TopicId, i32)> =
        broker.image.topics.iter().flat_map(|topic| topic.partitions.keys().map(|index| (topic.id, *index))).collect();
    for (topic, partition) in partitions {
        lost.append(&mut changed(broker, now, topic, partition, outbox));
    }
    lost
}

fn one(
    broker: &mut Broker,
    now: Now,
    id: TopicId,
    index: i32,
    found: Option<RecoveredPartition>,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    let Some(topic) = broker.image.topics.by_id(id) else { return Vec::new() };
    let Some(partition) = topic.partitions.get(&index) else { return Vec::new() };
    let (name, state) = (topic.name.clone(), partition.clone());
    broker.moves.review((id, index));
    if !state.replicas.contains(&broker.identity.node_id) {
        if let Some(gone) = broker.offline.take_one(id, index) {
            broker.host_unopened(gone);
        }
        broker.assignments.forget((id, index));
        broker.moves.found_again((id, index));
        let Some(slot) = broker.replicas.unlink_one(id, index) else { return Vec::new() };
        return drop_slot(broker, slot, outbox);
    }
    let mut parked = Vec::new();
    if !broker.offline.contains(id, index) {
        let slot = broker.replicas.slot(id, index).or_else(|| host(broker, id, name, index, &state, found));
        parked = slot.map_or_else(Vec::new, |slot| assume(broker, now, slot, &state));
        slot.into_iter().for_each(|slot| moving::on_metadata(broker, (id, index), slot));
    }
    parked.append(&mut renewal::look(broker, now, id, index, outbox));
    parked
}

/// Hosts the partition with an empty log.
pub(crate) fn begin_anew(broker: &mut Broker, now: Now, id: TopicId, index: i32, state: &Partition) {
    let Some(name) = broker.image.topics.by_id(id).map(|topic| topic.name.clone()) else { return };
    let Some(log_dir) = least_used(broker) else { return };
    let slot = host_new(broker, id, name, index, log_dir);
    // Nobody waits for a replica that was just made.
    assume(broker, now, slot, state);
}

/// Hosts the partition, with what was found of it or with an empty log. Answers with nothing if it lies elsewhere: then it is
/// offline.
fn host(
    broker: &mut Broker,
    id: TopicId,
    name: TopicName,
    index: i32,
    state: &Partition,
    found: Option<RecoveredPartition>,
) -> Option<u32> {
    // It may have failed since it was looked through.
    if let Some(found) = found.filter(|found| broker.log_dirs.is_working(found.log.directory().log_dir())) {
        return Some(broker.host(id, name, index, found.log, found.high_watermark));
    }
    let preferred = broker.moves.take_preferred(&name, index).filter(|log_dir| broker.log_dirs.is_working(*log_dir));
    if let Some(log_dir) = preferred {
        return Some(host_new(broker, id, name, index, log_dir));
    }
    let place = match state.directory_of(broker.identity.node_id).filter(|held| held.is_directory()) {
        Some(held) if !flaws::is(Flaw::BegunAnewElsewhere) => broker.log_dirs.online_place_of(held),
        _ => least_used(broker),
    };
    let Some(log_dir) = place else {
        broker.offline.insert(OfflinePartition { topic: id, name, partition: index, cause: Cause::Away });
        return None;
    };
    Some(host_new(broker, id, name, index, log_dir))
}

fn host_new(broker: &mut Broker, id: TopicId, name: TopicName, index: i32, log_dir: LogDir) -> u32 {
    broker.leaving.made(log_dir);
    let config = broker.topic_config(id).log.clone();
    let directory = FilePath::of(log_dir, &partition_directory(name.as_str(), index));
    broker.host(id, name, index, Log::new(directory, id, config), Offset::ZERO)
}

fn least_used(broker: &Broker) -> Option<LogDir> {
    broker.log_dirs.least_used(|log_dir| broker.replicas.count_in(log_dir) + broker.moves.count_to(log_dir))
}

/// The replica takes the role that the state gives it. Answers with parked replies that will not get what they wait for.
pub(crate) fn assume(broker: &mut Broker, now: Now, slot: u32, state: &Partition) -> Vec<ParkedId> {
    let here = broker.identity.node_id;
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    // A log that is being cut back is nobody's: `resume` comes back when it is whole.
    if replica.truncation.is_some() {
        return Vec::new();
    }
    if state.leader == here { lead(broker, now, slot, state) } else { follow(broker, slot, state) }
}

fn lead(broker: &mut Broker, now: Now, slot: u32, state: &Partition) -> Vec<ParkedId> {
    let here = broker.identity.node_id;
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    match &mut replica.role {
        Role::Leader(leader) if leader.epoch == state.leader_epoch => leader.adopt(state, now.monotonic_ms),
        Role::Leader(leader) if leader.epoch > state.leader_epoch => return Vec::new(),
        _ => {
            begin(replica, here, now, state);
            broker.roles_changed.push(slot);
        }
    }
    replica.advance(now.monotonic_ms);
    // Whoever left the in-sync set may have come back already, and an idle partition is not fetched by name.
    broker.in_sync.reconsider(slot);
    broker.fetchers.leave(slot);
    broker.mark_dirty(slot);
    for replica in state.replicas.iter().filter(|replica| **replica != here) {
        // It will want to add the partition to its session, and must not wait for other news before it can.
        let waiting = broker.followers.waiting_of(*replica);
        broker.answer_now.extend(waiting);
    }
    Vec::new()
}

/// The epoch's entry is in memory only until its first batch is written: the batch carries it, recovery reads it there, and
/// without a record in it nobody can have fetched anything of the epoch.
fn begin(replica: &mut Replica, here: i32, now: Now, state: &Partition) {
    // A failed log has ended the process.
    let start = replica.log.begin_epoch(state.leader_epoch).unwrap_or(replica.log.positions().log_end);
    replica.role = Role::Leader(Leader::begin(here, state, start, now.monotonic_ms));
}

fn follow(broker: &mut Broker, slot: u32, state: &Partition) -> Vec<ParkedId> {
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    if let Role::Follower(follower) = &replica.role
        && follower.epoch >= state.leader_epoch
        && follower.leader == state.leader
    {
        return Vec::new();
    }
    replica.log.forget_empty_epochs();
    replica.role = Role::Follower(Follower::begin(state.leader, state.leader_epoch));
    let mut parked = replica.take_produce_waiters();
    parked.append(&mut replica.fetch_waiters);
    let (topic, name, partition) = (replica.topic, replica.name.clone(), replica.partition);
    broker.roles_changed.push(slot);
    broker.answer_now.extend(broker.followers.news(slot));
    if state.leader >= 0 {
        broker.fetchers.follow(slot, state.leader, topic, name, partition);
    } else {
        broker.fetchers.leave(slot);
    }
    broker.mark_dirty(slot);
    parked
}

/// The partition is not ours any more: its files go. Answers with the replies that waited for it.
pub(crate) fn drop_slot(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    moving::cancel(broker, slot, outbox);
    let waiting = let_go(broker, slot);
    // The files of a log that is being cut back are in use: they go when that is over.
    if broker.replicas.get(slot).is_some_and(|replica| replica.truncation.is_none()) {
        delete_files(broker, slot, outbox);
    }
    waiting
}

/// The partition is not served from here any more. Answers with the replies that waited for it.
pub(crate) fn let_go(broker: &mut Broker, slot: u32) -> Vec<ParkedId> {
    broker.fetchers.leave(slot);
    broker.roles_changed.push(slot);
    broker.cleaning.forget(slot);
    broker.answer_now.extend(broker.followers.news(slot));
    broker.followers.forget_slot(slot);
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    replica.deleted = true;
    let mut waiting = replica.take_produce_waiters();
    waiting.append(&mut replica.fetch_waiters);
    waiting
}

/// Removes the files of a replica that is given up.
pub(crate) fn delete_files(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    let unique = u128::from(broker.dice.roll()) << 64 | u128::from(broker.dice.roll());
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    // Only a failed log refuses, and that has ended the process.
    let _ = replica.log.delete(unique);
    let was_cleaned = replica.log.cleaned_below().is_some();
    let log_dir = replica.log_dir();
    if !replica.log.is_idle() {
        broker.leaving.begin(replica.log.directory().clone(), slot);
    }
    broker.mark_dirty(slot);
    if was_cleaned {
        cleaning::write_checkpoint(broker, log_dir, outbox);
    }
    broker.leaving.deleted(log_dir);
}
