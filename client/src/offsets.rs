//! Offsets by time, or the ends of the log, asked of the leaders of a topic's partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use tokio::time::Instant;

use crate::backoff::{Backoff, Dice};
use crate::client::Client;
use crate::error::{KafkaError, RequestError};
use crate::metadata::{MetadataError, Missing, Topic};

/// Numbers that stand where a timestamp could.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the first record that there is.
    Earliest,
    /// Behind the last record that a reader of this isolation sees.
    Latest,
    /// Of the record with the latest timestamp.
    MaxTimestamp,
    /// Of the first record whose time is not before this one, in milliseconds since 1970.
    Timestamp(i64),
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// `None` if there is no such record.
    pub offset: Option<Offset>,
    /// Time of the record, -1 where no record was asked for.
    pub timestamp_ms: i64,
    pub leader_epoch: LeaderEpoch,
}

/// Why the offset of one partition is not known.
#[derive(Clone, Debug)]
pub(crate) enum Unknown {
    NoPartition,
    Refused(ErrorCode),
    Request(RequestError),
}

/// What was found, by partition.
pub(crate) type Found = BTreeMap<i32, Result<ListedOffset, Unknown>>;

impl OffsetSpec {
    fn on_the_wire(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::Latest => LATEST,
            Self::MaxTimestamp => MAX_TIMESTAMP,
            Self::Timestamp(timestamp) => timestamp.max(0),
        }
    }
}

impl Unknown {
    fn is_retriable(&self) -> bool {
        match self {
            Self::NoPartition => false,
            Self::Refused(code) => code.is_retriable(),
            Self::Request(error) => error.is_retriable(),
        }
    }
}

/// Looks up one offset in each of the partitions; asks again, within the client's request timeout, where a leader has
/// moved or cannot answer yet.
pub(crate) async fn look_up(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    spec: OffsetSpec,
    isolation_level: i8,
) -> Result<Found, MetadataError> {
    let deadline = Instant::now() + client.shared.settings.request_timeout;
    let mut described = client.shared.metadata.topic(topic, Missing::Report).await?;
    let (mut found, mut pending, mut dice) = (Found::new(), partitions.to_vec(), Dice::new());
    for failures in 1.. {
        for (leader, partitions) in by_leader(&described, &pending) {
            let answers = ask(client, leader, &described, &partitions, spec, isolation_level).await;
            found.extend(answers);
        }
        pending.retain(|partition| {
            let known = found.entry(*partition).or_insert_with(|| missing(&described, *partition));
            known.as_ref().is_err_and(Unknown::is_retriable)
        });
        let wait = Backoff::RETRY.after(failures, &mut dice);
        if pending.is_empty() || Instant::now() + wait > deadline {
            break;
        }
        tokio::time::sleep(wait).await;
        client.shared.metadata.refresh(&[topic], Missing::Report).await?;
        described = client.shared.metadata.topic(topic, Missing::Report).await?;
    }
    Ok(found)
}

fn missing(topic: &Topic, partition: i32) -> Result<ListedOffset, Unknown> {
    match topic.partition(partition) {
        Some(_) => Err(Unknown::Refused(ErrorCode::LEADER_NOT_AVAILABLE)),
        None => Err(Unknown::NoPartition),
    }
}

fn by_leader(topic: &Topic, partitions: &[i32]) -> BTreeMap<BrokerId, Vec<i32>> {
    let mut leaders: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
    for partition in partitions.iter().filter_map(|index| topic.partition(*index)) {
        if let Some(leader) = partition.leader {
            leaders.entry(leader).or_default().push(partition.index);
        }
    }
    leaders
}

async fn ask(
    client: &Client,
    leader: BrokerId,
    topic: &Arc<Topic>,
    partitions: &[i32],
    spec: OffsetSpec,
    isolation_level: i8,
) -> Found {
    let one = |index: &i32| ListOffsetsPartition {
        partition_index: *index,
        current_leader_epoch: topic.partition(*index).map_or(LeaderEpoch::NONE, |partition| partition.leader_epoch),
        timestamp: spec.on_the_wire(),
    };
    let request = ListOffsetsRequest {
        replica_id: BrokerId::NONE,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: TopicName::from(topic.name.as_str()),
            partitions: partitions.iter().map(one).collect(),
        }],
        timeout_ms: i32::try_from(client.shared.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
    };
    match client.call(leader, request).await {
        Ok(response) => {
            let answers = response.topics.into_iter().filter(|answer| answer.name.as_str() == topic.name);
            let asked = answers.flat_map(|answer| answer.partitions).filter(|one| partitions.contains(&one.partition_index));
            asked.map(|answer| (answer.partition_index, read(&answer))).collect()
        }
        Err(error) => partitions.iter().map(|index| (*index, Err(Unknown::Request(error.clone())))).collect(),
    }
}

fn read(answer: &ListOffsetsPartitionResponse) -> Result<ListedOffset, Unknown> {
    match answer.error_code {
        ErrorCode::NONE => Ok(ListedOffset {
            offset: Some(answer.offset).filter(|offset| *offset >= Offset::ZERO),
            timestamp_ms: answer.timestamp,
            leader_epoch: answer.leader_epoch,
        }),
        code => Err(Unknown::Refused(code)),
    }
}
