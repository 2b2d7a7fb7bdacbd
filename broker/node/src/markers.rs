//! Markers on their way: the coordinator of a decided transaction tells the leader of every partition how it ended.
//!
//! To each broker one request is under way at a time, and what comes up meanwhile goes with the next. Whatever is not known to
//! be written is sent again, to whoever leads by then. A partition that is no more needs no marker. What a coordinator
//! that has lost its shard had to send is dropped: the next one finds it in the log.
//!
//! Deviation: Kafka gives a transaction up, undecided for ever, if a partition knows its producer in a later epoch. Here the
//! partition counts as told: a later epoch can only be there if the transaction was ended by somebody.
//! Source: TransactionMarkerChannelManager, TransactionMarkerRequestCompletionHandler.

use std::collections::BTreeMap;

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, TransactionalId};
use strandline_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::broker::Broker;
use crate::controller_channel::{Ask, ask_broker};
use crate::coordinator::transaction::Decided;
use crate::coordinator::transaction::entry::{Place, Producer, by_topic};
use crate::coordinator::transaction::status::End;
use crate::coordinator::{enter_transactions, epoch_of};
use crate::flaws::{self, Flaw};
use crate::holding;
use crate::image::Image;
use crate::io::{Asker, Effect, Lane, Now, PeerLost, Tag};

/// How long a broker may take to write markers and have them replicated.
const TIMEOUT_MS: u32 = 10_000;
/// How long after a failure markers are sent again: elections take about so long.
const RETRY_MS: u64 = 50;
/// The leader of a partition that nobody leads.
const NO_LEADER: i32 = -1;

/// Markers of one transaction that are still to be written.
#[derive(Clone, Debug)]
struct Errand {
    /// Of the coordinator's shard.
    slot: u32,
    epoch: LeaderEpoch,
    id: TransactionalId,
    what: Decided,
}

#[derive(Debug, Default)]
pub(crate) struct Markers {
    decided: Vec<(u32, TransactionalId, Producer)>,
    /// By the monotonic time at which they are sent.
    later: BTreeMap<u64, Vec<Errand>>,
    /// By the broker that they are for.
    ready: BTreeMap<i32, Vec<Errand>>,
    /// By broker, with the number of the request.
    under_way: BTreeMap<i32, (u64, Vec<Errand>)>,
}

impl Markers {
    /// A transaction of the shard in this slot is decided, and committed so.
    pub(crate) fn decide(&mut self, slot: u32, id: TransactionalId, producer: Producer) {
        self.decided.push((slot, id, producer));
    }

    /// Transactions that a broker is still to be told of, once for each broker.
    pub(crate) fn pending_count(&self) -> usize {
        let ready = self.ready.values().map(Vec::len).sum::<usize>();
        let under_way = self.under_way.values().map(|(_, errands)| errands.len()).sum::<usize>();
        self.decided.len() + ready + under_way + self.postponed_count()
    }

    /// Of those the ones that are to be sent again, or whose partition nobody leads.
    pub(crate) fn postponed_count(&self) -> usize {
        self.later.values().map(Vec::len).sum()
    }

    /// When something is to be sent again.
    pub(crate) fn next_due_ms(&self) -> u64 {
        self.later.keys().next().copied().unwrap_or(u64::MAX)
    }
}

/// Sends what is to be sent now.
pub(crate) fn follow_up(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    for (slot, id, producer) in std::mem::take(&mut broker.markers.decided) {
        let Some(epoch) = epoch_of(broker, slot) else { continue };
        let decided = enter_transactions(broker, now, slot, outbox, |transactions, _| transactions.decided(&id, producer));
        if let Some(what) = decided {
            route(broker, now, Errand { slot, epoch, id, what }, outbox);
        }
    }
    while let Some(entry) = broker.markers.later.first_entry().filter(|entry| *entry.key() <= now.monotonic_ms) {
        for errand in entry.remove() {
            route(broker, now, errand, outbox);
        }
    }
    let idle = |node: &i32| !broker.markers.under_way.contains_key(node);
    let nodes: Vec<i32> = broker.markers.ready.keys().copied().filter(idle).collect();
    for node in nodes {
        send(broker, now, node, outbox);
    }
}

/// Gives an errand to those who lead its partitions.
fn route(broker: &mut Broker, now: Now, errand: Errand, outbox: &mut Vec<Effect>) {
    let mut gone = Vec::new();
    let mut by_leader: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    for place in &errand.what.places {
        match leader_of(&broker.image, place) {
            Some(leader) => by_leader.entry(leader).or_default().push(place.clone()),
            None => gone.push(place.clone()),
        }
    }
    if !gone.is_empty() || errand.what.places.is_empty() {
        told(broker, now, &errand, &gone, outbox);
    }
    for (leader, places) in by_leader {
        let part = errand.of(places);
        match leader {
            NO_LEADER => postpone(broker, now, part),
            leader => broker.markers.ready.entry(leader).or_default().push(part),
        }
    }
}

