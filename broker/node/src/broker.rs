//! The state of a broker: what every handler may look at, and the few moves that several of them share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use strandline_log::disk::FilePath;
use strandline_log::log::Log;
use strandline_log::names::partition_directory;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicName, Uuid};
use strandline_protocol::metadata::MetadataRecord;

use crate::cleaning::{CleanerSettings, Cleaning};
use crate::config::BrokerConfig;
use crate::config::topic::{CompactionLags, TopicConfig};
use crate::controller::Controller;
use crate::controller::topics::Bounds;
use crate::controller_channel::ControllerChannel;
use crate::controller_membership::ControllerMembership;
use crate::coordinator::Coordinators;
use crate::coordinator::settings::CoordinatorSettings;
use crate::coordinator::share::ShareKey;
use crate::dice::Dice;
use crate::directory::Directory;
use crate::flaws::{self, Flaw};
use crate::handlers::Answer;
use crate::holding::Held;
use crate::image::Image;
use crate::io::{Effect, Job, JobId, Now, PartitionRules, PeerAddress, RequestContext, RulesTable};
use crate::leaving::Leaving;
use crate::log_dirs::LogDirs;
use crate::markers::Markers;
use crate::membership::Membership;
use crate::offline::{Cause, Offline, OfflinePartition};
use crate::parked::{ParkedId, Place, Until, Waiting};
use crate::replica::Replica;
use crate::replica::assignments::Assignments;
use crate::replica::fetchers::Fetchers;
use crate::replica::following::Asked;
use crate::replica::in_sync::InSync;
use crate::replica::moving::{self, Moves, ReadFor};
use crate::replica::renewal::Renewals;
use crate::replica::sessions::FollowerSessions;
use crate::replica::table::Replicas;
use crate::scrubbing::{ScrubRead, Scrubbing};
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::share::Shares;
use crate::snapshot::Snapshots;
use crate::throttles::Throttles;
use crate::topology::Topology;
use crate::verification;

/// Who this broker is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: i32,
    pub cluster_id: String,
    /// Of the log directory that holds the metadata log.
    pub directory: Uuid,
    /// Of this process: new at every start.
    pub incarnation: Uuid,
    /// Of this registration; -1 until it is committed.
    pub epoch: i64,
}

/// What a finished job belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobOwner {
    /// A parked reply: an index into its response's topics, and one into that topic's partitions.
    Reply { parked: ParkedId, topic: usize, partition: usize },
    /// A log that is being cut back.
    Cut { slot: u32 },
    /// A coordinator that reads its log, of this leader epoch.
    Coordinator { slot: u32, epoch: LeaderEpoch },
    /// A replica that moves to another log directory.
    Copy(ReadFor),
    /// Nobody: a finished segment is looked through.
    Scrub(ScrubRead),
    /// A share group looks for where it begins.
    ShareStart { key: ShareKey },
    /// Records for one partition of a parked ShareFetch.
    ShareRead { parked: ParkedId, index: usize, key: ShareKey },
}

/// Producer ids that the controller gave this broker and that are not handed out yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub next: i64,
    pub end: i64,
}

