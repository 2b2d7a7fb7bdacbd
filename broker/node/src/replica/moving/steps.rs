//! How a copy comes to take a replica's place.
//!
//! Steps of a move, in this order:
//!
//! 1. *copying*, from the replica's log start to what may be read of it;
//! 2. *told*: little was left, and the controller is told the new directory;
//! 3. *held*: the controller knows; the replica's log gives no more writes out, and what is left is copied;
//! 4. *noting*, then *noted*: the target's checkpoints say of the partition what is true of the copy;
//! 5. *renaming*: the copy's directory gets the partition's name.
//!
//! Then the logs change places: what the replica was given and has not written goes to the new one, and the old one's files go. Whoever
//! produces or reads notices no more than one slow write.

use bytes::Bytes;
use strandline_log::disk::FilePath;
use strandline_log::names::partition_directory;
use strandline_log::slice::{FirstBatch, Slice};
use strandline_protocol::ids::Offset;

use super::{begin_anew, cancel, drop_copy, forget, review};
use crate::broker::{Broker, JobOwner};
use crate::cleaning;
use crate::copying::{CopyFault, CopyPiece};
use crate::directory::After;
use crate::failing;
use crate::io::{Effect, Job, Now};
use crate::parked::ParkedId;
use crate::replica::assignments::tell_again;
use crate::replica::{Replica, renewal};
use crate::upkeep;

/// Bytes that are read at a time for one copy.
const PIECE_BYTES: u32 = 1 << 20;

/// Jobs that read for copies at a time: each has a piece in memory, and more would only make the disk seek.
const READS_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Copying,
    Told,
    Held,
    Noting,
    Noted,
    Renaming,
}

/// Takes the next step of every move that something has happened to.
pub(crate) fn settle(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    while let Some(slot) = broker.moves.awake.pop_first() {
        step(broker, now, slot, outbox);
    }
    while let Some(key) = broker.moves.review.pop_first() {
        review(broker, key, outbox);
    }
}

fn step(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(moving) = broker.moves.by_slot.get(&slot) else { return };
    let (Some(replica), Some(copy)) = (broker.replicas.get(slot), broker.replicas.get(moving.copy)) else { return };
    // Each of these comes back here when it is over. A cut waits for a log that changes places.
    let is_cut = replica.truncation.is_some() && moving.step < Step::Held;
    if moving.is_reading || !copy.log.is_idle() || is_cut {
        return;
    }
    let until = replica.log.positions().readable_end;
    let is_near = moving.is_near || moving.next >= until;
    match moving.step {
        Step::Copying if is_near => tell(broker, slot),
        Step::Told if is_near && is_accepted(broker, slot) => advance(broker, slot, Step::Held),
        Step::Copying | Step::Told | Step::Held if moving.next < until => read(broker, now, slot, until, outbox),
        Step::Held if !replica.log.is_in_flight() && !broker.leaving.has(&name_in_target(broker, slot)) => {
            note(broker, now, slot, until, outbox);
        }
        Step::Copying | Step::Told | Step::Held | Step::Noting => {}
        Step::Noted => rename(broker, slot),
        Step::Renaming => exchange(broker, now, slot, outbox),
    }
}

fn advance(broker: &mut Broker, slot: u32, step: Step) {
    if let Some(moving) = broker.moves.by_slot.get_mut(&slot) {
        moving.step = step;
    }
    broker.moves.awake.insert(slot);
}

/// What is left is little: the controller is told where the replica is about to lie.
fn tell(broker: &mut Broker, slot: u32) {
    let Some(moving) = broker.moves.by_slot.get(&slot) else { return };
    let copy = moving.copy;
    let Some([replica, copied]) = broker.replicas.two_mut(slot, copy) else { return };
    let key = (replica.topic, replica.partition);
    copied.log.adopt(&replica.log);
    broker.mark_dirty(copy);
    advance(broker, slot, Step::Told);
    tell_again(broker, key);
}

