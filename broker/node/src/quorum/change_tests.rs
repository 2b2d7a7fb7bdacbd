//! The rules of changing voters, one by one.

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, Uuid};

use super::change::AddWait;
use super::message::{Ballot, FetchAsk, FetchVerdict, JoinAsk, Kept, Leadership, LogEnd, Refusal, VoteAnswer, VoteAsk, Wish};
use super::voters::{BEFORE_THE_LOG, QuorumRecord, ReplicaKey, Voter, VoterEndpoint, VoterHistory, VoterSet};
use super::{FetchAnswer, LogView, Member, Quorum, Timing};

const TIMING: Timing = Timing { election_ms: 1000, fetch_ms: 2000, backoff_max_ms: 1000, retry_ms: 20 };
const EMPTY: LogEnd = LogEnd { epoch: LeaderEpoch(0), offset: Offset::ZERO };
const EPOCH: LeaderEpoch = LeaderEpoch(1);
const WAIT: AddWait = AddWait { ticket: 7, until_committed: true };

fn voter(id: i32) -> Voter {
    let key = ReplicaKey { id, directory: Uuid([id as u8; 16]) };
    let endpoint = VoterEndpoint { listener: "CONTROLLER".to_owned(), host: "h".to_owned(), port: 9093 };
    Voter { key, endpoints: vec![endpoint], versions: (0, 1) }
}

fn set(ids: &[i32]) -> VoterSet {
    ids.iter().copied().map(voter).collect()
}

fn in_log(ids: &[i32]) -> VoterHistory {
    let records = [(BEFORE_THE_LOG, QuorumRecord::Version(1)), (BEFORE_THE_LOG, QuorumRecord::Voters(set(ids)))];
    VoterHistory::new(VoterSet::default(), records)
}

fn member(me: i32, history: VoterHistory, joins: bool) -> Quorum {
    let kept = Kept { epoch: LeaderEpoch(0), voted: None, leader: None };
    let identity = Member { own: voter(me), may_vote: true, joins, bootstrap_servers: 0 };
    let mut quorum = Quorum::new(identity, history, TIMING, kept, Offset::ZERO, 7);
    quorum.start(0, EMPTY);
    quorum
}

/// Node 1 leads these voters; its log holds the record that opened its epoch.
fn leader(history: VoterHistory) -> Quorum {
    let mut quorum = member(1, history, false);
    let others: Vec<i32> = quorum.voters().ids().filter(|id| *id != 1).collect();
    // A sole voter stands by itself.
    if !others.is_empty() {
        quorum.tick(5000, EMPTY);
    }
    let granted = |ballot, epoch| VoteAnswer { ballot, leadership: Leadership { epoch, leader: None }, granted: true };
    for other in &others {
        quorum.on_vote_answer(5000, *other, granted(Ballot::Pre, LeaderEpoch(0)), EMPTY);
    }
    quorum.take_wishes();
    quorum.on_kept(5000, EMPTY);
    for other in &others {
        quorum.on_vote_answer(5000, *other, granted(Ballot::Real, EPOCH), EMPTY);
    }
    assert!(quorum.leading().is_some());
    quorum.take_wishes();
    quorum
}

/// A replica has everything up to `end`, and so has the leader.
fn fetches(quorum: &mut Quorum, now_ms: u64, replica: ReplicaKey, end: i64) {
    let mut epochs = LeaderEpochs::default();
    epochs.assign(EPOCH, Offset::ZERO);
    let all = LogEnd { epoch: EPOCH, offset: Offset(end) };
    let log = LogView { start: EMPTY, end: all, epochs: &epochs, snapshot: EMPTY };
    let verdict = quorum.on_fetch(now_ms, FetchAsk { replica, epoch: EPOCH, from: all }, log);
    assert_eq!(verdict, FetchVerdict::Agree);
}

fn code(result: Result<impl Sized, Refusal>) -> ErrorCode {
    result.err().map_or(ErrorCode::NONE, |refusal| refusal.code)
}

