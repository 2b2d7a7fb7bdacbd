//! AddOffsetsToTxn (key 25), versions 0 to 4: a group's offsets join a transaction: the partition that the group lives in does.
//!
//! v2 PRODUCER_FENCED (KIP-588). A request that begins a transaction waits for the end of the one before (`holding.rs`). Source: KafkaApis.handleAddOffsetsToTxnRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::Answer;
use super::add_partitions_to_txn::fenced_as;
use crate::broker::Broker;
use crate::coordinator::directory::partition_of;
use crate::coordinator::kind::Kind;
use crate::coordinator::transaction::entry::Producer;
use crate::coordinator::{enter_transactions, reply_when_committed, slot_of_transaction};
use crate::holding;
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn add_offsets_to_txn(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AddOffsetsToTxnRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let refused = |code| {
        let error_code = fenced_as(code, context.api_version);
        Answer::now(AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() })
    };
    // Whoever commits offsets has found the group's coordinator before, and that makes the topic.
    let Some(partition) = partition_of(broker, Kind::Groups, request.group_id.as_str()) else {
        return refused(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    let slot = match slot_of_transaction(broker, &request.transactional_id) {
        Ok(slot) => slot,
        Err(code) => return refused(code),
    };
    let places = [(TopicName::from(Kind::Groups.topic()), partition)];
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let done = enter_transactions(broker, now, slot, outbox, |transactions, turn| {
        transactions.add(turn, &request.transactional_id, producer, &places, 0)
    });
    match done {
        Ok(()) => reply_when_committed(broker, now, context, &[slot], AddOffsetsToTxnResponse::default().into()),
        Err(error_code @ ErrorCode::CONCURRENT_TRANSACTIONS) => {
            let refusal = AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() };
            let id = request.transactional_id.clone();
            holding::hold(broker, now, context, (slot, &id), request.into(), refusal.into(), outbox)
        }
        Err(code) => refused(code),
    }
}
