//! One request of a share session, and what its answer says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, GroupId, Offset, TopicId};
use strandline_protocol::messages::share_acknowledge::{
    self, AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
};
use strandline_protocol::messages::share_fetch::{
    self, AcquiredRecords, FetchPartition, FetchTopic, ForgottenTopic, PartitionData, ShareFetchRequest, ShareFetchResponse,
};
use strandline_protocol::records::Scratch;

use super::batch::{Acknowledge, Delivered, GAP, ShareRecord};
use super::error::ShareError;
use super::member::Shared;
use super::session::{Close, Opening, Place};
use super::words::{Said, runs};
use crate::connection::CallOptions;
use crate::connections::Connections;
use crate::fetcher::{Aborted, Decoded, Wanted, decode};
use crate::reader::ReadError;
use crate::record::ConsumerRecord;

/// The acquire mode that never passes the limit of records (KIP-1206).
const RECORD_LIMIT: i8 = 1;

/// Offsets of one answer that something is said of at most: far more than a leader gives out at a time.
const OFFSETS_MAX: u64 = 1 << 20;

/// What a request is for.
#[derive(Debug)]
pub(super) enum Kind {
    Fetch { words: Said, places: BTreeSet<Place> },
    Acknowledge { words: Said, close: Close },
    Renew { words: Said },
}

impl Kind {
    pub(super) fn words(&self) -> &Said {
        match self {
            Self::Fetch { words, .. } | Self::Acknowledge { words, .. } | Self::Renew { words } => words,
        }
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) broker: BrokerId,
    pub(super) opening: Opening,
    pub(super) kind: Kind,
}

/// What came of it.
pub(super) struct Ended {
    pub(super) asked: Asked,
    pub(super) answer: Result<Answer, ShareError>,
}

#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) acknowledged: Vec<(Place, ErrorCode)>,
    pub(super) delivered: Vec<Result<Delivered, ShareError>>,
    /// Some partition is led elsewhere, or cannot be read at the moment.
    pub(super) moved: bool,
}

pub(super) async fn carry_out(shared: Arc<Shared>, connections: Arc<Connections>, asked: Asked) -> Ended {
    let answer = match &asked.kind {
        Kind::Fetch { .. } => fetch(&shared, &connections, &asked).await,
        Kind::Acknowledge { .. } | Kind::Renew { .. } => acknowledge(&shared, &connections, &asked).await,
    };
    Ended { asked, answer }
}

async fn fetch(shared: &Shared, connections: &Connections, asked: &Asked) -> Result<Answer, ShareError> {
    let address = shared.client.cluster().address(asked.broker)?.clone();
    let options = CallOptions { extra_time: shared.settings.max_wait, ..CallOptions::default() };
    let connection = connections.get(&address).await?;
    let response = connection.submit_with(fetch_request(shared, asked), options)?.answer().await?;
    match response.error_code {
        ErrorCode::NONE => Ok(fetched(shared, asked.kind.words(), response)),
        code => Err(shared.refused(code, response.error_message)),
    }
}

fn fetch_request(shared: &Shared, asked: &Asked) -> ShareFetchRequest {
    let mut topics: BTreeMap<TopicId, BTreeMap<i32, FetchPartition>> = BTreeMap::new();
    for (topic, partition_index) in &asked.opening.added {
        let partition = FetchPartition { partition_index: *partition_index, ..FetchPartition::default() };
        topics.entry(*topic).or_default().insert(*partition_index, partition);
    }
    for ((topic, partition_index), said) in asked.kind.words() {
        let batch = |run: super::words::Run| share_fetch::AcknowledgementBatch {
            first_offset: run.first,
            last_offset: run.last,
            acknowledge_types: run.types,
        };
        let partitions = topics.entry(*topic).or_default();
        let partition = partitions.entry(*partition_index).or_default();
        partition.partition_index = *partition_index;
        partition.acknowledgement_batches = runs(said).into_iter().map(batch).collect();
    }
    let mut forgotten: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &asked.opening.forgotten {
        forgotten.entry(*topic).or_default().push(*partition);
    }
    let topic = |(topic_id, partitions): (TopicId, BTreeMap<i32, FetchPartition>)| FetchTopic {
        topic_id,
        partitions: partitions.into_values().collect(),
    };
    let settings = &shared.settings;
    ShareFetchRequest {
        group_id: Some(GroupId::from(settings.group.as_str())),
        member_id: Some(shared.member_id.clone()),
        share_session_epoch: asked.opening.epoch,
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: settings.fetch_bytes_max,
        max_records: settings.records_max,
        batch_size: settings.records_max,
        share_acquire_mode: RECORD_LIMIT,
        topics: topics.into_iter().map(topic).collect(),
        forgotten_topics_data: forgotten
            .into_iter()
            .map(|(topic_id, partitions)| ForgottenTopic { topic_id, partitions })
            .collect(),
        ..ShareFetchRequest::default()
    }
}

