//! What a consumer consumes, and how it behaves in its group.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::assignor::Assignor;
use super::error::ConsumeError;
use super::{Consumer, Rebalance};
use crate::client::Client;
use crate::fetcher::FetchSettings;
use crate::reader::{Isolation, OutOfRange, Start};

/// Which protocol the members of the group speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The new one if the coordinator serves it, else the classic one.
    #[default]
    Auto,
    /// JoinGroup and SyncGroup: a member assigns.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): the coordinator assigns.
    Consumer,
}

/// When offsets are committed. Unless that is the caller's alone, what is done is also committed when partitions are given
/// back, and by `close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Batches that were acknowledged, at this interval: every record is processed at least once.
    OnAck(Duration),
    /// As `OnAck`, and a batch that is dropped counts as acknowledged.
    Auto(Duration),
    /// When `commit` or `commit_offsets` is called, and never else.
    Manual,
}

/// The default of `Commit`'s interval: little is done again after a crash, and it costs nothing to speak of.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Told of every change of the assignment.
pub(super) type Listener = Arc<dyn Fn(&Rebalance) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) group: String,
    pub(super) topics: BTreeSet<String>,
    pub(super) pattern: Option<String>,
    pub(super) protocol: GroupProtocol,
    pub(super) assignors: Vec<Assignor>,
    pub(super) server_assignor: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) start: Start,
    pub(super) commit: Commit,
    pub(super) session_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
    pub(super) poll_interval_max: Duration,
    pub(super) fetch: FetchSettings,
    pub(super) listener: Option<Listener>,
}

/// Begins a consumer; see the defaults at each setting.
#[derive(Clone)]
pub struct ConsumerBuilder {
    client: Client,
    settings: Settings,
    out_of_range: Option<OutOfRange>,
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        formatter
            .debug_struct("ConsumerBuilder")
            .field("group", &settings.group)
            .field("topics", &settings.topics)
            .finish_non_exhaustive()
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client, group: String) -> Self {
        let settings = Settings {
            group,
            topics: BTreeSet::new(),
            pattern: None,
            protocol: GroupProtocol::Auto,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            server_assignor: None,
            instance: None,
            rack: None,
            start: Start::End,
            commit: Commit::OnAck(COMMIT_INTERVAL),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            poll_interval_max: Duration::from_secs(5 * 60),
            fetch: FetchSettings::default(),
            listener: None,
        };
        Self { client, settings, out_of_range: None }
    }

    /// The topics to consume. One that does not exist yet is consumed once it does.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Consumes the topics whose whole name matches this expression of RE2's syntax; the coordinator looks for them, so only
    /// the consumer protocol has it.
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.settings.pattern = Some(pattern.into());
        self
    }

    /// Which protocol is spoken; default the new one where it is served.
    #[must_use]
    pub fn protocol(mut self, protocol: GroupProtocol) -> Self {
        self.settings.protocol = protocol;
        self
    }

    /// How a classic group's leader shares partitions out, best first; default range, then cooperative-sticky. Members keep
    /// their partitions while others move only if all assignors are cooperative.
    #[must_use]
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.settings.assignors = assignors.into_iter().collect();
        self
    }

    /// The coordinator's assignor, `uniform` or `range`; default the coordinator's choice. Only the consumer protocol has it.
    #[must_use]
    pub fn server_assignor(mut self, name: impl Into<String>) -> Self {
        self.settings.server_assignor = Some(name.into());
        self
    }

    /// A name that outlives the process: a member that comes back under it within the session timeout keeps its partitions
    /// (KIP-345).
    #[must_use]
    pub fn instance_id(mut self, instance: impl Into<String>) -> Self {
        self.settings.instance = Some(instance.into());
        self
    }

    /// Where this consumer is, for assignors that look at it.
    #[must_use]
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.settings.rack = Some(rack.into());
        self
    }

    /// Where to begin in a partition for which the group has committed nothing; default at the end.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// When offsets are committed; default what was acknowledged, each second.
    #[must_use]
    pub fn commit(mut self, commit: Commit) -> Self {
        self.settings.commit = commit;
        self
    }

    /// After which silence a classic member is put out of its group; default 45 s. Members of the consumer protocol are told
    /// by their coordinator.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.session_timeout = timeout;
        self
    }

    /// How often a classic member says that it lives; default 3 s.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.heartbeat_interval = interval;
        self
    }

    /// How long batches may be worked on between two polls, and so how long a rebalance waits for them; default 5 min.
    #[must_use]
    pub fn poll_interval_max(mut self, interval: Duration) -> Self {
        self.settings.poll_interval_max = interval;
        self
    }

    /// Which records of transactions are read; default all.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.settings.fetch.isolation = isolation;
        self
    }

    /// What to do when the offset to read is not in the log any more; default as `start` says, if it is an end of the log.
    #[must_use]
    pub fn on_out_of_range(mut self, out_of_range: OutOfRange) -> Self {
        self.out_of_range = Some(out_of_range);
        self
    }

    /// Bytes that are fetched ahead of the caller; default 16 MiB.
    #[must_use]
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.fetch.prefetch_bytes = bytes;
        self
    }

    /// Called at every change of the assignment, by the task that carries it out: for revoked partitions when their batches
    /// are dropped and before what is done is committed. It must not block.
    #[must_use]
    pub fn on_rebalance(mut self, listener: impl Fn(&Rebalance) + Send + Sync + 'static) -> Self {
        self.settings.listener = Some(Arc::new(listener));
        self
    }

    /// Finds the coordinator and begins to join the group; partitions and records come with `poll`.
    ///
    /// # Errors
    /// [`ConsumeError`] if a setting is wrong or there is no coordinator.
    pub async fn build(mut self) -> Result<Consumer, ConsumeError> {
        let of_start = match self.settings.start {
            Start::Beginning => OutOfRange::Beginning,
            Start::End => OutOfRange::End,
            Start::Offset(_) | Start::Timestamp(_) => OutOfRange::Fail,
        };
        self.settings.fetch.out_of_range = self.out_of_range.unwrap_or(of_start);
        check(&self.settings).map_err(|what| ConsumeError::InvalidSetting { what })?;
        Consumer::start(self.client, self.settings).await
    }
}

fn check(settings: &Settings) -> Result<(), &'static str> {
    settings.fetch.check()?;
    if settings.group.is_empty() {
        return Err("a group has a name");
    }
    if settings.topics.is_empty() && settings.pattern.is_none() {
        return Err("a consumer has topics or a pattern");
    }
    if settings.protocol == GroupProtocol::Classic {
        if settings.pattern.is_some() {
            return Err("the classic protocol has no patterns");
        }
        if settings.server_assignor.is_some() {
            return Err("the classic protocol has no assignors of the server");
        }
    }
    if settings.assignors.is_empty() {
        return Err("a classic member has an assignor");
    }
    if settings.heartbeat_interval >= settings.session_timeout || settings.heartbeat_interval.is_zero() {
        return Err("the heartbeat interval is above zero and below the session timeout");
    }
    Ok(())
}
