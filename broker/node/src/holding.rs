//! Requests that wait at their coordinator until the transaction before is complete.
//!
//! A client that begins its next transaction at once finds the markers of the one before still on their way. Told
//! CONCURRENT_TRANSACTIONS it comes again after a pause that is many times longer than markers take; so its request waits here, and is
//! carried out when the last marker is written. The time counts from when the end was decided: markers that are late hold
//! nobody up twice. Whoever ceases to coordinate has its clients told after all.
//!
//! Deviation: Kafka tells clients at once. Where leaders add partitions themselves it asks again and again for as long as
//! requests wait here.

use std::collections::BTreeMap;

use strandline_protocol::api::{Request, Response};
use strandline_protocol::ids::TransactionalId;

use crate::apis;
use crate::broker::Broker;
use crate::coordinator::enter_transactions;
use crate::handlers::Answer;
use crate::io::{Effect, Now, Reply, RequestContext};
use crate::parked::{ParkedId, Place, Until, Waiting};

/// Transactional ids whose requests wait at a time; those of more are told at once.
const IDS_MAX: usize = 10_000;
/// Requests that wait for one transaction; a producer has a few under way at each leader.
const REQUESTS_MAX: usize = 64;

/// What became of requests that waited, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldTotals {
    pub carried_out: u64,
    /// The markers took too long, or are another coordinator's now.
    pub refused: u64,
}

/// Requests that wait, by the slot of the shard and the transactional id, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Held {
    by_id: BTreeMap<(u32, TransactionalId), Vec<ParkedId>>,
    pub totals: HoldTotals,
}

impl Held {
    /// Requests that wait.
    pub(crate) fn count(&self) -> usize {
        self.by_id.values().map(Vec::len).sum()
    }

    fn has_room(&self, key: &(u32, TransactionalId)) -> bool {
        self.by_id.get(key).map_or(self.by_id.len() < IDS_MAX, |waiting| waiting.len() < REQUESTS_MAX)
    }

    /// A connection is gone, and what waited for it.
    pub(crate) fn sweep(&mut self, waiting: &Waiting) {
        self.by_id.retain(|_, parked| {
            parked.retain(|id| waiting.get(*id).is_some());
            !parked.is_empty()
        });
    }

    /// The shard in this slot is no more, or is read again.
    pub(crate) fn resign(&mut self, slot: u32) {
        self.by_id.retain(|(of, _), _| *of != slot);
    }

    /// A request has waited for too long.
    pub(crate) fn give_up(&mut self, slot: u32, id: TransactionalId, parked: ParkedId) {
        self.totals.refused += 1;
        let key = (slot, id);
        if let Some(waiting) = self.by_id.get_mut(&key) {
            waiting.retain(|waits| *waits != parked);
            if waiting.is_empty() {
                self.by_id.remove(&key);
            }
        }
    }
}

/// A request waits until the transaction of this id is complete; `refusal` is the answer if that takes too long, or already has.
pub(crate) fn hold(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    (slot, id): (u32, &TransactionalId),
    request: Request,
    refusal: Response,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let key = (slot, id.clone());
    let left_ms = left_ms(broker, now, slot, id, outbox);
    if left_ms == 0 || !broker.held.has_room(&key) {
        return Answer::Reply(Reply::Body(Box::new(refusal)));
    }
    let place = Place { connection: context.connection, sequence: context.sequence };
    let request = Box::new((context.clone(), request));
    let until = Until::TransactionEnds { slot, id: id.clone(), request, lost: Box::new(refusal) };
    let parked = broker.waiting.park(place, Some(now.monotonic_ms + left_ms), until);
    broker.held.by_id.entry(key).or_default().push(parked);
    Answer::Parked
}

/// How long requests still wait for this transaction to be complete.
fn left_ms(broker: &mut Broker, now: Now, slot: u32, id: &TransactionalId, outbox: &mut Vec<Effect>) -> u64 {
    let most_ms = broker.coordinators.settings.next_transaction_wait_max_ms;
    let decided_ms = enter_transactions(broker, now, slot, outbox, |transactions, _| transactions.decided_ms(id));
    let passed_ms = decided_ms.map_or(most_ms, |decided_ms| {
        // The wall clock may have been set back.
        u64::try_from(now.wall_ms.saturating_sub(decided_ms)).unwrap_or(0)
    });
    most_ms.saturating_sub(passed_ms)
}

/// A transaction is complete: those that waited for it go on.
pub(crate) fn on_complete(broker: &mut Broker, now: Now, slot: u32, id: &TransactionalId, outbox: &mut Vec<Effect>) {
    for parked in broker.held.by_id.remove(&(slot, id.clone())).unwrap_or_default() {
        let Some(Until::TransactionEnds { request, .. }) = broker.waiting.take(parked).map(|parked| parked.until) else {
            continue;
        };
        broker.held.totals.carried_out += 1;
        let (context, request) = *request;
        apis::dispatch(broker, now, &context, request, outbox).send(&context, outbox);
    }
}
