//! The way to the active controller, wherever it is, and back.
//!
//! Requests of this broker go over a socket, or straight to the handler if the controller is this node. Requests of clients
//! that only the controller can decide are forwarded in an Envelope (KIP-590), as Kafka's brokers do, and the other way round Envelopes
//! of other brokers are opened here. Answers of handlers find their way back by a *stand-in*: a connection id that no socket
//! has. A forwarded request that certainly did not reach a controller is sent again until its time is over; one that may
//! have been acted on is not, and its client's connection is closed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::frame::{LENGTH_BYTES, request_frame, response_frame};
use strandline_protocol::header::{RequestHeader, ResponseHeader};
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::envelope::{EnvelopeRequest, EnvelopeResponse};
use strandline_protocol::messages::principal::DefaultPrincipalData;
use strandline_protocol::wire::{Message, Reader};

use crate::apis;
use crate::broker::Broker;
use crate::controller::topics::NewTopic;
use crate::handlers::Answer;
use crate::io::{
    Asker, CloseReason, ConnectionId, Effect, Lane, ListenerKind, Now, PeerLost, Reply, RequestContext, Sequence, Tag,
};
use crate::parked::Place;
use crate::replica::following::address_of;

/// Connection ids from here on stand in for somebody; sockets are counted from 0.
const STAND_INS_FROM: u64 = 1 << 63;
/// How long the controller may take. Source: `request.timeout.ms` of Kafka's brokers.
const TIMEOUT_MS: u32 = 30_000;
/// A request of the broker itself is asked again, elsewhere perhaps, after less.
const OWN_TIMEOUT_MS: u32 = 2_000;
/// How long a forwarded request waits for its answer: a busy controller may take a while, and one that is cut off never answers.
const FORWARDED_TIMEOUT_MS: u32 = 10_000;
/// How long a forwarded request waits for a controller to be found before it is tried again.
const RETRY_MS: u64 = 50;
/// Most requests of clients under way to the controller; more connections are closed.
const FORWARDED_MAX: usize = 10_000;

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    NobodyLeads,
    NoAddress,
}

/// For whom a handler works.
#[derive(Clone, Copy, Debug)]
enum StandIn {
    /// This broker.
    Own(Tag),
    /// Another broker's client.
    Envelope { place: Place, version: i16, correlation: i32 },
    /// Another broker's client, whose connection is gone.
    Nobody,
}

