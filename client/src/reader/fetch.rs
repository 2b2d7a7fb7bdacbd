//! One Fetch request to one leader, and what its answer says of each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use strandline_protocol::records::Scratch;

use super::aborted::Aborted;
use super::builder::{Isolation, Settings};
use super::decode::{Decoded, Wanted, decode};
use crate::client::Client;
use crate::connection::CallOptions;
use crate::connections::Connections;
use crate::error::RequestError;
use crate::metadata::Topic;

/// The last version in which topics have names.
const NAMED_VERSION_MAX: i16 = 12;

/// What is asked of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) partition: i32,
    pub(super) from: Offset,
    pub(super) until: Offset,
}

/// What one partition answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// Records, maybe none.
    Read(Decoded),
    /// The code, and where the log begins, if the broker said so.
    Refused(ErrorCode, Offset),
}

impl Isolation {
    pub(super) fn on_the_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Fetches once. A partition that the broker passes over is not in the answer.
pub(super) async fn fetch(
    client: &Client,
    connections: &Connections,
    settings: &Settings,
    topic: &Topic,
    broker: BrokerId,
    asks: &[Ask],
) -> Result<BTreeMap<i32, Answer>, RequestError> {
    let address = client.cluster().address(broker)?.clone();
    let connection = connections.get(&address).await?;
    let version_max = topic.id.is_zero().then_some(NAMED_VERSION_MAX);
    let options = CallOptions { extra_time: settings.max_wait, version_max };
    let response = connection.submit_with(request(settings, topic, asks), options)?.answer().await?;
    if response.error_code != ErrorCode::NONE {
        return Err(RequestError::Refused { address, code: response.error_code });
    }
    Ok(answers(settings, topic, asks, response))
}

fn request(settings: &Settings, topic: &Topic, asks: &[Ask]) -> FetchRequest {
    let partition = |ask: &Ask| FetchPartition {
        partition: ask.partition,
        current_leader_epoch: topic.partition(ask.partition).map_or(LeaderEpoch::NONE, |one| one.leader_epoch),
        fetch_offset: ask.from,
        partition_max_bytes: settings.partition_bytes_max,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.min_bytes,
        max_bytes: settings.fetch_bytes_max,
        isolation_level: settings.isolation.on_the_wire(),
        topics: vec![FetchTopic {
            topic: TopicName::from(topic.name.as_str()),
            topic_id: topic.id,
            partitions: asks.iter().map(partition).collect(),
        }],
        ..Default::default()
    }
}

fn answers(settings: &Settings, topic: &Topic, asks: &[Ask], response: FetchResponse) -> BTreeMap<i32, Answer> {
    let mut scratch = Scratch::default();
    let ours = |name: &str, id| if topic.id.is_zero() || name == topic.name { name == topic.name } else { id == topic.id };
    let topics = response.responses.into_iter().filter(|answer| ours(answer.topic.as_str(), answer.topic_id));
    let partitions = topics.flat_map(|answer| answer.partitions);
    let asked = partitions.filter_map(|data| {
        let ask = asks.iter().find(|ask| ask.partition == data.partition_index)?;
        Some((data.partition_index, answer(settings, *ask, data, &mut scratch)))
    });
    asked.collect()
}

fn answer(settings: &Settings, ask: Ask, data: PartitionData, scratch: &mut Scratch) -> Answer {
    if data.error_code != ErrorCode::NONE {
        return Answer::Refused(data.error_code, data.log_start_offset);
    }
    let hidden = match settings.isolation {
        Isolation::ReadCommitted => data.aborted_transactions.unwrap_or_default(),
        Isolation::ReadUncommitted => Vec::new(),
    };
    let wanted = Wanted {
        partition: ask.partition,
        from: ask.from,
        until: ask.until,
        decompressed_bytes_max: settings.decompressed_bytes_max,
    };
    let bytes = data.records.map(|records| records.into_bytes()).unwrap_or_default();
    Answer::Read(decode(&bytes, wanted, &mut Aborted::new(&hidden), scratch))
}

/// What a fetch needs, shared by all of a reader.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) connections: Arc<Connections>,
    pub(super) settings: Arc<Settings>,
}
