//! Consuming as a member of a group: the group shares the partitions of its topics, and remembers how far it has come.
//!
//! ```text
//! member (classic | modern) -> shared (take on, give up) -> fetcher -> poll -> batch -> ledger -> committer
//! ```
//! The member's task speaks with the coordinator and never waits for the caller longer than a rebalance may take; the
//! committer stores what is done. `ledger.rs` and `assignor.rs` hold the decisions, without clock or socket.
//!
//! Invariants. Records of a partition come in order. An offset is committed only when every record before it was
//! acknowledged, or by the caller's own word. A partition is given back after its batches are dropped, or when the group
//! would not wait longer.

mod assignor;
mod batch;
mod builder;
mod classic;
mod error;
mod ledger;
mod member;
mod modern;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::ids::Offset;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::builder::Settings;
use self::member::Leave;
use self::shared::Shared;
use crate::TopicPartition;
use crate::client::Client;
use crate::fetcher::{self, Chunk, Commands};
use crate::group::{CommittedOffset, GroupMetadata};
use crate::offsets::OffsetSpec;
use crate::reader::{ReadError, find};

pub use assignor::Assignor;
pub use batch::Batch;
pub use builder::{Commit, ConsumerBuilder, GroupProtocol};
pub use error::ConsumeError;

/// How long a consumer that is dropped, not closed, waits for its batches before it leaves.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A change of the assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// These are ours now.
    Assigned(BTreeSet<TopicPartition>),
    /// These are given back; what is done is committed next.
    Revoked(BTreeSet<TopicPartition>),
    /// These are another's already; what was not committed is done again there.
    Lost(BTreeSet<TopicPartition>),
}

impl Rebalance {
    #[must_use]
    pub fn partitions(&self) -> &BTreeSet<TopicPartition> {
        match self {
            Self::Assigned(partitions) | Self::Revoked(partitions) | Self::Lost(partitions) => partitions,
        }
    }
}

/// A member of a group. Close it: one that is dropped leaves the group in the background, if the runtime lives.
pub struct Consumer {
    shared: Arc<Shared>,
    chunks: mpsc::Receiver<Result<Chunk, ReadError>>,
    leave: Arc<watch::Sender<Leave>>,
    left: watch::Receiver<Leave>,
    member: Option<JoinHandle<()>>,
}

/// Ends a consumer's polls from elsewhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    leave: Arc<watch::Sender<Leave>>,
}

impl Stopper {
    /// From now on `poll` answers with `None`.
    pub fn stop(&self) {
        self.leave.send_if_modified(|leave| {
            let fresh = *leave == Leave::No;
            if fresh {
                *leave = Leave::Polling;
            }
            fresh
        });
    }
}

impl Consumer {
    async fn start(client: Client, settings: Settings) -> Result<Self, ConsumeError> {
        let (commands, wishes) = mpsc::unbounded_channel();
        let chunks = fetcher::start(client.clone(), settings.fetch.clone(), Vec::new(), Commands::from(wishes));
        let shared = Arc::new(Shared::new(client, settings, commands));
        let (leave, left) = watch::channel(Leave::No);
        let member = member::start(Arc::clone(&shared), left.clone()).await?;
        Ok(Self { shared, chunks, leave: Arc::new(leave), left, member: Some(member) })
    }

