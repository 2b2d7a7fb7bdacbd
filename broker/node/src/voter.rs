//! This node as a member of the quorum: the quorum's wishes become effects, and what happens becomes what it is told.
//!
//! Called for its own inputs and once at the end of every step ([`follow_up`]), which costs nothing when nothing changed.

use std::sync::Arc;

use strandline_log::disk::FilePath;
use strandline_log::quorum_state::{QuorumState, Voters};
use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Uuid};
use strandline_protocol::messages::fetch_snapshot::FetchSnapshotResponse;

use crate::broker::Broker;
use crate::controller::METADATA_DIRECTORY;
use crate::directory::After;
use crate::flaws::{self, Flaw};
use crate::handlers::raft_voters;
use crate::io::{Effect, JobId, Lane, Now, PeerAddress, PeerLost, Reply, Tag};
use crate::metadata_log::{QUORUM_STATE, unusable};
use crate::parked::Place;
use crate::quorum::change::RECONFIGURABLE;
use crate::quorum::message::{FetchNews, Hold, JoinAsk, Kept, Leadership, Lost, Refusal, SnapshotNews, Wish};
use crate::quorum::post::{Form, Letter};
use crate::quorum::voters::{ReplicaKey, Voter};
use crate::quorum::{bootstrap_place, wire};
use crate::snapshot::fetched;

/// Of whom only the address is known.
const UNKNOWN_NODE: i32 = -1;
/// The job that reads the metadata log anew; jobs of replies are numbered from 0.
pub(crate) const METADATA_JOB: JobId = JobId(u64::MAX);

/// The first move.
pub(crate) fn start(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let end = broker.controller.log_end();
    broker.controller.quorum.start(now.monotonic_ms, end);
    follow_up(broker, now, outbox);
}

/// Time passed.
pub(crate) fn tick(broker: &mut Broker, now: Now) {
    if now.monotonic_ms >= broker.controller.quorum.next_deadline() {
        let end = broker.controller.log_end();
        broker.controller.quorum.tick(now.monotonic_ms, end);
    }
}

/// The vote is on disk.
pub(crate) fn on_kept(broker: &mut Broker, now: Now) {
    let end = broker.controller.log_end();
    broker.controller.quorum.on_kept(now.monotonic_ms, end);
}

/// A letter was answered, or is lost.
pub(crate) fn on_response(
    broker: &mut Broker,
    now: Now,
    tag: Tag,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let Some((from, letter)) = broker.controller.post.answered(tag) else { return };
    let now_ms = now.monotonic_ms;
    let told = result.as_ref().ok().and_then(|response| wire::told_leader(response));
    let end = broker.controller.log_end();
    let how = match &result {
        Err(PeerLost::Refused) => Lost::Gone,
        _ => Lost::Silent,
    };
    let answered = match (letter, result) {
        (Letter::Vote(ballot), Ok(response)) => match *response {
            Response::Vote(response) => wire::vote_answer(&response, ballot)
                .map(|answer| broker.controller.quorum.on_vote_answer(now_ms, from, answer, end)),
            _ => None,
        },
        (Letter::Epoch, Ok(response)) => {
            let told = match *response {
                Response::BeginQuorumEpoch(response) => wire::begin_answer(&response),
                Response::EndQuorumEpoch(response) => wire::end_answer(&response),
                _ => None,
            };
            told.map(|told| broker.controller.quorum.on_epoch_answer(now_ms, told))
        }
        (Letter::Fetch, Ok(response)) => match *response {
            Response::Fetch(response) => on_fetched(broker, now, from, response),
            _ => None,
        },
        (Letter::Snapshot, Ok(response)) => match *response {
            Response::FetchSnapshot(response) => on_piece(broker, now, from, response, outbox),
            _ => None,
        },
        (Letter::Versions(key), Ok(response)) => match *response {
            Response::ApiVersions(response) => {
                let is_good = response.error_code == ErrorCode::NONE;
                on_versions(broker, now, key, is_good.then(|| wire::versions(&response)));
                Some(())
            }
            _ => None,
        },
        (Letter::Join, Ok(response)) => {
            let is_done = match *response {
                Response::AddRaftVoter(response) => response.error_code == ErrorCode::NONE,
                Response::RemoveRaftVoter(response) => response.error_code == ErrorCode::NONE,
                Response::UpdateRaftVoter(response) => response.error_code == ErrorCode::NONE,
                _ => false,
            };
            broker.controller.quorum.on_join_answer(is_done);
            Some(())
        }
        (_, Err(_)) => None,
    };
    if let Some((leader, host, port)) = told {
        learn_address(broker, leader, &host, port);
    }
    if answered.is_none() {
        lost(broker, now, from, letter, how);
    }
}