/// A client's request on its way.
#[derive(Clone, Debug)]
struct Forwarded {
    place: Place,
    key: ApiKey,
    version: i16,
    data: Bytes,
    until_ms: u64,
    /// When it is to be sent; `None` while it is under way.
    again_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct ControllerChannel {
    next: u64,
    stand_ins: BTreeMap<ConnectionId, StandIn>,
    forwarded: BTreeMap<u64, Forwarded>,
    /// Topics that the controller is to be asked for; each by its name once.
    to_be_made: BTreeMap<TopicName, NewTopic>,
}

impl ControllerChannel {
    /// When something is to be sent again.
    pub fn next_due_ms(&self) -> u64 {
        self.forwarded.values().filter_map(|forwarded| forwarded.again_ms).min().unwrap_or(u64::MAX)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn stand_in(&mut self, who: StandIn) -> ConnectionId {
        let connection = ConnectionId(STAND_INS_FROM + self.number());
        self.stand_ins.insert(connection, who);
        connection
    }
}

/// Asks the active controller; the answer comes to the tag's asker.
///
/// # Errors
/// [`Unanswered::NobodyLeads`]: nothing was sent, and nothing will come.
pub(crate) fn ask(
    broker: &mut Broker,
    now: Now,
    tag: Tag,
    request: Request,
    outbox: &mut Vec<Effect>,
) -> Result<(), Unanswered> {
    ask_by(broker, now, Lane::Control, Ask { tag, request, timeout_ms: OWN_TIMEOUT_MS }, outbox)
}

fn ask_by(broker: &mut Broker, now: Now, lane: Lane, ask: Ask, outbox: &mut Vec<Effect>) -> Result<(), Unanswered> {
    let Ask { tag, request, timeout_ms } = ask;
    if let Some(to) = broker.active_controller.clone() {
        outbox.push(Effect::Send { to, lane, tag, request: Box::new(request), timeout_ms });
        return Ok(());
    }
    if !broker.controller.is_active() {
        return Err(Unanswered::NobodyLeads);
    }
    let connection = broker.channel.stand_in(StandIn::Own(tag));
    let api_version = request.key().row().stable_last;
    dispatch(broker, now, connection, ListenerKind::Controller, api_version, request, outbox);
    Ok(())
}

/// Asks this node itself; the answer comes to the tag's asker.
pub(crate) fn ask_here(broker: &mut Broker, now: Now, tag: Tag, request: Request, outbox: &mut Vec<Effect>) {
    let connection = broker.channel.stand_in(StandIn::Own(tag));
    let api_version = request.key().row().stable_last;
    dispatch(broker, now, connection, ListenerKind::Broker, api_version, request, outbox);
}

/// Asks a broker, which may be this one; the answer comes to the tag's asker.
///
/// # Errors
/// [`Unanswered::NoAddress`] if nobody knows where the broker is: nothing was sent, and nothing will come.
pub(crate) fn ask_broker(
    broker: &mut Broker,
    now: Now,
    node: i32,
    lane: Lane,
    ask: Ask,
    outbox: &mut Vec<Effect>,
) -> Result<(), Unanswered> {
    let Ask { tag, request, timeout_ms } = ask;
    if node != broker.identity.node_id {
        let to = address_of(broker, node).ok_or(Unanswered::NoAddress)?;
        outbox.push(Effect::Send { to, lane, tag, request: Box::new(request), timeout_ms });
        return Ok(());
    }
    ask_here(broker, now, tag, request, outbox);
    Ok(())
}

/// A request to another broker.
pub(crate) struct Ask {
    pub tag: Tag,
    pub request: Request,
    pub timeout_ms: u32,
}

/// Runs a handler for a stand-in. What it answers goes to the outbox under the stand-in's connection, now or later.
fn dispatch(
    broker: &mut Broker,
    now: Now,
    connection: ConnectionId,
    listener: ListenerKind,
    api_version: i16,
    request: Request,
    outbox: &mut Vec<Effect>,
) {
    let sequence = Sequence(0);
    let context = RequestContext {
        connection,
        sequence,
        listener,
        listener_name: "".into(),
        api_version,
        client_id: "".into(),
        client_host: "/127.0.0.1".into(),
    };
    match apis::dispatch(broker, now, &context, request, outbox) {
        Answer::Reply(reply) => outbox.push(Effect::Reply { connection, sequence, reply }),
        Answer::Silence | Answer::Close => {
            outbox.push(Effect::Close { connection, sequence, reason: CloseReason::Unanswerable });
        }
        Answer::Parked => {}
    }
}

/// Takes the answers to stand-ins out of the outbox, from `from` on; those to other brokers are put into Envelopes. Answers with
/// those to this broker.
pub(crate) fn collect(
    broker: &mut Broker,
    from: usize,
    outbox: &mut Vec<Effect>,
) -> Vec<(Tag, Result<Box<Response>, PeerLost>)> {
    let mut own = Vec::new();
    if broker.channel.stand_ins.is_empty() {
        return own;
    }
    let mut effects: VecDeque<Effect> = outbox.drain(from..).collect();
    while let Some(effect) = effects.pop_front() {
        let (connection, answer) = match effect {
            Effect::Reply { connection, reply: Reply::Body(response), .. } if connection.0 >= STAND_INS_FROM => {
                (connection, Ok(response))
            }
            Effect::Reply { connection, .. } | Effect::Close { connection, .. } if connection.0 >= STAND_INS_FROM => {
                (connection, Err(PeerLost::Broken))
            }
            other => {
                outbox.push(other);
                continue;
            }
        };
        match broker.channel.stand_ins.remove(&connection) {
            Some(StandIn::Own(tag)) => own.push((tag, answer)),
            Some(StandIn::Envelope { place, version, correlation }) => {
                let response = answer.map_or_else(|_| not_controller(), |response| sealed(version, correlation, &response));
                // Who sent the Envelope may be a stand-in too: this broker, which leads since it was asked.
                effects.push_front(reply_to(place, response.into()));
            }
            Some(StandIn::Nobody) | None => {}
        }
    }
    own
}

fn sealed(version: i16, correlation: i32, response: &Response) -> EnvelopeResponse {
    let frame: Bytes = response_frame(version, correlation, response).concat().into();
    EnvelopeResponse { response_data: Some(frame.slice(LENGTH_BYTES..)), error_code: ErrorCode::NONE }
}

fn not_controller() -> EnvelopeResponse {
    EnvelopeResponse { response_data: None, error_code: ErrorCode::NOT_CONTROLLER }
}

/// Opens the Envelope of another broker (key 58, version 0).
///
/// Errors: NOT_CONTROLLER; INVALID_REQUEST if what is in it is no request that is forwarded.
pub(crate) fn open(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    envelope: EnvelopeRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if !broker.controller.is_active() {
        return Answer::now(not_controller());
    }
    let mut reader = Reader::new(envelope.request_data);
    let opened = RequestHeader::read(&mut reader).ok().and_then(|(header, key)| {
        let served = apis::find(header.request_api_key, header.request_api_version, ListenerKind::Client)?;
        let request = Request::decode(key, header.request_api_version, &mut reader).ok()?;
        apis::is_forwarded(served.api).then_some((header, request))
    });
    let Some((header, request)) = opened else {
        return Answer::now(EnvelopeResponse { response_data: None, error_code: ErrorCode::INVALID_REQUEST });
    };
    let place = Place { connection: context.connection, sequence: context.sequence };
    let (version, correlation) = (header.request_api_version, header.correlation_id);
    let connection = broker.channel.stand_in(StandIn::Envelope { place, version, correlation });
    dispatch(broker, now, connection, ListenerKind::Client, version, request, outbox);
    Answer::Parked
}

/// Forwards a client's request to the active controller, which is another node.
pub(crate) fn forward(broker: &mut Broker, now: Now, context: &RequestContext, request: &Request) -> Answer {
    if broker.channel.forwarded.len() >= FORWARDED_MAX || context.connection.0 >= STAND_INS_FROM {
        return Answer::Close;
    }
    let version = context.api_version;
    let frame: Bytes = request_frame(version, 0, Some(&context.client_id), request).concat().into();
    let forwarded = Forwarded {
        place: Place { connection: context.connection, sequence: context.sequence },
        key: request.key(),
        version,
        data: frame.slice(LENGTH_BYTES..),
        until_ms: now.monotonic_ms + u64::from(TIMEOUT_MS),
        again_ms: Some(now.monotonic_ms),
    };
    let number = broker.channel.number();
    broker.channel.forwarded.insert(number, forwarded);
    Answer::Parked
}

/// Asks for a topic at the end of the step. Nobody waits for what the controller says: whoever wanted the topic asks again
/// until it is there.
pub(crate) fn create_later(broker: &mut Broker, topic: NewTopic) {
    broker.channel.to_be_made.insert(topic.name.clone(), topic);
}

fn ask_for_topics(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let wanted = std::mem::take(&mut broker.channel.to_be_made);
    if wanted.is_empty() {
        return;
    }
    let config = |(name, value)| CreatableTopicConfig { name, value };
    let topic = |topic: NewTopic| CreatableTopic {
        name: topic.name,
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        assignments: Vec::new(),
        configs: topic.configs.into_iter().map(config).collect(),
    };
    let request = CreateTopicsRequest {
        topics: wanted.into_values().map(topic).collect(),
        timeout_ms: OWN_TIMEOUT_MS as i32,
        ..CreateTopicsRequest::default()
    };
    // If nobody leads, whoever wanted them asks again.
    let _ = ask(broker, now, Tag { asker: Asker::AutoCreation, number: 0 }, request.into(), outbox);
}

/// A connection is gone: nobody waits there for what was forwarded, or taken out of an Envelope, for it.
pub(crate) fn on_disconnected(broker: &mut Broker, connection: ConnectionId) {
    broker.channel.forwarded.retain(|_, forwarded| forwarded.place.connection != connection);
    for who in broker.channel.stand_ins.values_mut() {
        if matches!(who, StandIn::Envelope { place, .. } if place.connection == connection) {
            *who = StandIn::Nobody;
        }
    }
}

/// Sends what is to be sent now.
pub(crate) fn follow_up(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    ask_for_topics(broker, now, outbox);
    if broker.channel.next_due_ms() > now.monotonic_ms {
        return;
    }
    let is_due = |forwarded: &Forwarded| forwarded.again_ms.is_some_and(|again_ms| again_ms <= now.monotonic_ms);
    let due: Vec<u64> =
        broker.channel.forwarded.iter().filter(|(_, forwarded)| is_due(forwarded)).map(|(number, _)| *number).collect();
    for number in due {
        send(broker, now, number, outbox);
    }
}

fn send(broker: &mut Broker, now: Now, number: u64, outbox: &mut Vec<Effect>) {
    let Some(forwarded) = broker.channel.forwarded.get(&number).cloned() else { return };
    if forwarded.until_ms <= now.monotonic_ms {
        return give_up(broker, number, outbox);
    }
    let principal = DefaultPrincipalData { kind: "User".to_owned(), name: "ANONYMOUS".to_owned(), token_authenticated: false };
    // The version stands in front of the data, as Kafka's serializer of principals has it.
    let principal: Bytes = [&0i16.to_be_bytes()[..], &principal.to_bytes(0)].concat().into();
    let envelope = EnvelopeRequest {
        request_data: forwarded.data,
        request_principal: Some(principal),
        client_host_address: Bytes::from_static(&[127, 0, 0, 1]),
    };
    let tag = Tag { asker: Asker::Forwarding, number };
    let ask = Ask { tag, request: envelope.into(), timeout_ms: FORWARDED_TIMEOUT_MS };
    let sent = ask_by(broker, now, Lane::Forwarding, ask, outbox);
    if let Some(forwarded) = broker.channel.forwarded.get_mut(&number) {
        forwarded.again_ms = sent.is_err().then_some(now.monotonic_ms + RETRY_MS);
    }
}

/// The controller answered a forwarded request, or it is lost.
pub(crate) fn on_response(
    broker: &mut Broker,
    now: Now,
    tag: Tag,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let Some(forwarded) = broker.channel.forwarded.get_mut(&tag.number) else { return };
    let may_have_acted = matches!(result, Err(PeerLost::Broken | PeerLost::TimedOut));
    if let Ok(response) = result
        && let Response::Envelope(EnvelopeResponse { response_data: Some(data), error_code: ErrorCode::NONE }) = *response
        && let Some(response) = unsealed(forwarded.key, forwarded.version, data)
    {
        let place = forwarded.place;
        broker.channel.forwarded.remove(&tag.number);
        return outbox.push(reply_to(place, response));
    }
    if may_have_acted {
        return give_up(broker, tag.number, outbox);
    }
    forwarded.again_ms = Some(now.monotonic_ms + RETRY_MS);
}

fn unsealed(key: ApiKey, version: i16, data: Bytes) -> Option<Response> {
    let mut reader = Reader::new(data);
    ResponseHeader::decode(&mut reader, key.response_header_version(version)).ok()?;
    Response::decode(key, version, &mut reader).ok()
}

fn give_up(broker: &mut Broker, number: u64, outbox: &mut Vec<Effect>) {
    if let Some(forwarded) = broker.channel.forwarded.remove(&number) {
        let Place { connection, sequence } = forwarded.place;
        outbox.push(Effect::Close { connection, sequence, reason: CloseReason::Unanswerable });
    }
}

fn reply_to(place: Place, response: Response) -> Effect {
    Effect::Reply { connection: place.connection, sequence: place.sequence, reply: Reply::Body(Box::new(response)) }
}
