//! What a broker does by the clock: recovery points, high watermarks, log starts, retention, the tail cache's budget.

use std::collections::BTreeSet;

use strandline_log::checkpoints::OffsetCheckpoint;
use strandline_log::disk::{FilePath, LogDir};
use strandline_log::log::Log;
use strandline_log::names::{HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use strandline_log::recover::Checkpoints;
use strandline_protocol::ids::Offset;

use crate::broker::Broker;
use crate::controller::METADATA_TOPIC;
use crate::controller::elections::balance;
use crate::controller::membership;
use crate::directory::After;
use crate::io::{Effect, Now};
use crate::offline::Cause;
use crate::replica::Replica;
use crate::replica::leading;
use crate::replica::truncation::Truncation;
use crate::snapshot;

/// A partition with so many bytes behind its recovery point is checkpointed before its time, so that a restart scans
/// little: 256 MiB are read and checked in well under a second.
const UNCHECKPOINTED_BYTES_MAX: u64 = 256 << 20;

/// Most partitions that one round gives back to their preferred leaders, so that their clients do not all move at once.
/// Source: QuorumController.MAX_ELECTIONS_PER_IMBALANCE.
const ELECTIONS_PER_ROUND_MAX: usize = 1000;

/// When each kind of upkeep is due, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    recovery_points_ms: u64,
    high_watermarks_ms: u64,
    retention_ms: u64,
    rebalance_ms: u64,
    in_sync_ms: u64,
}

impl Due {
    /// Everything comes due one interval from now.
    pub(crate) fn from(now: Now, broker: &Broker) -> Self {
        Self {
            recovery_points_ms: now.monotonic_ms + broker.settings.checkpoint_interval_ms,
            high_watermarks_ms: now.monotonic_ms + broker.settings.high_watermark_checkpoint_interval_ms,
            retention_ms: now.monotonic_ms + broker.settings.retention_check_interval_ms,
            rebalance_ms: next_rebalance(now, broker),
            in_sync_ms: now.monotonic_ms + in_sync_interval_ms(broker),
        }
    }

    /// The next point at which something is due.
    pub(crate) fn next(&self, broker: &Broker) -> u64 {
        let logs = self.recovery_points_ms.min(self.high_watermarks_ms).min(self.retention_ms);
        let logs = logs.min(broker.cleaning.next_due_ms()).min(broker.scrubbing.next_due_ms());
        logs.min(broker.moves.next_due_ms().unwrap_or(u64::MAX))
            .min(broker.throttles.next_due_ms())
            .min(self.rebalance_ms)
            .min(self.in_sync_ms)
            .min(broker.controller.liveness.next_deadline())
    }

    /// Does what is due.
    pub(crate) fn run(&mut self, now: Now, broker: &mut Broker, outbox: &mut Vec<Effect>) {
        if now.monotonic_ms >= self.recovery_points_ms {
            self.recovery_points_ms = now.monotonic_ms + broker.settings.checkpoint_interval_ms;
            for log_dir in broker.log_dirs.working().collect::<Vec<_>>() {
                write_recovery_points(broker, log_dir, outbox);
            }
            checkpoint_logs(broker, broker.settings.checkpoint_bytes_min);
            broker.controller.log_mut().checkpoint();
        }
        if now.monotonic_ms >= self.high_watermarks_ms {
            self.high_watermarks_ms = now.monotonic_ms + broker.settings.high_watermark_checkpoint_interval_ms;
            write_moved(broker, outbox);
            checkpoint_logs(broker, UNCHECKPOINTED_BYTES_MAX);
        }
        if now.monotonic_ms >= self.retention_ms {
            self.retention_ms = now.monotonic_ms + broker.settings.retention_check_interval_ms;
            expire(now, broker);
            snapshot::clean(broker, now, outbox);
        }
        membership::expire(broker, now, outbox);
        if now.monotonic_ms >= self.rebalance_ms {
            self.rebalance_ms = next_rebalance(now, broker);
            if broker.controller.is_active() {
                let records = balance(&broker.controller.image, &broker.config, ELECTIONS_PER_ROUND_MAX);
                broker.controller.emit(now, records);
            }
        }
        if now.monotonic_ms >= self.in_sync_ms {
            self.in_sync_ms = now.monotonic_ms + in_sync_interval_ms(broker);
            leading::shrink(broker, now);
        }
    }
}

fn next_rebalance(now: Now, broker: &Broker) -> u64 {
    broker.settings.rebalance_interval_ms.map_or(u64::MAX, |interval| now.monotonic_ms + interval)
}

/// Source: ReplicaManager looks for lagging replicas twice in the lag time.
fn in_sync_interval_ms(broker: &Broker) -> u64 {
    (broker.settings.replica_lag_max_ms / 2).max(1)
}

/// Logs with at least `bytes` behind their recovery point write their indexes, so that the point may move.
fn checkpoint_logs(broker: &mut Broker, bytes: u64) {
    let behind: Vec<u32> = broker
        .replicas
        .iter()
        .filter(|(_, replica)| {
            let unflushed = replica.traffic.bytes_in - replica.flushed_bytes_in;
            !replica.deleted && replica.truncation.is_none() && unflushed > 0 && unflushed >= bytes
        })
        .map(|(slot, _)| slot)
        .collect();
    for slot in behind {
        if let Some(replica) = broker.replicas.get_mut(slot) {
            replica.flushed_bytes_in = replica.traffic.bytes_in;
            replica.log.checkpoint();
        }
        broker.mark_dirty(slot);
    }
}

