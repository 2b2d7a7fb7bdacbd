//! One Fetch request to one leader, and what its answer says of each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use strandline_protocol::records::Scratch;

use super::aborted::Aborted;
use super::decode::{Decoded, Wanted, decode};
use super::{FetchSettings, Tools};
use crate::connection::CallOptions;
use crate::error::RequestError;
use crate::metadata::Topic;
use crate::reader::Isolation;

/// The last version in which topics have names.
const NAMED_VERSION_MAX: i16 = 12;

/// What is asked of one partition.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: i32,
    pub(super) from: Offset,
    pub(super) until: Offset,
    /// Of the position; an answer to a question of before is worth nothing.
    pub(super) version: u64,
}

/// What one partition answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// Records, maybe none.
    Read(Decoded),
    /// The code, and where the log begins, if the broker said so.
    Refused(ErrorCode, Offset),
}

/// What was answered, by the number of the question.
pub(super) type Answers = BTreeMap<usize, Answer>;

impl Isolation {
    pub(crate) fn on_the_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Fetches once. A partition that the broker passes over is not in the answer.
pub(super) async fn fetch(tools: &Tools, broker: BrokerId, asks: &[Ask]) -> Result<Answers, RequestError> {
    let address = tools.client.cluster().address(broker)?.clone();
    let connection = tools.connections.get(&address).await?;
    let version_max = asks.iter().any(|ask| ask.topic.id.is_zero()).then_some(NAMED_VERSION_MAX);
    let options = CallOptions { extra_time: tools.settings.max_wait, version_max };
    let response = connection.submit_with(request(&tools.settings, asks), options)?.answer().await?;
    if response.error_code != ErrorCode::NONE {
        return Err(RequestError::Refused { address, code: response.error_code });
    }
    Ok(answers(&tools.settings, asks, response))
}

fn request(settings: &FetchSettings, asks: &[Ask]) -> FetchRequest {
    let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
    for ask in asks {
        let topic = &ask.topic;
        let entry = topics.entry(&topic.name).or_insert_with(|| FetchTopic {
            topic: TopicName::from(topic.name.as_str()),
            topic_id: topic.id,
            partitions: Vec::new(),
        });
        entry.partitions.push(FetchPartition {
            partition: ask.partition,
            current_leader_epoch: topic.partition(ask.partition).map_or(LeaderEpoch::NONE, |one| one.leader_epoch),
            fetch_offset: ask.from,
            partition_max_bytes: settings.partition_bytes_max,
            ..Default::default()
        });
    }
    FetchRequest {
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.min_bytes,
        max_bytes: settings.fetch_bytes_max,
        isolation_level: settings.isolation.on_the_wire(),
        topics: topics.into_values().collect(),
        ..Default::default()
    }
}

fn answers(settings: &FetchSettings, asks: &[Ask], response: FetchResponse) -> Answers {
    let by_name: BTreeMap<(&str, i32), usize> =
        asks.iter().enumerate().map(|(index, ask)| ((ask.topic.name.as_str(), ask.partition), index)).collect();
    let by_id: BTreeMap<_, &str> =
        asks.iter().filter(|ask| !ask.topic.id.is_zero()).map(|ask| (ask.topic.id, ask.topic.name.as_str())).collect();
    let mut scratch = Scratch::default();
    let mut read = Answers::new();
    for topic in response.responses {
        let name = by_id.get(&topic.topic_id).copied().unwrap_or(topic.topic.as_str());
        for data in topic.partitions {
            if let Some(index) = by_name.get(&(name, data.partition_index)) {
                read.insert(*index, answer(settings, &asks[*index], data, &mut scratch));
            }
        }
    }
    read
}

fn answer(settings: &FetchSettings, ask: &Ask, data: PartitionData, scratch: &mut Scratch) -> Answer {
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
