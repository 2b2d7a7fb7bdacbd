//! Before a partition takes the first records of a transaction its leader asks the transaction's coordinator.
//!
//! Clients that add partitions themselves are looked up (*verify*), so that a request which arrives late cannot begin a
//! transaction that nobody ends; for newer ones the question itself adds the partition (KIP-890). The request waits here meanwhile, as a
//! value; partitions hold guards for it (`replica/verifying.rs`). Groups' offsets are asked for like any other partition.
//! Requests of one producer go on in the order in which they came: a later one may need no question, or be answered first, and its
//! records would then be out of sequence.
//! Source: AddPartitionsToTxnManager, ReplicaManager.handleProduceAppend.

use std::collections::{BTreeMap, VecDeque};

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerId, TransactionalId};
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
use crate::parked::{self, ParkedId, Until};
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

/// Requests that wait, in order, by producer.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    waiting: BTreeMap<ProducerId, VecDeque<Queued>>,
    /// Partitions that were not let take part, since the start.
    pub failures: u64,
}

#[derive(Debug)]
struct Queued {
    /// Of the question; it names the request here.
    number: u64,
    parked: ParkedId,
    /// What the coordinator said; `None` while it has not.
    verdicts: Option<Verdicts>,
}

impl Queues {
    /// Whether a request of the producer waits: then those behind it have to.
    pub(crate) fn is_waited(&self, producer: ProducerId) -> bool {
        self.waiting.contains_key(&producer)
    }

    fn push(&mut self, producer: ProducerId, queued: Queued) {
        self.waiting.entry(producer).or_default().push_back(queued);
    }

    /// Notes an answer. Says whose it is.
    fn answered(&mut self, number: u64, verdicts: impl FnOnce(ParkedId) -> Verdicts) -> Option<ProducerId> {
        let mut all =
            self.waiting.iter_mut().flat_map(|(producer, queue)| queue.iter_mut().map(move |queued| (producer, queued)));
        let (producer, queued) = all.find(|(_, queued)| queued.number == number)?;
        let (verdicts, producer) = (verdicts(queued.parked), *producer);
        self.failures += verdicts.values().filter(|verdict| verdict.is_err()).count() as u64;
        queued.verdicts = Some(verdicts);
        Some(producer)
    }

    /// The producer's next request, if it may go on.
    fn pop(&mut self, producer: ProducerId) -> Option<(ParkedId, Verdicts)> {
        let queue = self.waiting.get_mut(&producer)?;
        let verdicts = queue.front_mut()?.verdicts.take()?;
        let parked = queue.pop_front()?.parked;
        if queue.is_empty() {
            self.waiting.remove(&producer);
        }
        Some((parked, verdicts))
    }
}

/// Asks, and parks the request. One that claims nothing waits only for those before it.
pub(crate) fn ask(broker: &mut Broker, now: Now, waiting: Unverified, outbox: &mut Vec<Effect>) -> Answer {
    let (id, producer) = (waiting.claim.id.clone(), waiting.claim.producer.id);
    let (request, is_empty) = (question(&waiting.claim), waiting.claim.places.is_empty());
    let place = parked::Place { connection: waiting.context.connection, sequence: waiting.context.sequence };
    let parked = broker.waiting.park(place, None, Until::Verified(Box::new(waiting)));
    let number = broker.next_tag();
    let verdicts = is_empty.then(Verdicts::new);
    broker.verifying.push(producer, Queued { number, parked, verdicts });
    if is_empty {
        drain(broker, now, producer, outbox);
        return Answer::Parked;
    }
    let tag = Tag { asker: Asker::Verification, number };
    let ask = Ask { tag, request: request.into(), timeout_ms: TIMEOUT_MS };
    let asked = match directory::leader_of(broker, Kind::Transactions, id.as_str()) {
        Some(node) => ask_broker(broker, now, node, Lane::Verification, ask, outbox).is_ok(),
        None => false,
    };
    if !asked {
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
    let (waiting, response) = (&broker.waiting, result.map(|response| *response));
    let producer = broker.verifying.answered(tag.number, |parked| match waiting.get(parked).map(|parked| &parked.until) {
        Some(Until::Verified(unverified)) => match &response {
            Ok(Response::AddPartitionsToTxn(response)) => verdicts(&unverified.claim, response),
            _ => all(&unverified.claim, ErrorCode::NETWORK_EXCEPTION),
        },
        // The client has gone.
        _ => Verdicts::new(),
    });
    if let Some(producer) = producer {
        drain(broker, now, producer, outbox);
    }
}

/// Requests of a producer go on, as far as they may.
fn drain(broker: &mut Broker, now: Now, producer: ProducerId, outbox: &mut Vec<Effect>) {
    while let Some((parked, verdicts)) = broker.verifying.pop(producer) {
        // If the client has gone, its request goes too.
        let Some(Until::Verified(waiting)) = broker.waiting.take(parked).map(|parked| parked.until) else { continue };
        let context = waiting.context.clone();
        go_on(broker, now, *waiting, &verdicts, outbox).send(&context, outbox);
    }
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
    use crate::io::{ConnectionId, Sequence};
    use crate::parked::Waiting;

    use super::*;

    #[test]
    fn an_answer_that_comes_first_waits_for_those_of_the_same_producer_that_were_asked_before() {
        let (mut queues, mut waiting) = (Queues::default(), Waiting::default());
        let mut park = |number, verdicts| {
            let place = parked::Place { connection: ConnectionId(1), sequence: Sequence(number) };
            let response = Box::new(AddPartitionsToTxnResponse::default().into());
            Queued { number, parked: waiting.park(place, None, Until::Checkpointed { outstanding: 1, response }), verdicts }
        };
        let (slow, quick, unasked) = (park(1, None), park(2, None), park(3, Some(Verdicts::new())));
        let order = [slow.parked, quick.parked, unasked.parked];
        let other = park(4, None);
        let others = other.parked;
        [slow, quick, unasked].into_iter().for_each(|queued| queues.push(ProducerId(7), queued));
        queues.push(ProducerId(8), other);
        assert_eq!(queues.answered(2, |_| Verdicts::new()), Some(ProducerId(7)));
        assert_eq!(queues.pop(ProducerId(7)), None);
        assert_eq!(queues.answered(4, |_| Verdicts::new()), Some(ProducerId(8)));
        assert_eq!(queues.pop(ProducerId(8)).map(|(parked, _)| parked), Some(others), "others do not wait");
        assert_eq!(queues.answered(1, |_| Verdicts::new()), Some(ProducerId(7)));
        let gone_on: Vec<ParkedId> = std::iter::from_fn(|| queues.pop(ProducerId(7))).map(|(parked, _)| parked).collect();
        assert_eq!(gone_on, order);
        assert!(!queues.is_waited(ProducerId(7)));
    }

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
