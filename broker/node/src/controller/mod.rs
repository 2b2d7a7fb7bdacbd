//! The controller's seat: the metadata log, the quorum that decides what of it is committed, and the image that decisions
//! are made on.
//!
//! *Emit = apply + write*: while this node leads, a record is applied to the controller's image as it is emitted, so that the
//! next decision knows it; the broker's image follows when the record is committed. When leadership is lost, what was
//! emitted and is not committed is undone: the image goes back to the committed one. A node that does not lead keeps the log as a
//! follower and its image at what is committed. A quorum of one goes the very same way.

pub(crate) mod alter_partition;
mod batches;
mod cutting;
pub(crate) mod directories;
pub(crate) mod elections;
pub(crate) mod eligibility;
pub(crate) mod feature_levels;
pub(crate) mod fencing;
mod liveness;
pub(crate) mod membership;
#[cfg(test)]
mod model_tests;
mod partition_change;
mod placement;
pub(crate) mod producer_ids;
pub(crate) mod reassignments;
mod registrations;
mod terms;
pub(crate) mod topics;
#[cfg(test)]
mod worlds;

use std::collections::VecDeque;

use bytes::Bytes;
use strandline_log::append::AppendError;
use strandline_log::disk::{DiskDone, DiskError, DiskOp};
use strandline_log::log::Log;
use strandline_protocol::control::LeaderChangeMessage;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::metadata::MetadataRecord;

use crate::flaws::{self, Flaw};
use crate::image::{ApplyError, Image};
use crate::io::Now;
use crate::metadata_log::SnapshotVoters;
use crate::metadata_log::records::{RecordsError, Transactions, records_of};
use crate::quorum::change::RECONFIGURABLE;
use crate::quorum::message::{FetchAsk, FetchNews, FetchVerdict, LogEnd};
use crate::quorum::post::Post;
use crate::quorum::voters::{BEFORE_THE_LOG, QuorumRecord, VoterSet};
use crate::quorum::{FetchAnswer, LogView, Quorum};
use cutting::Cutting;
use liveness::Liveness;

/// The topic of the metadata log, as checkpoint files name it.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
/// The directory of the metadata log.
pub(crate) const METADATA_DIRECTORY: &str = "__cluster_metadata-0";
/// Most records of one decision: they are one batch and so one fact. Source: QuorumController.MAX_RECORDS_PER_USER_OP.
pub(crate) const RECORDS_PER_DECISION_MAX: usize = 10_000;

/// Where the oldest and the newest snapshot end that are kept; at offset 0 without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnds {
    pub oldest: LogEnd,
    pub newest: LogEnd,
}

/// What the seat begins with.
pub struct Beginning {
    pub log: Log,
    /// What is known to be committed.
    pub image: Image,
    /// The records of the log that are not in the image.
    pub uncommitted: VecDeque<(Offset, MetadataRecord)>,
    pub snapshots: SnapshotEnds,
    pub quorum: Quorum,
}

pub struct Controller {
    /// Ahead of the broker's while this node leads: holds what was emitted. Otherwise what is committed.
    pub image: Image,
    /// Who was heard of lately; empty while this node does not lead.
    pub(crate) liveness: Liveness,
    pub(crate) quorum: Quorum,
    pub(crate) post: Post,
    log: Log,
    cutting: Option<Cutting>,
    /// Records of the log that were not handed out as committed, in order.
    uncommitted: VecDeque<(Offset, MetadataRecord)>,
    transactions: Transactions,
    /// The epoch in which this node emits.
    leads: Option<LeaderEpoch>,
    snapshots: SnapshotEnds,
}

impl Controller {
    pub fn new(begin: Beginning) -> Self {
        Self {
            image: begin.image,
            liveness: Liveness::default(),
            quorum: begin.quorum,
            post: Post::default(),
            log: begin.log,
            cutting: None,
            uncommitted: begin.uncommitted,
            transactions: Transactions::default(),
            leads: None,
            snapshots: begin.snapshots,
        }
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.quorum.epoch()
    }