fn fetched(shared: &Shared, words: &Said, response: ShareFetchResponse) -> Answer {
    let (mut answer, mut scratch) = (Answer::default(), Scratch::default());
    for topic in response.responses {
        for partition in topic.partitions {
            let place = (topic.topic_id, partition.partition_index);
            if words.contains_key(&place) {
                answer.acknowledged.push((place, partition.acknowledge_error_code));
            }
            let Some((topic, index)) = shared.named(place) else { continue };
            match partition.error_code {
                ErrorCode::NONE if partition.acquired_records.is_empty() => {}
                ErrorCode::NONE => deliver(shared, place, (topic, index), &partition, &mut scratch, &mut answer.delivered),
                code if code.is_retriable() => answer.moved = true,
                code => answer.delivered.push(Err(ReadError::Refused { topic, partition: index, code }.into())),
            }
        }
    }
    // What a leader passes over was not done.
    let unanswered: Vec<Place> =
        words.keys().filter(|place| !answer.acknowledged.iter().any(|(of, _)| of == *place)).copied().collect();
    answer.acknowledged.extend(unanswered.into_iter().map(|place| (place, ErrorCode::UNKNOWN_SERVER_ERROR)));
    answer
}

fn deliver(
    shared: &Shared,
    place: Place,
    named: crate::TopicPartition,
    partition: &PartitionData,
    scratch: &mut Scratch,
    delivered: &mut Vec<Result<Delivered, ShareError>>,
) {
    let acquired = &partition.acquired_records;
    let first = acquired.iter().map(|one| one.first_offset).min().unwrap_or(Offset::ZERO);
    let last = acquired.iter().map(|one| one.last_offset).max().unwrap_or(Offset::ZERO);
    let wanted = Wanted {
        partition: partition.partition_index,
        from: first,
        until: Offset(last.0.saturating_add(1)),
        decompressed_bytes_max: shared.settings.decompressed_bytes_max,
    };
    let bytes = partition.records.clone().into_bytes();
    let Decoded { records, damaged, .. } = decode(&bytes, wanted, &mut Aborted::default(), scratch);
    let damaged_from = damaged.as_ref().map(|(offset, _)| *offset);
    delivered.push(Ok(given(place, named.clone(), records, acquired, damaged_from)));
    if let Some((offset, what)) = damaged {
        let (topic, partition) = named;
        delivered.push(Err(ReadError::Corrupt { topic, partition, offset, what }.into()));
    }
}

/// The records that were acquired, and what is said of the other offsets that were: from `damaged_from` on nobody can read them.
fn given(
    place: Place,
    partition: crate::TopicPartition,
    records: Vec<ConsumerRecord>,
    acquired: &[AcquiredRecords],
    damaged_from: Option<Offset>,
) -> Delivered {
    let mut by_offset: BTreeMap<Offset, ConsumerRecord> = records.into_iter().map(|record| (record.offset, record)).collect();
    let (mut given, mut said, mut left) = (Vec::new(), Vec::new(), OFFSETS_MAX);
    for range in acquired {
        for offset in (range.first_offset.0..=range.last_offset.0).map(Offset) {
            match by_offset.remove(&offset) {
                Some(record) => given.push(ShareRecord { record, delivery_count: range.delivery_count }),
                None if left == 0 => break,
                None => {
                    left -= 1;
                    let is_damaged = damaged_from.is_some_and(|from| offset >= from);
                    said.push((offset, if is_damaged { Acknowledge::Reject as i8 } else { GAP }));
                }
            }
        }
    }
    Delivered { place, partition, records: given, said }
}

