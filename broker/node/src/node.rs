//! The node: routes what happens to its owner, and what they answer to the outbox. No decision is made here.
//!
//! Phases, in this order: *starting* (the quorum has a leader, then the registration and new leader epochs are
//! committed), *serving*, *leaving* (a cluster takes its partitions over), *stopping* (logs are closed, then the mark of a clean shutdown is written), *stopped*.

mod replies;

use std::collections::BTreeSet;

use strandline_log::clean_shutdown::CleanShutdown;
use strandline_log::disk::{DiskDone, DiskError, FilePath};
use strandline_log::log::Log;
use strandline_log::names::{CLEAN_SHUTDOWN, DirectoryName};
use strandline_protocol::api::Response;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::metadata::MetadataRecord;

use crate::apis;
use crate::broker::{Broker, JobOwner};
use crate::cleaning;
use crate::controller::membership as members;
use crate::controller_channel;
use crate::controller_membership;
use crate::coordinator;
use crate::directory::After;
use crate::failing;
use crate::handlers::{Answer, init_producer_id, metadata_fetch, produce};
use crate::image::{Change, Resource};
use crate::io::{
    Asked, Asker, CloseReason, Effect, Input, JobId, JobResult, ListenerKind, Now, Owner, PeerLost, Reply, RequestContext, Tag,
};
use crate::markers;
use crate::membership::{self, Awaited, Stage};
use crate::metadata_log::{LoadError, SnapshotRead, unusable};
use crate::parked::Until;
use crate::quorum::message::Leadership;
use crate::registration;
use crate::replica::leading;
use crate::replica::truncation::Truncation;
use crate::replica::{Moved, assign, assignments, following, moving, renewal};
use crate::scrubbing;
use crate::share;
use crate::snapshot::{self, fetched};
use crate::tail::TailCache;
use crate::upkeep::{self, Due};
use crate::verification;
use crate::voter;

/// How long the controller may take to give a leaving broker's partitions away; then it ends all the same. Below what the
/// shell waits for the node to stop.
const LEAVE_MAX_MS: u64 = 20_000;

/// How long a broker that leads nothing any more tells clients so before it ends: a few of their requests.
const FAREWELL_MS: u64 = 200;

/// The slot of the metadata log; partitions of topics have smaller ones.
pub const METADATA_SLOT: u32 = u32::MAX;

enum Phase {
    Starting {
        /// Everything of the start is committed when the metadata log is.
        serving_at: Option<Offset>,
    },
    Serving,
    /// The controller gives this broker's partitions to others; clients are served meanwhile, and for a moment when that `is_done`:
    /// who asks here then is told where to go, which is quicker than to find out by a broken connection.
    Leaving {
        until_ms: u64,
        is_done: bool,
    },
    Stopping {
        /// Slots whose log is not closed yet.
        closing: BTreeSet<u32>,
    },
    Stopped,
}

/// One broker with its controller. Stepped; it never waits.
pub struct Node {
    pub(crate) broker: Broker,
    pub(crate) recovered: Vec<RecoveredPartition>,
    phase: Phase,
    due: Due,
    tail: TailCache,
    /// The wake-up last asked for.
    wake_ms: u64,
    /// How far the metadata log was committed and readable when that was last looked at, and who led the quorum.
    metadata_known: (Offset, Offset),
    leadership: Leadership,
    /// Whether this node was the active controller when that was last looked at.
    was_active: bool,
}

/// A partition's log that was found in the log directory at start.
pub struct RecoveredPartition {
    pub topic: TopicId,
    /// As its directory says.
    pub name: TopicName,
    pub partition: i32,
    pub log: Log,
    /// What the checkpoint says of it.
    pub high_watermark: Offset,
}

impl RecoveredPartition {
    /// Whether it is a copy that is being made of a partition in another log directory.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(DirectoryName::parse(self.log.directory().as_str()), DirectoryName::Future { .. })
    }
}