    /// The next records, all of one partition; `None` once the consumer was stopped. Partitions take turns.
    ///
    /// # Errors
    /// [`ConsumeError`]. After an error that is not fatal the next poll goes on: of a partition that cannot be read nothing
    /// comes until it is sought or assigned anew, and a member that was put out of its group joins again.
    ///
    /// Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Option<Batch>, ConsumeError> {
        let shared = Arc::clone(&self.shared);
        let _polling = Polling::begin(&shared);
        loop {
            if *self.left.borrow() != Leave::No {
                return Ok(None);
            }
            if let Some(error) = shared.take_trouble() {
                return Err(error);
            }
            tokio::select! {
                chunk = self.chunks.recv() => {
                    let Some(chunk) = chunk else { return Err(ConsumeError::Closed) };
                    let chunk = chunk?;
                    if let Some(lease) = shared.hand_out(&chunk.partition, chunk.version, chunk.next) {
                        return Ok(Some(Batch::new(Arc::clone(&shared), lease, chunk)));
                    }
                }
                () = shared.troubled.notified() => {}
                _ = self.left.changed() => {}
            }
        }
    }

    /// A handle that ends `poll` from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { leave: Arc::clone(&self.leave) }
    }

    /// The partitions of this member at the moment.
    #[must_use]
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.shared.assignment()
    }

    /// The member's id; `None` while it is in no group.
    #[must_use]
    pub fn member_id(&self) -> Option<String> {
        self.shared.identity().map(|identity| identity.member_id)
    }

    /// The group, and who this member is in it: for offsets that a transaction commits.
    ///
    /// # Errors
    /// `NotMember` while it is in no group.
    pub fn group_metadata(&self) -> Result<GroupMetadata, ConsumeError> {
        let identity = self.shared.identity().ok_or(ConsumeError::NotMember)?;
        Ok(GroupMetadata::of_member(&self.shared.settings.group, identity))
    }

    /// Commits what was acknowledged.
    ///
    /// # Errors
    /// [`ConsumeError`]; ILLEGAL_GENERATION or UNKNOWN_MEMBER_ID say that the partition is another's.
    ///
    /// Dropping the future drops the answer, not the commit, if it was sent.
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        self.shared.commit_done(self.shared.patience()).await
    }

    /// Has what was acknowledged committed soon; what goes wrong is logged, and tried again with the next commit.
    pub fn commit_soon(&self) {
        self.shared.commit_soon.notify_one();
    }

    /// Commits these offsets, whatever was acknowledged: each is that of the next record to read.
    ///
    /// # Errors
    /// As `commit`.
    pub async fn commit_offsets(
        &self,
        offsets: impl IntoIterator<Item = (TopicPartition, CommittedOffset)>,
    ) -> Result<(), ConsumeError> {
        self.shared.commit_these(offsets.into_iter().collect()).await
    }

    /// What the group has committed for these partitions.
    ///
    /// # Errors
    /// [`ConsumeError`] if the coordinator could not be asked, or refuses.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ConsumeError> {
        let fetched = self.shared.committed(&partitions.into_iter().collect()).await?;
        let stored = fetched.into_iter().filter_map(|(partition, one)| Some((partition, one.ok()??)));
        Ok(stored.collect())
    }

    /// The offset of the next record that `poll` hands out of a partition.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn position(&self, partition: &TopicPartition) -> Result<Offset, ConsumeError> {
        self.shared.position(partition)
    }

    /// Goes on at this offset of a partition. Batches that are held can be acknowledged, to no effect.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        self.shared.seek(partition, offset)
    }

    /// Hands out no more records of a partition, until `resume`. A partition that is given back and comes again is not
    /// paused any more.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn pause(&self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.shared.pause(partition)
    }

    /// Hands out records of a partition again.
    ///
    /// # Errors
    /// `NotAssigned`.
    pub fn resume(&self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.shared.resume(partition)
    }

    /// How many offsets lie between the position and the end of each partition of this member.
    ///
    /// # Errors
    /// [`ConsumeError`] if the ends could not be found out.
    pub async fn lag(&self) -> Result<BTreeMap<TopicPartition, i64>, ConsumeError> {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in self.assignment() {
            topics.entry(topic).or_default().push(partition);
        }
        let mut lag = BTreeMap::new();
        for (topic, partitions) in topics {
            let isolation = self.shared.settings.fetch.isolation;
            let ends = find(&self.shared.client, &topic, &partitions, OffsetSpec::Latest, isolation).await?;
            for (partition, end) in ends {
                let key = (topic.clone(), partition);
                if let (Ok(position), Some(end)) = (self.position(&key), end.offset) {
                    lag.insert(key, end.distance_from(position).max(0));
                }
            }
        }
        Ok(lag)
    }

    /// Gives all partitions back, commits what was acknowledged, unless commits are the caller's alone, and leaves the group. Batches that are held are waited for
    /// until the deadline. A static member stays in the group until its session ends.
    pub async fn close(mut self, deadline: Duration) {
        self.leave.send_replace(Leave::Within(deadline));
        if let Some(member) = self.member.take() {
            // A task that panicked has said so.
            let _ = member.await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave.send_if_modified(|leave| {
            let leaving = matches!(leave, Leave::Within(_));
            if !leaving {
                *leave = Leave::Within(DROP_PATIENCE);
            }
            !leaving
        });
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Consumer").field("group", &self.shared.settings.group).finish_non_exhaustive()
    }
}

/// The caller waits for records.
struct Polling<'a>(&'a Shared);

impl<'a> Polling<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.begin_poll();
        Self(shared)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.end_poll();
    }
}
