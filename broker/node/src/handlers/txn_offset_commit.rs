//! TxnOffsetCommit (key 28), versions 0 to 5: offsets of a group that count once the transaction is committed.
//!
//! v2 leader epochs (KIP-320) · v3 member and generation (KIP-447) · v5 the group's partition joins the transaction with this
//! request (KIP-890), as with Produce v12. Source: KafkaApis.handleTxnOffsetCommitRequest, OffsetMetadataManager.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use super::Answer;
use super::produce::is_open;
use crate::broker::Broker;
use crate::coordinator::group::{Commit, Position};
use crate::coordinator::transaction::entry::Producer;
use crate::coordinator::turn::Transactional;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::image::topics::Topic;
use crate::io::{Effect, Now, RequestContext};
use crate::verification::{self, Ability, Claim, Unverified, Verdicts, Work};

/// From this version on clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;
/// From this version on the request adds the group's partition.
const ADDS_FROM: i16 = 5;
/// Before this version clients take a coordinator that loads as the end.
const LOADING_FROM: i16 = 2;

pub(crate) fn txn_offset_commit(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refused(context, request, code)),
    };
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let ability = match context.api_version {
        ADDS_FROM.. => Ability::Added,
        ABORTABLE_FROM.. => Ability::Abortable,
        _ => Ability::Verified,
    };
    let is_verified = broker.coordinators.settings.verifies_partitions || ability == Ability::Added;
    let open = broker.replicas.get(slot).is_some_and(|replica| is_open(replica, producer));
    if !is_verified || open {
        return commit(broker, now, context, request, &Verdicts::new(), outbox);
    }
    let Some(replica) = broker.replicas.get_mut(slot) else {
        return Answer::now(refused(context, request, ErrorCode::NOT_COORDINATOR));
    };
    // Records of coordinators have no sequences.
    let guard = replica.verifying.begin(replica.leader_epoch(), producer.id, producer.epoch, 0);
    let places = BTreeMap::from([((replica.name.clone(), replica.partition), (slot, guard))]);
    let claim = Claim { id: request.transactional_id.clone(), producer, ability, places };
    let work = Work::Offsets(Box::new(request));
    verification::ask(broker, now, Unverified { context: context.clone(), claim, work }, outbox)
}

/// Commits what may be committed.
pub(crate) fn commit(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
    verdicts: &Verdicts,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let admitted = slot_of(broker, &request.group_id).and_then(|slot| admit(broker, slot, &request, verdicts).map(|()| slot));
    let slot = match admitted {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refused(context, request, code)),
    };
    let known = |name: &TopicName| broker.image.topics.by_name(name).cloned();
    let wanted: Vec<_> = request.topics.iter().map(|topic| (topic.clone(), known(&topic.name))).collect();
    let commit = Commit {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
        unknown_group: ErrorCode::ILLEGAL_GENERATION,
        stale: |_| ErrorCode::ILLEGAL_GENERATION,
        transaction: Some(Transactional { producer_id: request.producer_id, producer_epoch: request.producer_epoch }),
    };
    let done = enter(broker, now, slot, outbox, |groups, turn| {
        groups.begin_commit(turn, &commit)?;
        let topics = wanted.into_iter().map(|(asked, known)| TxnOffsetCommitResponseTopic {
            partitions: asked
                .partitions
                .into_iter()
                .map(|partition| {
                    let partition_index = partition.partition_index;
                    let position = position(known.as_ref(), partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                    let done = position.and_then(|position| groups.commit(turn, &commit, position));
                    TxnOffsetCommitResponsePartition { partition_index, error_code: done.err().unwrap_or(ErrorCode::NONE) }
                })
                .collect(),
            name: asked.name,
        });
        Ok(topics.collect::<Vec<_>>())
    });
    match done {
        Ok(topics) => {
            if let Some(replica) = broker.replicas.get_mut(slot) {
                replica.verifying.settle(request.producer_id, |epoch| epoch <= request.producer_epoch);
            }
            let response = TxnOffsetCommitResponse { topics, ..TxnOffsetCommitResponse::default() };
            reply_when_committed(broker, now, context, &[slot], response.into())
        }
        Err(code) => Answer::now(refused(context, request, code)),
    }
}

/// Whether the producer may write into the group's partition now.
fn admit(broker: &Broker, slot: u32, request: &TxnOffsetCommitRequest, verdicts: &Verdicts) -> Result<(), ErrorCode> {
    let replica = broker.replicas.get(slot).ok_or(ErrorCode::NOT_COORDINATOR)?;
    if let Some(verdict) = verdicts.get(&slot) {
        let guard = (*verdict)?;
        let holds = replica.verifying.holds(request.producer_id, guard, replica.leader_epoch());
        // Another commit of the transaction may have been faster.
        let open = is_open(replica, Producer { id: request.producer_id, epoch: request.producer_epoch });
        if !holds && !open {
            return Err(ErrorCode::INVALID_TXN_STATE);
        }
    }
    let known = replica.log.producer(request.producer_id);
    if known.is_some_and(|known| known.epoch() > request.producer_epoch) {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    Ok(())
}

/// What is to be committed; `None` if there is no such partition.
fn position(topic: Option<&Topic>, partition: TxnOffsetCommitRequestPartition) -> Option<Position> {
    let topic = topic.filter(|topic| topic.partitions.contains_key(&partition.partition_index))?;
    Some(Position {
        place: (topic.name.clone(), partition.partition_index),
        topic_id: topic.id,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata,
        expire_ms: None,
    })
}

fn refused(context: &RequestContext, request: TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse {
    let error_code = match code {
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS if context.api_version < LOADING_FROM => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        // What a Produce would be told when the coordinator cannot be asked.
        ErrorCode::NOT_ENOUGH_REPLICAS => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        code => code,
    };
    let topics = request.topics.into_iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition { partition_index: partition.partition_index, error_code })
            .collect(),
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() }
}