pub struct Broker {
    pub identity: Identity,
    pub config: BrokerConfig,
    pub topology: Topology,
    /// Whether this process is the whole cluster, by its configuration and by its metadata log.
    pub is_alone: bool,
    pub settings: Settings,
    /// Committed metadata.
    pub image: Image,
    pub controller: Controller,
    pub snapshots: Snapshots,
    /// What `format` chose for a new cluster to begin with.
    pub(crate) bootstrap: Vec<MetadataRecord>,
    pub channel: ControllerChannel,
    pub membership: Membership,
    pub(crate) controller_membership: ControllerMembership,
    pub replicas: Replicas,
    pub(crate) coordinators: Coordinators,
    pub(crate) shares: Shares,
    pub(crate) markers: Markers,
    /// Requests that wait for a coordinator of transactions.
    pub(crate) verifying: verification::Queues,
    /// Requests that wait until a transaction is complete.
    pub(crate) held: Held,
    pub offline: Offline,
    pub log_dirs: LogDirs,
    pub waiting: Waiting,
    pub sessions: Sessions,
    /// Sessions of followers.
    pub(crate) followers: FollowerSessions,
    /// Parked fetches to answer although they have no news.
    pub(crate) answer_now: Vec<ParkedId>,
    pub(crate) fetchers: Fetchers,
    pub(crate) in_sync: InSync,
    pub(crate) renewals: Renewals,
    pub(crate) assignments: Assignments,
    pub(crate) moves: Moves,
    pub(crate) throttles: Throttles,
    /// What was asked of other nodes for replication, by tag.
    pub(crate) asked: BTreeMap<u64, Asked>,
    next_tag: u64,
    /// Where the active controller is reached, if it is another node and known.
    pub(crate) active_controller: Option<PeerAddress>,
    pub directory: Directory,
    pub dice: Dice,
    pub producer_ids: ProducerIdBlock,
    /// A block was asked of the controller.
    pub producer_ids_asked: bool,
    /// The block is committed once the metadata log is committed up to here.
    pub producer_ids_before: Offset,
    /// Topics that a Metadata request asked to create and that are not committed yet.
    pub auto_creating: BTreeSet<TopicName>,
    /// Replies that wait for the metadata log, in order of offset.
    metadata_waiters: VecDeque<(Offset, ParkedId)>,
    jobs: BTreeMap<JobId, JobOwner>,
    next_job: u64,
    topic_configs: BTreeMap<TopicId, Arc<TopicConfig>>,
    default_config: Arc<TopicConfig>,
    /// Logs that are being compacted.
    pub cleaning: Cleaning,
    pub(crate) scrubbing: Scrubbing,
    /// Directories that deleted partitions have not left yet.
    pub leaving: Leaving,
    /// When logs remove files that they gave up, by the wall clock.
    pub removals: BTreeSet<(i64, u32)>,
    /// Slots whose role changed, not told to the coordinators yet.
    pub(crate) roles_changed: Vec<u32>,
    /// Slots whose log may have something for the disk.
    dirty: Vec<u32>,
    /// Topics changed since rules were last published.
    rules_stale: bool,
}

/// What a broker is made of at start.
pub struct Parts {
    pub identity: Identity,
    pub config: BrokerConfig,
    pub topology: Topology,
    pub is_alone: bool,
    pub settings: Settings,
    pub image: Image,
    pub controller: Controller,
    pub snapshots: Snapshots,
    pub bootstrap: Vec<MetadataRecord>,
    pub offline: Offline,
    pub log_dirs: LogDirs,
    pub directory: Directory,
    pub dice: Dice,
    /// From the mark of a clean shutdown; -1 without one.
    pub previous_epoch: i64,
}

impl Broker {
    /// A broker that hosts nothing yet.
    pub fn new(parts: Parts) -> Self {
        let default_config = Arc::new(parts.image.layers(&parts.config, parts.identity.node_id).topic_config(None));
        let throttles = Throttles::read(&parts.image.layers(&parts.config, parts.identity.node_id));
        let cleaners = CleanerSettings::read(&parts.image.layers(&parts.config, parts.identity.node_id));
        let scrubbing = Scrubbing::new(&parts.image.layers(&parts.config, parts.identity.node_id));
        let membership = Membership::new(parts.previous_epoch, parts.settings.heartbeat_interval_ms);
        Self {
            sessions: Sessions::new(parts.settings.fetch_sessions_max),
            coordinators: Coordinators::new(CoordinatorSettings::read(&parts.config)),
            shares: Shares::new(usize::try_from(parts.config.number("group.share.max.share.sessions")).unwrap_or(0)),
            markers: Markers::default(),
            verifying: verification::Queues::default(),
            held: Held::default(),
            cleaning: Cleaning::new(cleaners),
            scrubbing,
            identity: parts.identity,
            config: parts.config,
            topology: parts.topology,
            is_alone: parts.is_alone,
            settings: parts.settings,
            image: parts.image,
            controller: parts.controller,
            snapshots: parts.snapshots,
            bootstrap: parts.bootstrap,
            channel: ControllerChannel::default(),
            membership,
            controller_membership: ControllerMembership::default(),
            replicas: Replicas::default(),
            offline: parts.offline,
            log_dirs: parts.log_dirs,
            waiting: Waiting::default(),
            followers: FollowerSessions::default(),
            answer_now: Vec::new(),
            fetchers: Fetchers::default(),
            in_sync: InSync::default(),
            renewals: Renewals::default(),
            assignments: Assignments::default(),
            moves: Moves::default(),
            throttles,
            asked: BTreeMap::new(),
            next_tag: 0,
            active_controller: None,
            directory: parts.directory,
            dice: parts.dice,
            producer_ids: ProducerIdBlock::default(),
            producer_ids_asked: false,
            producer_ids_before: Offset::ZERO,
            auto_creating: BTreeSet::new(),
            metadata_waiters: VecDeque::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            topic_configs: BTreeMap::new(),
            default_config,
            leaving: Leaving::default(),
            removals: BTreeSet::new(),
            roles_changed: Vec::new(),
            dirty: Vec::new(),
            rules_stale: true,
        }
    }

