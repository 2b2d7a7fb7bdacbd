//! Before a partition takes the first records of a transaction its leader asks the transaction's coordinator.
//!
//! Clients that add partitions themselves are looked up (*verify*), so that a request which arrives late cannot begin a
//! transaction that nobody ends; for newer ones the question itself adds the partition (KIP-890). The request waits here meanwhile, as a
//! value; partitions hold guards for it (`replica/verifying.rs`). Groups' offsets are asked for like any other partition.
//! Source: AddPartitionsToTxnManager, ReplicaManager.handleProduceAppend.

use std::collections::BTreeMap;

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TransactionalId;
use strandline_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use strandline_protocol::messages::txn_offset_commit::TxnOffsetCommitRequest;

use crate::broker::Broker;
use crate::controller_channel::{Ask, ask_broker};
use crate::coordinator::directory;
use crate::coordinator::kind::Kind;
use crate::coordinator::transaction::entry::{Place, Producer, by_topic};
use crate::handlers::{Answer, produce, txn_offset_commit};
use crate::io::{Asker, CheckedProduce, Effect, Lane, Now, PeerLost, RequestContext, Tag};
use crate::parked::{self, Until};
use crate::replica::verifying::Guard;

/// How long a coordinator may take; the client's own time is about as long.
const TIMEOUT_MS: u32 = 10_000;

/// What the version of a client's request says of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// It adds partitions itself, and takes INVALID_TXN_STATE for those that it did not.
    Verified,
    /// It adds partitions itself, and knows TRANSACTION_ABORTABLE.
    Abortable,
    /// The leader adds the partition.
    Added,
}

/// What is asked for: the transaction of a producer, and partitions with their guards.
#[derive(Debug)]
pub(crate) struct Claim {
    pub id: TransactionalId,
    pub producer: Producer,
    pub ability: Ability,
    pub places: BTreeMap<Place, (u32, Guard)>,
}

/// A request that waits.
#[derive(Debug)]
pub struct Unverified {
    pub(crate) context: RequestContext,
    pub(crate) claim: Claim,
    pub(crate) work: Work,
}

/// What goes on then.
#[derive(Debug)]
pub(crate) enum Work {
    Produce(Box<CheckedProduce>),
    Offsets(Box<TxnOffsetCommitRequest>),
}

/// By slot: the guard of a partition that belongs to the transaction, or why it does not.
pub(crate) type Verdicts = BTreeMap<u32, Result<Guard, ErrorCode>>;

/// Asks, and parks the request.
pub(crate) fn ask(broker: &mut Broker, now: Now, waiting: Unverified, outbox: &mut Vec<Effect>) -> Answer {
    let Some(node) = directory::leader_of(broker, Kind::Transactions, waiting.claim.id.as_str()) else {
        let verdicts = all(&waiting.claim, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        return go_on(broker, now, waiting, &verdicts, outbox);
    };
    let request = question(&waiting.claim);
    let place = parked::Place { connection: waiting.context.connection, sequence: waiting.context.sequence };
    let id = broker.waiting.park(place, None, Until::Verified(Box::new(waiting)));
    let number = broker.next_tag();
    broker.verifying.insert(number, id);
    let tag = Tag { asker: Asker::Verification, number };
    let ask = Ask { tag, request: request.into(), timeout_ms: TIMEOUT_MS };
    if ask_broker(broker, now, node, Lane::Verification, ask, outbox).is_err() {
        on_response(broker, now, tag, Err(PeerLost::Broken), outbox);
    }
    Answer::Parked
}

fn question(claim: &Claim) -> AddPartitionsToTxnRequest {
    let topic = |(name, partitions)| AddPartitionsToTxnTopic { name, partitions };
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: claim.id.clone(),
        producer_id: claim.producer.id,
        producer_epoch: claim.producer.epoch,
        verify_only: claim.ability != Ability::Added,
        topics: by_topic(claim.places.keys()).into_iter().map(topic).collect(),
    };
    AddPartitionsToTxnRequest { transactions: vec![transaction], ..AddPartitionsToTxnRequest::default() }
}

/// The coordinator has answered, or is lost.
pub(crate) fn on_response(
    broker: &mut Broker,
    now: Now,
    tag: Tag,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let Some(id) = broker.verifying.remove(&tag.number) else { return };
    // If the client has gone, its request goes too.
    let Some(Until::Verified(waiting)) = broker.waiting.take(id).map(|parked| parked.until) else { return };
    let verdicts = match result.map(|response| *response) {
        Ok(Response::AddPartitionsToTxn(response)) => verdicts(&waiting.claim, &response),
        _ => all(&waiting.claim, ErrorCode::NETWORK_EXCEPTION),
    };
    let context = waiting.context.clone();
    go_on(broker, now, *waiting, &verdicts, outbox).send(&context, outbox);
}

fn go_on(broker: &mut Broker, now: Now, waiting: Unverified, verdicts: &Verdicts, outbox: &mut Vec<Effect>) -> Answer {
    let Unverified { context, work, .. } = waiting;
    match work {
        Work::Produce(checked) => produce::append(broker, now, &context, *checked, verdicts),
        Work::Offsets(request) => txn_offset_commit::commit(broker, now, &context, *request, verdicts, outbox),
    }
}

fn all(claim: &Claim, code: ErrorCode) -> Verdicts {
    claim.places.values().map(|(slot, _)| (*slot, Err(understood(code, claim.ability)))).collect()
}

fn verdicts(claim: &Claim, response: &AddPartitionsToTxnResponse) -> Verdicts {
    if !response.error_code.is_none() {
        return all(claim, response.error_code);
    }
    let results = response.results_by_transaction.iter().filter(|result| result.transactional_id == claim.id);
    let topics: Vec<_> = results.flat_map(|result| &result.topic_results).collect();
    let code = |place: &Place| {
        let mut of_topic = topics.iter().filter(|topic| topic.name == place.0).flat_map(|topic| &topic.results_by_partition);
        let found = of_topic.find(|result| result.partition_index == place.1);
        found.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |result| result.partition_error_code)
    };
    let verdict = |(place, (slot, guard)): (&Place, &(u32, Guard))| match code(place) {
        ErrorCode::NONE => (*slot, Ok(*guard)),
        code => (*slot, Err(understood(code, claim.ability))),
    };
    claim.places.iter().map(verdict).collect()
}

/// The error in a form that clients of this request take as it is meant: abort, or try again.
fn understood(code: ErrorCode, ability: Ability) -> ErrorCode {
    match code {
        ErrorCode::TRANSACTION_ABORTABLE if ability == Ability::Verified => ErrorCode::INVALID_TXN_STATE,
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::CONCURRENT_TRANSACTIONS if ability == Ability::Added => code,
        ErrorCode::CONCURRENT_TRANSACTIONS
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_what_they_understand() {
        let told = |code| [Ability::Verified, Ability::Abortable, Ability::Added].map(|ability| understood(code, ability));
        let abortable = ErrorCode::TRANSACTION_ABORTABLE;
        assert_eq!(told(abortable), [ErrorCode::INVALID_TXN_STATE, abortable, abortable]);
        assert_eq!(told(ErrorCode::NOT_COORDINATOR), [ErrorCode::NOT_ENOUGH_REPLICAS; 3]);
        assert_eq!(told(ErrorCode::PRODUCER_FENCED), [ErrorCode::INVALID_PRODUCER_EPOCH; 3]);
        assert_eq!(told(ErrorCode::CONCURRENT_TRANSACTIONS)[2], ErrorCode::CONCURRENT_TRANSACTIONS);
    }
}
