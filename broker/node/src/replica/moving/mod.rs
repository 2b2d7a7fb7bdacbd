//! Replicas move from one log directory of this broker to another (AlterReplicaLogDirs, KIP-113).
//!
//! A *copy* with a log of its own, in a directory named `-future`, reads from the replica's log until it is level with it. It has a slot,
//! because its operations are its own, and is found by nobody: no metadata knows it. `steps` says how it takes the replica's
//! place; here is when moves begin, and how they end otherwise.
//!
//! Shortly before that the controller is told the new directory, so that nothing that happens from then on can leave the metadata with
//! the old one (KIP-858). From then until it is told otherwise, metadata may name a directory in which nothing lies but a copy that
//! is not all of the partition. So, where a move comes to nothing:
//!
//! * the copy is *kept* until the metadata names another directory: a start that finds it does not take an empty log for the partition;
//! * where the replica's own directory is the one that failed, the controller is told that it lies there.
//!
//! A start goes on with a copy where it ended. If the process ends between the copy's new name and the removal of the old files, both
//! are there under the partition's name: the one that the metadata names is the partition (`recovery.rs`).
//! Source: ReplicaManager.alterReplicaLogDirs, ReplicaAlterLogDirsThread.

mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use strandline_log::disk::{FilePath, LogDir};
use strandline_log::log::Log;
use strandline_log::names::{future_directory, partition_directory};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicId, TopicName, Uuid};

use crate::broker::Broker;
use crate::cleaning;
use crate::io::{Effect, Now};
use crate::node::RecoveredPartition;
use crate::replica::assignments::{Key, tell_again};
use crate::replica::follower::last_epoch;
use crate::replica::{Replica, assign};

use self::steps::Step;
pub(crate) use self::steps::{ReadFor, on_read, placed, settle};

/// Partitions that are not here of which is remembered where they are to go. Beyond that it is forgotten: they go where they would.
const PREFERRED_MAX: usize = 10_000;

/// A replica on its way.
#[derive(Clone, Debug)]
struct Move {
    /// The slot of the copy.
    copy: u32,
    target: LogDir,
    step: Step,
    /// Where the next read begins.
    next: Offset,
    /// The last read came to the end of what could be read: what is left is little.
    is_near: bool,
    /// A job reads.
    is_reading: bool,
    /// How often the replica's log was cut back: what was read before is of no use.
    cuts: u32,
}

/// The moves, by the slot of the replica that moves.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    by_slot: BTreeMap<u32, Move>,
    /// Slots of replicas by those of their copies.
    copies: BTreeMap<u32, u32>,
    /// To be looked at when the burst of inputs is over.
    awake: BTreeSet<u32>,
    /// Looked at again then: the bandwidth is used up, or the disk does not answer.
    resting: BTreeSet<(u64, u32)>,
    /// Jobs that read, and replicas that wait for one to end.
    reads: usize,
    queueing: VecDeque<u32>,
    /// Copies whose directory is getting the partition's name.
    renaming: BTreeSet<u32>,
    /// Of those: given up meanwhile.
    ending: BTreeSet<u32>,
    /// Copies that came to nothing and stay while the metadata may name their directory.
    kept: BTreeMap<u32, Key>,
    /// Partitions whose kept copies are to be looked at.
    review: BTreeSet<Key>,
    /// Where partitions lie that are not served, and of which the metadata may name the directory of a copy.
    astray: BTreeMap<Key, Uuid>,
    /// Slots whose copy may have taken their name in a directory that failed then: they write nothing until the metadata names the
    /// directory that they lie in.
    unsure: BTreeSet<u32>,
    /// Where partitions are to go that are not here yet. Source: LogManager.preferredLogDirs.
    preferred: BTreeMap<(TopicName, i32), LogDir>,
}

impl Moves {
    /// Something that the move of the replica in this slot may wait for has happened.
    pub(crate) fn wake(&mut self, slot: u32) {
        if self.by_slot.contains_key(&slot) {
            self.awake.insert(slot);
        }
    }

