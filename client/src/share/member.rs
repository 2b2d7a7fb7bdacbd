//! The task that is a member of the group: heartbeats one way, the assignment the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId, TopicName};
use strandline_protocol::messages::share_group_heartbeat::{
    Assignment, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
};
use tokio::sync::{Notify, watch};

use super::builder::Settings;
use super::error::ShareError;
use super::session::Place;
use crate::TopicPartition;
use crate::client::Client;
use crate::connection::CallOptions;
use crate::coordinator::{Coordinator, KeyType, Lost};
use crate::error::KafkaError;
use crate::group::random_id;
use crate::locked::locked;

/// Epochs that are words.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;

/// How often the first heartbeats come, until the coordinator says how often.
const FIRST_INTERVAL: Duration = Duration::from_secs(3);

/// What the caller's handle and the member's task share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) member_id: String,
    coordinator: Coordinator,
    assignment: Mutex<BTreeSet<(Place, TopicPartition)>>,
    /// Of all topics that were ever assigned.
    names: Mutex<BTreeMap<TopicId, String>>,
    trouble: Mutex<Option<ShareError>>,
    /// Leaders have to be asked for.
    stale: AtomicBool,
    /// The assignment, or trouble.
    pub(super) changed: Notify,
}

impl Shared {
    pub(super) fn new(client: Client, settings: Settings) -> Self {
        Self {
            coordinator: Coordinator::new(client.clone(), KeyType::Group, settings.group.clone()),
            client,
            settings,
            member_id: random_id(),
            assignment: Mutex::default(),
            names: Mutex::default(),
            trouble: Mutex::default(),
            stale: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(super) fn assignment(&self) -> BTreeSet<(Place, TopicPartition)> {
        locked(&self.assignment).clone()
    }

    /// The name of a partition that was assigned.
    pub(super) fn named(&self, (topic, partition): Place) -> Option<TopicPartition> {
        locked(&self.names).get(&topic).map(|name| (name.clone(), partition))
    }

    pub(super) fn set_stale(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Whether leaders have to be asked for.
    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    pub(super) fn set_fresh(&self) {
        self.stale.store(false, Ordering::Release);
    }

    pub(super) fn take_trouble(&self) -> Option<ShareError> {
        locked(&self.trouble).take()
    }

    pub(super) fn refused(&self, code: ErrorCode, message: Option<String>) -> ShareError {
        ShareError::Group { group: self.settings.group.clone(), code, message }
    }

    fn trouble(&self, error: ShareError) {
        *locked(&self.trouble) = Some(error);
        self.changed.notify_one();
    }

    fn assign(&self, assignment: BTreeSet<(Place, TopicPartition)>) {
        locked(&self.names).extend(assignment.iter().map(|((id, _), (name, _))| (*id, name.clone())));
        *locked(&self.assignment) = assignment;
        self.changed.notify_one();
    }
}

struct Member {
    shared: Arc<Shared>,
    epoch: i32,
    interval: Duration,
    /// The next heartbeat says everything, because the coordinator may not know it.
    full: bool,
}

/// A member's life, until the group is to be left.
pub(super) async fn live(shared: Arc<Shared>, mut leave: watch::Receiver<Option<Duration>>) {
    let mut member = Member { shared, epoch: JOINING, interval: FIRST_INTERVAL, full: true };
    let patience = tokio::select! {
        biased;
        patience = left(&mut leave) => patience,
        never = member.beat_on() => match never {},
    };
    member.leave(patience).await;
}

async fn left(leave: &mut watch::Receiver<Option<Duration>>) -> Duration {
    loop {
        if let Some(patience) = *leave.borrow_and_update() {
            return patience;
        }
        if leave.changed().await.is_err() {
            return Duration::ZERO;
        }
    }
}

impl Member {
    async fn beat_on(&mut self) -> std::convert::Infallible {
        loop {
            match self.beat().await {
                Ok(()) => {}
                Err(error) if error.is_retriable() => {
                    tracing::debug!(group = %self.shared.settings.group, %error, "no heartbeat");
                    self.full = true;
                }
                Err(error) => {
                    self.shared.assign(BTreeSet::new());
                    (self.epoch, self.full) = (JOINING, true);
                    self.shared.trouble(error);
                }
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn beat(&mut self) -> Result<(), ShareError> {
        let request = self.request();
        let code = |response: &ShareGroupHeartbeatResponse| response.error_code;
        let patience = self.interval;
        let answer = self.shared.coordinator.call(&request, CallOptions::default(), patience, Lost::SendAgain, code).await;
        let response = answer.map_err(|error| ShareError::of(&self.shared.settings.group, error))?;
        match response.error_code {
            ErrorCode::NONE => {
                (self.full, self.epoch) = (false, response.member_epoch);
                self.interval = Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).max(1));
                match response.assignment {
                    Some(assignment) => self.take_on(assignment).await,
                    None => Ok(()),
                }
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH => {
                self.shared.assign(BTreeSet::new());
                (self.epoch, self.full, self.interval) = (JOINING, true, Duration::from_millis(1));
                Ok(())
            }
            code => Err(self.shared.refused(code, response.error_message)),
        }
    }

    /// A topic that nobody knows is left out: it is gone, or too new; then the coordinator is to say it again.
    async fn take_on(&mut self, assignment: Assignment) -> Result<(), ShareError> {
        let mut named = BTreeSet::new();
        for topic in assignment.topic_partitions {
            match self.shared.client.shared.metadata.topic_of_id(topic.topic_id).await? {
                Some(known) => {
                    let place = |one: i32| ((topic.topic_id, one), (known.name.clone(), one));
                    named.extend(topic.partitions.into_iter().map(place));
                }
                None => self.full = true,
            }
        }
        self.shared.assign(named);
        Ok(())
    }

    fn request(&self) -> ShareGroupHeartbeatRequest {
        let settings = &self.shared.settings;
        let topics = || settings.topics.iter().map(|topic| TopicName::from(topic.as_str())).collect();
        ShareGroupHeartbeatRequest {
            group_id: GroupId::from(settings.group.as_str()),
            member_id: self.shared.member_id.clone(),
            member_epoch: self.epoch,
            rack_id: settings.rack.clone().filter(|_| self.full),
            subscribed_topic_names: self.full.then(topics),
        }
    }

    async fn leave(&mut self, patience: Duration) {
        if self.epoch == JOINING {
            return;
        }
        let request = ShareGroupHeartbeatRequest {
            group_id: GroupId::from(self.shared.settings.group.as_str()),
            member_id: self.shared.member_id.clone(),
            member_epoch: LEAVING,
            ..ShareGroupHeartbeatRequest::default()
        };
        let code = |response: &ShareGroupHeartbeatResponse| response.error_code;
        let left = self.shared.coordinator.call(&request, CallOptions::default(), patience, Lost::Report, code).await;
        if let Err(error) = left {
            tracing::debug!(group = %self.shared.settings.group, %error, "the group was not told that a member leaves");
        }
    }
}