    /// A hosted partition by the topic's name.
    ///
    /// # Errors
    /// Those of [`Broker::slot`].
    pub fn replica_by_name(&self, topic: &TopicName, partition: i32) -> Result<&Replica, ErrorCode> {
        let id = self.image.topics.id_of(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let slot = self.slot(id, partition)?;
        self.replicas.get(slot).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// The slot of a hosted partition.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR if it is offline, NOT_LEADER_OR_FOLLOWER if it is elsewhere, UNKNOWN_TOPIC_OR_PARTITION.
    pub fn slot(&self, topic: TopicId, partition: i32) -> Result<u32, ErrorCode> {
        let exists = || self.image.topics.by_id(topic).is_some_and(|topic| topic.partitions.contains_key(&partition));
        self.replicas.slot(topic, partition).ok_or_else(|| match self.offline.contains(topic, partition) {
            true => ErrorCode::KAFKA_STORAGE_ERROR,
            false if exists() => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        })
    }

    /// What decisions about topics need to know.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            partitions_default: self.settings.partitions_default,
            replication_factor_default: self.settings.replication_factor_default,
            partitions_max: self.settings.partitions_max,
            compaction_lags: CompactionLags::read(&self.controller.image.cluster_layers(&self.config), None),
        }
    }

    /// Emits records and parks the reply that is true once they are committed.
    pub fn emit_then(
        &mut self,
        now: Now,
        context: &RequestContext,
        records: Vec<MetadataRecord>,
        response: Response,
    ) -> Answer {
        let before = self.controller.emit(now, records);
        self.reply_when_committed(context, before, response)
    }

    /// Sends a reply once the metadata log is committed up to `before`.
    pub fn reply_when_committed(&mut self, context: &RequestContext, before: Offset, response: Response) -> Answer {
        if self.controller.committed() >= before || flaws::is(Flaw::AnswersUncommitted) {
            return Answer::now(response);
        }
        let place = Place { connection: context.connection, sequence: context.sequence };
        let until = Until::MetadataCommitted { response: Box::new(response) };
        let parked = self.waiting.park(place, None, until);
        self.metadata_waiters.push_back((before, parked));
        Answer::Parked
    }

    /// Replies that waited for the metadata log and need not any more.
    pub fn committed_waiters(&mut self, committed: Offset) -> Vec<ParkedId> {
        let count = self.metadata_waiters.partition_point(|(before, _)| *before <= committed);
        self.metadata_waiters.drain(..count).map(|(_, parked)| parked).collect()
    }

    /// Replies that waited for the metadata log when leadership was lost: nobody knows whether they are true.
    pub fn abandoned_waiters(&mut self) -> Vec<ParkedId> {
        self.metadata_waiters.drain(..).map(|(_, parked)| parked).collect()
    }

