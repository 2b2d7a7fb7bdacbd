//! A member of a classic group: it joins, one of the members assigns, all learn what they have, and heartbeats tell when it
//! begins anew.
//!
//! *Eager* members give everything back before they join; *cooperative* ones join with what they have and give back what
//! the assignment takes away, then join once more. Source: KIP-134, KIP-345, KIP-394, KIP-429, KIP-814.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use strandline_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use strandline_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use tokio::time::Instant;

use super::assignor::{Assignor, Share};
use super::error::ConsumeError;
use super::member::Again;
use super::shared::Shared;
use crate::TopicPartition;
use crate::connection::CallOptions;
use crate::coordinator::{CoordinatorError, Lost};
use crate::error::KafkaError;
use crate::group::{Identity, assigned_bytes, assigned_partitions, subscription_bytes, subscription_of};
use crate::metadata::Missing;

const PROTOCOL_TYPE: &str = "consumer";

/// How often a leader looks whether its group's topics have other partitions than it has assigned.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// A generation that none has.
const NO_GENERATION: i32 = -1;

pub(super) struct Classic {
    shared: Arc<Shared>,
    member_id: String,
    generation: i32,
    /// What the leader gave us.
    assigned: BTreeSet<TopicPartition>,
    /// Partitions of the group's topics, if we lead.
    led: Option<BTreeMap<String, i32>>,
}