    pub(crate) fn wake_all(&mut self) {
        self.awake.extend(self.by_slot.keys());
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        !self.awake.is_empty() || !self.review.is_empty()
    }

    /// Whether the log in this slot must not write: its copy is about to take its place.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.by_slot.get(&slot).is_some_and(|moving| moving.step >= Step::Held) || self.unsure.contains(&slot)
    }

    /// Whether the log in this slot must not be closed: it is about to take another one's place, or that one its.
    pub(crate) fn changes_places(&self, slot: u32) -> bool {
        self.holds(self.copies.get(&slot).copied().unwrap_or(slot))
    }

    /// Whether the log in this slot is a copy that came to nothing.
    pub(crate) fn is_kept(&self, slot: u32) -> bool {
        self.kept.contains_key(&slot)
    }

    /// Whether the replica in this slot moves.
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.by_slot.contains_key(&slot)
    }

    /// The replica that the copy in this slot is made from.
    pub(crate) fn original_of(&self, copy: u32) -> Option<u32> {
        self.copies.get(&copy).copied()
    }

    /// Slots of copies.
    pub(crate) fn copies(&self) -> impl Iterator<Item = u32> {
        self.copies.keys().copied()
    }

    /// Where the controller has been told that the replica in this slot lies, although it does not yet.
    pub(crate) fn told(&self, slot: u32) -> Option<LogDir> {
        self.by_slot.get(&slot).filter(|moving| moving.step >= Step::Told).map(|moving| moving.target)
    }

    /// Where a partition lies that is not served, if the metadata may say something else.
    pub(crate) fn astray(&self, key: Key) -> Option<Uuid> {
        self.astray.get(&key).copied()
    }

    /// A topic is gone.
    pub(crate) fn topic_removed(&mut self, topic: TopicId) {
        self.astray.retain(|key, _| key.0 != topic);
        self.review.extend(self.kept.values().filter(|key| key.0 == topic));
    }

    /// The partition is served from here, or belongs elsewhere.
    pub(crate) fn found_again(&mut self, key: Key) {
        self.astray.remove(&key);
    }

    /// The metadata of a partition changed, or the controller answered what was told of it.
    pub(crate) fn review(&mut self, key: Key) {
        if self.kept.values().any(|kept| *kept == key) {
            self.review.insert(key);
        }
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.resting.first().map(|(due_ms, _)| *due_ms)
    }

    /// The bandwidth is another one.
    pub(crate) fn on_throttle(&mut self) {
        self.resting.clear();
        self.wake_all();
    }

    fn prefer(&mut self, name: &TopicName, partition: i32, log_dir: LogDir) {
        if self.preferred.len() < PREFERRED_MAX {
            self.preferred.insert((name.clone(), partition), log_dir);
        }
    }

    /// Where a new partition is to go, if somebody said so.
    pub(crate) fn take_preferred(&mut self, name: &TopicName, partition: i32) -> Option<LogDir> {
        self.preferred.remove(&(name.clone(), partition))
    }

    pub(crate) fn count(&self) -> usize {
        self.by_slot.len()
    }

    /// How many go to a directory.
    pub(crate) fn count_to(&self, log_dir: LogDir) -> usize {
        self.by_slot.values().filter(|moving| moving.target == log_dir).count()
    }
}

