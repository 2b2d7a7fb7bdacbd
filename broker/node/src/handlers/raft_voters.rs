//! AddRaftVoter (key 80, versions 0 to 1), RemoveRaftVoter (81, version 0), UpdateRaftVoter (82, version 0): who votes (KIP-853).
//!
//! 80 v1 an answer before it is committed (KIP-1186). Only the leader of the quorum decides; see `quorum/change.rs` for its rules. Errors:
//! NOT_LEADER_OR_FOLLOWER, INCONSISTENT_CLUSTER_ID, INVALID_REQUEST, UNSUPPORTED_VERSION (`kraft.version` 0), DUPLICATE_VOTER, VOTER_NOT_FOUND,
//! REQUEST_TIMED_OUT for whatever may be otherwise soon; of UpdateRaftVoter also FENCED_LEADER_EPOCH and UNKNOWN_LEADER_EPOCH. Source:
//! KafkaRaftClient.handle{Add,Remove,Update}VoterRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Uuid;
use strandline_protocol::messages::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};
use strandline_protocol::messages::remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use strandline_protocol::messages::update_raft_voter::{CurrentLeader, UpdateRaftVoterRequest, UpdateRaftVoterResponse};

use super::Answer;
use super::quorum::is_foreign;
use crate::broker::Broker;
use crate::io::{Now, RequestContext};
use crate::parked::Place;
use crate::quorum::change::AddWait;
use crate::quorum::message::Refusal;
use crate::quorum::post::Form;
use crate::quorum::voters::{ReplicaKey, Voter};
use crate::quorum::wire;
use crate::voter;

/// The answer to who asked for another voter.
pub(crate) fn added(error_code: ErrorCode, error_message: Option<String>) -> AddRaftVoterResponse {
    AddRaftVoterResponse { throttle_time_ms: 0, error_code, error_message }
}

/// The answer to who asked for one voter less.
pub(crate) fn removed(error_code: ErrorCode, error_message: Option<String>) -> RemoveRaftVoterResponse {
    RemoveRaftVoterResponse { throttle_time_ms: 0, error_code, error_message }
}

pub(crate) fn add(broker: &mut Broker, now: Now, context: &RequestContext, request: &AddRaftVoterRequest) -> Answer {
    let voter = wire::added_voter(request);
    let until_ms = now.monotonic_ms + u64::from(broker.settings.quorum_request_timeout_ms);
    let ticket = broker.controller.post.ticket(place(context), Form::AddVoter);
    let waits = AddWait { ticket, until_committed: request.ack_when_committed };
    let checked = check(broker, request.cluster_id.as_deref(), voter.key).and_then(|()| check_endpoint(broker, &voter));
    match checked.and_then(|()| broker.controller.quorum.add_voter(voter, waits, until_ms)) {
        Ok(()) => Answer::Parked,
        Err(refusal) => {
            broker.controller.post.redeem(ticket);
            Answer::now(added(refusal.code, Some(refusal.message)))
        }
    }
}

pub(crate) fn remove(broker: &mut Broker, now: Now, context: &RequestContext, request: &RemoveRaftVoterRequest) -> Answer {
    let key = ReplicaKey { id: request.voter_id.0, directory: request.voter_directory_id };
    let checked = check(broker, request.cluster_id.as_deref(), key);
    match checked.and_then(|()| broker.controller.quorum.remove_voter(key)) {
        Ok(voters) => {
            let until_ms = now.monotonic_ms + u64::from(broker.settings.quorum_request_timeout_ms);
            let at = broker.controller.write_voters(now, None, voters);
            let ticket = broker.controller.post.ticket(place(context), Form::RemoveVoter);
            broker.controller.quorum.on_removed(ticket, at, until_ms);
            Answer::Parked
        }
        Err(refusal) => Answer::now(removed(refusal.code, Some(refusal.message))),
    }
}

/// Answers at once: the voter needs not know when it is committed, for it looks at its own log.
pub(crate) fn update(broker: &mut Broker, now: Now, request: &UpdateRaftVoterRequest) -> Answer {
    let voter = wire::updated_voter(request);
    let epoch = broker.controller.epoch();
    let checked = if request.current_leader_epoch < epoch {
        Err(Refusal::new(ErrorCode::FENCED_LEADER_EPOCH, "that epoch is over"))
    } else if request.current_leader_epoch > epoch {
        Err(Refusal::new(ErrorCode::UNKNOWN_LEADER_EPOCH, "that epoch is not known here"))
    } else {
        check(broker, request.cluster_id.as_deref(), voter.key).and_then(|()| check_endpoint(broker, &voter))
    };
    let error_code = match checked.and_then(|()| broker.controller.quorum.update_voter(voter)) {
        Ok(voters) => {
            if let Some(voters) = voters {
                broker.controller.write_voters(now, None, voters);
            }
            ErrorCode::NONE
        }
        Err(refusal) => refusal.code,
    };
    Answer::now(UpdateRaftVoterResponse { throttle_time_ms: 0, error_code, current_leader: current_leader(broker) })
}

fn check(broker: &Broker, cluster: Option<&str>, key: ReplicaKey) -> Result<(), Refusal> {
    if is_foreign(broker, cluster) {
        return Err(Refusal::new(ErrorCode::INCONSISTENT_CLUSTER_ID, "this is another cluster"));
    }
    if !broker.controller.is_active() {
        return Err(Refusal::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, "this node does not lead the quorum"));
    }
    if key.id < 0 || key.directory == Uuid::ZERO {
        return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "a voter has a node id and a directory id"));
    }
    Ok(())
}

fn check_endpoint(broker: &Broker, voter: &Voter) -> Result<(), Refusal> {
    let listener = &broker.topology.controller;
    let named = voter.endpoint(listener).filter(|end| !end.host.is_empty() && end.port > 0);
    named.map(|_| ()).ok_or_else(|| {
        let message = format!("it does not say where it is reached by the listener {listener}");
        Refusal::new(ErrorCode::INVALID_REQUEST, message)
    })
}

fn current_leader(broker: &Broker) -> CurrentLeader {
    let known = broker.controller.quorum.leadership();
    let at = known.leader.and_then(|leader| voter::address(broker, leader));
    CurrentLeader {
        leader_id: wire::id(known.leader),
        leader_epoch: known.epoch,
        host: at.as_ref().map_or_else(String::new, |at| at.host.to_string()),
        port: at.map_or(0, |at| i32::from(at.port)),
    }
}

fn place(context: &RequestContext) -> Place {
    Place { connection: context.connection, sequence: context.sequence }
}
