//! WriteTxnMarkers (key 27), versions 1 to 2: the outcome of transactions goes into the partitions led here.
//!
//! v2 the `transaction.version` that the producer works by (KIP-1228): from 2 on a marker has to be of a later epoch than open
//! records. From coordinators, and from operators who end a hanging transaction. Answered once the markers are replicated. In a
//! group's partition the coordinator of the group writes the marker, and its offsets count.
//! Source: KafkaApis.handleWriteTxnMarkersRequest.

use strandline_log::producers::{Marker, MarkerEpoch, Outcome};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, ProducerEpoch, ProducerId, TopicName};
use strandline_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use strandline_protocol::records::{
    BatchHeader, ControlType, EndTransactionMarker, ProducerStamp, Scratch, end_transaction_batch,
};

use super::Answer;
use super::produce::producer_code;
use crate::broker::Broker;
use crate::coordinator::kind::Kind;
use crate::coordinator::transaction::RAISING_VERSION;
use crate::coordinator::turn::Transactional;
use crate::coordinator::{self, check_active, enter};
use crate::io::{Effect, Now, RequestContext};
use crate::parked::{AppendResponse, AppendWait, PendingAppend, Place, Until};
use crate::replica::{Acknowledged, ProduceWaiter};

/// How long replication may take; less than the coordinator waits for us.
const TIMEOUT_MS: u64 = 5_000;

pub(crate) fn write_txn_markers(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: WriteTxnMarkersRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let (mut markers, mut written) = (Vec::with_capacity(request.markers.len()), Vec::new());
    let mut topics_before = 0;
    for marker in &request.markers {
        let mut topics = Vec::with_capacity(marker.topics.len());
        for topic in &marker.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for (at, partition_index) in (0..).zip(topic.partition_indexes.iter().copied()) {
                let done = write(broker, now, marker, &topic.name, partition_index, outbox);
                if let Ok((slot, end)) = done {
                    let pending =
                        PendingAppend { slot, acknowledged: Acknowledged::ByAll, topic: topics_before, partition: at };
                    written.push((pending, end));
                }
                let error_code = done.err().unwrap_or(ErrorCode::NONE);
                partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
            }
            topics_before += 1;
            topics.push(WritableTxnMarkerTopicResult { name: topic.name.clone(), partitions });
        }
        markers.push(WritableTxnMarkerResult { producer_id: marker.producer_id, topics });
    }
    let response = WriteTxnMarkersResponse { markers };
    if written.is_empty() {
        return Answer::now(response);
    }
    let pending = written.iter().map(|(pending, _)| *pending).collect();
    let place = Place { connection: context.connection, sequence: context.sequence };
    let until = Until::HighWatermark(AppendWait { response: AppendResponse::Markers(response), pending });
    let parked = broker.waiting.park(place, Some(now.monotonic_ms + TIMEOUT_MS), until);
    for (pending, end) in written {
        if let Some(replica) = broker.replicas.get_mut(pending.slot) {
            replica.wait(Acknowledged::ByAll, ProduceWaiter { end, parked });
        }
        broker.mark_dirty(pending.slot);
    }
    Answer::Parked
}

/// Writes a marker into one partition. Answers with its slot, and the offset behind the marker.
fn write(
    broker: &mut Broker,
    now: Now,
    marker: &WritableTxnMarker,
    topic: &TopicName,
    partition: i32,
    outbox: &mut Vec<Effect>,
) -> Result<(u32, Offset), ErrorCode> {
    let id = broker.image.topics.id_of(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let slot = broker.slot(id, partition)?;
    let replica = broker.replicas.get_mut(slot).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    let leader = replica.leader()?;
    let epoch = leader.epoch;
    if !leader.has_min_isr(replica.config.min_insync_replicas) {
        return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
    }
    let outcome = if marker.transaction_result { Outcome::Commit } else { Outcome::Abort };
    let content = Marker { outcome, coordinator_epoch: marker.coordinator_epoch };
    let batch = batch(marker, content, now.wall_ms).ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    let header = BatchHeader::parse(&batch).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
    replica.log.check_marker(&header, content, rule(marker)).map_err(|refusal| producer_code(&refusal))?;
    if Kind::of_topic(topic.as_str()) == Some(Kind::Groups) {
        return decide_offsets(broker, now, slot, marker, content, outbox);
    }
    replica.verifying.settle(marker.producer_id, |epoch| ends(marker, epoch));
    let appended = replica.log.append(now.wall_ms, batch, epoch).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
    Ok((slot, appended.last_offset.next()))
}

/// The groups of a partition hear of a transaction that committed offsets there.
fn decide_offsets(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    marker: &WritableTxnMarker,
    content: Marker,
    outbox: &mut Vec<Effect>,
) -> Result<(u32, Offset), ErrorCode> {
    check_active(broker, slot)?;
    let transaction = Transactional { producer_id: marker.producer_id, producer_epoch: marker.producer_epoch };
    enter(broker, now, slot, outbox, |groups, turn| groups.end_transaction(turn, transaction, content));
    // At once, so that whoever commits later in this burst meets the marker in the log.
    coordinator::write(broker, now, slot, outbox);
    check_active(broker, slot)?;
    let replica = broker.replicas.get_mut(slot).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    replica.verifying.settle(marker.producer_id, |epoch| ends(marker, epoch));
    Ok((slot, replica.log.positions().log_end))
}

fn rule(marker: &WritableTxnMarker) -> MarkerEpoch {
    let raises = i16::from(marker.transaction_version) >= RAISING_VERSION;
    if raises { MarkerEpoch::Above } else { MarkerEpoch::AtLeast }
}

/// Whether a marker is of a transaction under this epoch, or of a later one.
fn ends(marker: &WritableTxnMarker, epoch: ProducerEpoch) -> bool {
    match rule(marker) {
        MarkerEpoch::Above => epoch < marker.producer_epoch,
        MarkerEpoch::AtLeast => epoch <= marker.producer_epoch,
    }
}

fn batch(marker: &WritableTxnMarker, content: Marker, now_ms: i64) -> Option<bytes::Bytes> {
    let kind = if content.outcome == Outcome::Commit { ControlType::Commit } else { ControlType::Abort };
    let ProducerId(id) = marker.producer_id;
    let stamp = ProducerStamp { id, epoch: marker.producer_epoch.0, base_sequence: -1 };
    let content = EndTransactionMarker { coordinator_epoch: content.coordinator_epoch };
    end_transaction_batch(kind, content, stamp, now_ms, &mut Scratch::default()).ok()
}
