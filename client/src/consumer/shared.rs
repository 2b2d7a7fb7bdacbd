//! What the caller's handle, the member's task and the committer share, and what each of them may do with it: take
//! partitions on, give them up, commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Rebalance;
use super::builder::{Commit, Settings};
use super::error::ConsumeError;
use super::ledger::Ledger;
use crate::TopicPartition;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::client::Client;
use crate::connection::CallOptions;
use crate::coordinator::{Coordinator, CoordinatorError, KeyType, Lost};
use crate::error::KafkaError;
use crate::fetcher::Command;
use crate::group::{CommittedOffset, Fetched, Identity, commit, fetch_committed};
use crate::locked::locked;
use crate::offsets::OffsetSpec;
use crate::reader::{Isolation, ReadError, Start, find};

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// The member's way to the coordinator, and that of its commits.
    pub(super) member: Coordinator,
    commits: Coordinator,
    /// One commit at a time: a late one must not overtake and undo its successor.
    committing: tokio::sync::Mutex<()>,
    ledger: Mutex<Ledger>,
    fetcher: mpsc::UnboundedSender<Command>,
    identity: Mutex<Option<Identity>>,
    trouble: Mutex<Option<ConsumeError>>,
    polling: Mutex<Polling>,
    /// A batch was dropped.
    pub(super) released: Notify,
    /// There is trouble that `poll` should tell.
    pub(super) troubled: Notify,
    /// `poll` was called.
    pub(super) polled: Notify,
    /// A commit is wanted soon.
    pub(super) commit_soon: Notify,
}

/// Whether the caller waits for records, or since when it does not.
#[derive(Clone, Copy, Debug)]
enum Polling {
    Waiting,
    Since(Instant),
}

