//! ListTransactions (key 66), versions 0 to 2: transactional ids that this broker coordinates (KIP-664).
//!
//! v1 filter by how long the transaction runs (KIP-994) · v2 filter by a regular expression (KIP-1152).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse, TransactionState};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::kind::Kind;
use crate::coordinator::transaction::listing::{Filter, pattern};
use crate::coordinator::transaction::status::Status;
use crate::coordinator::{enter_transactions, reply_when_committed};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn list_transactions(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ListTransactionsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let failed = |error_code| Answer::now(ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() });
    let slots = match broker.coordinators.active(Kind::Transactions) {
        Ok(slots) => slots,
        Err(code) => return failed(code),
    };
    let (states, unknown_state_filters): (Vec<String>, Vec<String>) =
        request.state_filters.into_iter().partition(|state| Status::is_name(state));
    let only_unknown = states.is_empty() && !unknown_state_filters.is_empty();
    let wanted = request.transactional_id_pattern.as_deref().filter(|text| !text.is_empty());
    let pattern = match wanted.map(pattern).transpose() {
        Ok(pattern) => pattern,
        Err(code) => return failed(code),
    };
    let running_ms = (request.duration_filter >= 0).then_some(request.duration_filter);
    let filter = Filter { states, producers: request.producer_id_filters, running_ms, pattern };
    let mut transaction_states = Vec::new();
    for slot in slots.iter().filter(|_| !only_unknown) {
        let listed = enter_transactions(broker, now, *slot, outbox, |known, _| known.list(&filter, now.wall_ms));
        transaction_states.extend(listed.into_iter().map(|(transactional_id, entry)| TransactionState {
            transactional_id,
            producer_id: entry.producer.id,
            transaction_state: entry.status.name().to_owned(),
        }));
    }
    let response = ListTransactionsResponse {
        error_code: ErrorCode::NONE,
        unknown_state_filters,
        transaction_states,
        ..ListTransactionsResponse::default()
    };
    reply_when_committed(broker, now, context, &slots, response.into())
}
