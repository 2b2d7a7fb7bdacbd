//! A log directory fails while the broker serves: it takes its partitions with it, and nothing else.
//!
//! What a write or sync that failed left behind nobody knows, so nothing is tried again there, and the directory stays offline while the
//! process lives. Its partitions answer KAFKA_STORAGE_ERROR; the controller hears of it with the next heartbeat, which is sent at once,
//! and gives the lead to others. The process ends if it was the directory of the metadata log, or the last one that takes
//! partitions. Source: ReplicaManager.handleLogDirFailure.
//!
//! A read that fails may have met one bad place on a good device. Then the checkpoints of the directory are written: if that fails, so
//! has the directory; if not, the partition is damaged ([`renewal`]).

use strandline_log::disk::{DiskError, FilePath, LogDir};
use strandline_protocol::ids::Offset;

use crate::broker::Broker;
use crate::controller::fencing::Cluster;
use crate::directory::After;
use crate::flaws::{self, Flaw};
use crate::io::{Effect, Now};
use crate::offline::{Cause, OfflinePartition};
use crate::parked::ParkedId;
use crate::replica::{Replica, assign, assignments, moving, renewal};
use crate::upkeep;

/// An operation failed, and its log directory with it. Answers with replies that will not get what they wait for.
pub(crate) fn failed(broker: &mut Broker, now: Now, reason: DiskError, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let file = reason.file().clone();
    let log_dir = file.log_dir();
    if !broker.log_dirs.is_working(log_dir) {
        return Vec::new();
    }
    let is_last = broker.log_dirs.online().all(|online| online == log_dir);
    if log_dir == LogDir::FIRST || is_last {
        outbox.push(Effect::Fail { file, reason });
        return Vec::new();
    }
    broker.log_dirs.fail(log_dir, reason.to_string());
    outbox.push(Effect::Offline { file, reason });
    let parked = give_up(broker, log_dir, outbox);
    tell(broker, now);
    parked
}

/// The partitions in the directory are away. Operations that are under way for their slots come back to nobody.
fn give_up(broker: &mut Broker, log_dir: LogDir, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let is_lost = |replica: &Replica| replica.log_dir() == log_dir || flaws::is(Flaw::DirectoryTakesOthers);
    let lost: Vec<u32> = broker.replicas.iter().filter(|(_, replica)| is_lost(replica)).map(|(slot, _)| slot).collect();
    let mut parked = Vec::new();
    for slot in lost {
        moving::log_dir_failed(broker, slot, outbox);
        let Some(replica) = broker.replicas.get(slot) else { continue };
        if replica.is_listed() {
            let (topic, name, partition) = (replica.topic, replica.name.clone(), replica.partition);
            broker.offline.insert(OfflinePartition { topic, name, partition, cause: Cause::Away });
            broker.replicas.unlink_one(topic, partition);
            broker.assignments.forget((topic, partition));
            assignments::tell_again(broker, (topic, partition));
            parked.append(&mut assign::let_go(broker, slot));
        }
        broker.replicas.abandon(slot);
        for slot in broker.leaving.renamed(slot) {
            broker.mark_dirty(slot);
        }
    }
    for after in broker.directory.give_up(log_dir) {
        match after {
            After::Reply(waiting) => parked.push(waiting),
            After::ForgotDeleted => {
                for slot in broker.leaving.checkpointed() {
                    broker.mark_dirty(slot);
                }
            }
            After::Stop => outbox.extend((!broker.directory.is_marking()).then_some(Effect::Stopped)),
            After::Nothing | After::Kept | After::Cut { .. } | After::Placed { .. } | After::Proven { .. } => {}
        }
    }
    parked
}

/// The controller is told: by a heartbeat, or here if this broker is its own.
fn tell(broker: &mut Broker, now: Now) {
    if !broker.topology.is_alone() {
        return broker.membership.log_dir_failed(now.monotonic_ms + broker.settings.log_dir_failure_timeout_ms);
    }
    let id = broker.identity.node_id;
    let Some(known) = broker.controller.image.brokers.get(id).cloned() else { return };
    let cluster = Cluster { image: &broker.controller.image, start: &broker.config };
    let records = cluster.lose_directories(&known, &broker.log_dirs.failed_ids());
    broker.controller.emit_all(now, records);
}

/// A file could not be read.
pub(crate) fn unreadable(broker: &mut Broker, file: FilePath, base_offset: Offset, outbox: &mut Vec<Effect>) {
    let log_dir = file.log_dir();
    if broker.log_dirs.is_working(log_dir) && !broker.directory.is_proving(log_dir) {
        upkeep::write_log_starts(broker, log_dir, After::Proven { file, base_offset }, outbox);
    }
}

/// The directory of a file that could not be read can be written to.
pub(crate) fn proven(
    broker: &mut Broker,
    now: Now,
    file: &FilePath,
    base_offset: Offset,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    renewal::found_damaged(broker, now, file, base_offset, outbox)
}
