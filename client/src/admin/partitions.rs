//! Leaders elected and replicas moved. Source: KIP-183, KIP-460, KIP-455.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use strandline_protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use strandline_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, OngoingPartitionReassignment,
};

use super::{Admin, AdminError, PerItem, in_order, judged};
use crate::TopicPartition;
use crate::group::by_topic;

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of the partition's replicas, if it is in sync.
    Preferred,
    /// Any replica, where none that is in sync is left: acknowledged records may be lost.
    Unclean,
}

/// A partition whose replicas are being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    pub topic: String,
    pub partition: i32,
    /// All replicas at the moment: those that stay, that come and that go.
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

impl Reassignment {
    fn from_wire(topic: &TopicName, partition: OngoingPartitionReassignment) -> Self {
        Self {
            topic: topic.0.clone(),
            partition: partition.partition_index,
            replicas: partition.replicas,
            adding: partition.adding_replicas,
            removing: partition.removing_replicas,
        }
    }
}

impl Admin {
    /// Elects leaders. A partition that has the desired leader already answers with ELECTION_NOT_NEEDED.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the controller refuses altogether.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<PerItem<TopicPartition, ()>, AdminError> {
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        let asked = by_topic(&partitions)
            .into_iter()
            .map(|(topic, partitions)| TopicPartitions { topic: TopicName::from(topic), partitions })
            .collect();
        let request = ElectLeadersRequest {
            election_type: i8::from(election == Election::Unclean),
            topic_partitions: Some(asked),
            timeout_ms: self.timeout_ms(),
        };
        let response = self.call_controller(request, |response| response.error_code == ErrorCode::NOT_CONTROLLER).await?;
        judged((), response.error_code, None)?;
        let answers = response.replica_election_results.into_iter().flat_map(|topic| {
            let name = topic.topic.0;
            topic.partition_result.into_iter().map(move |partition| {
                let key = (name.clone(), partition.partition_id);
                (key, judged((), partition.error_code, partition.error_message))
            })
        });
        let answers = answers.collect();
        Ok(in_order(partitions, answers))
    }

    /// Gives partitions other replicas, the preferred leader first; `None` cancels a change that is under way. Answers when
    /// the change has begun: [`Admin::reassignments`] says how far it is.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the controller refuses altogether.
    pub async fn reassign(
        &self,
        changes: impl IntoIterator<Item = (TopicPartition, Option<Vec<BrokerId>>)>,
    ) -> Result<PerItem<TopicPartition, ()>, AdminError> {
        let changes: Vec<(TopicPartition, Option<Vec<BrokerId>>)> = changes.into_iter().collect();
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for ((topic, partition), replicas) in &changes {
            let changed = ReassignablePartition { partition_index: *partition, replicas: replicas.clone() };
            topics.entry(topic).or_default().push(changed);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ReassignableTopic { name: TopicName::from(name), partitions })
            .collect();
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics,
            ..AlterPartitionReassignmentsRequest::default()
        };
        let response = self.call_controller(request, |response| response.error_code == ErrorCode::NOT_CONTROLLER).await?;
        judged((), response.error_code, response.error_message)?;
        let answers = response.responses.into_iter().flat_map(|topic| {
            let name = topic.name.0;
            topic.partitions.into_iter().map(move |partition| {
                let key = (name.clone(), partition.partition_index);
                (key, judged((), partition.error_code, partition.error_message))
            })
        });
        let answers = answers.collect();
        Ok(in_order(changes.into_iter().map(|(key, _)| key).collect(), answers))
    }

    /// The partitions whose replicas are being changed, by topic and partition.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the controller refuses.
    pub async fn reassignments(&self) -> Result<Vec<Reassignment>, AdminError> {
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics: None };
        let response = self.call_controller(request, |response| response.error_code == ErrorCode::NOT_CONTROLLER).await?;
        judged((), response.error_code, response.error_message)?;
        let mut found: Vec<Reassignment> = Vec::new();
        for topic in response.topics {
            found.extend(topic.partitions.into_iter().map(|partition| Reassignment::from_wire(&topic.name, partition)));
        }
        found.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        Ok(found)
    }
}
