//! DescribeTransactions (key 65), version 0: transactional ids that this broker coordinates, with their open transactions (KIP-664).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TransactionalId;
use strandline_protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::transaction::entry::{Entry, by_topic};
use crate::coordinator::{enter_transactions, reply_when_committed, slot_of_transaction};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn describe_transactions(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DescribeTransactionsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let (mut slots, mut transaction_states) = (Vec::new(), Vec::with_capacity(request.transactional_ids.len()));
    for id in request.transactional_ids {
        let slot = if id.as_str().is_empty() { Err(ErrorCode::INVALID_REQUEST) } else { slot_of_transaction(broker, &id) };
        slots.extend(slot);
        let found = slot.and_then(|slot| enter_transactions(broker, now, slot, outbox, |known, _| known.describe(&id)));
        transaction_states.push(match found {
            Ok(entry) => state(id, entry),
            Err(error_code) => TransactionState { error_code, transactional_id: id, ..TransactionState::default() },
        });
    }
    slots.sort_unstable();
    slots.dedup();
    let response = DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}

fn state(transactional_id: TransactionalId, entry: Entry) -> TransactionState {
    let topic = |(topic, partitions)| TopicData { topic, partitions };
    TransactionState {
        error_code: ErrorCode::NONE,
        transactional_id,
        transaction_state: entry.status.name().to_owned(),
        transaction_timeout_ms: entry.timeout_ms,
        transaction_start_time_ms: entry.started_ms,
        producer_id: entry.producer.id,
        producer_epoch: entry.producer.epoch,
        topics: by_topic(&entry.partitions).into_iter().map(topic).collect(),
    }
}
