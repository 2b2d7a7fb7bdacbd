//! Replies of coordinators: parked until a group moves, or until what they say is committed.

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;

use super::failed::failed;
use super::group::Asker;
use super::kind::Kind;
use super::shard::Waiter;
use super::turn::{Said, When};
use crate::broker::Broker;
use crate::flaws::{self, Flaw};
use crate::handlers::Answer;
use crate::io::{Effect, Now, Reply, RequestContext};
use crate::parked::{Parked, ParkedId, Place, Until};

/// Parks a request that its group answers when it moves; `lost` is the answer if this broker ceases to coordinate it.
pub(crate) fn ask(broker: &mut Broker, context: &RequestContext, slot: u32, lost: Response) -> Asker {
    let place = Place { connection: context.connection, sequence: context.sequence };
    let to = broker.waiting.park(place, None, Until::GroupMoves { slot, lost: Box::new(lost) });
    Asker {
        to,
        connection: context.connection,
        api_version: context.api_version,
        client_id: context.client_id.clone(),
        client_host: context.client_host.clone(),
    }
}

/// Sends a reply once everything that these shards have emitted is committed.
pub(crate) fn reply_when_committed(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    slots: &[u32],
    response: Response,
) -> Answer {
    let place = Place { connection: context.connection, sequence: context.sequence };
    let until = Until::CoordinatorCommitted { outstanding: 0, response: Box::new(response) };
    let parked = broker.waiting.park(place, Some(deadline(broker, now, slots.first().copied())), until);
    for slot in slots {
        wait(broker, *slot, parked);
    }
    match broker.waiting.get(parked).map(|parked| &parked.until) {
        Some(Until::CoordinatorCommitted { outstanding: 0, .. }) => {}
        _ => return Answer::Parked,
    }
    match broker.waiting.take(parked).map(|parked| parked.until) {
        Some(Until::CoordinatorCommitted { response, .. }) => Answer::Reply(Reply::Body(response)),
        _ => Answer::Parked,
    }
}

/// A shard has an answer for somebody who asked.
pub(super) fn say(broker: &mut Broker, now: Now, slot: u32, said: Said, outbox: &mut Vec<Effect>) {
    if said.when == When::Now {
        if let Some(parked) = broker.waiting.take(said.to) {
            send(parked.place, said.response, outbox);
        }
        return;
    }
    let until = Until::CoordinatorCommitted { outstanding: 0, response: Box::new(said.response) };
    let deadline_ms = deadline(broker, now, Some(slot));
    if !broker.waiting.defer(said.to, deadline_ms, until) {
        // The connection is gone.
        return;
    }
    if !wait(broker, slot, said.to)
        && let Some(parked) = broker.waiting.take(said.to)
    {
        finish(parked, outbox);
    }
}

/// A parked reply waits for a shard; `false` if there is nothing to wait for.
fn wait(broker: &mut Broker, slot: u32, parked: ParkedId) -> bool {
    let Some(high_watermark) = broker.replicas.get(slot).map(|replica| replica.high_watermark()) else { return false };
    let Some(shard) = broker.coordinators.shards.get_mut(&slot) else { return false };
    if flaws::is(Flaw::CoordinatorAnswersAtOnce) {
        return false;
    }
    let waits = shard.wait(high_watermark, Waiter::Reply(parked)).is_none();
    if waits
        && let Some(Until::CoordinatorCommitted { outstanding, .. }) =
            broker.waiting.get_mut(parked).map(|parked| &mut parked.until)
    {
        *outstanding += 1;
    }
    waits
}

/// One of the shards that a reply waits for has committed.
pub(super) fn complete(broker: &mut Broker, id: ParkedId, outbox: &mut Vec<Effect>) {
    let Some(parked) = broker.waiting.get_mut(id) else { return };
    let Until::CoordinatorCommitted { outstanding, .. } = &mut parked.until else { return };
    *outstanding -= 1;
    if *outstanding == 0
        && let Some(parked) = broker.waiting.take(id)
    {
        finish(parked, outbox);
    }
}

fn finish(parked: Parked, outbox: &mut Vec<Effect>) {
    if let Until::CoordinatorCommitted { response, .. } = parked.until {
        send(parked.place, *response, outbox);
    }
}

/// Sends everybody away who waits for a shard that is no more, or must be read again.
pub(super) fn refuse_all(broker: &mut Broker, slot: u32, waiting: Vec<ParkedId>, code: ErrorCode, outbox: &mut Vec<Effect>) {
    for parked in waiting.into_iter().filter_map(|id| broker.waiting.take(id)) {
        if let Until::CoordinatorCommitted { response, .. } = parked.until {
            send(parked.place, failed(*response, code), outbox);
        }
    }
    let asks_here = |parked: &Parked| match parked.until {
        Until::GroupMoves { slot: of, .. } | Until::TransactionEnds { slot: of, .. } => of == slot,
        _ => false,
    };
    for id in broker.waiting.select(asks_here) {
        let Some(parked) = broker.waiting.take(id) else { continue };
        if let Until::GroupMoves { lost, .. } | Until::TransactionEnds { lost, .. } = parked.until {
            send(parked.place, *lost, outbox);
        }
    }
    broker.held.resign(slot);
}

/// The answer if the records that make a reply true are not committed in time. They may still be.
pub(crate) fn failed_by_time(response: Response) -> Response {
    failed(response, ErrorCode::COORDINATOR_NOT_AVAILABLE)
}

fn deadline(broker: &Broker, now: Now, slot: Option<u32>) -> u64 {
    let (coordinators, settings) = (&broker.coordinators, &broker.coordinators.settings);
    let kind = slot.and_then(|slot| coordinators.shards.get(&slot)).map(|shard| shard.kind);
    now.monotonic_ms
        + match kind {
            Some(Kind::ShareStates) => settings.share_write_timeout_ms,
            _ => settings.commit_timeout_ms,
        }
}

fn send(place: Place, response: Response, outbox: &mut Vec<Effect>) {
    let reply = Reply::Body(Box::new(response));
    outbox.push(Effect::Reply { connection: place.connection, sequence: place.sequence, reply });
}
