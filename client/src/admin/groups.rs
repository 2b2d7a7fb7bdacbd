//! Groups: listed, described, deleted, and their offsets read, set and deleted. Source: KIP-222, KIP-396, KIP-496, KIP-848.
//!
//! Each group has a coordinator; lists are gathered from all brokers.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, GroupId, Offset, TopicName};
use strandline_protocol::messages::consumer_group_describe::{
    self, Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use strandline_protocol::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use strandline_protocol::messages::describe_groups::{self, DescribeGroupsRequest, DescribeGroupsResponse};
use strandline_protocol::messages::list_groups::ListGroupsRequest;
use strandline_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

use super::{Admin, AdminError, PerItem, in_order, judged};
use crate::TopicPartition;
use crate::connection::CallOptions;
use crate::coordinator::{Coordinator, CoordinatorError, KeyType, Lost};
use crate::fetcher::{self, Commands, FetchSettings};
use crate::group::{CommittedOffset, NO_MEMBER, assigned_partitions, commit, fetch_committed, subscription_of};
use crate::metadata::Missing;
use crate::reader::OutOfRange;

/// A group, as its broker lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    pub group: String,
    /// `classic`, `consumer`, `share`; empty if the broker is too old to say.
    pub group_type: String,
    /// What members speak among themselves: `consumer`, `connect`; empty for a group that only stores offsets.
    pub protocol_type: String,
    pub state: String,
    pub coordinator: BrokerId,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub group: String,
    pub group_type: &'static str,
    pub state: String,
    pub coordinator: BrokerId,
    /// Who assigns: an assignor of the members, or one of the broker.
    pub assignor: String,
    pub protocol_type: String,
    /// Epoch of the group; `None` for classic groups.
    pub epoch: Option<i32>,
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub rack: Option<String>,
    /// `None` for members of classic groups.
    pub epoch: Option<i32>,
    pub topics: BTreeSet<String>,
    pub topic_regex: Option<String>,
    pub assigned: BTreeSet<TopicPartition>,
    /// What it is to have once others have given it up; as `assigned` in classic groups.
    pub target: BTreeSet<TopicPartition>,
}

impl GroupDescription {
    /// Who has each partition now.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<&TopicPartition, &GroupMember> {
        let of = |member| move |partition| (partition, member);
        self.members.iter().flat_map(|member| member.assigned.iter().map(of(member))).collect()
    }
}

impl Admin {
    fn coordinator(&self, group: &str) -> Coordinator {
        Coordinator::new(self.client.clone(), KeyType::Group, group.to_owned())
    }

