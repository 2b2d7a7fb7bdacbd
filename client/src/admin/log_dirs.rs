//! Which log directory of a broker holds which replica, and moves between them. Source: KIP-113, KIP-827.

use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use strandline_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResult,
};

use super::{Admin, AdminError, PerItem, in_order, judged};
use crate::TopicPartition;
use crate::group::by_topic;

/// A log directory of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirectory {
    /// As the broker's configuration names it.
    pub path: String,
    /// Of the volume that it lies on; asked of servers from Kafka 3.3 on.
    pub total_bytes: Option<u64>,
    pub usable_bytes: Option<u64>,
    /// What lies in it, by topic and partition.
    pub replicas: Vec<PlacedReplica>,
}

/// A replica in a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedReplica {
    pub topic: String,
    pub partition: i32,
    pub bytes: u64,
    /// How many records it lacks of what is committed; a copy, of what it is made from. `None` if that is not known.
    pub lag: Option<u64>,
    /// It is being made from the broker's replica in another directory, and will take its place.
    pub is_copy: bool,
}

impl LogDirectory {
    fn from_wire(described: DescribeLogDirsResult) -> (String, Result<Self, AdminError>) {
        let bytes = |bytes: i64| u64::try_from(bytes).ok();
        let mut replicas: Vec<PlacedReplica> = Vec::new();
        for topic in described.topics {
            replicas.extend(topic.partitions.iter().map(|partition| PlacedReplica::from_wire(&topic.name, partition)));
        }
        replicas.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        let directory = Self {
            path: described.log_dir.clone(),
            total_bytes: bytes(described.total_bytes),
            usable_bytes: bytes(described.usable_bytes),
            replicas,
        };
        (described.log_dir, judged(directory, described.error_code, None))
    }
}

impl PlacedReplica {
    fn from_wire(topic: &TopicName, partition: &DescribeLogDirsPartition) -> Self {
        Self {
            topic: topic.0.clone(),
            partition: partition.partition_index,
            bytes: u64::try_from(partition.partition_size).unwrap_or(0),
            lag: u64::try_from(partition.offset_lag).ok(),
            is_copy: partition.is_future_key,
        }
    }
}

impl Admin {
    /// A broker's log directories, by path, in the broker's order; one that does not work answers with KAFKA_STORAGE_ERROR.
    ///
    /// # Errors
    /// [`AdminError`] if the broker cannot be asked, or refuses.
    pub async fn describe_log_dirs(&self, broker: BrokerId) -> Result<PerItem<String, LogDirectory>, AdminError> {
        let response = self.client.call(broker, DescribeLogDirsRequest { topics: None }).await?;
        judged((), response.error_code, None)?;
        Ok(response.results.into_iter().map(LogDirectory::from_wire).collect())
    }

    /// Moves a broker's replicas to the log directory `path` of the same broker; the one that a replica lies in takes a move back.
    /// Answers when the moves have begun: [`Admin::describe_log_dirs`] says how far they are.
    ///
    /// # Errors
    /// [`AdminError`] if the broker cannot be asked.
    pub async fn move_to_log_dir(
        &self,
        broker: BrokerId,
        path: &str,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<PerItem<TopicPartition, ()>, AdminError> {
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        let topics = by_topic(&partitions)
            .into_iter()
            .map(|(name, partitions)| AlterReplicaLogDirTopic { name: TopicName::from(name), partitions })
            .collect();
        let request = AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: path.to_owned(), topics }] };
        let response = self.client.call(broker, request).await?;
        let answers = response.results.into_iter().flat_map(|topic| {
            let name = topic.topic_name.0;
            topic
                .partitions
                .into_iter()
                .map(move |partition| ((name.clone(), partition.partition_index), judged((), partition.error_code, None)))
        });
        let answers = answers.collect();
        Ok(in_order(partitions, answers))
    }
}
