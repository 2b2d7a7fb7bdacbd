//! ListPartitionReassignments (key 46), version 0: partitions whose replicas are being moved (KIP-455).

use std::collections::BTreeMap;

use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};

use super::Answer;
use crate::broker::Broker;

pub(crate) fn list_partition_reassignments(broker: &mut Broker, request: ListPartitionReassignmentsRequest) -> Answer {
    let asked: Option<BTreeMap<TopicName, Vec<i32>>> =
        request.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    let is_asked = |name: &TopicName, index: i32| match &asked {
        None => true,
        Some(asked) => asked.get(name).is_some_and(|indexes| indexes.contains(&index)),
    };
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let mut moving: BTreeMap<TopicName, Vec<OngoingPartitionReassignment>> = BTreeMap::new();
    let topics = &broker.image.topics;
    for (id, index) in topics.standings.moving() {
        let Some(topic) = topics.by_id(id).filter(|topic| is_asked(&topic.name, index)) else { continue };
        let partition = &topic.partitions[&index];
        moving.entry(topic.name.clone()).or_default().push(OngoingPartitionReassignment {
            partition_index: index,
            replicas: ids(&partition.replicas),
            adding_replicas: ids(&partition.adding_replicas),
            removing_replicas: ids(&partition.removing_replicas),
        });
    }
    let topics = moving.into_iter().map(|(name, partitions)| OngoingTopicReassignment { name, partitions }).collect();
    Answer::now(ListPartitionReassignmentsResponse { topics, ..Default::default() })
}