    /// The slot's log is looked at when the burst of inputs is over.
    pub fn mark_dirty(&mut self, slot: u32) {
        if let Some(replica) = self.replicas.get_mut(slot)
            && !replica.dirty
        {
            replica.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Whether something is left to look at before the burst is over.
    pub(crate) fn is_unsettled(&self, now: Now) -> bool {
        let is_settled = self.dirty.is_empty() && self.answer_now.is_empty() && !self.coordinators.is_unsettled();
        !is_settled || self.moves.is_unsettled() || self.shares.is_unsettled(now)
    }

    /// Slots marked since the last call.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty)
    }

    /// A number for a request to another node, never used twice.
    pub(crate) fn next_tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    /// Starts a job whose result belongs to a parked reply.
    pub(crate) fn start_job(&mut self, owner: JobOwner, what: Job, outbox: &mut Vec<Effect>) {
        let job = self.next_job();
        self.jobs.insert(job, owner);
        outbox.push(Effect::Start { job, what });
    }

    /// A name for a job.
    pub fn next_job(&mut self) -> JobId {
        let job = JobId(self.next_job);
        self.next_job += 1;
        job
    }

    /// To whom a finished job belongs.
    pub(crate) fn job_done(&mut self, job: JobId) -> Option<JobOwner> {
        self.jobs.remove(&job)
    }

    /// A topic's typed configuration.
    pub fn topic_config(&self, topic: TopicId) -> Arc<TopicConfig> {
        self.topic_configs.get(&topic).unwrap_or(&self.default_config).clone()
    }

    /// Reads a topic's configuration anew and gives it to its replicas.
    pub fn refresh_topic(&mut self, topic: TopicId) {
        let Some(name) = self.image.topics.by_id(topic).map(|topic| topic.name.clone()) else {
            self.topic_configs.remove(&topic);
            self.rules_stale = true;
            return;
        };
        let config = match self.image.topic_overrides(&name) {
            None => self.default_config.clone(),
            overrides => Arc::new(self.image.layers(&self.config, self.identity.node_id).topic_config(overrides)),
        };
        let copies = moving::copies_of(self, topic);
        let slots: Vec<u32> = self.replicas.of_topic(topic).chain(copies).collect();
        for slot in slots {
            if let Some(replica) = self.replicas.get_mut(slot) {
                replica.config = config.clone();
                replica.log.set_config(config.log.clone());
            }
            // A log that has to be durable from now on has something for the disk.
            self.mark_dirty(slot);
        }
        self.topic_configs.insert(topic, config);
        self.rules_stale = true;
    }

    /// The broker's own keys changed: every topic is read anew.
    pub fn refresh_all_topics(&mut self) {
        let layers = self.image.layers(&self.config, self.identity.node_id);
        self.default_config = Arc::new(layers.topic_config(None));
        self.cleaning.refresh(CleanerSettings::read(&layers));
        self.scrubbing.refresh(&layers);
        if self.throttles.refresh(&layers) {
            self.moves.on_throttle();
        }
        let ids: Vec<TopicId> = self.image.topics.iter().map(|topic| topic.id).collect();
        for id in ids {
            self.refresh_topic(id);
        }
    }

    /// What the rim judges batches by, if that changed since the last call.
    pub fn take_rules(&mut self) -> Option<Arc<RulesTable>> {
        if !std::mem::take(&mut self.rules_stale) {
            return None;
        }
        let mut table = RulesTable::default();
        for topic in self.image.topics.iter() {
            let rules: PartitionRules = Arc::new(self.topic_config(topic.id).rules);
            table.by_name.push((topic.name.clone(), rules.clone()));
            table.by_id.push((topic.id, rules));
        }
        table.by_id.sort_by_key(|(id, _)| *id);
        Some(Arc::new(table))
    }

    /// Hosts a partition with this log, new or recovered, and what was known of its high watermark. Answers with its slot.
    pub fn host(&mut self, topic: TopicId, name: TopicName, partition: i32, mut log: Log, high_watermark: Offset) -> u32 {
        let config = self.topic_config(topic);
        log.set_config(config.log.clone());
        self.replicas.insert(Replica::new(topic, name, partition, config, log, high_watermark))
    }

    /// Hosts the offline partitions of a topic that is being deleted, so that their directories go like all others.
    pub fn host_to_delete(&mut self, topic: TopicId) {
        let offline: Vec<_> = self.offline.take(topic).collect();
        for gone in offline {
            self.host_unopened(gone);
        }
    }

    /// Hosts an offline partition whose directory is to go; one that is away has none here.
    pub fn host_unopened(&mut self, gone: OfflinePartition) {
        let Cause::Damaged { log_dir, .. } = gone.cause else { return };
        let directory = FilePath::of(log_dir, &partition_directory(gone.name.as_str(), gone.partition));
        let log = Log::unopened(directory, gone.topic, self.topic_config(gone.topic).log.clone());
        self.host(gone.topic, gone.name, gone.partition, log, Offset::ZERO);
    }

    /// The id of the log directory that a hosted partition lies in.
    pub(crate) fn directory_of(&self, slot: u32) -> Option<Uuid> {
        self.log_dirs.id_of(self.replicas.get(slot)?.log_dir())
    }

    /// The next producer id, if the block has one left.
    pub fn take_producer_id(&mut self) -> Option<ProducerId> {
        if self.producer_ids.next >= self.producer_ids.end {
            return None;
        }
        let id = self.producer_ids.next;
        self.producer_ids.next += 1;
        Some(ProducerId(id))
    }
}