/// Somebody wants a partition to lie in the directory `path`.
///
/// # Errors
/// LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR if that or another directory is offline or the partition is, UNKNOWN_TOPIC_OR_PARTITION,
/// REPLICA_NOT_AVAILABLE if it is not here (it will go there when it is), INVALID_TOPIC_EXCEPTION if its name is too long for a copy.
pub(crate) fn alter(
    broker: &mut Broker,
    now: Now,
    path: &str,
    name: &TopicName,
    partition: i32,
    outbox: &mut Vec<Effect>,
) -> Result<(), ErrorCode> {
    if future_directory(&partition_directory(name.as_str(), partition), 0).is_none() {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let named = broker.log_dirs.iter().find(|(_, directory)| directory.takes_partitions && directory.path == path);
    let (target, directory) = named.ok_or(ErrorCode::LOG_DIR_NOT_FOUND)?;
    if !directory.is_online() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    let known = broker.image.topics.id_of(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let slot = match known.and_then(|id| broker.slot(id, partition)) {
        Ok(slot) => slot,
        Err(ErrorCode::KAFKA_STORAGE_ERROR) => return Err(ErrorCode::KAFKA_STORAGE_ERROR),
        Err(code) => {
            broker.moves.prefer(name, partition, target);
            let is_elsewhere = code == ErrorCode::NOT_LEADER_OR_FOLLOWER;
            return Err(if is_elsewhere { ErrorCode::REPLICA_NOT_AVAILABLE } else { code });
        }
    };
    match broker.moves.by_slot.get(&slot) {
        Some(moving) if moving.target == target => return Ok(()),
        // It is as good as there; where it is to go then can be said then.
        Some(moving) if moving.step >= Step::Held => return Err(ErrorCode::REPLICA_NOT_AVAILABLE),
        _ => cancel(broker, slot, outbox),
    }
    if broker.replicas.get(slot).is_none_or(|replica| replica.log_dir() == target) {
        return Ok(());
    }
    // With one missing, a copy of the partition may lie there.
    if broker.log_dirs.iter().any(|(_, directory)| directory.failed.is_some()) {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    begin_anew(broker, now, slot, target);
    Ok(())
}

/// Begins a move with an empty copy.
fn begin_anew(broker: &mut Broker, now: Now, slot: u32, target: LogDir) {
    let unique = u128::from(broker.dice.roll()) << 64 | u128::from(broker.dice.roll());
    let Some(replica) = broker.replicas.get(slot) else { return };
    let name = future_directory(&partition_directory(replica.name.as_str(), replica.partition), unique);
    let Some(name) = name else { return };
    let mut log = Log::new(FilePath::of(target, &name), replica.topic, replica.config.log.clone());
    let log_start = replica.log_start();
    if replica.log.has_files() {
        log.begin_at(now.wall_ms, log_start);
    } else if log_start > Offset::ZERO {
        log.restart_at(now.wall_ms, log_start);
    }
    // What is read from now on was compacted at least up to here.
    log.set_cleaned_below(replica.log.cleaned_below());
    begin(broker, slot, log);
}

fn begin(broker: &mut Broker, slot: u32, log: Log) {
    // A log is not compacted while it moves, so that a copy is all of before or all of after.
    cleaning::give_up(broker, slot);
    broker.mark_dirty(slot);
    let Some(replica) = broker.replicas.get(slot) else { return };
    let (target, next) = (log.directory().log_dir(), log.positions().log_end);
    let (topic, name, config) = (replica.topic, replica.name.clone(), replica.config.clone());
    let mut copy = Replica::new(topic, name, replica.partition, config, log, Offset::ZERO);
    copy.is_copy = true;
    let copy = broker.replicas.insert_unlisted(copy);
    broker.mark_dirty(copy);
    let moving = Move { copy, target, step: Step::Copying, next, is_near: false, is_reading: false, cuts: 0 };
    broker.moves.by_slot.insert(slot, moving);
    broker.moves.copies.insert(copy, slot);
    broker.moves.awake.insert(slot);
}

/// A copy was found at the start.
pub(crate) fn found(broker: &mut Broker, now: Now, copy: RecoveredPartition, outbox: &mut Vec<Effect>) {
    let (key, here) = ((copy.topic, copy.partition), broker.identity.node_id);
    let state = broker.image.topics.by_id(key.0).and_then(|topic| topic.partitions.get(&key.1));
    let is_ours = state.is_some_and(|state| state.replicas.contains(&here));
    match broker.replicas.slot(key.0, key.1) {
        Some(slot) => resume(broker, now, slot, copy, outbox),
        // What it was made from is not here.
        None if is_ours => {
            let held = state.and_then(|state| state.directory_of(here));
            if held.is_some() && held == broker.log_dirs.id_of(copy.log.directory().log_dir()) {
                broker.moves.astray.insert(key, Uuid::LOST_DIRECTORY);
            }
            let copy = host_copy(broker, copy);
            broker.moves.kept.insert(copy, key);
            tell_again(broker, key);
        }
        None => {
            let copy = host_copy(broker, copy);
            drop_copy(broker, copy, outbox);
        }
    }
}

/// Goes on with a copy if it is the beginning of the replica's log; otherwise another one is made.
fn resume(broker: &mut Broker, now: Now, slot: u32, found: RecoveredPartition, outbox: &mut Vec<Effect>) {
    let Some(replica) = broker.replicas.get(slot) else { return };
    let target = found.log.directory().log_dir();
    let moves = replica.log_dir() != target && !broker.moves.has(slot);
    let is_beginning = moves && is_beginning(&found.log, &replica.log);
    if is_beginning {
        return begin(broker, slot, found.log);
    }
    let copy = host_copy(broker, found);
    drop_copy(broker, copy, outbox);
    if moves {
        begin_anew(broker, now, slot, target);
    }
}

/// Two logs of a partition that have the same epoch at an offset are the same up to there.
fn is_beginning(copy: &Log, of: &Log) -> bool {
    let (copied, positions) = (copy.positions(), of.positions());
    let is_within = copied.log_start <= positions.log_start
        && copied.log_end >= positions.log_start
        && copied.log_end <= positions.readable_end;
    let last = Offset(copied.log_end.0 - 1);
    is_within && (copied.log_end == copied.log_start || of.epochs().epoch_of(last) == Some(last_epoch(copy)))
}

fn host_copy(broker: &mut Broker, found: RecoveredPartition) -> u32 {
    let config = broker.topic_config(found.topic);
    let mut copy = Replica::new(found.topic, found.name, found.partition, config, found.log, Offset::ZERO);
    copy.is_copy = true;
    broker.replicas.insert_unlisted(copy)
}

/// The move comes to nothing.
pub(crate) fn cancel(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    broker.moves.unsure.remove(&slot);
    let Some(key) = broker.replicas.get(slot).map(|replica| (replica.topic, replica.partition)) else { return };
    let Some(moving) = forget(broker, slot) else { return };
    tell_again(broker, key);
    give_up(broker, moving.copy, key, outbox);
}

/// The replica goes on as if it had never moved. Answers with what the move was.
fn forget(broker: &mut Broker, slot: u32) -> Option<Move> {
    let moving = broker.moves.by_slot.remove(&slot)?;
    broker.moves.copies.remove(&moving.copy);
    broker.moves.awake.remove(&slot);
    broker.moves.resting.retain(|(_, resting)| *resting != slot);
    broker.moves.queueing.retain(|queueing| *queueing != slot);
    broker.mark_dirty(slot);
    Some(moving)
}

/// A copy is of no use any more: it goes, at once or when no start can take its directory for the partition's.
fn give_up(broker: &mut Broker, copy: u32, key: Key, outbox: &mut Vec<Effect>) {
    let target = broker.replicas.get(copy).and_then(|copy| broker.log_dirs.id_of(copy.log_dir()));
    let state = broker.image.topics.by_id(key.0).and_then(|topic| topic.partitions.get(&key.1));
    let held = state.and_then(|state| state.directory_of(broker.identity.node_id));
    if held.is_some() && (held == target || broker.assignments.is_telling(key)) {
        broker.moves.kept.insert(copy, key);
    } else {
        drop_copy(broker, copy, outbox);
    }
}

/// Looks whether kept copies may go.
fn review(broker: &mut Broker, key: Key, outbox: &mut Vec<Effect>) {
    let kept: Vec<u32> = broker.moves.kept.extract_if(.., |_, kept| *kept == key).map(|(copy, _)| copy).collect();
    for copy in kept {
        give_up(broker, copy, key, outbox);
    }
}

fn drop_copy(broker: &mut Broker, copy: u32, outbox: &mut Vec<Effect>) {
    if broker.moves.renaming.contains(&copy) {
        broker.moves.ending.insert(copy);
        return;
    }
    if let Some(replica) = broker.replicas.get_mut(copy) {
        (replica.is_copy, replica.deleted) = (false, true);
        assign::delete_files(broker, copy, outbox);
    }
}

/// The committed metadata of a partition that is hosted in `slot` is this now.
pub(crate) fn on_metadata(broker: &mut Broker, key: Key, slot: u32) {
    broker.moves.found_again(key);
    broker.moves.wake(slot);
    if broker.moves.unsure.contains(&slot) {
        let state = broker.image.topics.by_id(key.0).and_then(|topic| topic.partitions.get(&key.1));
        let held = state.and_then(|state| state.directory_of(broker.identity.node_id));
        if held.is_none() || held == broker.directory_of(slot) {
            broker.moves.unsure.remove(&slot);
            broker.mark_dirty(slot);
        }
    }
}

/// The log directory of a slot failed. If the slot is part of a move, that is over.
pub(crate) fn log_dir_failed(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    broker.moves.unsure.remove(&slot);
    broker.moves.kept.remove(&slot);
    broker.moves.ending.remove(&slot);
    let is_renaming = broker.moves.renaming.remove(&slot);
    let Some(replica) = broker.replicas.get(slot) else { return };
    let (key, log_dir) = ((replica.topic, replica.partition), replica.log_dir());
    if let Some(original) = broker.moves.original_of(slot) {
        forget(broker, original);
        if is_renaming {
            broker.moves.unsure.insert(original);
        }
        tell_again(broker, key);
    } else if let Some(moving) = forget(broker, slot) {
        if moving.step >= Step::Told
            && let Some(id) = broker.log_dirs.id_of(log_dir)
        {
            broker.moves.astray.insert(key, id);
        }
        give_up(broker, moving.copy, key, outbox);
    }
}

/// An operation of the log in this slot ended.
pub(crate) fn on_disk(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(replica) = broker.replicas.get(slot) else { return };
    let is_idle = replica.log.is_idle();
    broker.moves.wake(broker.moves.original_of(slot).unwrap_or(slot));
    if is_idle && broker.moves.renaming.remove(&slot) && broker.moves.ending.remove(&slot) {
        drop_copy(broker, slot, outbox);
    }
}

/// The replica's log was cut back, and its copy may have what is gone: then it is made anew.
pub(crate) fn on_cut(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(moving) = broker.moves.by_slot.get_mut(&slot) else { return };
    (moving.is_near, moving.cuts) = (false, moving.cuts + 1);
    let (copy, target) = (moving.copy, moving.target);
    let end = |slot: u32| broker.replicas.get(slot).map(|replica| replica.log.positions().log_end);
    if end(slot) >= end(copy) {
        return broker.moves.wake(slot);
    }
    cancel(broker, slot, outbox);
    begin_anew(broker, now, slot, target);
}

/// Goes on with what rested.
pub(crate) fn on_tick(broker: &mut Broker, now: Now) {
    while broker.moves.next_due_ms().is_some_and(|due_ms| due_ms <= now.monotonic_ms) {
        if let Some((_, slot)) = broker.moves.resting.pop_first() {
            broker.moves.wake(slot);
        }
    }
}

/// The node stops. Logs are closed as they are, and copies too; only those that are changing places do that first.
pub(crate) fn stop(broker: &mut Broker) {
    broker.moves.unsure.clear();
    let slots: Vec<u32> = broker.moves.by_slot.keys().copied().filter(|slot| !broker.moves.holds(*slot)).collect();
    for slot in slots {
        forget(broker, slot);
    }
}

/// The copies of a topic's replicas, for whoever changes something of all its logs.
pub(crate) fn copies_of(broker: &Broker, topic: TopicId) -> Vec<u32> {
    let is_of = |slot: &u32| broker.replicas.get(*slot).is_some_and(|copy| copy.topic == topic);
    broker.moves.copies().filter(is_of).collect()
}