impl Shared {
    pub(super) fn new(client: Client, settings: Settings, fetcher: mpsc::UnboundedSender<Command>) -> Self {
        let coordinator = || Coordinator::new(client.clone(), KeyType::Group, settings.group.clone());
        Self {
            member: coordinator(),
            commits: coordinator(),
            committing: tokio::sync::Mutex::default(),
            ledger: Mutex::default(),
            fetcher,
            identity: Mutex::default(),
            trouble: Mutex::default(),
            polling: Mutex::new(Polling::Since(Instant::now())),
            released: Notify::new(),
            troubled: Notify::new(),
            polled: Notify::new(),
            commit_soon: Notify::new(),
            client,
            settings,
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.client.shared.settings.request_timeout
    }

    pub(super) fn set_identity(&self, identity: Option<Identity>) {
        *locked(&self.identity) = identity;
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        locked(&self.identity).clone()
    }

    pub(super) fn error(&self, code: ErrorCode, message: Option<String>) -> ConsumeError {
        ConsumeError::Group { group: self.settings.group.clone(), code, message }
    }

    /// Something that `poll` tells, once.
    pub(super) fn trouble(&self, error: ConsumeError) {
        *locked(&self.trouble) = Some(error);
        self.troubled.notify_one();
    }

    pub(super) fn take_trouble(&self) -> Option<ConsumeError> {
        locked(&self.trouble).take()
    }

    pub(super) fn begin_poll(&self) {
        *locked(&self.polling) = Polling::Waiting;
        self.polled.notify_one();
    }

    pub(super) fn end_poll(&self) {
        *locked(&self.polling) = Polling::Since(Instant::now());
    }

    /// Whether the caller has worked on what it polled for too long.
    pub(super) fn is_overdue(&self) -> bool {
        match *locked(&self.polling) {
            Polling::Waiting => false,
            Polling::Since(since) => since.elapsed() > self.settings.poll_interval_max,
        }
    }

    /// Waits until the caller polls, after it has not for too long.
    pub(super) async fn polled_again(&self) {
        while self.is_overdue() {
            self.polled.notified().await;
        }
    }

    pub(super) fn assignment(&self) -> BTreeSet<TopicPartition> {
        locked(&self.ledger).partitions()
    }

    pub(super) fn hand_out(&self, partition: &TopicPartition, version: u64, next: Offset) -> Option<u64> {
        locked(&self.ledger).hand_out(partition, version, next)
    }

    pub(super) fn is_leased(&self, lease: u64) -> bool {
        locked(&self.ledger).is_leased(lease)
    }

    pub(super) fn finish(&self, lease: u64, acknowledged: bool) {
        locked(&self.ledger).finish(lease, acknowledged);
        self.released.notify_one();
    }

    pub(super) fn position(&self, partition: &TopicPartition) -> Result<Offset, ConsumeError> {
        locked(&self.ledger).position(partition).ok_or_else(|| not_assigned(partition))
    }

    pub(super) fn seek(&self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        let mut ledger = locked(&self.ledger);
        let version = ledger.seek(partition, offset).ok_or_else(|| not_assigned(partition))?;
        if !ledger.is_paused(partition) {
            self.tell(Command::Set { partition: partition.clone(), from: offset, version });
        }
        Ok(())
    }

    pub(super) fn pause(&self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        if !locked(&self.ledger).pause(partition) {
            return Err(not_assigned(partition));
        }
        self.tell(Command::Remove { partition: partition.clone() });
        Ok(())
    }

    pub(super) fn resume(&self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        let mut ledger = locked(&self.ledger);
        if let Some((from, version)) = ledger.resume(partition) {
            self.tell(Command::Set { partition: partition.clone(), from, version });
        }
        ledger.position(partition).map(drop).ok_or_else(|| not_assigned(partition))
    }

    fn tell(&self, command: Command) {
        // A fetcher that has ended has said why, and poll tells it.
        let _ = self.fetcher.send(command);
    }

    fn notice(&self, rebalance: &Rebalance) {
        if let Some(listener) = self.settings.listener.as_ref().filter(|_| !rebalance.partitions().is_empty()) {
            listener(rebalance);
        }
    }

    /// Finds out where to begin in these partitions and begins. Those that cannot be read yet are left out.
    pub(super) async fn take_on(&self, partitions: BTreeSet<TopicPartition>) -> Result<(), ConsumeError> {
        let committed = self.committed(&partitions).await?;
        let mut starts: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
        let mut fresh: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (partition, stored) in committed {
            match stored {
                Ok(Some(stored)) => drop(starts.insert(partition, stored.offset)),
                Ok(None) => fresh.entry(partition.0).or_default().push(partition.1),
                Err(code) => {
                    let (topic, partition) = partition;
                    return Err(ReadError::Refused { topic, partition, code }.into());
                }
            }
        }
        for (topic, fresh) in fresh {
            match self.fresh_starts(&topic, &fresh).await {
                Ok(found) => starts.extend(found.into_iter().map(|(one, offset)| ((topic.clone(), one), offset))),
                Err(error) if error.is_retriable() => tracing::debug!(%topic, %error, "no place to begin yet"),
                Err(error) => return Err(error.into()),
            }
        }
        let taken: BTreeSet<TopicPartition> = starts.keys().cloned().collect();
        for (partition, from) in starts {
            let version = locked(&self.ledger).assign(partition.clone(), from);
            self.tell(Command::Set { partition, from, version });
        }
        self.notice(&Rebalance::Assigned(taken));
        Ok(())
    }

    /// What the group has stored; asked again while something of it is undecided.
    pub(super) async fn committed(&self, partitions: &BTreeSet<TopicPartition>) -> Result<Fetched, ConsumeError> {
        let (deadline, mut dice) = (Instant::now() + self.patience(), Dice::new());
        for failures in 1.. {
            let identity = self.identity().ok_or(ConsumeError::NotMember)?;
            let fetched = fetch_committed(&self.commits, &identity, Some(partitions), self.patience()).await;
            let code = match fetched.map_err(|error| ConsumeError::of(&self.settings.group, error))? {
                Ok(fetched) => match fetched.values().find_map(|one| one.as_ref().err().copied()) {
                    Some(code) if code.is_retriable() => code,
                    _ => return Ok(fetched),
                },
                Err(code) => code,
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            let again = code.is_retriable() || code == ErrorCode::STALE_MEMBER_EPOCH;
            if !again || Instant::now() + wait > deadline {
                return Err(self.error(code, None));
            }
            tokio::time::sleep(wait).await;
        }
        Err(ConsumeError::NotMember)
    }

    async fn fresh_starts(&self, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Offset>, ReadError> {
        let isolation = self.settings.fetch.isolation;
        let (spec, isolation) = match self.settings.start {
            Start::Offset(offset) => return Ok(partitions.iter().map(|one| (*one, offset)).collect()),
            Start::Beginning => (OffsetSpec::Earliest, Isolation::ReadUncommitted),
            Start::End => (OffsetSpec::Latest, isolation),
            Start::Timestamp(timestamp) => (OffsetSpec::Timestamp(timestamp), isolation),
        };
        let mut found = find(&self.client, topic, partitions, spec, isolation).await?;
        let behind: Vec<i32> = found.iter().filter(|(_, one)| one.offset.is_none()).map(|(one, _)| *one).collect();
        if !behind.is_empty() {
            found.extend(find(&self.client, topic, &behind, OffsetSpec::Latest, isolation).await?);
        }
        Ok(found.into_iter().map(|(one, found)| (one, found.offset.unwrap_or(Offset::ZERO))).collect())
    }

    /// Gives partitions back: no more of their records are handed out, batches that are held are waited for, and what is
    /// done is committed.
    pub(super) async fn give_up(&self, partitions: BTreeSet<TopicPartition>, patience: Duration) {
        if partitions.is_empty() {
            return;
        }
        locked(&self.ledger).begin_leaving(&partitions);
        partitions.iter().for_each(|partition| self.tell(Command::Remove { partition: partition.clone() }));
        if tokio::time::timeout(patience, self.all_released(&partitions)).await.is_err() {
            tracing::warn!(group = %self.settings.group, "partitions are given back while batches of them are held");
        }
        self.notice(&Rebalance::Revoked(partitions.clone()));
        let by_itself = self.settings.commit != Commit::Manual;
        if by_itself && let Err(error) = self.commit_done(patience.min(self.patience())).await {
            tracing::warn!(group = %self.settings.group, %error, "offsets were not committed before partitions were given back");
        }
        self.forget(&partitions);
    }

    async fn all_released(&self, partitions: &BTreeSet<TopicPartition>) {
        while locked(&self.ledger).holds(partitions) {
            self.released.notified().await;
        }
    }

    /// All partitions are another's already, or soon: nothing can be committed.
    pub(super) fn lose_all(&self) {
        let partitions = self.assignment();
        partitions.iter().for_each(|partition| self.tell(Command::Remove { partition: partition.clone() }));
        self.forget(&partitions);
        self.set_identity(None);
        self.notice(&Rebalance::Lost(partitions));
    }

    fn forget(&self, partitions: &BTreeSet<TopicPartition>) {
        let mut ledger = locked(&self.ledger);
        partitions.iter().for_each(|partition| ledger.remove(partition));
    }

    /// Commits what is done.
    pub(super) async fn commit_done(&self, patience: Duration) -> Result<(), ConsumeError> {
        let _turn = self.committing.lock().await;
        let done = locked(&self.ledger).committable();
        let offsets = done.into_iter().map(|(partition, offset)| (partition, CommittedOffset::at(offset)));
        self.commit_offsets(offsets.collect(), patience).await
    }

    /// Commits these offsets, behind a commit that is under way.
    pub(super) async fn commit_these(&self, offsets: BTreeMap<TopicPartition, CommittedOffset>) -> Result<(), ConsumeError> {
        let _turn = self.committing.lock().await;
        self.commit_offsets(offsets, self.patience()).await
    }

    async fn commit_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
        patience: Duration,
    ) -> Result<(), ConsumeError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let (deadline, mut dice) = (Instant::now() + patience, Dice::new());
        for failures in 1.. {
            let identity = self.identity().ok_or(ConsumeError::NotMember)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let codes = commit(&self.commits, &identity, &offsets, left).await;
            let codes = codes.map_err(|error| ConsumeError::of(&self.settings.group, error))?;
            let Some(((topic, partition), code)) = self.judged(&offsets, codes) else { return Ok(()) };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            if !may_pass(code) || Instant::now() + wait > deadline {
                return Err(ConsumeError::Commit { topic, partition, code });
            }
            tokio::time::sleep(wait).await;
        }
        Err(ConsumeError::NotMember)
    }

    /// Says goodbye, on the way of the commits: on the member's own a JoinGroup may be waiting.
    pub(super) async fn leave<C: Call + Clone>(
        &self,
        request: &C,
        patience: Duration,
        code: impl Fn(&C::Response) -> ErrorCode,
    ) -> Result<C::Response, CoordinatorError> {
        self.commits.call(request, CallOptions::default(), patience, Lost::Report, code).await
    }

    /// Keeps what was committed; answers with the first that was not.
    fn judged(
        &self,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
        codes: BTreeMap<TopicPartition, ErrorCode>,
    ) -> Option<(TopicPartition, ErrorCode)> {
        let mut ledger = locked(&self.ledger);
        let mut refused = None;
        for (partition, committed) in offsets {
            match codes.get(partition).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR) {
                ErrorCode::NONE => ledger.on_committed(partition, committed.offset),
                code => drop(refused.get_or_insert((partition.clone(), code))),
            }
        }
        refused
    }
}

/// Codes of a commit that a moment may heal: the next heartbeat brings the epoch that is wanted, or the rebalance ends.
fn may_pass(code: ErrorCode) -> bool {
    code.is_retriable() || matches!(code, ErrorCode::STALE_MEMBER_EPOCH | ErrorCode::REBALANCE_IN_PROGRESS)
}

pub(super) fn not_assigned((topic, partition): &TopicPartition) -> ConsumeError {
    ConsumeError::NotAssigned { topic: topic.clone(), partition: *partition }
}