impl Node {
    /// A node before its first step; see [`crate::boot::Boot`].
    pub(crate) fn new(broker: Broker, recovered: Vec<RecoveredPartition>) -> Self {
        let tail = TailCache::new(broker.settings.tail_cache_bytes);
        Self {
            broker,
            recovered,
            phase: Phase::Starting { serving_at: None },
            due: Due::default(),
            tail,
            wake_ms: u64::MAX,
            metadata_known: (Offset::NONE, Offset::NONE),
            leadership: Leadership { epoch: LeaderEpoch::NONE, leader: None },
            was_active: false,
        }
    }

    /// The first step: begins the epoch.
    pub fn start(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        self.due = Due::from(now, &self.broker);
        let from = outbox.len();
        voter::start(&mut self.broker, now, outbox);
        self.follow_up(now, from, outbox);
        self.settle(now, outbox);
    }

    /// Takes one input. Writes are given out by [`Node::settle`], once a burst of inputs is over.
    pub fn step(&mut self, now: Now, input: Input, outbox: &mut Vec<Effect>) {
        // The mark of a clean shutdown is the last thing that is written.
        if matches!(self.phase, Phase::Stopped) && !matches!(input, Input::Disk { owner: Owner::Directory { .. }, .. }) {
            return;
        }
        self.broker.throttles.begin_step(now.monotonic_ms);
        let from = outbox.len();
        match input {
            Input::Request { context, request } => self.on_request(now, &context, request, outbox),
            Input::Disk { owner: Owner::Partition(METADATA_SLOT), result } => self.on_metadata_disk(now, result, outbox),
            Input::Disk { owner: Owner::Partition(slot), result } => self.on_partition_disk(now, slot, result, outbox),
            Input::Disk { owner: Owner::Directory { number, .. }, result } => {
                self.on_directory_disk(now, number, result, outbox)
            }
            Input::Disk { owner: Owner::Snapshot, result } => self.on_snapshot_disk(now, result, outbox),
            Input::Job { result: JobResult::SnapshotPiece(made), .. } => snapshot::on_made(&mut self.broker, made, outbox),
            Input::Job { result: JobResult::SnapshotRead(read), .. } => self.on_snapshot_read(now, read, outbox),
            Input::Job { job, result: JobResult::Cleaned { round, result } } => {
                cleaning::stepped(&mut self.broker, now, job, round, result, outbox)
            }
            Input::Job { job, result } => self.on_job(now, job, result, outbox),
            Input::Response { tag, result } => self.on_response(now, tag, result, outbox),
            Input::Disconnected { connection } => {
                for parked in self.broker.waiting.select(|parked| parked.place.connection == connection) {
                    self.broker.waiting.take(parked);
                }
                members::on_disconnected(&mut self.broker, connection, outbox);
                share::on_disconnected(&mut self.broker, connection);
                controller_channel::on_disconnected(&mut self.broker, connection);
                self.broker.held.sweep(&self.broker.waiting);
                self.broker.controller.post.forget(connection);
            }
            Input::Damaged { log, base_offset } => {
                for parked in renewal::found_damaged(&mut self.broker, now, &log, base_offset, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            Input::Unreadable { log, base_offset } => failing::unreadable(&mut self.broker, log, base_offset, outbox),
            Input::LookAtLag => coordinator::distant::look(&mut self.broker, now, outbox),
            Input::Tick => self.on_tick(now, outbox),
            Input::Shutdown => self.on_shutdown(now, outbox),
        }
        self.follow_up(now, from, outbox);
    }

    fn on_response(&mut self, now: Now, tag: Tag, result: Result<Box<Response>, PeerLost>, outbox: &mut Vec<Effect>) {
        match tag.asker {
            Asker::Quorum => voter::on_response(&mut self.broker, now, tag, result, outbox),
            Asker::Membership => membership::on_response(&mut self.broker, now, tag, result.ok().map(|response| *response)),
            Asker::ControllerMembership => controller_membership::on_response(&mut self.broker, now),
            Asker::Liveness => members::on_probed(&mut self.broker, now, tag, result),
            Asker::Forwarding => controller_channel::on_response(&mut self.broker, now, tag, result, outbox),
            Asker::ProducerIds => init_producer_id::on_block(&mut self.broker, result.ok().map(|response| *response)),
            // Whether the topics were made the committed metadata says.
            Asker::AutoCreation => {}
            Asker::Replication => following::answered(&mut self.broker, now, tag.number, result),
            Asker::ShareStates => share::states::answered(&mut self.broker, now, tag.number, result, outbox),
            Asker::Markers => markers::on_response(&mut self.broker, now, tag, result, outbox),
            Asker::Verification => verification::on_response(&mut self.broker, now, tag, result, outbox),
            Asker::Lag => coordinator::distant::on_response(&mut self.broker, now, tag.number, result, outbox),
            Asker::Directories => assignments::answered(&mut self.broker, now, result.ok().map(|response| *response)),
        }
    }

    /// What follows from a step, until nothing does: answers of this node's own controller are steps of their own.
    fn follow_up(&mut self, now: Now, from: usize, outbox: &mut Vec<Effect>) {
        while !matches!(self.phase, Phase::Stopped) {
            self.follow_metadata(now, outbox);
            self.follow_membership(now, outbox);
            markers::follow_up(&mut self.broker, now, outbox);
            let answers = controller_channel::collect(&mut self.broker, from, outbox);
            if answers.is_empty() {
                return;
            }
            for (tag, result) in answers {
                self.on_response(now, tag, result, outbox);
            }
        }
    }

    /// Where the broker stands in the cluster, and what follows for the node.
    fn follow_membership(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        let is_alone = self.broker.is_alone;
        let is_stopping = matches!(self.phase, Phase::Stopping { .. } | Phase::Stopped);
        if !is_alone && !is_stopping {
            membership::follow_up(&mut self.broker, now, outbox);
        }
        if !is_stopping {
            controller_membership::follow_up(&mut self.broker, now, outbox);
        }
        controller_channel::follow_up(&mut self.broker, now, outbox);
        let stage = self.broker.membership.stage;
        let is_broker = self.broker.topology.roles.broker;
        let knows_leader = self.broker.controller.quorum.leadership().leader.is_some();
        match self.phase {
            Phase::Starting { .. } if !is_alone && (stage == Stage::Serving || (!is_broker && knows_leader)) => {
                self.serve(now, outbox);
            }
            Phase::Leaving { is_done: false, .. } if stage == Stage::Left => {
                self.phase = Phase::Leaving { until_ms: now.monotonic_ms + FAREWELL_MS, is_done: true };
            }
            Phase::Leaving { until_ms, .. } if now.monotonic_ms >= until_ms => self.stop(now, outbox),
            _ => {}
        }
    }

    fn serve(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        self.phase = Phase::Serving;
        assign::all(&mut self.broker, now, std::mem::take(&mut self.recovered), outbox);
        outbox.push(Effect::Serving);
    }

    /// What came of the metadata log and its quorum: committed records, leadership won or lost, letters.
    fn follow_metadata(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        if let Some(image) = fetched::install(&mut self.broker, now, outbox) {
            let is_started = !matches!(self.phase, Phase::Starting { .. });
            for parked in assign::replaced(&mut self.broker, now, image, is_started, outbox) {
                self.give_up(parked, outbox);
            }
        }
        voter::follow_up(&mut self.broker, now, outbox);
        if self.broker.controller.has_lost(&self.broker.image) {
            for parked in self.broker.abandoned_waiters() {
                let Some(parked) = self.broker.waiting.take(parked) else { continue };
                let (connection, sequence) = (parked.place.connection, parked.place.sequence);
                outbox.push(Effect::Close { connection, sequence, reason: CloseReason::Unanswerable });
            }
        }
        let known = (self.broker.controller.committed(), self.broker.controller.log().positions().readable_end);
        let leadership = self.broker.controller.quorum.leadership();
        let other = leadership.leader.filter(|leader| *leader != self.broker.identity.node_id);
        // Where the leader listens may be told later than who it is.
        if leadership != self.leadership || (other.is_some() && self.broker.active_controller.is_none()) {
            self.broker.active_controller = other.and_then(|leader| voter::address(&self.broker, leader));
        }
        if known != self.metadata_known || leadership != self.leadership {
            self.metadata_known = known;
            self.leadership = leadership;
            self.on_metadata_moved(now, outbox);
            membership::on_metadata(&mut self.broker);
            metadata_fetch::wake(&mut self.broker, outbox);
        }
        let is_active = self.broker.controller.is_active();
        if is_active && !std::mem::replace(&mut self.was_active, is_active) {
            members::take_over(&mut self.broker, now);
            registration::bootstrap(&mut self.broker, now);
        }
        self.was_active = is_active;
        if let Phase::Starting { serving_at: None } = self.phase
            && is_active
            && self.broker.is_alone
        {
            let serving_at = registration::register(&mut self.broker, now, &self.recovered);
            self.phase = Phase::Starting { serving_at: Some(serving_at) };
        }
    }

    /// Ends a burst of inputs: gives out the writes that it brought about, and what else follows.
    pub fn settle(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Stopped) {
            return;
        }
        loop {
            let from = outbox.len();
            share::settle(&mut self.broker, now, outbox);
            coordinator::settle(&mut self.broker, now, outbox);
            moving::settle(&mut self.broker, now, outbox);
            let log_dirs = &self.broker.log_dirs;
            for log_dir in self.broker.leaving.take_due(|log_dir| log_dirs.is_working(log_dir)) {
                upkeep::write_checkpoints(&mut self.broker, log_dir, After::ForgotDeleted, outbox);
            }
            self.broker.take_dirty().into_iter().for_each(|slot| self.settle_slot(now, slot, outbox));
            for parked in std::mem::take(&mut self.broker.answer_now) {
                self.answer_follower(parked, outbox);
            }
            if self.is_serving() {
                following::ask(&mut self.broker, now, outbox);
            }
            self.follow_up(now, from, outbox);
            if !self.broker.is_unsettled(now) {
                break;
            }
        }
        // Behind all that may still decide something.
        if let Some(op) = self.broker.controller.poll(now) {
            outbox.push(Effect::Disk { owner: Owner::Partition(METADATA_SLOT), op });
        }
        if let Some(rules) = self.broker.take_rules() {
            outbox.push(Effect::Publish(rules));
        }
        let coordinators = self.broker.coordinators.next_deadline().unwrap_or(u64::MAX);
        let shares = self.broker.shares.next_due_ms().unwrap_or(u64::MAX);
        let next =
            self.broker.waiting.next_deadline().unwrap_or(u64::MAX).min(self.next_due_ms()).min(coordinators).min(shares);
        if next < self.wake_ms || self.wake_ms <= now.monotonic_ms {
            self.wake_ms = next;
            outbox.push(Effect::WakeAt { monotonic_ms: next });
        }
    }

    /// What a node that does not serve yet waits for.
    pub fn awaited(&self) -> Awaited {
        Awaited::by(&self.broker)
    }

    fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Leaving { .. })
    }

    /// When the parts that know the clock have something to do next.
    fn next_due_ms(&self) -> u64 {
        if matches!(self.phase, Phase::Stopped) {
            return u64::MAX;
        }
        let upkeep = if self.is_serving() {
            self.due.next(&self.broker).min(following::next_due_ms(&self.broker).unwrap_or(u64::MAX))
        } else {
            u64::MAX
        };
        let is_member = self.broker.topology.roles.broker && !self.broker.is_alone;
        let membership = if is_member { self.broker.membership.next_due_ms() } else { u64::MAX };
        let membership = membership.min(controller_membership::next_due_ms(&self.broker));
        let leaving = if let Phase::Leaving { until_ms, .. } = self.phase { until_ms } else { u64::MAX };
        let quorum = self.broker.controller.next_due_ms(fetched::is_free(&self.broker));
        let asked = self.broker.channel.next_due_ms().min(self.broker.markers.next_due_ms());
        upkeep.min(membership).min(leaving).min(quorum).min(asked)
    }

    fn settle_slot(&mut self, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
        self.tell_moved(slot, outbox);
        let parked = following::continue_cut(&mut self.broker, now, slot, outbox);
        for parked in parked {
            self.give_up(parked, outbox);
        }
        let Some(replica) = self.broker.replicas.get_mut(slot) else { return };
        replica.dirty = false;
        if let Phase::Stopping { closing } = &self.phase
            && closing.contains(&slot)
            && replica.truncation.is_none()
            && !self.broker.moves.changes_places(slot)
        {
            // Refused if it is closing already.
            let _ = replica.log.close();
        }
        let acknowledged = replica.acknowledged();
        let fresh = !replica.deleted && replica.log.positions().readable_end == Offset::ZERO;
        let held = fresh && self.broker.leaving.holds(slot, replica.log.directory());
        let is_cut = replica.truncation.as_ref().is_some_and(Truncation::owns_the_disk);
        let held = held || self.broker.moves.holds(slot);
        let op = if held || is_cut { None } else { replica.log.poll(now.wall_ms) };
        let finished = replica.log.is_closed();
        let due = replica.log.next_due();
        let deleted = replica.deleted;
        let renamed = deleted && replica.log.is_idle();
        if let Some(op) = op {
            outbox.push(Effect::Disk { owner: Owner::Partition(slot), op });
        }
        if let Some(due) = due {
            self.broker.removals.insert((due, slot));
        }
        for parked in acknowledged {
            self.acknowledge(slot, parked, outbox);
        }
        if renamed {
            for slot in self.broker.leaving.renamed(slot) {
                self.broker.mark_dirty(slot);
            }
            self.broker.moves.wake_all();
        }
        if finished && deleted {
            self.broker.replicas.release(slot);
        }
        if finished && let Phase::Stopping { closing } = &mut self.phase {
            closing.remove(&slot);
            self.stop_when_closed(outbox);
        }
    }

    fn on_request(&mut self, now: Now, context: &RequestContext, request: Asked, outbox: &mut Vec<Effect>) {
        let is_controllers = context.listener == ListenerKind::Controller && !matches!(self.phase, Phase::Stopped);
        let answer = match (&self.phase, request) {
            (_, Asked::Other(request)) if is_controllers => apis::dispatch(&mut self.broker, now, context, *request, outbox),
            (Phase::Serving | Phase::Leaving { .. }, Asked::Produce(checked)) => {
                produce::produce(&mut self.broker, now, context, *checked, outbox)
            }
            (Phase::Serving | Phase::Leaving { .. }, Asked::Other(request)) => {
                apis::dispatch(&mut self.broker, now, context, *request, outbox)
            }
            _ => Answer::Close,
        };
        answer.send(context, outbox);
    }

    fn on_partition_disk(&mut self, now: Now, slot: u32, result: Result<DiskDone, DiskError>, outbox: &mut Vec<Effect>) {
        let Some(replica) = self.broker.replicas.get_mut(slot) else { return };
        if replica.truncation.as_ref().is_some_and(Truncation::owns_the_disk) {
            return match result {
                Ok(_) => self.on_repaired(now, slot, outbox),
                Err(reason) => self.fail(now, reason, outbox),
            };
        }
        let before = replica.log.cached_bytes();
        let progress = match replica.log.on_done(now.wall_ms, result) {
            Ok(progress) => progress,
            Err(reason) => return self.fail(now, reason, outbox),
        };
        if replica.is_copy {
            // Nobody reads it.
            replica.log.drop_cache();
        }
        let cached = replica.log.cached_bytes().saturating_sub(before);
        replica.advance(now.monotonic_ms);
        self.broker.mark_dirty(slot);
        self.tail.grown(&mut self.broker, slot, cached);
        following::wrote(&mut self.broker, slot);
        moving::on_disk(&mut self.broker, slot, outbox);
        if progress.cleaning_written {
            cleaning::written(&mut self.broker, now, slot, outbox);
        }
    }

    /// A repair of a log that is being cut back is done.
    fn on_repaired(&mut self, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
        for parked in following::repair(&mut self.broker, now, slot, outbox) {
            self.give_up(parked, outbox);
        }
    }

    /// Followers and consumers look at what moved.
    fn tell_moved(&mut self, slot: u32, outbox: &mut Vec<Effect>) {
        let Some(replica) = self.broker.replicas.get_mut(slot) else { return };
        let moved = std::mem::take(&mut replica.moved);
        let high_watermark = replica.high_watermark();
        let consumers = if moved.high_watermark { std::mem::take(&mut replica.fetch_waiters) } else { Vec::new() };
        if moved != Moved::default() {
            for parked in self.broker.followers.news(slot) {
                self.try_follower(parked, outbox);
            }
        }
        if moved.high_watermark {
            coordinator::on_high_watermark(&mut self.broker, slot, high_watermark, outbox);
            share::on_high_watermark(&mut self.broker, slot);
        }
        for parked in consumers {
            self.try_fetch(slot, parked, outbox);
        }
    }

    fn on_metadata_disk(&mut self, now: Now, result: Result<DiskDone, DiskError>, outbox: &mut Vec<Effect>) {
        if let Err(reason) = self.broker.controller.on_disk(now, result) {
            return self.fail(now, reason, outbox);
        }
        self.stop_when_closed(outbox);
    }

    /// More of the metadata log is committed.
    fn on_metadata_moved(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        for (offset, record) in self.broker.controller.take_committed() {
            self.on_committed(now, offset, &record, outbox);
        }
        if let Some(below) = self.broker.controller.taken_below() {
            self.broker.image.end = self.broker.image.end.max(below);
        }
        leading::expand_again(&mut self.broker, now);
        let before = self.broker.controller.committed();
        if let Phase::Starting { serving_at: Some(at) } = self.phase
            && before >= at
        {
            self.serve(now, outbox);
        }
        for parked in self.broker.committed_waiters(before) {
            let Some(parked) = self.broker.waiting.take(parked) else { continue };
            if let Until::MetadataCommitted { response } = parked.until {
                outbox.push(Effect::Reply {
                    connection: parked.place.connection,
                    sequence: parked.place.sequence,
                    reply: Reply::Body(response),
                });
            }
        }
    }

    fn on_committed(&mut self, now: Now, offset: Offset, record: &MetadataRecord, outbox: &mut Vec<Effect>) {
        let applied = self.broker.controller.on_committed(offset, record);
        let change = match applied.and_then(|()| self.broker.image.apply(offset, record)) {
            Ok(change) => change,
            Err(reason) => return outbox.push(unusable(&reason)),
        };
        if matches!(self.phase, Phase::Starting { .. }) {
            return;
        }
        match change {
            Change::Partition { topic, partition } => {
                for parked in assign::changed(&mut self.broker, now, topic, partition, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            Change::TopicRemoved { topic, name, .. } => {
                for parked in assign::topic_removed(&mut self.broker, now, topic, &name, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            Change::Config(Resource::Topic(name)) => {
                if let Some(topic) = self.broker.image.topics.id_of(&name) {
                    self.broker.refresh_topic(topic);
                }
            }
            Change::Config(Resource::Broker(_)) => self.broker.refresh_all_topics(),
            Change::Config(Resource::Group(_) | Resource::Other(..)) | Change::None => {}
        }
    }

    fn on_directory_disk(&mut self, now: Now, number: u64, result: Result<DiskDone, DiskError>, outbox: &mut Vec<Effect>) {
        if let Err(reason) = result {
            return self.fail(now, reason, outbox);
        }
        match self.broker.directory.done(number) {
            After::Nothing => {}
            After::Kept => voter::on_kept(&mut self.broker, now),
            After::Reply(id) => self.on_checkpointed(id, outbox),
            After::ForgotDeleted => {
                for slot in self.broker.leaving.checkpointed() {
                    self.broker.mark_dirty(slot);
                }
            }
            After::Cut { slot } => self.on_repaired(now, slot, outbox),
            After::Placed { slot } => moving::placed(&mut self.broker, slot),
            After::Proven { file, base_offset } => {
                for parked in failing::proven(&mut self.broker, now, &file, base_offset, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            After::Stop if self.broker.directory.is_marking() => {}
            After::Stop => outbox.push(Effect::Stopped),
        }
    }

    fn on_snapshot_disk(&mut self, now: Now, result: Result<DiskDone, DiskError>, outbox: &mut Vec<Effect>) {
        match snapshot::on_disk(&mut self.broker, now, result, outbox) {
            Ok(()) => self.stop_when_closed(outbox),
            Err(reason) => self.fail(now, reason, outbox),
        }
    }

    /// A snapshot of the leader was read. What is wrong with it is the leader's; what is wrong with the disk is ours.
    fn on_snapshot_read(&mut self, now: Now, read: Result<Box<SnapshotRead>, LoadError>, outbox: &mut Vec<Effect>) {
        match read {
            Err(LoadError::Disk(reason)) => self.fail(now, reason, outbox),
            read => fetched::on_read(&mut self.broker, now, read.ok(), outbox),
        }
    }

    fn on_job(&mut self, now: Now, job: JobId, result: JobResult, outbox: &mut Vec<Effect>) {
        if job == voter::METADATA_JOB {
            return self.on_metadata_read(result, outbox);
        }
        match (self.broker.job_done(job), result) {
            (Some(JobOwner::Reply { parked, topic, partition }), result) => {
                self.on_reply_job(parked, topic, partition, result, outbox)
            }
            (Some(JobOwner::Coordinator { slot, epoch }), JobResult::CoordinatorLoaded(result)) => {
                if let Err(reason) = coordinator::on_loaded(&mut self.broker, slot, epoch, result) {
                    self.fail(now, reason, outbox);
                }
            }
            (Some(JobOwner::ShareStart { key }), JobResult::FoundTimestamp(found)) => {
                share::on_found(&mut self.broker, &key, found);
            }
            (Some(JobOwner::ShareRead { parked, index, key }), JobResult::ShareRead(result)) => {
                share::waiting::read(&mut self.broker, now, parked, index, &key, result, outbox);
            }
            (Some(JobOwner::Copy(wanted)), JobResult::CopyRead(result)) => {
                for parked in moving::on_read(&mut self.broker, now, wanted, result, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            (Some(JobOwner::Scrub(wanted)), JobResult::CopyRead(result)) => {
                for parked in scrubbing::on_read(&mut self.broker, now, &wanted, result, outbox) {
                    self.give_up(parked, outbox);
                }
            }
            (Some(JobOwner::Cut { slot }), JobResult::Truncated(result)) => {
                match following::scanned(&mut self.broker, now, slot, result, outbox) {
                    Ok(parked) => parked.into_iter().for_each(|parked| self.give_up(parked, outbox)),
                    Err(reason) => self.fail(now, reason, outbox),
                }
            }
            _ => {}
        }
    }

    /// The metadata log was read anew, up to where it is cut.
    fn on_metadata_read(&mut self, result: JobResult, outbox: &mut Vec<Effect>) {
        let JobResult::Truncated(cut) = result else { return };
        match cut {
            Ok(cut) => {
                self.broker.controller.on_scanned(*cut);
                self.stop_when_closed(outbox);
            }
            Err(error) => outbox.push(unusable(&error)),
        }
    }

    fn on_tick(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        voter::tick(&mut self.broker, now);
        while let Some(parked) = self.broker.waiting.overdue(now.monotonic_ms) {
            if !share::overdue(&mut self.broker, now, parked, outbox) {
                self.give_up(parked, outbox);
            }
        }
        if self.is_serving() {
            coordinator::on_tick(&mut self.broker, now, outbox);
            share::on_tick(&mut self.broker, now);
            self.due.run(now, &mut self.broker, outbox);
            snapshot::consider(&mut self.broker, now, outbox);
            cleaning::run(&mut self.broker, now, outbox);
            scrubbing::run(&mut self.broker, now, outbox);
            moving::on_tick(&mut self.broker, now);
            for slot in self.broker.throttles.take_left_out() {
                for parked in self.broker.followers.news(slot) {
                    self.try_follower(parked, outbox);
                }
            }
            while let Some((due, slot)) = self.broker.removals.first().copied().filter(|(due, _)| *due <= now.wall_ms) {
                self.broker.removals.remove(&(due, slot));
                self.broker.mark_dirty(slot);
            }
        }
    }

    fn on_shutdown(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        match self.phase {
            Phase::Stopping { .. } | Phase::Stopped => return,
            Phase::Serving if !self.broker.is_alone && self.broker.topology.roles.broker => {
                self.phase = Phase::Leaving { until_ms: now.monotonic_ms + LEAVE_MAX_MS, is_done: false };
                return self.broker.membership.leave();
            }
            Phase::Starting { .. } | Phase::Serving | Phase::Leaving { .. } => {}
        }
        self.stop(now, outbox);
    }

    /// A log directory failed.
    fn fail(&mut self, now: Now, reason: DiskError, outbox: &mut Vec<Effect>) {
        for parked in failing::failed(&mut self.broker, now, reason, outbox) {
            self.give_up(parked, outbox);
        }
        if let Phase::Stopping { closing } = &mut self.phase {
            closing.retain(|slot| self.broker.replicas.get(*slot).is_some());
            self.stop_when_closed(outbox);
        }
    }

    /// Closes everything.
    fn stop(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        for parked in self.broker.waiting.select(|parked| matches!(parked.until, Until::BytesReadable(_))) {
            self.give_up(parked, outbox);
        }
        self.broker.cleaning.stop();
        moving::stop(&mut self.broker);
        outbox.push(Effect::Unlisten { hang_up: !self.broker.is_alone });
        let mut closing = BTreeSet::new();
        for (slot, replica) in self.broker.replicas.iter_mut().filter(|(_, replica)| !replica.deleted) {
            // A log that is being cut back is closed when it is whole, one that changes places when it has.
            let is_busy = replica.truncation.is_some() || self.broker.moves.changes_places(slot);
            if is_busy || (replica.log.close().is_ok() && !replica.log.is_closed()) {
                closing.insert(slot);
            }
        }
        if self.broker.controller.quorum.voters().len() > 1 {
            self.broker.controller.quorum.resign(now.monotonic_ms);
            voter::follow_up(&mut self.broker, now, outbox);
        }
        // Only a failed log refuses to close, and that has ended the process.
        let _ = self.broker.controller.log_mut().close();
        closing.iter().for_each(|slot| self.broker.mark_dirty(*slot));
        self.phase = Phase::Stopping { closing };
        self.stop_when_closed(outbox);
    }

    fn stop_when_closed(&mut self, outbox: &mut Vec<Effect>) {
        let Phase::Stopping { closing } = &mut self.phase else { return };
        // Nobody waits for one that is deleted, but for what is under way for it.
        let replicas = &self.broker.replicas;
        closing.retain(|slot| replicas.get(*slot).is_some_and(|replica| !replica.deleted || replica.log.is_in_flight()));
        // The metadata log may have been cut back, or begun anew, since it was closed: another one has its place, which is open.
        let _ = self.broker.controller.log_mut().close();
        if !closing.is_empty() || !self.broker.controller.log().is_closed() || self.broker.snapshots.give_up() {
            return;
        }
        let mark = CleanShutdown { broker_epoch: self.broker.identity.epoch };
        for log_dir in self.broker.log_dirs.working().collect::<Vec<_>>() {
            upkeep::write_checkpoints(&mut self.broker, log_dir, After::Nothing, outbox);
            self.broker.directory.write(FilePath::of(log_dir, CLEAN_SHUTDOWN), mark.encode(), After::Stop, outbox);
        }
        self.phase = Phase::Stopped;
    }
}
