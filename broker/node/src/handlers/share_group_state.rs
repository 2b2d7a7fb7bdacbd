//! What leaders and group coordinators ask of the share coordinator (KIP-932), all in version 0 and two of them in 1 too:
//! InitializeShareGroupState (key 83), ReadShareGroupState (84), WriteShareGroupState (85), DeleteShareGroupState (86) and
//! ReadShareGroupStateSummary (87).
//!
//! Each partition has a coordinator of its own: the leader of the partition of `__share_group_state` that `group:topic-id:partition` falls
//! on. Answers leave when what they say is committed. v1 of 85 and 87: how many records behind the start are done with (KIP-1226).
//! Errors by partition: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION,
//! FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, INVALID_REQUEST for a state that was never initialized. Source: ShareCoordinatorService.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId};
use strandline_protocol::messages::{
    delete_share_group_state as delete, initialize_share_group_state as initialize, read_share_group_state as read,
    read_share_group_state_summary as summary, write_share_group_state as write,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::kind::Kind;
use crate::coordinator::share::{Batch, Known, ShareKey, ShareStates, Update};
use crate::coordinator::turn::Turn;
use crate::coordinator::{enter_shares, reply_when_committed, slot_of_key};
use crate::io::{Effect, Now, RequestContext};

/// A request on its way through its partitions.
struct Round<'a> {
    broker: &'a mut Broker,
    now: Now,
    group: GroupId,
    slots: Vec<u32>,
    outbox: &'a mut Vec<Effect>,
}

impl<'a> Round<'a> {
    fn new(broker: &'a mut Broker, now: Now, group: GroupId, outbox: &'a mut Vec<Effect>) -> Self {
        Self { broker, now, group, slots: Vec::new(), outbox }
    }

    /// Does something with the state of one partition.
    fn with<T>(
        &mut self,
        topic: TopicId,
        partition: i32,
        act: impl FnOnce(&mut ShareStates, &mut Turn<'_>, &ShareKey) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let key = ShareKey { group: self.group.clone(), topic, partition };
        if key.group.as_str().is_empty() || key.partition < 0 {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let slot = slot_of_key(self.broker, Kind::ShareStates, &key.to_string())?;
        self.slots.push(slot);
        enter_shares(self.broker, self.now, slot, self.outbox, |states, turn| act(states, turn, &key))
    }

    fn slots(mut self) -> Vec<u32> {
        self.slots.sort_unstable();
        self.slots.dedup();
        self.slots
    }
}

fn told(result: Result<(), ErrorCode>) -> (ErrorCode, Option<String>) {
    match result {
        Ok(()) => (ErrorCode::NONE, None),
        Err(code) => (code, message(code)),
    }
}

fn message(code: ErrorCode) -> Option<String> {
    Some(code.meaning().to_owned())
}

pub(crate) fn initialize_share_group_state(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: initialize::InitializeShareGroupStateRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut round = Round::new(broker, now, request.group_id, outbox);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let done = round.with(topic.topic_id, asked.partition, |states, turn, key| {
                states.initialize(turn, key, asked.state_epoch, asked.start_offset)
            });
            let (error_code, error_message) = told(done);
            partitions.push(initialize::PartitionResult { partition: asked.partition, error_code, error_message });
        }
        results.push(initialize::InitializeStateResult { topic_id: topic.topic_id, partitions });
    }
    let slots = round.slots();
    reply_when_committed(broker, now, context, &slots, initialize::InitializeShareGroupStateResponse { results }.into())
}

pub(crate) fn read_share_group_state(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: read::ReadShareGroupStateRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut round = Round::new(broker, now, request.group_id, outbox);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let known =
                round.with(topic.topic_id, asked.partition, |states, turn, key| states.read(turn, key, asked.leader_epoch));
            partitions.push(known_result(asked.partition, known));
        }
        results.push(read::ReadStateResult { topic_id: topic.topic_id, partitions });
    }
    let slots = round.slots();
    reply_when_committed(broker, now, context, &slots, read::ReadShareGroupStateResponse { results }.into())
}

