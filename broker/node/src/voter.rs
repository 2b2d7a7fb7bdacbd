//! This node as a member of the quorum: the quorum's wishes become effects, and what happens becomes what it is told.
//!
//! Called for its own inputs and once at the end of every step ([`follow_up`]), which costs nothing when nothing changed.

use std::sync::Arc;

use strandline_log::disk::FilePath;
use strandline_log::quorum_state::{QuorumState, Voters};
use strandline_protocol::api::{Request, Response};
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::fetch_snapshot::FetchSnapshotResponse;

use crate::broker::Broker;
use crate::controller::METADATA_DIRECTORY;
use crate::directory::After;
use crate::flaws::{self, Flaw};
use crate::image::brokers::Endpoint;
use crate::io::{Effect, JobId, Lane, Now, PeerAddress, PeerLost, Reply, Tag};
use crate::metadata_log::{QUORUM_STATE, unusable};
use crate::parked::Place;
use crate::quorum::message::{FetchNews, Hold, Kept, Leadership, Lost, SnapshotNews, Wish};
use crate::quorum::post::{Form, Letter};
use crate::quorum::wire;
use crate::snapshot::fetched;

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
    let end = broker.controller.log_end();
    let lost = match &result {
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
        (_, Err(_)) => None,
    };
    if answered.is_none() {
        match letter {
            Letter::Vote(_) => broker.controller.quorum.on_vote_lost(now_ms, from, lost),
            Letter::Fetch | Letter::Snapshot => broker.controller.quorum.on_fetch_lost(now_ms, from, lost),
            // The leader tells it again to whoever does not fetch.
            Letter::Epoch => {}
        }
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
            send(broker, to, Letter::Vote(ask.ballot), request.into(), outbox);
        }
        Wish::BeginEpoch { to, leadership } => {
            let request = wire::begin_request(cluster, to, leadership, &own_endpoints(broker));
            send(broker, to, Letter::Epoch, request.into(), outbox);
        }
        Wish::EndEpoch { to, leadership, successors } => {
            let request = wire::end_request(cluster, leadership, &successors, &own_endpoints(broker));
            send(broker, to, Letter::Epoch, request.into(), outbox);
        }
        Wish::Fetch { to, ask } => {
            let request = wire::fetch_request(cluster, ask, broker.controller.committed());
            send(broker, to, Letter::Fetch, request.into(), outbox);
        }
        Wish::FetchSnapshot { to, ask } => {
            let request = wire::snapshot_request(cluster, ask);
            send(broker, to, Letter::Snapshot, request.into(), outbox);
        }
        Wish::AnswerVote { ticket, answer } => {
            if let Some((place, _)) = broker.controller.post.redeem(ticket) {
                reply(place, wire::vote_response(answer).into(), outbox);
            }
        }
        Wish::AnswerEpoch { ticket, leadership } => answer_epoch(broker, ticket, leadership, outbox),
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
    let voters = broker.controller.quorum.voters().iter().copied().map(BrokerId).collect();
    let kept = if flaws::is(Flaw::VoteNotKept) { Kept { voted: None, ..kept } } else { kept };
    let state = QuorumState {
        leader: wire::id(kept.leader),
        leader_epoch: kept.epoch,
        voted: wire::id(kept.voted),
        voters: Voters::Configured(voters),
    };
    let after = if hold == Hold::Others { After::Kept } else { After::Nothing };
    broker.directory.write(FilePath::inside(METADATA_DIRECTORY, QUORUM_STATE), state.encode(), after, outbox);
}

fn send(broker: &mut Broker, to: i32, letter: Letter, request: Request, outbox: &mut Vec<Effect>) {
    let tag = broker.controller.post.send(to, letter);
    let Some(to) = address(broker, to) else { return };
    // Not behind requests to the controller: their answers wait for what these fetches commit, and a connection answers in
    // order.
    let timeout_ms = broker.settings.quorum_request_timeout_ms;
    outbox.push(Effect::Send { to, lane: Lane::Quorum, tag, request: Box::new(request), timeout_ms });
}

/// Where a voter listens.
pub(crate) fn address(broker: &Broker, voter: i32) -> Option<PeerAddress> {
    let known = broker.topology.voters.iter().find(|known| known.id == voter)?;
    Some(PeerAddress { node: voter, host: Arc::from(known.host.as_str()), port: known.port })
}

fn own_endpoints(broker: &Broker) -> Vec<Endpoint> {
    broker.topology.controller_endpoints().cloned().collect()
}

fn answer_epoch(broker: &mut Broker, ticket: u64, told: Leadership, outbox: &mut Vec<Effect>) {
    match broker.controller.post.redeem(ticket) {
        Some((place, Form::BeginEpoch)) => reply(place, wire::begin_response(told).into(), outbox),
        Some((place, Form::EndEpoch)) => reply(place, wire::end_response(told).into(), outbox),
        Some((_, Form::Vote)) | None => {}
    }
}

fn reply(place: Place, response: Response, outbox: &mut Vec<Effect>) {
    outbox.push(Effect::Reply {
        connection: place.connection,
        sequence: place.sequence,
        reply: Reply::Body(Box::new(response)),
    });
}