    /// Whether this node is the active controller; one that closes its log decides nothing any more, for nothing would be written.
    pub fn is_active(&self) -> bool {
        self.leads.is_some() && self.log.is_open()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Everything before this offset is committed.
    pub fn committed(&self) -> Offset {
        self.quorum.high_watermark()
    }

    /// The end of what was emitted.
    pub fn end(&self) -> Offset {
        self.log.positions().log_end
    }

    /// The recovery point to be kept. What is not committed may be cut off, and then nothing must say that it was there.
    pub fn recovery_point(&self) -> Offset {
        self.log.recovery_point().min(self.committed())
    }

    /// Where the log ends, as voters compare it.
    pub(crate) fn log_end(&self) -> LogEnd {
        LogEnd { epoch: self.log.epochs().latest().unwrap_or(self.snapshots.newest.epoch), offset: self.end() }
    }

    /// Somebody fetches the metadata log.
    pub(crate) fn on_fetch(&mut self, now: Now, ask: FetchAsk) -> FetchVerdict {
        let log = view(&self.log, self.log_end(), self.snapshots);
        self.quorum.on_fetch(now.monotonic_ms, ask, log)
    }

    /// The leader answered a fetch.
    pub(crate) fn on_fetch_answer(&mut self, now: Now, from: i32, answer: FetchAnswer) -> FetchNews {
        let log = view(&self.log, self.log_end(), self.snapshots);
        self.quorum.on_fetch_answer(now.monotonic_ms, from, answer, log)
    }

    /// Whether everything in the log is durable, and it is whole.
    pub(crate) fn is_settled(&self) -> bool {
        let positions = self.log.positions();
        self.cutting.is_none() && (positions.durable_end == positions.log_end || flaws::is(Flaw::FetchesMetadataUnsynced))
    }

    /// When the quorum has something to do next. A fetch waits for the log to be durable, which comes with the end of a write.
    pub(crate) fn next_due_ms(&self, may_fetch: bool) -> u64 {
        let is_settled = self.is_settled();
        let fetch_ms = if may_fetch && is_settled { self.quorum.next_fetch_ms() } else { u64::MAX };
        let join_ms = if is_settled { self.quorum.next_join_ms(self.end()) } else { u64::MAX };
        self.quorum.next_deadline().min(fetch_ms).min(join_ms)
    }

    /// Applies records and hands them to the log as one batch. Answers with the offset behind the last one: what was
    /// decided is true when everything before it is committed.
    ///
    /// # Panics
    /// If this node is not the active controller.
    pub fn emit(&mut self, now: Now, records: Vec<MetadataRecord>) -> Offset {
        let epoch = self.leads.expect("only the active controller decides");
        if records.is_empty() {
            return self.end();
        }
        assert!(records.len() <= RECORDS_PER_DECISION_MAX, "a decision is one batch");
        let base = self.end();
        let batch = batches::of_records(now.wall_ms, base, epoch, &records);
        self.append(now, batch);
        for (index, record) in records.into_iter().enumerate() {
            let offset = Offset(base.0 + i64::try_from(index).unwrap_or(i64::MAX));
            self.image.apply(offset, &record).expect("a decision was made on this very image");
            self.uncommitted.push_back((offset, record));
        }
        self.end()
    }

    /// Emits more records than one decision can hold; each of them must be true by itself.
    pub fn emit_all(&mut self, now: Now, mut records: Vec<MetadataRecord>) -> Offset {
        while records.len() > RECORDS_PER_DECISION_MAX {
            let rest = records.split_off(RECORDS_PER_DECISION_MAX);
            self.emit(now, records);
            records = rest;
        }
        self.emit(now, records)
    }

    /// Begins to lead: the image takes in what earlier leaders left uncommitted, for it will be committed with what follows,
    /// and the epoch is marked by a control record that names the leader. Where the log is to say who votes and does not yet, or
    /// describes this node as it is not, that is said too.
    ///
    /// # Errors
    /// [`ApplyError`] if an earlier leader's records do not fit: this node cannot go on.
    pub(crate) fn open_epoch(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        leader: i32,
        granted_by: &[i32],
    ) -> Result<(), ApplyError> {
        let mut transactions = self.transactions.clone();
        for (offset, record) in &self.uncommitted {
            for (offset, record) in transactions.pass(*offset, record.clone()) {
                self.image.apply(offset, &record)?;
            }
        }
        self.leads = Some(epoch);
        let change = batches::leader_change(leader, self.quorum.voters(), granted_by);
        let records = self.voters_of_epoch();
        self.append_control(now, epoch, Some(change), records);
        Ok(())
    }

    /// What a new leader says of the voters. Source: LeaderState.appendStartOfEpochControlRecords.
    fn voters_of_epoch(&self) -> Vec<QuorumRecord> {
        let (history, own) = (self.quorum.history(), self.quorum.own());
        if history.version() < RECONFIGURABLE {
            return Vec::new();
        }
        let is_unwritten = history.voters_at() == Some(BEFORE_THE_LOG);
        let known = history.voters().of(own.key);
        let is_new = known.is_some_and(|known| known != own) && !own.endpoints.is_empty();
        let voters = if is_new { history.voters().updated(own.clone()) } else { Some(history.voters().clone()) };
        match voters.filter(|_| is_unwritten || is_new) {
            Some(voters) => vec![QuorumRecord::Version(history.version()), QuorumRecord::Voters(voters)],
            None => Vec::new(),
        }
    }

    /// Writes down who votes from now on, and if that is new that voters stand in the log. Answers with the offset of the voters.
    ///
    /// # Panics
    /// If this node is not the active controller.
    pub(crate) fn write_voters(&mut self, now: Now, version: Option<i16>, voters: VoterSet) -> Offset {
        let epoch = self.leads.expect("only the active controller changes the voters");
        let records = version.map(QuorumRecord::Version).into_iter().chain([QuorumRecord::Voters(voters)]);
        self.append_control(now, epoch, None, records.collect());
        Offset(self.end().0 - 1)
    }

    /// What a snapshot that ends at `end` says of the quorum.
    pub(crate) fn voters_below(&self, end: Offset) -> SnapshotVoters {
        let (version, voters) = self.quorum.history().below(end);
        SnapshotVoters { version, voters: voters.cloned() }
    }

    /// Appends control records as one batch; what they say of the quorum counts at once.
    fn append_control(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        change: Option<LeaderChangeMessage>,
        records: Vec<QuorumRecord>,
    ) {
        let base = self.end();
        let batch = batches::of_control(now.wall_ms, base, epoch, change.as_ref(), &records);
        self.append(now, batch);
        let first = base.0 + i64::from(change.is_some());
        for (offset, record) in (first..).map(Offset).zip(records) {
            self.quorum.on_record(offset, record);
        }
    }

    /// Whether this node led and does no more; then `committed` takes the place of what it had decided.
    pub(crate) fn has_lost(&mut self, committed: &Image) -> bool {
        let lost = self.leads.is_some_and(|epoch| self.quorum.leading().is_none() || self.quorum.epoch() != epoch);
        if lost {
            self.leads = None;
            self.liveness = Liveness::default();
            self.image = committed.clone();
        }
        lost
    }

    /// Takes batches from the leader.
    ///
    /// # Errors
    /// [`RecordsError`] if they are no metadata, or do not follow the log; nothing was taken then.
    pub(crate) fn follow(&mut self, now: Now, bytes: Bytes) -> Result<(), RecordsError> {
        let (records, quorum) = records_of(&bytes, self.end())?;
        self.log.append_as_is(now.wall_ms, bytes)?;
        self.uncommitted.extend(records);
        for (offset, record) in quorum {
            self.quorum.on_record(offset, record);
        }
        Ok(())
    }

    /// The next operation of the metadata log, if none is in flight.
    pub fn poll(&mut self, now: Now) -> Option<DiskOp> {
        if self.is_quiet() { self.next_repair() } else { self.log.poll(now.wall_ms) }
    }

    /// Tells how the last operation ended.
    ///
    /// # Errors
    /// The disk's, which end the process.
    pub fn on_disk(&mut self, now: Now, result: Result<DiskDone, DiskError>) -> Result<(), DiskError> {
        if self.is_repairing() {
            result?;
            self.repaired();
        } else {
            self.log.on_done(now.wall_ms, result)?;
        }
        self.quorum.on_durable(self.log.positions().durable_end);
        Ok(())
    }

    /// Snapshots came or went.
    pub(crate) fn set_snapshots(&mut self, ends: SnapshotEnds) {
        self.snapshots = ends;
        self.quorum.on_snapshot(ends.newest.offset);
    }

    /// A snapshot of the leader takes the place of the log, which is idle.
    pub(crate) fn install(&mut self, now: Now, image: Image, quorum: SnapshotVoters, ends: SnapshotEnds) {
        let end = image.end;
        self.log.restart_at(now.wall_ms, end);
        self.snapshots = ends;
        self.uncommitted.clear();
        self.transactions = Transactions::default();
        self.image = image;
        self.quorum.on_installed(now.monotonic_ms, end, quorum.version, quorum.voters);
    }

    /// The records that became committed and are here, in order.
    pub(crate) fn take_committed(&mut self) -> Vec<(Offset, MetadataRecord)> {
        let committed = self.committed().min(self.log.positions().durable_end);
        let committed = if flaws::is(Flaw::AppliesUncommitted) { self.end() } else { committed };
        let count = self.uncommitted.partition_point(|(offset, _)| *offset < committed);
        let mut taken = Vec::with_capacity(count);
        for (offset, record) in self.uncommitted.drain(..count) {
            taken.extend(self.transactions.pass(offset, record));
        }
        taken
    }

    /// Where what is committed and here ends, if all of it was taken: control records behind the last record change no image, but an
    /// image that has them behind it stands there too.
    pub(crate) fn taken_below(&self) -> Option<Offset> {
        let committed = self.committed().min(self.log.positions().durable_end);
        let waits = self.uncommitted.front().is_some_and(|(offset, _)| *offset < committed) || self.transactions.holds();
        (!waits).then_some(committed)
    }

    /// A committed record is applied to the broker's image: to this one too, unless it was when it was emitted.
    ///
    /// # Errors
    /// [`ApplyError`] if it does not fit, which is the fault of whoever leads: this node cannot go on.
    pub(crate) fn on_committed(&mut self, offset: Offset, record: &MetadataRecord) -> Result<(), ApplyError> {
        if self.leads.is_none() {
            self.image.apply(offset, record)?;
        }
        Ok(())
    }

    /// A log that failed has ended the process, and one that is closed is about to: what is decided until then is never committed.
    fn append(&mut self, now: Now, batch: Bytes) {
        let appended = self.log.append_as_is(now.wall_ms, batch);
        if appended != Err(AppendError::Closed) {
            appended.expect("batches of the controller are well formed and its epoch is the newest");
        }
    }
}

/// The log as the quorum looks at it. Before its first record lies the oldest snapshot. If that one is not kept any more, whoever ends
/// there agrees only in the epoch of the first record: then both had it from that epoch's leader.
fn view(log: &Log, end: LogEnd, snapshots: SnapshotEnds) -> LogView<'_> {
    let offset = log.positions().log_start;
    let first = log.epochs().entries().first().map_or(LeaderEpoch::NONE, |entry| entry.epoch);
    let epoch = if snapshots.oldest.offset == offset { snapshots.oldest.epoch } else { first };
    LogView { start: LogEnd { epoch, offset }, end, epochs: log.epochs(), snapshot: snapshots.newest }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strandline_log::config::LogConfig;
    use strandline_protocol::ids::TopicId;
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, Scratch};

    use super::*;

    const fn end(epoch: i32, offset: i64) -> LogEnd {
        LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) }
    }

    #[test]
    fn where_the_snapshot_before_it_is_gone_a_log_begins_in_the_epoch_of_its_first_record() {
        let mut log = Log::new("__cluster_metadata-0", TopicId::METADATA, Arc::new(LogConfig::default()));
        log.restart_at(0, Offset(30));
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { timestamp: 1, key: None, value: Some(b"v"), headers: &[] }).expect("fits");
        log.append(0, builder.build(&mut Scratch::default()).expect("builds"), LeaderEpoch(3)).expect("appends");
        let kept = SnapshotEnds { oldest: end(2, 30), newest: end(3, 36) };
        assert_eq!(view(&log, end(3, 31), kept).start, end(2, 30));
        let gone = SnapshotEnds { oldest: end(3, 36), newest: end(3, 36) };
        assert_eq!(view(&log, end(3, 31), gone).start, end(3, 30));
    }
}
