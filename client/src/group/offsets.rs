//! Offsets of a group: stored and read back. Topics go by their names, up to the last versions that have them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use strandline_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
};

use super::embedded::by_topic;
use crate::TopicPartition;
use crate::connection::CallOptions;
use crate::coordinator::{Coordinator, CoordinatorError, Lost};

/// The last versions of OffsetCommit and OffsetFetch in which topics have names.
const NAMED_VERSION_MAX: i16 = 9;

/// The epoch of somebody who is no member.
const NO_EPOCH: i32 = -1;

/// What a group has stored for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Of the next record to read.
    pub offset: Offset,
    /// Of the record before it; -1 if nobody said.
    pub leader_epoch: LeaderEpoch,
    /// Words of whoever committed.
    pub metadata: String,
}

impl CommittedOffset {
    /// An offset without further words.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::NONE, metadata: String::new() }
    }
}

/// Who stores or asks for offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    /// Generation of a classic member, epoch of the others.
    pub(crate) epoch: i32,
    pub(crate) instance: Option<String>,
}

/// A group, and the member of it for whom a transaction commits offsets. Source: KIP-447.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    group: String,
    identity: Identity,
}

impl GroupMetadata {
    /// A group without the member: for whoever assigns partitions by hand, and is alone with them.
    #[must_use]
    pub fn of_group(group: impl Into<String>) -> Self {
        Self { group: group.into(), identity: NO_MEMBER }
    }

    pub(crate) fn of_member(group: &str, identity: Identity) -> Self {
        Self { group: group.to_owned(), identity }
    }

    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Empty without a member.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.identity.member_id
    }

    /// Generation of a classic member, epoch of the others; -1 without a member.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.identity.epoch
    }

    /// The name that outlives the process, of a static member.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.identity.instance.as_deref()
    }
}

/// Somebody who is no member: an administrator.
pub(crate) const NO_MEMBER: Identity = Identity { member_id: String::new(), epoch: NO_EPOCH, instance: None };

/// What was read for one partition; `None` if nothing is stored.
pub(crate) type Fetched = BTreeMap<TopicPartition, Result<Option<CommittedOffset>, ErrorCode>>;

/// Stores offsets; answers with the code of each partition.
pub(crate) async fn commit(
    coordinator: &Coordinator,
    identity: &Identity,
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    patience: Duration,
) -> Result<BTreeMap<TopicPartition, ErrorCode>, CoordinatorError> {
    let request = commit_request(coordinator.key(), identity, offsets);
    let options = CallOptions { version_max: Some(NAMED_VERSION_MAX), ..CallOptions::default() };
    let response = coordinator.call(&request, options, patience, Lost::SendAgain, first_code).await?;
    let topics = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name.0;
        topic.partitions.into_iter().map(move |one| ((name.clone(), one.partition_index), one.error_code))
    });
    Ok(topics.collect())
}

fn first_code(response: &OffsetCommitResponse) -> ErrorCode {
    let mut codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
    codes.find(|code| !code.is_none()).unwrap_or(ErrorCode::NONE)
}

fn commit_request(
    group: &str,
    identity: &Identity,
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), committed) in offsets {
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some(committed.metadata.clone()),
        });
    }
    let topic =
        |(name, partitions)| OffsetCommitRequestTopic { name: TopicName::from(name), topic_id: TopicId::ZERO, partitions };
    OffsetCommitRequest {
        group_id: GroupId::from(group),
        generation_id_or_member_epoch: identity.epoch,
        member_id: identity.member_id.clone(),
        group_instance_id: identity.instance.clone(),
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    }
}

/// Reads what a group has stored: for these partitions, or for all that it has stored anything for.
pub(crate) async fn fetch_committed(
    coordinator: &Coordinator,
    identity: &Identity,
    partitions: Option<&BTreeSet<TopicPartition>>,
    patience: Duration,
) -> Result<Result<Fetched, ErrorCode>, CoordinatorError> {
    let request = fetch_request(coordinator.key(), identity, partitions);
    let options = CallOptions { version_max: Some(NAMED_VERSION_MAX), ..CallOptions::default() };
    let response = coordinator.call(&request, options, patience, Lost::SendAgain, group_code).await?;
    let code = group_code(&response);
    Ok(if code.is_none() { Ok(fetched(response)) } else { Err(code) })
}

fn group_code(response: &OffsetFetchResponse) -> ErrorCode {
    response.groups.first().map_or(response.error_code, |group| group.error_code)
}

fn fetch_request(group: &str, identity: &Identity, partitions: Option<&BTreeSet<TopicPartition>>) -> OffsetFetchRequest {
    let topics = partitions.map(by_topic);
    let old = |(name, indexes): (&&str, &Vec<i32>)| OffsetFetchRequestTopic {
        name: TopicName::from(*name),
        partition_indexes: indexes.clone(),
    };
    let new = |(name, indexes): (&&str, &Vec<i32>)| OffsetFetchRequestTopics {
        name: TopicName::from(*name),
        topic_id: TopicId::ZERO,
        partition_indexes: indexes.clone(),
    };
    let asked = OffsetFetchRequestGroup {
        group_id: GroupId::from(group),
        member_id: Some(identity.member_id.clone()).filter(|id| !id.is_empty()),
        member_epoch: identity.epoch,
        topics: topics.as_ref().map(|topics| topics.iter().map(new).collect()),
    };
    OffsetFetchRequest {
        group_id: GroupId::from(group),
        topics: topics.as_ref().map(|topics| topics.iter().map(old).collect()),
        groups: vec![asked],
        require_stable: true,
    }
}

fn fetched(response: OffsetFetchResponse) -> Fetched {
    let stored = |offset: Offset, leader_epoch, metadata: Option<String>, code: ErrorCode| {
        let metadata = metadata.unwrap_or_default();
        let committed = CommittedOffset { offset, leader_epoch, metadata };
        if code.is_none() { Ok(Some(committed).filter(|one| one.offset >= Offset::ZERO)) } else { Err(code) }
    };
    let mut fetched = Fetched::new();
    for topic in response.topics {
        for one in topic.partitions {
            let read = stored(one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code);
            fetched.insert((topic.name.0.clone(), one.partition_index), read);
        }
    }
    for topic in response.groups.into_iter().flat_map(|group| group.topics) {
        for one in topic.partitions {
            let read = stored(one.committed_offset, one.committed_leader_epoch, one.metadata, one.error_code);
            fetched.insert((topic.name.0.clone(), one.partition_index), read);
        }
    }
    fetched
}