/// Whether the committed metadata has the replica in the directory that it moves to, or knows no directories.
fn is_accepted(broker: &Broker, slot: u32) -> bool {
    let Some(target) = broker.moves.told(slot).and_then(|target| broker.log_dirs.id_of(target)) else { return false };
    let Some(replica) = broker.replicas.get(slot) else { return false };
    let state = broker.image.topics.by_id(replica.topic).and_then(|topic| topic.partitions.get(&replica.partition));
    state.is_some_and(|state| state.directory_of(broker.identity.node_id).is_none_or(|held| held == target))
}

/// The partition's own name in the directory that it moves to.
fn name_in_target(broker: &Broker, slot: u32) -> FilePath {
    let name = broker.replicas.get(slot).map(|replica| partition_directory(replica.name.as_str(), replica.partition));
    let target = broker.moves.by_slot.get(&slot).map(|moving| moving.target);
    FilePath::of(target.unwrap_or_default(), &name.unwrap_or_default())
}

fn read(broker: &mut Broker, now: Now, slot: u32, until: Offset, outbox: &mut Vec<Effect>) {
    let rest_ms = broker.throttles.moves_rest_ms();
    let Some(moving) = broker.moves.by_slot.get_mut(&slot) else { return };
    // Nobody may wait for bandwidth while others wait for the log.
    if let Some(until_ms) = rest_ms
        && moving.step < Step::Held
    {
        broker.moves.resting.insert((until_ms, slot));
        return;
    }
    let Some(replica) = broker.replicas.get(slot) else { return };
    let Ok(read) = replica.log.read(moving.next, until, PIECE_BYTES, FirstBatch::Whole) else {
        // The log start has moved behind what was copied.
        let target = moving.target;
        cancel(broker, slot, outbox);
        return begin_anew(broker, now, slot, target);
    };
    let in_memory: Option<Vec<Bytes>> = read.slices.iter().map(in_memory).collect();
    match in_memory {
        Some(pieces) => take(broker, now, slot, pieces, until, outbox),
        None if broker.moves.reads >= READS_MAX => broker.moves.queueing.push_back(slot),
        None => {
            moving.is_reading = true;
            broker.moves.reads += 1;
            let wanted = ReadFor { slot, copy: moving.copy, cuts: moving.cuts, until };
            broker.start_job(JobOwner::Copy(wanted), Job::ReadCopy(CopyPiece { slices: read.slices }), outbox);
        }
    }
}

fn in_memory(slice: &Slice) -> Option<Bytes> {
    match slice {
        Slice::Memory(bytes) => Some(bytes.clone()),
        Slice::File(_) => None,
    }
}

/// What a job read for, of which replica and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadFor {
    pub(crate) slot: u32,
    pub(crate) copy: u32,
    pub(crate) cuts: u32,
    pub(crate) until: Offset,
}

/// A job has read for a copy. Answers with replies that wait in vain.
pub(crate) fn on_read(
    broker: &mut Broker,
    now: Now,
    wanted: ReadFor,
    result: Result<Vec<Bytes>, CopyFault>,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    let ReadFor { slot, copy, cuts, until } = wanted;
    broker.moves.reads -= 1;
    if let Some(next) = broker.moves.queueing.pop_front() {
        broker.moves.wake(next);
    }
    let Some(moving) = broker.moves.by_slot.get_mut(&slot).filter(|moving| moving.copy == copy) else { return Vec::new() };
    moving.is_reading = false;
    let is_cut = moving.cuts != cuts || broker.replicas.get(slot).is_none_or(|replica| replica.truncation.is_some());
    if is_cut && moving.step < Step::Held {
        broker.moves.wake(slot);
        return Vec::new();
    }
    match result {
        Ok(pieces) => take(broker, now, slot, pieces, until, outbox),
        // Damage is not spread.
        Err(CopyFault::Damaged { log, base_offset }) => {
            cancel(broker, slot, outbox);
            return renewal::found_damaged(broker, now, &log, base_offset, outbox);
        }
        // Its segment may just have been removed: the next read finds another.
        Err(CopyFault::Disk { log, base_offset }) => {
            failing::unreadable(broker, log, base_offset, outbox);
            broker.moves.resting.insert((now.monotonic_ms + broker.settings.replica_backoff_ms, slot));
        }
    }
    Vec::new()
}