fn answered(quorum: &mut Quorum) -> Option<ErrorCode> {
    quorum.take_wishes().into_iter().find_map(|wish| match wish {
        Wish::AnswerChange { ticket: 7, outcome } => Some(code(outcome)),
        _ => None,
    })
}

#[test]
fn nothing_is_changed_before_a_record_of_the_leaders_own_epoch_is_committed() {
    let mut quorum = leader(in_log(&[1, 2, 3]));
    quorum.on_durable(Offset(1));
    assert_eq!(code(quorum.add_voter(voter(4), WAIT, 9000)), ErrorCode::REQUEST_TIMED_OUT);
    assert_eq!(code(quorum.remove_voter(voter(3).key)), ErrorCode::REQUEST_TIMED_OUT);
    fetches(&mut quorum, 5010, voter(2).key, 1);
    assert_eq!(code(quorum.add_voter(voter(4), WAIT, 9000)), ErrorCode::NONE);
}

#[test]
fn what_cannot_be_is_refused_by_kafkas_codes() {
    let mut quorum = leader(in_log(&[1]));
    quorum.on_durable(Offset(1));
    let another = Voter { key: ReplicaKey { directory: Uuid([9; 16]), ..voter(1).key }, ..voter(1) };
    assert_eq!(code(quorum.add_voter(another.clone(), WAIT, 9000)), ErrorCode::DUPLICATE_VOTER);
    assert_eq!(code(quorum.remove_voter(another.key)), ErrorCode::VOTER_NOT_FOUND);
    assert_eq!(code(quorum.remove_voter(voter(1).key)), ErrorCode::VOTER_NOT_FOUND, "the last one stays");
    assert_eq!(code(quorum.update_voter(voter(2))), ErrorCode::VOTER_NOT_FOUND);
    assert_eq!(code(quorum.update_voter(Voter { versions: (0, 0), ..voter(1) })), ErrorCode::INVALID_REQUEST);
    let mut fixed = leader(VoterHistory::new(set(&[1]), []));
    fixed.on_durable(Offset(1));
    assert_eq!(code(fixed.add_voter(voter(2), WAIT, 9000)), ErrorCode::UNSUPPORTED_VERSION);
    let follower = member(2, in_log(&[1, 2]), false);
    assert_eq!(code(follower.remove_voter(voter(1).key)), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_voter_is_added_when_it_has_caught_up_and_answered_when_that_is_committed() {
    let mut quorum = leader(in_log(&[1]));
    quorum.on_durable(Offset(1));
    assert!(quorum.add_voter(voter(2), WAIT, 9000).is_ok());
    assert!(matches!(&quorum.take_wishes()[..], [Wish::AskVersions { to }] if *to == voter(2)));
    assert_eq!(code(quorum.add_voter(voter(3), WAIT, 9000)), ErrorCode::REQUEST_TIMED_OUT, "one at a time");
    assert_eq!(quorum.on_versions(5020, voter(2).key, Some((0, 1))), None);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::REQUEST_TIMED_OUT), "it never fetched");
    fetches(&mut quorum, 5030, voter(2).key, 1);
    quorum.add_voter(voter(2), WAIT, 9000).expect("nothing is under way");
    assert_eq!(quorum.on_versions(5040, voter(2).key, Some((0, 0))), None);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::INVALID_REQUEST), "it knows the cluster's level not");
    quorum.add_voter(voter(2), WAIT, 9000).expect("nothing is under way");
    let voters = quorum.on_versions(5050, voter(2).key, Some((0, 1))).expect("it may");
    assert_eq!(voters, set(&[1, 2]));
    quorum.on_record(Offset(1), QuorumRecord::Voters(voters));
    quorum.on_added(Offset(1));
    quorum.on_durable(Offset(2));
    assert_eq!(answered(&mut quorum), None, "the new set decides, and one of two is no majority");
    assert_eq!(code(quorum.remove_voter(voter(2).key)), ErrorCode::REQUEST_TIMED_OUT);
    fetches(&mut quorum, 5060, voter(2).key, 2);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::NONE));
}