impl Classic {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, member_id: String::new(), generation: NO_GENERATION, assigned: BTreeSet::new(), led: None }
    }

    fn is_cooperative(&self) -> bool {
        self.shared.settings.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    fn instance(&self) -> Option<String> {
        self.shared.settings.instance.clone()
    }

    fn of(&self, error: CoordinatorError) -> ConsumeError {
        ConsumeError::of(&self.shared.settings.group, error)
    }

    /// One generation: joins, and stays until the group begins anew.
    pub(super) async fn session(&mut self) -> Result<Again, ConsumeError> {
        let Some(joined) = self.join().await? else { return Ok(Again::Join) };
        let Some(assignment) = self.sync(joined).await? else { return Ok(Again::Join) };
        self.assigned = assigned_partitions(&assignment).ok_or_else(|| {
            self.shared.error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, Some("the leader's assignment is damaged".into()))
        })?;
        let taken_away: BTreeSet<_> = self.shared.assignment().difference(&self.assigned).cloned().collect();
        if !taken_away.is_empty() {
            self.give_up(taken_away).await;
            return Ok(Again::Join);
        }
        self.take_on().await?;
        self.stay().await
    }

    /// Enters the next generation; `None`: try again.
    async fn join(&mut self) -> Result<Option<JoinGroupResponse>, ConsumeError> {
        let request = self.join_request();
        let rebalance_timeout = self.shared.settings.poll_interval_max;
        let options = CallOptions { extra_time: rebalance_timeout, ..CallOptions::default() };
        let (shared, patience) = (Arc::clone(&self.shared), rebalance_timeout);
        let response = shared.member.call(&request, options, patience, Lost::SendAgain, |one| one.error_code).await;
        let response = response.map_err(|error| self.of(error))?;
        match response.error_code {
            ErrorCode::NONE => {
                self.member_id.clone_from(&response.member_id);
                self.generation = response.generation_id;
                Ok(Some(response))
            }
            ErrorCode::MEMBER_ID_REQUIRED => {
                self.member_id = response.member_id;
                Ok(None)
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => {
                self.put_out(response.error_code);
                Ok(None)
            }
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(None),
            code => Err(self.shared.error(code, None)),
        }
    }

    fn join_request(&self) -> JoinGroupRequest {
        let settings = &self.shared.settings;
        let owned = self.shared.assignment();
        let metadata = subscription_bytes(&settings.topics, &owned, self.generation, settings.rack.as_deref());
        let protocol =
            |assignor: &Assignor| JoinGroupRequestProtocol { name: assignor.name().to_owned(), metadata: metadata.clone() };
        JoinGroupRequest {
            group_id: GroupId::from(settings.group.as_str()),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.poll_interval_max),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: settings.assignors.iter().map(protocol).collect(),
            reason: None,
        }
    }

    /// Learns what it has; as the leader it decides that for all. `None`: join again.
    async fn sync(&mut self, joined: JoinGroupResponse) -> Result<Option<Bytes>, ConsumeError> {
        let protocol_name = joined.protocol_name.clone();
        let assignments = match joined.leader == joined.member_id && !joined.skip_assignment {
            true => self.lead(&joined).await?,
            false => {
                self.led = None;
                Vec::new()
            }
        };
        let request = SyncGroupRequest {
            group_id: GroupId::from(self.shared.settings.group.as_str()),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name,
            assignments,
        };
        let patience = self.shared.settings.poll_interval_max;
        let options = CallOptions { extra_time: patience, ..CallOptions::default() };
        let shared = Arc::clone(&self.shared);
        let response = shared.member.call(&request, options, patience, Lost::SendAgain, |one| one.error_code).await;
        let response = response.map_err(|error| self.of(error))?;
        match response.error_code {
            ErrorCode::NONE => {
                let (member_id, instance) = (self.member_id.clone(), self.instance());
                self.shared.set_identity(Some(Identity { member_id, epoch: self.generation, instance }));
                Ok(Some(response.assignment))
            }
            ErrorCode::REBALANCE_IN_PROGRESS => Ok(None),
            code @ (ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) => {
                self.put_out(code);
                Ok(None)
            }
            code => Err(self.shared.error(code, None)),
        }
    }

    /// Shares the partitions out.
    async fn lead(&mut self, joined: &JoinGroupResponse) -> Result<Vec<SyncGroupRequestAssignment>, ConsumeError> {
        let name = joined.protocol_name.as_deref().unwrap_or_default();
        let assignor = self.shared.settings.assignors.iter().find(|assignor| assignor.name() == name).copied();
        let unknown = || self.shared.error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, Some(format!("no assignor {name} here")));
        let assignor = assignor.ok_or_else(unknown)?;
        let mut shares: Vec<Share> = Vec::new();
        for member in &joined.members {
            let subscription = subscription_of(&member.metadata).ok_or_else(|| {
                let message = format!("what member {} subscribes to is damaged", member.member_id);
                self.shared.error(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, Some(message))
            })?;
            shares.push(Share::new(&member.member_id, member.group_instance_id.as_deref(), subscription));
        }
        let topics: BTreeSet<String> = shares.iter().flat_map(|share| share.topics.iter().cloned()).collect();
        let counts = self.counts(&topics).await?;
        let assigned = assignor.assign(&shares, &counts);
        self.led = Some(counts);
        let one = |(member_id, partitions): (String, BTreeSet<TopicPartition>)| SyncGroupRequestAssignment {
            member_id,
            assignment: assigned_bytes(&partitions),
        };
        Ok(assigned.into_iter().map(one).collect())
    }

    /// Partitions of topics, as they are now; one that does not exist has none.
    async fn counts(&self, topics: &BTreeSet<String>) -> Result<BTreeMap<String, i32>, ConsumeError> {
        let metadata = &self.shared.client.shared.metadata;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        metadata.refresh(&names, Missing::Report).await?;
        let cluster = metadata.cluster();
        let count = |topic: &String| cluster.topic(topic).map_or(0, |topic| topic.partitions.len() as i32);
        Ok(topics.iter().map(|topic| (topic.clone(), count(topic))).collect())
    }

    /// Lives in the generation until it ends.
    async fn stay(&mut self) -> Result<Again, ConsumeError> {
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(self.shared.settings.heartbeat_interval).await;
            if self.shared.is_overdue() {
                return Ok(Again::Overdue);
            }
            match self.beat().await {
                ErrorCode::NONE => {}
                ErrorCode::REBALANCE_IN_PROGRESS => {
                    if !self.is_cooperative() {
                        self.give_up(self.shared.assignment()).await;
                    }
                    return Ok(Again::Join);
                }
                code @ (ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) => {
                    self.put_out(code);
                    return Ok(Again::Join);
                }
                code if code.is_retriable() => continue,
                code => return Err(self.shared.error(code, None)),
            }
            // Those that could not be read before.
            self.take_on().await?;
            if looked.elapsed() > LOOK_INTERVAL && self.topics_changed().await {
                if !self.is_cooperative() {
                    self.give_up(self.shared.assignment()).await;
                }
                return Ok(Again::Join);
            }
            if looked.elapsed() > LOOK_INTERVAL {
                looked = Instant::now();
            }
        }
    }

    async fn topics_changed(&self) -> bool {
        let Some(led) = &self.led else { return false };
        let counts = self.counts(&led.keys().cloned().collect()).await;
        counts.is_ok_and(|counts| counts != *led)
    }

    /// Says that it lives; a coordinator that cannot be asked is asked again with the next beat.
    async fn beat(&self) -> ErrorCode {
        let settings = &self.shared.settings;
        let request = HeartbeatRequest {
            group_id: GroupId::from(settings.group.as_str()),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance(),
        };
        let options = CallOptions::default();
        let patience = settings.heartbeat_interval;
        let response = self.shared.member.call(&request, options, patience, Lost::SendAgain, |one| one.error_code).await;
        match response {
            Ok(response) => response.error_code,
            Err(error) => {
                tracing::debug!(group = %settings.group, %error, "no heartbeat");
                error.code().filter(|code| !code.is_retriable()).unwrap_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
        }
    }

    async fn take_on(&mut self) -> Result<(), ConsumeError> {
        let missing: BTreeSet<_> = self.assigned.difference(&self.shared.assignment()).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        match self.while_beating(shared.take_on(missing)).await {
            // The next beat says what is wrong, or it passes.
            Err(ConsumeError::Group { .. } | ConsumeError::NotMember) => Ok(()),
            Err(error) if error.is_retriable() => Ok(()),
            other => other,
        }
    }

    async fn give_up(&mut self, partitions: BTreeSet<TopicPartition>) {
        let shared = Arc::clone(&self.shared);
        let patience = shared.settings.poll_interval_max;
        self.while_beating(shared.give_up(partitions, patience)).await;
    }

    /// Goes on saying that it lives while it does something that takes long. What the beats are told is told again later.
    pub(super) async fn while_beating<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let interval = self.shared.settings.heartbeat_interval;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(interval) => drop(self.beat().await),
            }
        }
    }

    /// The group goes on without us.
    fn put_out(&mut self, code: ErrorCode) {
        self.shared.lose_all();
        self.generation = NO_GENERATION;
        if code == ErrorCode::UNKNOWN_MEMBER_ID {
            self.member_id.clear();
        }
    }

    /// Leaves the group, unless the member is static: that one comes back, or its session ends.
    pub(super) async fn leave(&mut self) {
        let (member_id, instance) = (std::mem::take(&mut self.member_id), self.instance());
        self.generation = NO_GENERATION;
        if member_id.is_empty() || instance.is_some() {
            return;
        }
        let member = MemberIdentity { member_id: member_id.clone(), group_instance_id: None, reason: None };
        let group_id = GroupId::from(self.shared.settings.group.as_str());
        let request = LeaveGroupRequest { group_id, member_id, members: vec![member] };
        let patience = self.shared.settings.heartbeat_interval;
        if let Err(error) = self.shared.leave(&request, patience, |one| one.error_code).await {
            tracing::debug!(group = %self.shared.settings.group, %error, "the group was not told that a member leaves");
        }
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
