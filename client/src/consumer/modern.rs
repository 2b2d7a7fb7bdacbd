//! A member of a group of the consumer protocol: heartbeats carry what it has one way, and what it is to have the other.
//!
//! The member gives back what it is not to have, takes on what it is, and says so; the coordinator waits for that before it
//! gives a partition to another. Source: KIP-848, KIP-1082.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId, TopicName};
use strandline_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};

use super::error::ConsumeError;
use super::member::Again;
use super::shared::Shared;
use crate::TopicPartition;
use crate::connection::CallOptions;
use crate::coordinator::Lost;
use crate::error::KafkaError;
use crate::group::{Identity, random_id};

/// Epochs that are words.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
const LEAVING_FOR_A_WHILE: i32 = -2;

/// How often the first heartbeats come, until the coordinator says how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);

pub(super) struct Modern {
    shared: Arc<Shared>,
    member_id: String,
    epoch: i32,
    interval: Duration,
    /// The next heartbeat says everything, because the coordinator may not know it.
    full: bool,
    target: BTreeMap<TopicId, Vec<i32>>,
    /// Ids of the topics that were assigned.
    ids: BTreeMap<String, TopicId>,
    put_out: bool,
    failed: Option<ConsumeError>,
}

/// What a heartbeat says of the partitions that the member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owned {
    AsBefore,
    Said,
}

impl Modern {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            member_id: random_id(),
            epoch: JOINING,
            interval: FIRST_INTERVAL,
            full: true,
            target: BTreeMap::new(),
            ids: BTreeMap::new(),
            put_out: false,
            failed: None,
        }
    }

    /// Joins, and stays until the coordinator puts it out.
    pub(super) async fn session(&mut self) -> Result<Again, ConsumeError> {
        (self.epoch, self.full, self.put_out) = (JOINING, true, false);
        self.target.clear();
        let mut owned = Owned::Said;
        loop {
            self.beat(owned).await?;
            owned = match self.reconcile().await? {
                true => Owned::Said,
                false => Owned::AsBefore,
            };
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.put_out {
                self.shared.lose_all();
                return Ok(Again::Join);
            }
            if owned == Owned::Said {
                continue;
            }
            tokio::time::sleep(self.interval).await;
            if self.shared.is_overdue() {
                return Ok(Again::Overdue);
            }
        }
    }

    /// Makes what it has what it is to have; answers with whether that changed anything.
    async fn reconcile(&mut self) -> Result<bool, ConsumeError> {
        if self.epoch == JOINING || self.put_out {
            return Ok(false);
        }
        let target = self.named_target().await?;
        let owned = self.shared.assignment();
        let (gone, new): (BTreeSet<_>, BTreeSet<_>) =
            (owned.difference(&target).cloned().collect(), target.difference(&owned).cloned().collect());
        if gone.is_empty() && new.is_empty() {
            return Ok(false);
        }
        let shared = Arc::clone(&self.shared);
        if !gone.is_empty() {
            self.while_beating(shared.give_up(gone, shared.settings.poll_interval_max)).await;
        }
        if !new.is_empty() && !self.put_out {
            match self.while_beating(shared.take_on(new)).await {
                // The next beat says what is wrong, or it passes.
                Ok(()) | Err(ConsumeError::Group { .. } | ConsumeError::NotMember) => {}
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.shared.assignment() != owned)
    }

    /// The target with names. A topic that nobody knows is left out: it is gone, or too new.
    async fn named_target(&mut self) -> Result<BTreeSet<TopicPartition>, ConsumeError> {
        let mut named = BTreeSet::new();
        for (id, partitions) in &self.target {
            if let Some(topic) = self.shared.client.shared.metadata.topic_of_id(*id).await? {
                self.ids.insert(topic.name.clone(), *id);
                named.extend(partitions.iter().map(|one| (topic.name.clone(), *one)));
            }
        }
        Ok(named)
    }

    /// One heartbeat. A coordinator that cannot be asked is asked again with the next one.
    async fn beat(&mut self, owned: Owned) -> Result<(), ConsumeError> {
        let request = self.request(owned);
        let shared = Arc::clone(&self.shared);
        let code = |response: &ConsumerGroupHeartbeatResponse| response.error_code;
        let answer = shared.member.call(&request, CallOptions::default(), self.interval, Lost::SendAgain, code).await;
        match answer {
            Ok(response) => self.heard(response),
            Err(error) if error.is_retriable() => {
                tracing::debug!(group = %shared.settings.group, %error, "no heartbeat");
                self.full = true;
                Ok(())
            }
            Err(error) => Err(ConsumeError::of(&shared.settings.group, error)),
        }
    }

    fn heard(&mut self, response: ConsumerGroupHeartbeatResponse) -> Result<(), ConsumeError> {
        match response.error_code {
            ErrorCode::NONE => {
                self.full = false;
                self.epoch = response.member_epoch;
                self.interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(1));
                if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
                    self.member_id = id;
                }
                if let Some(Assignment { topic_partitions }) = response.assignment {
                    self.target = topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect();
                }
                let (member_id, instance) = (self.member_id.clone(), self.shared.settings.instance.clone());
                self.shared.set_identity(Some(Identity { member_id, epoch: self.epoch, instance }));
                Ok(())
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => {
                self.put_out = true;
                Ok(())
            }
            code if code.is_retriable() => {
                self.full = true;
                Ok(())
            }
            code => Err(self.shared.error(code, response.error_message)),
        }
    }

    fn request(&self, owned: Owned) -> ConsumerGroupHeartbeatRequest {
        let settings = &self.shared.settings;
        let mut request = self.bare_request(self.epoch);
        if self.full || owned == Owned::Said {
            request.topic_partitions = Some(self.owned_on_the_wire());
        }
        if self.full {
            let topics = settings.topics.iter().map(|topic| TopicName::from(topic.as_str()));
            request.rack_id.clone_from(&settings.rack);
            request.rebalance_timeout_ms = i32::try_from(settings.poll_interval_max.as_millis()).unwrap_or(i32::MAX);
            request.subscribed_topic_names = Some(topics.collect());
            request.subscribed_topic_regex.clone_from(&settings.pattern);
            request.server_assignor.clone_from(&settings.server_assignor);
        }
        request
    }

    fn bare_request(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: GroupId::from(self.shared.settings.group.as_str()),
            member_id: self.member_id.clone(),
            member_epoch: epoch,
            instance_id: self.shared.settings.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn owned_on_the_wire(&self) -> Vec<RequestTopicPartitions> {
        let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in self.shared.assignment() {
            if let Some(id) = self.ids.get(&topic) {
                topics.entry(*id).or_default().push(partition);
            }
        }
        topics.into_iter().map(|(topic_id, partitions)| RequestTopicPartitions { topic_id, partitions }).collect()
    }

    /// Goes on with heartbeats while it does something that takes long.
    pub(super) async fn while_beating<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.interval) => {
                    if let Err(error) = self.beat(Owned::AsBefore).await {
                        self.failed = Some(error);
                    }
                }
            }
        }
    }

    /// Leaves the group; a static member for a while only.
    pub(super) async fn leave(&mut self) {
        if self.epoch == JOINING {
            return;
        }
        let epoch = if self.shared.settings.instance.is_some() { LEAVING_FOR_A_WHILE } else { LEAVING };
        let request = self.bare_request(epoch);
        self.epoch = JOINING;
        if let Err(error) = self.shared.leave(&request, self.interval, |one| one.error_code).await {
            tracing::debug!(group = %self.shared.settings.group, %error, "the group was not told that a member leaves");
        }
    }
}