    /// The groups of all brokers, by name. A broker that cannot be asked fails all: a list with a hole says nothing.
    ///
    /// # Errors
    /// [`AdminError`] if a broker could not be asked or refuses.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        self.client.shared.metadata.refresh(&[], Missing::Report).await?;
        let mut groups = BTreeSet::new();
        for broker in self.client.cluster().brokers.keys() {
            let response = self.client.call(*broker, ListGroupsRequest::default()).await?;
            judged((), response.error_code, None)?;
            groups.extend(response.groups.into_iter().map(|one| GroupListing {
                group: one.group_id.0,
                group_type: one.group_type,
                protocol_type: one.protocol_type,
                state: one.group_state,
                coordinator: *broker,
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// Describes groups, whichever protocol they use.
    pub async fn describe_groups(
        &self,
        groups: impl IntoIterator<Item = impl Into<String>>,
    ) -> PerItem<String, GroupDescription> {
        let mut described = PerItem::new();
        for group in groups {
            let group = group.into();
            let answer = self.describe_group(&group).await;
            described.push((group, answer));
        }
        described
    }

    async fn describe_group(&self, group: &str) -> Result<GroupDescription, AdminError> {
        let coordinator = self.coordinator(group);
        let id = coordinator.id().await?;
        if let Some(described) = self.describe_consumer(&coordinator, id).await? {
            return Ok(described);
        }
        let request = DescribeGroupsRequest { groups: vec![GroupId::from(group)], include_authorized_operations: false };
        let code = |response: &DescribeGroupsResponse| response.groups.first().map_or(ErrorCode::NONE, |one| one.error_code);
        let options = CallOptions::default();
        let response = coordinator.call(&request, options, self.timeout, Lost::SendAgain, code).await?;
        let group = response.groups.into_iter().next().ok_or(AdminError::Unanswered)?;
        if !group.error_code.is_none() {
            return Err(AdminError::Refused { code: group.error_code, message: group.error_message });
        }
        // Before version 6 a group that does not exist was described as dead.
        if group.group_state == "Dead" {
            return Err(AdminError::Refused { code: ErrorCode::GROUP_ID_NOT_FOUND, message: None });
        }
        Ok(classic(group, id))
    }

    /// `None` if the group does not speak the new protocol, or the broker does not.
    async fn describe_consumer(&self, coordinator: &Coordinator, id: BrokerId) -> Result<Option<GroupDescription>, AdminError> {
        if !coordinator.serves::<ConsumerGroupDescribeRequest>().await? {
            return Ok(None);
        }
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![GroupId::from(coordinator.key())],
            include_authorized_operations: false,
        };
        let code =
            |response: &ConsumerGroupDescribeResponse| response.groups.first().map_or(ErrorCode::NONE, |one| one.error_code);
        let options = CallOptions::default();
        let response = coordinator.call(&request, options, self.timeout, Lost::SendAgain, code).await?;
        let group = response.groups.into_iter().next().ok_or(AdminError::Unanswered)?;
        match group.error_code {
            ErrorCode::NONE => Ok(Some(consumer(group, id))),
            ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION => Ok(None),
            code => Err(AdminError::Refused { code, message: group.error_message }),
        }
    }

    /// What a group has stored.
    ///
    /// # Errors
    /// [`AdminError`] if the coordinator could not be asked or refuses.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, CommittedOffset>, AdminError> {
        let coordinator = self.coordinator(group);
        let fetched = fetch_committed(&coordinator, &NO_MEMBER, None, self.timeout).await?;
        let fetched = fetched.map_err(|code| AdminError::Refused { code, message: None })?;
        let stored = fetched.into_iter().map(|(partition, one)| match one {
            Ok(committed) => Ok(committed.map(|committed| (partition, committed))),
            Err(code) => Err(AdminError::Refused { code, message: None }),
        });
        stored.filter_map(Result::transpose).collect()
    }

    /// Sets offsets of a group that has no members. A group that does not exist is made.
    ///
    /// # Errors
    /// [`AdminError`] if the coordinator could not be asked.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, CommittedOffset)>,
    ) -> Result<PerItem<TopicPartition, ()>, AdminError> {
        let offsets: BTreeMap<TopicPartition, CommittedOffset> = offsets.into_iter().collect();
        let codes = commit(&self.coordinator(group), &NO_MEMBER, &offsets, self.timeout).await?;
        let answers = codes.into_iter().map(|(partition, code)| (partition, judged((), code, None)));
        let answers = answers.collect();
        Ok(in_order(offsets.into_keys().collect(), answers))
    }

    /// Deletes offsets of a group; those of topics that it is subscribed to stay.
    ///
    /// # Errors
    /// [`AdminError`] if the coordinator could not be asked, or refuses altogether.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<PerItem<TopicPartition, ()>, AdminError> {
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, partition) in &partitions {
            topics.entry(topic).or_default().push(OffsetDeleteRequestPartition { partition_index: *partition });
        }
        let topic = |(name, partitions)| OffsetDeleteRequestTopic { name: TopicName::from(name), partitions };
        let request = OffsetDeleteRequest { group_id: GroupId::from(group), topics: topics.into_iter().map(topic).collect() };
        let options = CallOptions::default();
        let coordinator = self.coordinator(group);
        let response = coordinator.call(&request, options, self.timeout, Lost::Report, |one| one.error_code).await?;
        judged((), response.error_code, None)?;
        let answers = response.topics.into_iter().flat_map(|topic| {
            let name = topic.name.0;
            topic.partitions.into_iter().map(move |one| ((name.clone(), one.partition_index), judged((), one.error_code, None)))
        });
        let answers = answers.collect();
        Ok(in_order(partitions, answers))
    }

    /// The time of the first record in each of these ranges of offsets, in milliseconds since 1970, -1 if its producer gave
    /// none: the record is fetched. Partitions that could not be read within the timeout are left out, and so are ranges
    /// without a record.
    pub async fn first_record_times(
        &self,
        ranges: impl IntoIterator<Item = (TopicPartition, Offset, Offset)>,
    ) -> BTreeMap<TopicPartition, i64> {
        let mut times = BTreeMap::new();
        let ranges: Vec<(TopicPartition, Offset, Offset)> = ranges.into_iter().collect();
        let settings =
            FetchSettings { partition_bytes_max: 1, out_of_range: OutOfRange::Beginning, ..FetchSettings::default() };
        let wanted = ranges.len();
        let mut chunks = fetcher::start(self.client.clone(), settings, ranges, Commands::none());
        let gathered = async {
            while times.len() < wanted
                && let Some(Ok(chunk)) = chunks.recv().await
            {
                if let Some(first) = chunk.records.first() {
                    times.entry(chunk.partition).or_insert(first.timestamp_ms);
                }
            }
        };
        // What has come by then is the answer.
        let _ = tokio::time::timeout(self.timeout, gathered).await;
        times
    }

    /// Deletes groups that have no members, with their offsets.
    pub async fn delete_groups(&self, groups: impl IntoIterator<Item = impl Into<String>>) -> PerItem<String, ()> {
        let mut deleted = PerItem::new();
        for group in groups {
            let group = group.into();
            let answer = self.delete_group(&group).await;
            deleted.push((group, answer));
        }
        deleted
    }

    async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        let request = DeleteGroupsRequest { groups_names: vec![GroupId::from(group)] };
        let code = |response: &DeleteGroupsResponse| response.results.first().map_or(ErrorCode::NONE, |one| one.error_code);
        let coordinator = self.coordinator(group);
        let response = coordinator.call(&request, CallOptions::default(), self.timeout, Lost::Report, code).await?;
        let result = response.results.into_iter().next().ok_or(AdminError::Unanswered)?;
        judged((), result.error_code, None)
    }
}