fn take(broker: &mut Broker, now: Now, slot: u32, pieces: Vec<Bytes>, until: Offset, outbox: &mut Vec<Effect>) {
    let Some(moving) = broker.moves.by_slot.get_mut(&slot) else { return };
    let Some(log_start) = broker.replicas.get(slot).map(Replica::log_start) else { return };
    let Some(copy) = broker.replicas.get_mut(moving.copy) else { return };
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    for piece in pieces {
        if copy.log.append_as_is(now.wall_ms, piece).is_err() {
            // Not the log as it should be: nothing of it was taken.
            return cancel(broker, slot, outbox);
        }
    }
    copy.traffic.bytes_in += bytes as u64;
    // Where nothing was read, the rest was compacted away.
    moving.next = if bytes == 0 { until } else { copy.log.positions().log_end };
    moving.is_near = moving.next >= until;
    follow_start(copy, log_start);
    let copy = moving.copy;
    broker.throttles.moved(bytes);
    broker.mark_dirty(copy);
    broker.moves.awake.insert(slot);
}

fn follow_start(copy: &mut Replica, log_start: Offset) {
    let copied = copy.log.positions();
    if log_start > copied.log_start && log_start <= copied.readable_end {
        // Only a failed log refuses.
        let _ = copy.log.delete_records(log_start, copied.readable_end);
    }
}

/// Both logs are level, and neither writes. What a start needs to know of the copy goes into the checkpoints of its directory before it
/// has the partition's name: records that were deleted do not come back with it.
fn note(broker: &mut Broker, now: Now, slot: u32, until: Offset, outbox: &mut Vec<Effect>) {
    let Some(moving) = broker.moves.by_slot.get(&slot) else { return };
    let (copy, target) = (moving.copy, moving.target);
    let Some([replica, copied]) = broker.replicas.two_mut(slot, copy) else { return };
    if copied.log.positions().log_end < until {
        // Compaction by others may leave nothing at the end of a log.
        copied.log.leave_gap(now.wall_ms, until);
        broker.mark_dirty(copy);
        return;
    }
    follow_start(copied, replica.log_start());
    copied.log.make_durable();
    broker.mark_dirty(copy);
    cleaning::write_checkpoint(broker, target, outbox);
    upkeep::write_checkpoints(broker, target, After::Placed { slot }, outbox);
    advance(broker, slot, Step::Noting);
}

/// The checkpoints are on disk.
pub(crate) fn placed(broker: &mut Broker, slot: u32) {
    if broker.moves.by_slot.get(&slot).is_some_and(|moving| moving.step == Step::Noting) {
        advance(broker, slot, Step::Noted);
    }
}

fn rename(broker: &mut Broker, slot: u32) {
    let Some(copy) = broker.moves.by_slot.get(&slot).map(|moving| moving.copy) else { return };
    let directory = name_in_target(broker, slot);
    if let Some(copied) = broker.replicas.get_mut(copy) {
        copied.log.take_name(directory);
        if !copied.log.is_idle() {
            broker.moves.renaming.insert(copy);
        }
    }
    broker.mark_dirty(copy);
    advance(broker, slot, Step::Renaming);
}

/// The copy has the partition's name and all that its log has written: they change places.
fn exchange(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(moving) = forget(broker, slot) else { return };
    let Some([replica, copy]) = broker.replicas.two_mut(slot, moving.copy) else { return };
    let (key, from) = ((replica.topic, replica.partition), replica.log_dir());
    copy.log.take_over(now.wall_ms, &mut replica.log);
    std::mem::swap(&mut replica.log, &mut copy.log);
    broker.replicas.moved(slot, from);
    drop_copy(broker, moving.copy, outbox);
    for log_dir in [moving.target, from] {
        upkeep::write_checkpoints(broker, log_dir, After::Nothing, outbox);
    }
    tell_again(broker, key);
}