#[test]
fn a_leader_that_removes_itself_leads_without_its_own_vote_until_that_is_committed() {
    let mut quorum = leader(in_log(&[1, 2, 3]));
    quorum.on_durable(Offset(1));
    fetches(&mut quorum, 5010, voter(2).key, 1);
    let voters = quorum.remove_voter(voter(1).key).expect("it may");
    quorum.on_record(Offset(1), QuorumRecord::Voters(voters));
    quorum.on_removed(7, Offset(1), 9000);
    quorum.on_durable(Offset(2));
    fetches(&mut quorum, 5020, voter(2).key, 2);
    assert_eq!(quorum.high_watermark(), Offset(1), "one of the two that count");
    assert!(quorum.next_deadline() > 5020);
    fetches(&mut quorum, 5030, voter(3).key, 2);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::NONE));
    quorum.tick(quorum.next_deadline(), EMPTY);
    assert!(quorum.leading().is_none());
    let told = quorum.take_wishes().into_iter().filter(|wish| matches!(wish, Wish::EndEpoch { .. })).count();
    assert_eq!(told, 2);
}

#[test]
fn whoever_waits_for_a_change_is_told_when_it_takes_too_long_or_the_leadership_goes() {
    let mut quorum = leader(in_log(&[1, 2, 3]));
    quorum.on_durable(Offset(1));
    fetches(&mut quorum, 5010, voter(2).key, 1);
    quorum.add_voter(voter(4), WAIT, 5600).expect("it may");
    quorum.tick(5600, EMPTY);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::REQUEST_TIMED_OUT));
    quorum.add_voter(voter(4), WAIT, 9000).expect("nothing is under way");
    quorum.on_begin_epoch(5700, Leadership { epoch: LeaderEpoch(2), leader: Some(3) }, 1);
    assert_eq!(answered(&mut quorum), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
}

#[test]
fn voters_of_the_configuration_move_into_the_log_when_all_have_described_themselves() {
    let fixed = |id| Voter { key: ReplicaKey::without_directory(id), ..voter(id) };
    let mut quorum = leader(VoterHistory::new([1, 2].map(fixed).into_iter().collect(), []));
    quorum.on_durable(Offset(1));
    assert_eq!(code(quorum.raise_version(1)), ErrorCode::INVALID_UPDATE_VERSION, "2 said nothing");
    assert_eq!(quorum.update_voter(Voter { versions: (0, 0), ..voter(2) }), Ok(None));
    assert_eq!(code(quorum.raise_version(1)), ErrorCode::INVALID_UPDATE_VERSION, "2 cannot");
    assert_eq!(quorum.update_voter(voter(2)), Ok(None));
    assert_eq!(quorum.raise_version(1), Ok(Some(set(&[1, 2]))));
    assert_eq!(quorum.raise_version(0), Ok(None), "it is there");
    quorum.on_record(Offset(1), QuorumRecord::Version(1));
    quorum.on_record(Offset(2), QuorumRecord::Voters(set(&[1, 2])));
    assert_eq!(code(quorum.raise_version(0)), ErrorCode::INVALID_UPDATE_VERSION, "never down");
}