/// Somebody says where the leader listens that this node knows by its number.
pub(crate) fn learn_address(broker: &mut Broker, leader: i32, host: &str, port: u16) {
    let known = broker.controller.quorum.leadership();
    if known.leader == Some(leader) {
        broker.controller.post.leader_listens(known.epoch, PeerAddress { node: leader, host: host.into(), port });
    }
}

/// A replica that is to vote said what it works at, or nothing.
fn on_versions(broker: &mut Broker, now: Now, key: ReplicaKey, versions: Option<(i16, i16)>) {
    if let Some(voters) = broker.controller.quorum.on_versions(now.monotonic_ms, key, versions) {
        let at = broker.controller.write_voters(now, None, voters);
        broker.controller.quorum.on_added(at);
    }
}

fn on_fetched(
    broker: &mut Broker,
    now: Now,
    from: i32,
    response: strandline_protocol::messages::fetch::FetchResponse,
) -> Option<()> {
    let (answer, data) = wire::fetch_answer(response)?;
    let controller = &mut broker.controller;
    match controller.on_fetch_answer(now, from, answer) {
        FetchNews::Append => {
            let records = data.records.unwrap_or_default();
            if !records.is_empty() {
                // What cannot be read is not taken; it is asked for again, from the same place.
                controller.follow(now, records.into_bytes()).ok()?;
            }
        }
        FetchNews::CutBack(to) => controller.cut_back(to),
        FetchNews::Nothing => {}
    }
    let durable = controller.log().positions().durable_end;
    controller.quorum.on_durable(durable);
    Some(())
}

fn on_piece(broker: &mut Broker, now: Now, from: i32, response: FetchSnapshotResponse, outbox: &mut Vec<Effect>) -> Option<()> {
    let (answer, bytes) = wire::snapshot_answer(response)?;
    let news = broker.controller.quorum.on_snapshot_answer(now.monotonic_ms, from, answer);
    if let Some(place) = answer.piece.filter(|_| news != SnapshotNews::Nothing) {
        fetched::on_piece(broker, now, place, &bytes, news, outbox);
    }
    Some(())
}

/// Carries out what the quorum wants now.
pub(crate) fn follow_up(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if let Some(job) = broker.controller.cutting_job(now) {
        outbox.push(Effect::Start { job: METADATA_JOB, what: job });
    }
    fetched::follow_up(broker, outbox);
    if broker.controller.is_settled() && fetched::is_free(broker) {
        let end = broker.controller.log_end();
        broker.controller.quorum.poll_fetch(now.monotonic_ms, end);
    }
    if broker.controller.is_settled() {
        let end = broker.controller.end();
        broker.controller.quorum.poll_join(now.monotonic_ms, end);
    }
    let mut wishes = broker.controller.quorum.take_wishes();
    while !wishes.is_empty() {
        for wish in wishes {
            fulfil(broker, now, wish, outbox);
        }
        wishes = broker.controller.quorum.take_wishes();
    }
}