fn classic(group: describe_groups::DescribedGroup, coordinator: BrokerId) -> GroupDescription {
    let speaks_consumer = group.protocol_type == "consumer";
    let member = |one: describe_groups::DescribedGroupMember| {
        let subscription = subscription_of(&one.member_metadata).filter(|_| speaks_consumer);
        let assigned = assigned_partitions(&one.member_assignment).filter(|_| speaks_consumer).unwrap_or_default();
        GroupMember {
            member_id: one.member_id,
            instance_id: one.group_instance_id,
            client_id: one.client_id,
            host: one.client_host,
            rack: subscription.as_ref().and_then(|one| one.rack_id.clone()),
            topics: subscription.into_iter().flat_map(|one| one.topics).map(|topic| topic.0).collect(),
            target: assigned.clone(),
            assigned,
            ..GroupMember::default()
        }
    };
    GroupDescription {
        group: group.group_id.0,
        group_type: "classic",
        state: group.group_state,
        coordinator,
        assignor: group.protocol_data,
        protocol_type: group.protocol_type,
        epoch: None,
        members: group.members.into_iter().map(member).collect(),
    }
}

fn consumer(group: consumer_group_describe::DescribedGroup, coordinator: BrokerId) -> GroupDescription {
    let partitions = |assignment: Assignment| {
        let topics = assignment.topic_partitions.into_iter();
        topics.flat_map(|topic| topic.partitions.into_iter().map(move |one| (topic.topic_name.0.clone(), one))).collect()
    };
    let member = |one: consumer_group_describe::Member| GroupMember {
        member_id: one.member_id,
        instance_id: one.instance_id,
        client_id: one.client_id,
        host: one.client_host,
        rack: one.rack_id,
        epoch: Some(one.member_epoch),
        topics: one.subscribed_topic_names.into_iter().map(|topic| topic.0).collect(),
        topic_regex: one.subscribed_topic_regex.filter(|regex| !regex.is_empty()),
        assigned: partitions(one.assignment),
        target: partitions(one.target_assignment),
    };
    GroupDescription {
        group: group.group_id.0,
        group_type: "consumer",
        state: group.group_state,
        coordinator,
        assignor: group.assignor_name,
        protocol_type: "consumer".to_owned(),
        epoch: Some(group.group_epoch),
        members: group.members.into_iter().map(member).collect(),
    }
}

impl From<CoordinatorError> for AdminError {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::Metadata(error) => Self::Metadata(error),
            CoordinatorError::Request(error) => Self::Request(error),
            CoordinatorError::Refused { code } => Self::Refused { code, message: None },
        }
    }
}