/// A member that follows node 3 and has all that is committed.
fn following(me: i32, history: VoterHistory, joins: bool) -> Quorum {
    let mut quorum = member(me, history, joins);
    let leadership = Leadership { epoch: EPOCH, leader: Some(3) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    quorum.poll_fetch(10, EMPTY);
    let epochs = LeaderEpochs::default();
    let answer = FetchAnswer { leadership, verdict: Some(FetchVerdict::Agree), high_watermark: Offset::ZERO };
    quorum.on_fetch_answer(20, 3, answer, LogView { start: EMPTY, end: EMPTY, epochs: &epochs, snapshot: EMPTY });
    quorum.take_wishes();
    quorum
}

fn asks(quorum: &mut Quorum) -> Option<JoinAsk> {
    quorum.poll_join(30, Offset::ZERO);
    quorum.take_wishes().into_iter().find_map(|wish| match wish {
        Wish::Join { to: 3, ask } => Some(ask),
        _ => None,
    })
}

#[test]
fn a_controller_asks_for_what_it_lacks_and_not_for_more() {
    assert_eq!(asks(&mut following(4, in_log(&[1, 3]), true)), Some(JoinAsk::Add));
    assert_eq!(asks(&mut following(4, in_log(&[1, 3]), false)), None, "it does not join by itself");
    let before = Voter { key: ReplicaKey { directory: Uuid([9; 16]), ..voter(4).key }, ..voter(4) };
    let replaced = || {
        VoterHistory::new(
            VoterSet::default(),
            [
                (BEFORE_THE_LOG, QuorumRecord::Version(1)),
                (BEFORE_THE_LOG, QuorumRecord::Voters([before.clone(), voter(3)].into_iter().collect())),
            ],
        )
    };
    assert_eq!(asks(&mut following(4, replaced(), true)), Some(JoinAsk::Remove(before.key)));
    assert_eq!(asks(&mut following(1, in_log(&[1, 3]), true)), None, "it is as the record says");
    let moved = Voter { endpoints: Vec::new(), ..voter(1) };
    let described = VoterHistory::new(
        VoterSet::default(),
        [
            (BEFORE_THE_LOG, QuorumRecord::Version(1)),
            (BEFORE_THE_LOG, QuorumRecord::Voters([moved, voter(3)].into_iter().collect())),
        ],
    );
    assert_eq!(asks(&mut following(1, described, false)), Some(JoinAsk::Update(EPOCH)));
    let mut fixed = following(1, VoterHistory::new(set(&[1, 3]), []), false);
    assert_eq!(asks(&mut fixed), Some(JoinAsk::Update(EPOCH)), "the leader learns what it works at");
    fixed.on_join_answer(true);
    assert_eq!(fixed.next_join_ms(Offset::ZERO), u64::MAX, "once an epoch");
}

#[test]
fn who_is_removed_by_a_record_that_only_it_has_stands_for_it() {
    let mut history = in_log(&[1, 2]);
    history.push(Offset(5), QuorumRecord::Voters(set(&[2])));
    let mut quorum = member(1, history, false);
    quorum.tick(5000, EMPTY);
    let asked = quorum.take_wishes().into_iter().any(|wish| matches!(wish, Wish::Vote { to, .. } if to == voter(2).key));
    assert!(asked, "2 has not all that is in this log, so nobody else can lead");
    let grant =
        VoteAnswer { ballot: Ballot::Pre, leadership: Leadership { epoch: LeaderEpoch(0), leader: None }, granted: true };
    quorum.on_vote_answer(5001, 2, grant, EMPTY);
    assert!(matches!(quorum.take_wishes()[..], [Wish::Keep(..)]), "with 2's vote alone");
}

#[test]
fn a_vote_is_given_to_a_candidate_that_this_log_does_not_know() {
    let mut quorum = member(4, VoterHistory::default(), false);
    assert_eq!(quorum.next_deadline(), u64::MAX, "nobody votes, so nobody stands");
    let ask = VoteAsk { ballot: Ballot::Real, epoch: LeaderEpoch(3), candidate: voter(1).key, log_end: EMPTY };
    quorum.on_vote(10, ask, EMPTY, 9);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    assert!(matches!(quorum.take_wishes()[..], [Wish::AnswerVote { answer: VoteAnswer { granted: true, .. }, .. }]));
    let other = VoteAsk { candidate: ReplicaKey { directory: Uuid([9; 16]), ..voter(1).key }, ..ask };
    quorum.on_vote(11, other, EMPTY, 10);
    assert!(matches!(quorum.take_wishes()[..], [Wish::AnswerVote { answer: VoteAnswer { granted: false, .. }, .. }]));
}