fn fulfil(broker: &mut Broker, now: Now, wish: Wish, outbox: &mut Vec<Effect>) {
    let cluster = broker.identity.cluster_id.as_str();
    match wish {
        Wish::Keep(kept, hold) => keep(broker, kept, hold, outbox),
        Wish::Vote { to, ask } => {
            let request = wire::vote_request(cluster, to, ask);
            send(broker, now, to.id, Letter::Vote(ask.ballot), request.into(), outbox);
        }
        Wish::BeginEpoch { to, leadership } => {
            let request = wire::begin_request(cluster, to, leadership, &broker.controller.quorum.own().endpoints);
            send(broker, now, to.id, Letter::Epoch, request.into(), outbox);
        }
        Wish::EndEpoch { to, leadership, successors } => {
            let endpoints = &broker.controller.quorum.own().endpoints;
            let request = wire::end_request(cluster, leadership, &successors, endpoints);
            send(broker, now, to.id, Letter::Epoch, request.into(), outbox);
        }
        Wish::Fetch { to, ask } => {
            let request = wire::fetch_request(cluster, ask, broker.controller.committed(), broker.settings.quorum_fetch_bytes);
            send(broker, now, to, Letter::Fetch, request.into(), outbox);
        }
        Wish::FetchSnapshot { to, ask } => {
            let request = wire::snapshot_request(cluster, ask, broker.settings.quorum_snapshot_bytes);
            send(broker, now, to, Letter::Snapshot, request.into(), outbox);
        }
        Wish::AnswerVote { ticket, answer } => {
            if let Some((place, _)) = broker.controller.post.redeem(ticket) {
                let leader = answer.leadership.leader.and_then(|leader| address(broker, leader));
                reply(place, wire::vote_response(ErrorCode::NONE, answer, leader.as_ref()).into(), outbox);
            }
        }
        Wish::AnswerEpoch { ticket, leadership } => answer_epoch(broker, ticket, leadership, outbox),
        Wish::AskVersions { to } => ask_versions(broker, to, outbox),
        Wish::AnswerChange { ticket, outcome } => answer_change(broker, ticket, outcome, outbox),
        Wish::Join { to, ask } => {
            let own = broker.controller.quorum.own();
            let request = match ask {
                JoinAsk::Add => wire::add_voter_request(cluster, own, broker.settings.quorum_request_timeout_ms).into(),
                JoinAsk::Remove(key) => wire::remove_voter_request(cluster, key).into(),
                JoinAsk::Update(epoch) => wire::update_voter_request(cluster, epoch, own).into(),
            };
            send(broker, now, to, Letter::Join, request, outbox);
        }
        Wish::OpenEpoch { epoch, granted_by } => {
            let me = broker.identity.node_id;
            if broker.controller.quorum.leading().is_some()
                && broker.controller.epoch() == epoch
                && let Err(reason) = broker.controller.open_epoch(now, epoch, me, &granted_by)
            {
                outbox.push(unusable(&reason));
            }
        }
    }
}

fn keep(broker: &mut Broker, kept: Kept, hold: Hold, outbox: &mut Vec<Effect>) {
    let kept = if flaws::is(Flaw::VoteNotKept) { Kept { voted: None, ..kept } } else { kept };
    let quorum = &broker.controller.quorum;
    let voters = if quorum.history().version() >= RECONFIGURABLE {
        Voters::InLog { voted_directory: kept.voted.map_or(Uuid::ZERO, |voted| voted.directory) }
    } else {
        Voters::Configured(quorum.voters().ids().map(BrokerId).collect())
    };
    let state = QuorumState {
        leader: wire::id(kept.leader),
        leader_epoch: kept.epoch,
        voted: wire::id(kept.voted.map(|voted| voted.id)),
        voters,
    };
    let after = if hold == Hold::Others { After::Kept } else { After::Nothing };
    broker.directory.write(FilePath::inside(METADATA_DIRECTORY, QUORUM_STATE), state.encode(), after, outbox);
}