async fn acknowledge(shared: &Shared, connections: &Connections, asked: &Asked) -> Result<Answer, ShareError> {
    let address = shared.client.cluster().address(asked.broker)?.clone();
    let connection = connections.get(&address).await?;
    let response = connection.call(acknowledge_request(shared, asked)).await?;
    match response.error_code {
        ErrorCode::NONE => Ok(acknowledged(asked.kind.words(), response)),
        code => Err(shared.refused(code, response.error_message)),
    }
}

fn acknowledge_request(shared: &Shared, asked: &Asked) -> ShareAcknowledgeRequest {
    let mut topics: BTreeMap<TopicId, Vec<AcknowledgePartition>> = BTreeMap::new();
    for ((topic, partition_index), said) in asked.kind.words() {
        let batch = |run: super::words::Run| share_acknowledge::AcknowledgementBatch {
            first_offset: run.first,
            last_offset: run.last,
            acknowledge_types: run.types,
        };
        let acknowledgement_batches = runs(said).into_iter().map(batch).collect();
        let partition = AcknowledgePartition { partition_index: *partition_index, acknowledgement_batches };
        topics.entry(*topic).or_default().push(partition);
    }
    ShareAcknowledgeRequest {
        group_id: Some(GroupId::from(shared.settings.group.as_str())),
        member_id: Some(shared.member_id.clone()),
        share_session_epoch: asked.opening.epoch,
        is_renew_ack: matches!(asked.kind, Kind::Renew { .. }),
        topics: topics.into_iter().map(|(topic_id, partitions)| AcknowledgeTopic { topic_id, partitions }).collect(),
    }
}

fn acknowledged(words: &Said, response: ShareAcknowledgeResponse) -> Answer {
    let topics = response.responses.into_iter();
    let codes: BTreeMap<Place, ErrorCode> = topics
        .flat_map(|topic| topic.partitions.into_iter().map(move |one| ((topic.topic_id, one.partition_index), one.error_code)))
        .collect();
    let code = |place: &Place| codes.get(place).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
    Answer { acknowledged: words.keys().map(|place| (*place, code(place))).collect(), ..Answer::default() }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::TimestampType;

    use super::*;

    fn record(offset: i64) -> ConsumerRecord {
        ConsumerRecord {
            partition: 0,
            offset: Offset(offset),
            timestamp_ms: 0,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn only_what_was_acquired_is_given_and_every_offset_of_it_is_said_something_of() {
        let acquired = |first, last, delivery_count| AcquiredRecords {
            first_offset: Offset(first),
            last_offset: Offset(last),
            delivery_count,
        };
        let records = [1, 2, 4, 6].map(record).to_vec();
        let ranges = [acquired(2, 4, 1), acquired(6, 8, 3)];
        let given = given((TopicId::ZERO, 0), ("t".to_owned(), 0), records, &ranges, Some(Offset(8)));
        let seen: Vec<(i64, i16)> = given.records.iter().map(|one| (one.record.offset.0, one.delivery_count)).collect();
        assert_eq!(seen, [(2, 1), (4, 1), (6, 3)]);
        assert_eq!(given.said, [(Offset(3), GAP), (Offset(7), GAP), (Offset(8), 3)]);
    }

    #[test]
    fn a_leader_that_claims_to_give_everything_out_does_not_keep_this_side_busy_for_ever() {
        let all = AcquiredRecords { first_offset: Offset(0), last_offset: Offset::MAX, delivery_count: 1 };
        let given = given((TopicId::ZERO, 0), ("t".to_owned(), 0), Vec::new(), &[all], None);
        assert_eq!(given.said.len() as u64, OFFSETS_MAX);
    }
}
