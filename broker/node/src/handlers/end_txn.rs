//! EndTxn (key 26), versions 0 to 5: a transaction is committed or aborted.
//!
//! v2 PRODUCER_FENCED (KIP-588) · v5 every end raises the epoch, and the answer says to what (KIP-890). Answered once the decision
//! is committed; partitions hear of it later, and whoever asks for the same again meanwhile waits (`holding.rs`).
//! Source: KafkaApis.handleEndTxnRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use super::Answer;
use super::add_partitions_to_txn::fenced_as;
use super::init_producer_id::with_fresh_id;
use crate::broker::Broker;
use crate::coordinator::transaction::entry::Producer;
use crate::coordinator::transaction::status::End;
use crate::coordinator::transaction::{EndRequest, RAISING_VERSION};
use crate::coordinator::{enter_transactions, reply_when_committed, slot_of_transaction};
use crate::holding;
use crate::io::{Effect, Now, RequestContext};

/// From this version on every end raises the epoch.
const RAISES_FROM: i16 = 5;

pub(crate) fn end_txn(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: EndTxnRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let wanted = EndRequest {
        id: request.transactional_id.clone(),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        end: End::of(request.committed),
        client_version: if context.api_version >= RAISES_FROM { RAISING_VERSION } else { 0 },
    };
    let slot = slot_of_transaction(broker, &wanted.id);
    let done = slot.and_then(|slot| {
        with_fresh_id(broker, now, outbox, |broker, outbox, fresh| {
            enter_transactions(broker, now, slot, outbox, |transactions, turn| transactions.end(turn, &wanted, fresh))
        })
    });
    match (slot, done) {
        (Ok(slot), Ok(producer)) => {
            let response =
                EndTxnResponse { producer_id: producer.id, producer_epoch: producer.epoch, ..EndTxnResponse::default() };
            reply_when_committed(broker, now, context, &[slot], response.into())
        }
        (Ok(slot), Err(error_code @ ErrorCode::CONCURRENT_TRANSACTIONS)) => {
            let refusal = EndTxnResponse { error_code, ..EndTxnResponse::default() };
            holding::hold(broker, now, context, (slot, &wanted.id), request.into(), refusal.into(), outbox)
        }
        (_, Err(code)) | (Err(code), _) => {
            let error_code: ErrorCode = fenced_as(code, context.api_version);
            Answer::now(EndTxnResponse { error_code, ..EndTxnResponse::default() })
        }
    }
}