fn expire(now: Now, broker: &mut Broker) {
    // Segments that are just being compacted are looked at the next time.
    let may = |(slot, replica): &(u32, &Replica)| {
        replica.is_listed() && replica.truncation.is_none() && !broker.cleaning.holds(*slot) && !broker.moves.holds(*slot)
    };
    let slots: Vec<u32> = broker.replicas.iter().filter(may).map(|(slot, _)| slot).collect();
    for slot in slots {
        let changed = broker.replicas.get_mut(slot).is_some_and(|replica| {
            let high_watermark = replica.high_watermark();
            replica.log.expire(now.wall_ms, high_watermark).segments > 0
        });
        if changed {
            broker.mark_dirty(slot);
        }
    }
}

/// Writes everything that checkpoints say of the partitions in a log directory. A start believes it by their names: deleted ones are
/// forgotten.
pub(crate) fn write_checkpoints(broker: &mut Broker, log_dir: LogDir, after: After, outbox: &mut Vec<Effect>) {
    write_recovery_points(broker, log_dir, outbox);
    write_high_watermarks(broker, log_dir, outbox);
    write_log_starts(broker, log_dir, after, outbox);
}

/// Writes the recovery points of the partitions in a log directory, and that of the metadata log if it lies there.
pub(crate) fn write_recovery_points(broker: &mut Broker, log_dir: LogDir, outbox: &mut Vec<Effect>) {
    let mut points = offsets(broker, log_dir, |replica| noted(replica).recovery_point(), |known| known.recovery_point);
    if log_dir == LogDir::FIRST {
        let offset = broker.controller.recovery_point();
        points.push(OffsetCheckpoint { topic: METADATA_TOPIC.to_owned(), partition: 0, offset });
    }
    let file = FilePath::of(log_dir, RECOVERY_POINT_CHECKPOINT);
    broker.directory.write_offsets(file, &points, After::Nothing, outbox);
}

/// Writes the log starts of the partitions in a log directory; those at 0 are left out, as Kafka does.
pub(crate) fn write_log_starts(broker: &mut Broker, log_dir: LogDir, after: After, outbox: &mut Vec<Effect>) {
    let mut starts = offsets(broker, log_dir, |replica| noted(replica).positions().log_start, |known| known.log_start);
    starts.retain(|start| start.offset > Offset::ZERO);
    broker.directory.write_offsets(FilePath::of(log_dir, LOG_START_CHECKPOINT), &starts, after, outbox);
}

/// Writes the high watermarks of the partitions in a log directory.
fn write_high_watermarks(broker: &mut Broker, log_dir: LogDir, outbox: &mut Vec<Effect>) {
    let mark = |replica: &Replica| replica.high_watermark().min(noted(replica).positions().readable_end);
    let marks = offsets(broker, log_dir, mark, |known| known.high_watermark);
    broker.directory.write_offsets(FilePath::of(log_dir, HIGH_WATERMARK_CHECKPOINT), &marks, After::Nothing, outbox);
}

/// High watermarks and log starts of a directory are written when one of them moved since the last time: an idle broker writes
/// nothing.
fn write_moved(broker: &mut Broker, outbox: &mut Vec<Effect>) {
    let moved = broker.replicas.iter_mut().filter_map(|(_, replica)| {
        let ends = (replica.high_watermark(), replica.log_start());
        (std::mem::replace(&mut replica.checkpointed, ends) != ends).then(|| replica.log_dir())
    });
    for log_dir in moved.collect::<BTreeSet<LogDir>>() {
        write_high_watermarks(broker, log_dir, outbox);
        write_log_starts(broker, log_dir, After::Nothing, outbox);
    }
}

/// The log as checkpoints have to describe it: one that is being cut back as it will be.
fn noted(replica: &Replica) -> &Log {
    replica.truncation.as_ref().and_then(Truncation::noted).unwrap_or(&replica.log)
}

/// One line for every partition of a log directory; of damaged ones what the file said before. A copy that came to nothing has none
/// where the partition has another log: a start would hold that one to it.
fn offsets(
    broker: &Broker,
    log_dir: LogDir,
    offset: impl Fn(&Replica) -> Offset,
    offset_before: impl Fn(&Checkpoints) -> Offset,
) -> Vec<OffsetCheckpoint> {
    let here = || broker.replicas.iter().filter(|(_, replica)| !replica.deleted && replica.log_dir() == log_dir);
    let has_another = |(slot, replica): &(u32, &Replica)| {
        here().any(|(other, known)| other != *slot && known.topic == replica.topic && known.partition == replica.partition)
    };
    let hosted = here().filter(|found| !broker.moves.is_kept(found.0) || !has_another(found));
    let hosted = hosted.map(|(_, replica)| OffsetCheckpoint {
        topic: replica.name.to_string(),
        partition: replica.partition,
        offset: offset(replica),
    });
    let offline = broker.offline.iter().filter_map(|offline| match &offline.cause {
        Cause::Damaged { log_dir: held, checkpoints } if *held == log_dir => Some(OffsetCheckpoint {
            topic: offline.name.to_string(),
            partition: offline.partition,
            offset: offset_before(checkpoints),
        }),
        Cause::Damaged { .. } | Cause::Away => None,
    });
    hosted.chain(offline).collect()
}