fn send(broker: &mut Broker, now: Now, to: i32, letter: Letter, request: Request, outbox: &mut Vec<Effect>) {
    let Some(address) = address(broker, to) else { return lost(broker, now, to, letter, Lost::Silent) };
    let tag = broker.controller.post.send(to, letter);
    // Not behind requests to the controller: their answers wait for what these fetches commit, and a connection answers in
    // order.
    let timeout_ms = broker.settings.quorum_request_timeout_ms;
    outbox.push(Effect::Send { to: address, lane: Lane::Quorum, tag, request: Box::new(request), timeout_ms });
}

/// A letter came to nothing.
fn lost(broker: &mut Broker, now: Now, from: i32, letter: Letter, lost: Lost) {
    let now_ms = now.monotonic_ms;
    match letter {
        Letter::Vote(_) => broker.controller.quorum.on_vote_lost(now_ms, from, lost),
        Letter::Fetch | Letter::Snapshot => broker.controller.quorum.on_fetch_lost(now_ms, from, lost),
        // The leader tells it again to whoever does not fetch.
        Letter::Epoch => {}
        Letter::Versions(key) => on_versions(broker, now, key, None),
        Letter::Join => broker.controller.quorum.on_join_answer(false),
    }
}

/// Where a node of the quorum listens: as it said when it began to lead, as the voters' record has it, or as the configuration names it.
pub(crate) fn address(broker: &Broker, node: i32) -> Option<PeerAddress> {
    let quorum = &broker.controller.quorum;
    if let Some(told) = broker.controller.post.told(quorum.epoch(), node) {
        return Some(told.clone());
    }
    if let Some((host, port)) = bootstrap_place(node).and_then(|place| broker.topology.bootstrap.get(place)) {
        return Some(PeerAddress { node: UNKNOWN_NODE, host: Arc::from(host.as_str()), port: *port });
    }
    let own = Some(quorum.own()).filter(|own| own.key.id == node);
    let known = own.or_else(|| quorum.voters().get(node))?;
    let end = known.endpoint(&broker.topology.controller).or_else(|| known.endpoints.first())?;
    Some(PeerAddress { node, host: Arc::from(end.host.as_str()), port: end.port })
}

/// Asks a replica that is no voter yet, at the place that whoever wants it to vote named.
fn ask_versions(broker: &mut Broker, to: Voter, outbox: &mut Vec<Effect>) {
    // Whoever asked for it had to name the listener.
    let Some(end) = to.endpoint(&broker.topology.controller) else { return };
    let tag = broker.controller.post.send(to.key.id, Letter::Versions(to.key));
    let to = PeerAddress { node: to.key.id, host: Arc::from(end.host.as_str()), port: end.port };
    let request = Box::new(wire::versions_request().into());
    let timeout_ms = broker.settings.quorum_request_timeout_ms;
    outbox.push(Effect::Send { to, lane: Lane::Control, tag, request, timeout_ms });
}

fn answer_change(broker: &mut Broker, ticket: u64, outcome: Result<(), Refusal>, outbox: &mut Vec<Effect>) {
    let Some((place, form)) = broker.controller.post.redeem(ticket) else { return };
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refusal) => (refusal.code, Some(refusal.message)),
    };
    match form {
        Form::AddVoter => reply(place, raft_voters::added(code, message).into(), outbox),
        Form::RemoveVoter => reply(place, raft_voters::removed(code, message).into(), outbox),
        Form::Vote | Form::BeginEpoch | Form::EndEpoch => {}
    }
}

fn answer_epoch(broker: &mut Broker, ticket: u64, told: Leadership, outbox: &mut Vec<Effect>) {
    match broker.controller.post.redeem(ticket) {
        Some((place, Form::BeginEpoch)) => reply(place, wire::begin_response(ErrorCode::NONE, told).into(), outbox),
        Some((place, Form::EndEpoch)) => reply(place, wire::end_response(told).into(), outbox),
        Some((_, Form::Vote | Form::AddVoter | Form::RemoveVoter)) | None => {}
    }
}

fn reply(place: Place, response: Response, outbox: &mut Vec<Effect>) {
    outbox.push(Effect::Reply {
        connection: place.connection,
        sequence: place.sequence,
        reply: Reply::Body(Box::new(response)),
    });
}
