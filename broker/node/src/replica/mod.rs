//! One hosted partition: its log, its role, and whoever waits for it.
//!
//! A replica leads or follows, as the committed metadata says (`assign.rs`). Its step knows nothing of the rest of the
//! node: what it needs of the cluster is handed in. The parts: `leader` and `follower` are the roles, `table` finds
//! replicas, `leading` and `sessions` answer followers, `following` and `fetchers` ask leaders, `truncation` cuts logs back, `in_sync` asks the controller
//! for changes of in-sync sets, `assignments` tells it in which log directories replicas lie, `moving` brings them from one to another.
//!
//! `log_start <= high_watermark <= log_end` and, on a leader, the high watermark never goes down.

pub(crate) mod assign;
pub(crate) mod assignments;
pub(crate) mod fetchers;
pub(crate) mod follower;
pub(crate) mod following;
pub(crate) mod in_sync;
pub(crate) mod leader;
pub(crate) mod leading;
pub(crate) mod moving;
pub(crate) mod renewal;
pub(crate) mod selection;
pub(crate) mod sessions;
pub(crate) mod table;
pub(crate) mod truncation;
pub(crate) mod verifying;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use strandline_log::disk::LogDir;
use strandline_log::log::Log;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

use crate::config::topic::TopicConfig;
use crate::flaws::{self, Flaw};
use crate::parked::ParkedId;
use crate::replica::follower::Follower;
use crate::replica::leader::Leader;
use crate::replica::truncation::Truncation;
use crate::replica::verifying::Verifying;

/// What ends the wait of a produced batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The leader has it (acks = 1).
    ByLeader,
    /// It is below the high watermark (acks = all).
    ByAll,
}

/// A produced batch that waits for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceWaiter {
    /// The offset behind the batch.
    pub end: Offset,
    pub parked: ParkedId,
}

/// What went through a partition since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub records_in: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// What this broker is to a partition.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Leader(Leader),
    Follower(Follower),
}

/// What a step moved; whoever waits for it is looked at when the burst of inputs is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// More counts here than before: followers may have it.
    pub(crate) end: bool,
    pub(crate) high_watermark: bool,
}

/// One hosted partition.
pub struct Replica {
    pub topic: TopicId,
    pub name: TopicName,
    pub partition: i32,
    pub(crate) role: Role,
    pub config: Arc<TopicConfig>,
    pub log: Log,
    high_watermark: Offset,
    /// What counted when it was looked at last.
    end: Offset,
    pub(crate) moved: Moved,
    /// Under way; the log belongs to it meanwhile.
    pub(crate) truncation: Option<Truncation>,
    /// Batches that wait for the high watermark, in order of `end`.
    pub produce_waiters: VecDeque<ProduceWaiter>,
    /// Batches that wait for this broker alone, in order of `end`.
    pub leader_waiters: VecDeque<ProduceWaiter>,
    /// Fetches of consumers.
    pub fetch_waiters: Vec<ParkedId>,
    /// The partition is not ours any more; only the log's last operations are still under way.
    pub deleted: bool,
    /// It is a copy of a replica that is being moved here, and nobody's to find.
    pub is_copy: bool,
    /// Something may be for the disk to do: looked at when the burst of inputs is over.
    pub dirty: bool,
    /// High watermark and log start when they were last written.
    pub checkpointed: (Offset, Offset),
    pub(crate) verifying: Verifying,
    pub traffic: Traffic,
    /// `traffic.bytes_in` when the log's indexes were last written.
    pub flushed_bytes_in: u64,
    /// Rounds of compaction that failed since the last that did not.
    pub cleaning_failures: u8,
}

impl Replica {
    /// A replica without a leader yet, whose log is all durable. `high_watermark` is what was known of it last.
    pub(crate) fn new(
        topic: TopicId,
        name: TopicName,
        partition: i32,
        config: Arc<TopicConfig>,
        log: Log,
        mark: Offset,
    ) -> Self {
        let positions = log.positions();
        let high_watermark = mark.min(positions.readable_end).max(positions.log_start);
        Self {
            topic,
            name,
            partition,
            role: Role::Follower(Follower::begin(-1, LeaderEpoch::NONE)),
            config,
            log,
            high_watermark,
            end: positions.readable_end,
            moved: Moved::default(),
            truncation: None,
            produce_waiters: VecDeque::new(),
            leader_waiters: VecDeque::new(),
            fetch_waiters: Vec::new(),
            deleted: false,
            is_copy: false,
            dirty: false,
            checkpointed: (high_watermark, positions.log_start),
            verifying: Verifying::default(),
            traffic: Traffic::default(),
            flushed_bytes_in: 0,
            cleaning_failures: 0,
        }
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        match &self.role {
            Role::Leader(leader) => leader.epoch,
            Role::Follower(follower) => follower.epoch,
        }
    }

