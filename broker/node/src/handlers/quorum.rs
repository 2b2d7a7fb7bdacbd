//! Vote (key 52, versions 0 to 2), BeginQuorumEpoch (53, 0 to 1), EndQuorumEpoch (54, 0 to 1): what voters say to each other.
//!
//! Answers leave when what they promise is on disk. Errors: INCONSISTENT_CLUSTER_ID; INVALID_REQUEST for another partition
//! than that of the metadata log; INVALID_VOTER_KEY for a voter that is another number or directory than this replica. Source: KafkaRaftClient.handleVoteRequest and its neighbours.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::begin_quorum_epoch::{BeginQuorumEpochRequest, BeginQuorumEpochResponse};
use strandline_protocol::messages::end_quorum_epoch::{EndQuorumEpochRequest, EndQuorumEpochResponse};
use strandline_protocol::messages::vote::{VoteRequest, VoteResponse};

use super::Answer;
use crate::broker::Broker;
use crate::io::{Now, RequestContext};
use crate::parked::Place;
use crate::quorum::message::{Leadership, VoteAnswer};
use crate::quorum::post::Form;
use crate::quorum::voters::ReplicaKey;
use crate::quorum::wire;
use crate::voter;

pub(crate) fn vote(broker: &mut Broker, now: Now, context: &RequestContext, request: &VoteRequest) -> Answer {
    let refuse = |error_code| Answer::now(VoteResponse { error_code, ..VoteResponse::default() });
    if is_foreign(broker, request.cluster_id.as_deref()) {
        return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
    }
    let Some((ask, to)) = wire::vote_ask(request) else { return refuse(ErrorCode::INVALID_REQUEST) };
    if !is_meant(broker, to) {
        let leadership = broker.controller.quorum.leadership();
        let answer = VoteAnswer { ballot: ask.ballot, leadership, granted: false };
        return Answer::now(wire::vote_response(ErrorCode::INVALID_VOTER_KEY, answer, None));
    }
    let ticket = ticket(broker, context, Form::Vote);
    let end = broker.controller.log_end();
    broker.controller.quorum.on_vote(now.monotonic_ms, ask, end, ticket);
    Answer::Parked
}

pub(crate) fn begin(broker: &mut Broker, now: Now, context: &RequestContext, request: &BeginQuorumEpochRequest) -> Answer {
    let refuse = |error_code| Answer::now(BeginQuorumEpochResponse { error_code, ..BeginQuorumEpochResponse::default() });
    if is_foreign(broker, request.cluster_id.as_deref()) {
        return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
    }
    let Some((leadership, to)) = wire::begin_ask(request) else { return refuse(ErrorCode::INVALID_REQUEST) };
    if !is_meant(broker, to) {
        let known = broker.controller.quorum.leadership();
        return Answer::now(wire::begin_response(ErrorCode::INVALID_VOTER_KEY, known));
    }
    let ticket = ticket(broker, context, Form::BeginEpoch);
    broker.controller.quorum.on_begin_epoch(now.monotonic_ms, leadership, ticket);
    let at = request.leader_endpoints.iter().map(|end| (end.name.as_str(), end.host.as_str(), end.port));
    learn_leader(broker, leadership, at);
    Answer::Parked
}

pub(crate) fn end(broker: &mut Broker, now: Now, context: &RequestContext, request: &EndQuorumEpochRequest) -> Answer {
    let refuse = |error_code| Answer::now(EndQuorumEpochResponse { error_code, ..EndQuorumEpochResponse::default() });
    if is_foreign(broker, request.cluster_id.as_deref()) {
        return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID);
    }
    let Some((leadership, successors)) = wire::end_ask(request) else { return refuse(ErrorCode::INVALID_REQUEST) };
    let ticket = ticket(broker, context, Form::EndEpoch);
    broker.controller.quorum.on_end_epoch(now.monotonic_ms, leadership, &successors, ticket);
    let at = request.leader_endpoints.iter().map(|end| (end.name.as_str(), end.host.as_str(), end.port));
    learn_leader(broker, leadership, at);
    Answer::Parked
}

/// Whether this replica is who is asked. Older versions name nobody.
fn is_meant(broker: &Broker, to: ReplicaKey) -> bool {
    to.id < 0 || to.names(broker.controller.quorum.me())
}

/// A leader says where it listens.
fn learn_leader<'a>(broker: &mut Broker, told: Leadership, endpoints: impl Iterator<Item = (&'a str, &'a str, u16)>) {
    let (Some(leader), mut endpoints) = (told.leader, endpoints) else { return };
    let wanted = broker.topology.controller.clone();
    if let Some((_, host, port)) = endpoints.find(|(name, ..)| *name == wanted)
        && broker.controller.epoch() == told.epoch
    {
        voter::learn_address(broker, leader, host, port);
    }
}

fn ticket(broker: &mut Broker, context: &RequestContext, form: Form) -> u64 {
    let place = Place { connection: context.connection, sequence: context.sequence };
    broker.controller.post.ticket(place, form)
}

/// A node of another cluster that found this one by mistake.
pub(super) fn is_foreign(broker: &Broker, cluster: Option<&str>) -> bool {
    cluster.is_some_and(|cluster| cluster != broker.identity.cluster_id)
}