fn known_result(partition: i32, known: Result<Known, ErrorCode>) -> read::PartitionResult {
    let result = read::PartitionResult { partition, ..read::PartitionResult::default() };
    match known {
        Ok(known) => {
            let batch = |batch: Batch| read::StateBatch {
                first_offset: batch.first,
                last_offset: batch.last,
                delivery_state: batch.state,
                delivery_count: batch.deliveries,
            };
            read::PartitionResult {
                state_epoch: known.state_epoch,
                start_offset: known.start,
                state_batches: known.batches.into_iter().map(batch).collect(),
                ..result
            }
        }
        Err(code) => read::PartitionResult { error_code: code, error_message: message(code), ..result },
    }
}

pub(crate) fn write_share_group_state(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: write::WriteShareGroupStateRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut round = Round::new(broker, now, request.group_id, outbox);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let partition = asked.partition;
            let done = update(asked)
                .and_then(|update| round.with(topic.topic_id, partition, |states, turn, key| states.write(turn, key, update)));
            let (error_code, error_message) = told(done);
            partitions.push(write::PartitionResult { partition, error_code, error_message });
        }
        results.push(write::WriteStateResult { topic_id: topic.topic_id, partitions });
    }
    let slots = round.slots();
    reply_when_committed(broker, now, context, &slots, write::WriteShareGroupStateResponse { results }.into())
}

fn update(asked: write::PartitionData) -> Result<Update, ErrorCode> {
    let is_odd = |batch: &write::StateBatch| batch.first_offset < Offset::ZERO || batch.last_offset < batch.first_offset;
    if asked.state_batches.iter().any(is_odd) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let batch = |batch: write::StateBatch| Batch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        deliveries: batch.delivery_count,
    };
    Ok(Update {
        state_epoch: asked.state_epoch,
        leader_epoch: asked.leader_epoch,
        start: asked.start_offset,
        complete: asked.delivery_complete_count,
        batches: asked.state_batches.into_iter().map(batch).collect(),
    })
}

pub(crate) fn delete_share_group_state(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: delete::DeleteShareGroupStateRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut round = Round::new(broker, now, request.group_id, outbox);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let done = round.with(topic.topic_id, asked.partition, |states, turn, key| {
                states.delete(turn, key);
                Ok(())
            });
            let (error_code, error_message) = told(done);
            partitions.push(delete::PartitionResult { partition: asked.partition, error_code, error_message });
        }
        results.push(delete::DeleteStateResult { topic_id: topic.topic_id, partitions });
    }
    let slots = round.slots();
    reply_when_committed(broker, now, context, &slots, delete::DeleteShareGroupStateResponse { results }.into())
}

pub(crate) fn read_share_group_state_summary(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: summary::ReadShareGroupStateSummaryRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut round = Round::new(broker, now, request.group_id, outbox);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let known = round.with(topic.topic_id, asked.partition, |states, turn, key| states.summary(turn, key));
            partitions.push(summary_result(asked.partition, known));
        }
        results.push(summary::ReadStateSummaryResult { topic_id: topic.topic_id, partitions });
    }
    let slots = round.slots();
    reply_when_committed(broker, now, context, &slots, summary::ReadShareGroupStateSummaryResponse { results }.into())
}

/// A state that does not exist has epochs of 0 and no start.
fn summary_result(partition: i32, known: Result<Option<Known>, ErrorCode>) -> summary::PartitionResult {
    let result = summary::PartitionResult { partition, start_offset: Offset::NONE, ..summary::PartitionResult::default() };
    match known {
        Ok(None) => summary::PartitionResult { leader_epoch: LeaderEpoch(0), ..result },
        Ok(Some(known)) => summary::PartitionResult {
            state_epoch: known.state_epoch,
            leader_epoch: known.leader_epoch,
            start_offset: known.start,
            delivery_complete_count: known.complete,
            ..result
        },
        Err(code) => summary::PartitionResult { error_code: code, error_message: message(code), ..result },
    }
}