    /// The partition as its leader.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER if it is led elsewhere, or its log is being cut back.
    pub(crate) fn leader(&self) -> Result<&Leader, ErrorCode> {
        match &self.role {
            Role::Leader(leader) if self.truncation.is_none() => Ok(leader),
            _ => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        }
    }

    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    /// Whether it is this broker's replica of the partition, and not on its way out or a copy of one.
    pub fn is_listed(&self) -> bool {
        !self.deleted && !self.is_copy
    }

    /// The log directory that it lies in.
    pub fn log_dir(&self) -> LogDir {
        self.log.directory().log_dir()
    }

    /// Records below are committed and may be read.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether the high watermark is known to be what earlier leaders have told: a new leader's may still be behind.
    pub(crate) fn knows_high_watermark(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => self.high_watermark >= leader.epoch_start,
            Role::Follower(_) => true,
        }
    }

    /// Records below are decided: no open transaction lies there.
    pub fn last_stable_offset(&self) -> Offset {
        self.log.last_stable(self.high_watermark())
    }

    pub fn log_start(&self) -> Offset {
        self.log.positions().log_start
    }

    /// Looks at what counts now, and moves the high watermark as far as it may. To be called after the log or a
    /// follower's progress moved.
    pub(crate) fn advance(&mut self, now_ms: u64) {
        let unsynced = flaws::is(Flaw::LeaderCountsUnsynced) && matches!(self.role, Role::Leader(_));
        let positions = self.log.positions();
        let end = if unsynced { positions.log_end } else { positions.readable_end };
        let before = std::mem::replace(&mut self.end, end);
        self.moved.end |= end > before;
        let found = match &mut self.role {
            Role::Leader(leader) if leader.is_alone() && leader.min_isr(self.config.min_insync_replicas) == 1 => {
                if end > before {
                    leader.end_moved(before, now_ms);
                }
                Some(end)
            }
            Role::Leader(leader) => {
                if end > before {
                    leader.end_moved(before, now_ms);
                }
                leader.high_watermark(end, self.config.min_insync_replicas)
            }
            Role::Follower(follower) => follower.high_watermark(end),
        };
        // A member whose end lies below joined the set before the water rose that far here, or lost what it had; down
        // it never goes.
        let risen = found.unwrap_or(Offset::NONE).max(self.log_start());
        if risen > self.high_watermark {
            self.high_watermark = risen;
            self.log.on_high_watermark(risen);
            self.moved.high_watermark = true;
        }
        self.check();
    }

    /// Whether everything in the log counts.
    pub(crate) fn log_counts(&self) -> bool {
        let positions = self.log.positions();
        positions.readable_end == positions.log_end || flaws::is(Flaw::FollowerFetchesUnsynced)
    }

    /// The log was cut back or began anew.
    pub(crate) fn cut(&mut self) {
        let positions = self.log.positions();
        self.end = positions.readable_end;
        self.high_watermark = self.high_watermark.min(positions.readable_end).max(positions.log_start);
        self.check();
    }

    fn check(&self) {
        let positions = self.log.positions();
        assert!(positions.log_start <= self.high_watermark, "{}: log start above the high watermark", self.log.directory());
        assert!(self.high_watermark <= positions.log_end, "{}: high watermark above the log's end", self.log.directory());
    }

    /// Registers a batch that waits for its acknowledgement.
    pub(crate) fn wait(&mut self, acknowledged: Acknowledged, waiter: ProduceWaiter) {
        let waiters = match acknowledged {
            Acknowledged::ByAll if flaws::is(Flaw::AcknowledgesAtOnce) => &mut self.leader_waiters,
            Acknowledged::ByLeader => &mut self.leader_waiters,
            Acknowledged::ByAll => &mut self.produce_waiters,
        };
        let place = waiters.partition_point(|known| known.end <= waiter.end);
        waiters.insert(place, waiter);
    }

    /// The waiters whose batches are acknowledged now.
    pub fn acknowledged(&mut self) -> Vec<ParkedId> {
        let mut reached = reached(&mut self.leader_waiters, self.log.positions().readable_end);
        reached.append(&mut self::reached(&mut self.produce_waiters, self.high_watermark));
        reached
    }

    /// Everybody who waits for a batch; nobody does any more.
    pub(crate) fn take_produce_waiters(&mut self) -> Vec<ParkedId> {
        self.leader_waiters.drain(..).chain(self.produce_waiters.drain(..)).map(|waiter| waiter.parked).collect()
    }
}

fn reached(waiters: &mut VecDeque<ProduceWaiter>, end: Offset) -> Vec<ParkedId> {
    let count = waiters.partition_point(|waiter| waiter.end <= end);
    waiters.drain(..count).map(|waiter| waiter.parked).collect()
}
