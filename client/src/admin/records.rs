//! Offsets of partitions, and records that are to go.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicName};
use strandline_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
};

use super::{Admin, AdminError, PerItem, in_order, judged};
use crate::TopicPartition;
use crate::metadata::Missing;
use crate::offsets::{ListedOffset, OffsetSpec, Unknown, look_up};

impl Admin {
    /// An offset of each of a topic's partitions.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        spec: OffsetSpec,
    ) -> Result<PerItem<i32, ListedOffset>, AdminError> {
        let found = look_up(&self.client, topic, partitions, spec, 0).await?;
        let answers = found.into_iter().map(|(partition, found)| (partition, found.map_err(AdminError::from)));
        Ok(in_order(partitions.to_vec(), answers.collect()))
    }

    /// Deletes what lies before an offset in each partition, and answers with where the log begins then. `None` deletes
    /// everything that the replicas in sync have.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn delete_records(
        &self,
        partitions: impl IntoIterator<Item = (TopicPartition, Option<Offset>)>,
    ) -> Result<PerItem<TopicPartition, Offset>, AdminError> {
        let partitions: Vec<(TopicPartition, Option<Offset>)> = partitions.into_iter().collect();
        let mut answers = PerItem::new();
        for (leader, asked) in self.by_leader(&partitions).await? {
            match leader {
                Some(leader) => answers.extend(self.delete_from(leader, &asked).await),
                None => answers.extend(asked.into_iter().map(|(partition, _)| (partition, Err(no_leader())))),
            }
        }
        Ok(in_order(partitions.into_iter().map(|(partition, _)| partition).collect(), answers))
    }

    async fn by_leader(
        &self,
        partitions: &[(TopicPartition, Option<Offset>)],
    ) -> Result<BTreeMap<Option<BrokerId>, Vec<(TopicPartition, Option<Offset>)>>, AdminError> {
        let mut leaders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for asked in partitions {
            let (name, index) = &asked.0;
            let topic = self.client.shared.metadata.topic(name, Missing::Report).await?;
            let leader = topic.partition(*index).and_then(|partition| partition.leader);
            leaders.entry(leader).or_default().push(asked.clone());
        }
        Ok(leaders)
    }

    async fn delete_from(
        &self,
        leader: BrokerId,
        asked: &[(TopicPartition, Option<Offset>)],
    ) -> PerItem<TopicPartition, Offset> {
        let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for ((topic, index), offset) in asked {
            let partition = DeleteRecordsPartition { partition_index: *index, offset: offset.unwrap_or(Offset::NONE) };
            topics.entry(topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, _)| DeleteRecordsTopic { name: TopicName::from(name), partitions };
        let request = DeleteRecordsRequest { topics: topics.into_iter().map(topic).collect(), timeout_ms: self.timeout_ms() };
        match self.client.call(leader, request).await {
            Ok(response) => {
                let partitions = response
                    .topics
                    .into_iter()
                    .flat_map(|topic| topic.partitions.into_iter().map(move |partition| (topic.name.0.clone(), partition)));
                partitions.map(|(topic, answer)| delete_answer(topic, answer)).collect()
            }
            Err(error) => asked.iter().map(|(partition, _)| (partition.clone(), Err(error.clone().into()))).collect(),
        }
    }
}

fn delete_answer(topic: String, answer: DeleteRecordsPartitionResult) -> (TopicPartition, Result<Offset, AdminError>) {
    ((topic, answer.partition_index), judged(answer.low_watermark, answer.error_code, None))
}

fn no_leader() -> AdminError {
    AdminError::Refused { code: ErrorCode::LEADER_NOT_AVAILABLE, message: None }
}

impl From<Unknown> for AdminError {
    fn from(unknown: Unknown) -> Self {
        let refused = |code| Self::Refused { code, message: None };
        match unknown {
            Unknown::NoPartition => refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Unknown::Refused(code) => refused(code),
            Unknown::Request(error) => Self::Request(error),
        }
    }
}