impl Errand {
    /// The same for some of its partitions.
    fn of(&self, places: Vec<Place>) -> Self {
        Self { what: Decided { places, ..self.what.clone() }, id: self.id.clone(), ..*self }
    }
}

fn leader_of(image: &Image, place: &Place) -> Option<i32> {
    let partition = image.topics.by_name(&place.0)?.partitions.get(&place.1)?;
    Some(partition.leader)
}

fn postpone(broker: &mut Broker, now: Now, errand: Errand) {
    broker.markers.later.entry(now.monotonic_ms + RETRY_MS).or_default().push(errand);
}

fn send(broker: &mut Broker, now: Now, node: i32, outbox: &mut Vec<Effect>) {
    let mut errands = broker.markers.ready.remove(&node).unwrap_or_default();
    errands.retain(|errand| epoch_of(broker, errand.slot) == Some(errand.epoch));
    if errands.is_empty() {
        return;
    }
    let request = WriteTxnMarkersRequest { markers: errands.iter().map(marker).collect() };
    let number = broker.next_tag();
    let tag = Tag { asker: Asker::Markers, number };
    let ask = Ask { tag, request: request.into(), timeout_ms: TIMEOUT_MS };
    broker.markers.under_way.insert(node, (number, errands));
    if ask_broker(broker, now, node, Lane::Markers, ask, outbox).is_err()
        && let Some((_, errands)) = broker.markers.under_way.remove(&node)
    {
        errands.into_iter().for_each(|errand| postpone(broker, now, errand));
    }
}

fn marker(errand: &Errand) -> WritableTxnMarker {
    let Errand { what, epoch, .. } = errand;
    let topic = |(name, partition_indexes)| WritableTxnMarkerTopic { name, partition_indexes };
    WritableTxnMarker {
        producer_id: what.producer.id,
        producer_epoch: what.producer.epoch,
        transaction_result: what.end == End::Commit,
        topics: by_topic(&what.places).into_iter().map(topic).collect(),
        coordinator_epoch: epoch.0,
        transaction_version: i8::try_from(what.version).unwrap_or(0),
    }
}

/// A broker has answered, or is lost.
pub(crate) fn on_response(
    broker: &mut Broker,
    now: Now,
    tag: Tag,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let asked = broker.markers.under_way.iter().find(|(_, (number, _))| *number == tag.number).map(|(node, _)| *node);
    let Some((_, errands)) = asked.and_then(|node| broker.markers.under_way.remove(&node)) else { return };
    let response = match result.map(|response| *response) {
        Ok(Response::WriteTxnMarkers(response)) => response,
        _ => WriteTxnMarkersResponse { markers: Vec::new() },
    };
    for errand in errands {
        let (mut done, mut again) = (Vec::new(), Vec::new());
        for place in &errand.what.places {
            match answered(&response, &errand, place) {
                ErrorCode::NONE | ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => {
                    done.push(place.clone());
                }
                // Another coordinator has the transaction now.
                ErrorCode::TRANSACTION_COORDINATOR_FENCED => {}
                _ => again.push(place.clone()),
            }
        }
        if !done.is_empty() {
            told(broker, now, &errand, &done, outbox);
        }
        if !again.is_empty() && !flaws::is(Flaw::MarkersNotSentAgain) {
            postpone(broker, now, errand.of(again));
        }
    }
}

fn answered(response: &WriteTxnMarkersResponse, errand: &Errand, place: &Place) -> ErrorCode {
    let markers = response.markers.iter().filter(|marker| marker.producer_id == errand.what.producer.id);
    let topics = markers.flat_map(|marker| &marker.topics).filter(|topic| topic.name == place.0);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    let answered = partitions.find(|partition| partition.partition_index == place.1);
    answered.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, |partition| partition.error_code)
}

/// Partitions know how the transaction ended.
fn told(broker: &mut Broker, now: Now, errand: &Errand, places: &[Place], outbox: &mut Vec<Effect>) {
    if epoch_of(broker, errand.slot) != Some(errand.epoch) {
        return;
    }
    let is_complete = enter_transactions(broker, now, errand.slot, outbox, |transactions, turn| {
        transactions.marked(turn, &errand.id, errand.what.producer, places)
    });
    if is_complete {
        holding::on_complete(broker, now, errand.slot, &errand.id, outbox);
    }
}
