//! Single moves of a member.

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use super::message::{
    Ballot, FetchAsk, FetchNews, FetchVerdict, Hold, Kept, Leadership, LogEnd, Lost, SnapshotAnswer, SnapshotAsk, SnapshotNews,
    SnapshotPlace, VoteAnswer, VoteAsk, Wish,
};
use super::voters::{ReplicaKey, Voter, VoterHistory, VoterSet};
use super::{FetchAnswer, LogView, Member, Quorum, Timing};

const TIMING: Timing = Timing { election_ms: 1000, fetch_ms: 2000, backoff_max_ms: 1000, retry_ms: 20 };
const EMPTY: LogEnd = LogEnd { epoch: LeaderEpoch(0), offset: Offset::ZERO };

/// A log that was never cut.
fn view(end: LogEnd, epochs: &LeaderEpochs) -> LogView<'_> {
    LogView { start: EMPTY, end, epochs, snapshot: EMPTY }
}

/// A replica of which the tests that follow know no directory.
fn key(id: i32) -> ReplicaKey {
    ReplicaKey::without_directory(id)
}

fn member(me: i32, voters: &[i32], epoch: i32) -> Quorum {
    let kept = Kept { epoch: LeaderEpoch(epoch), voted: None, leader: None };
    let voter = |id: i32| Voter { key: key(id), endpoints: Vec::new(), versions: (0, 0) };
    let voters: VoterSet = voters.iter().copied().map(voter).collect();
    let member = Member { own: voter(me), may_vote: true, joins: false, bootstrap_servers: 0 };
    let mut quorum = Quorum::new(member, VoterHistory::new(voters, []), TIMING, kept, Offset::ZERO, 7);
    quorum.start(0, EMPTY);
    quorum
}

fn end(epoch: i32, offset: i64) -> LogEnd {
    LogEnd { epoch: LeaderEpoch(epoch), offset: Offset(offset) }
}

fn vote(ballot: Ballot, epoch: i32, candidate: i32, log_end: LogEnd) -> VoteAsk {
    VoteAsk { ballot, epoch: LeaderEpoch(epoch), candidate: key(candidate), log_end }
}

/// The answer to a vote, with what has to be kept before it leaves.
fn granted(quorum: &mut Quorum, ask: VoteAsk, log_end: LogEnd) -> bool {
    quorum.on_vote(10, ask, log_end, 1);
    let mut answer = None;
    while answer.is_none() {
        for wish in quorum.take_wishes() {
            match wish {
                Wish::Keep(_, Hold::Others) => quorum.on_kept(10, log_end),
                Wish::AnswerVote { answer: found, .. } => answer = Some(found.granted),
                _ => {}
            }
        }
    }
    answer.unwrap_or_default()
}

fn leader_of_three(epoch: i32) -> Quorum {
    let mut quorum = member(1, &[1, 2, 3], epoch - 1);
    quorum.tick(5000, EMPTY);
    let won = |ballot, epoch| VoteAnswer {
        ballot,
        leadership: Leadership { epoch: LeaderEpoch(epoch), leader: None },
        granted: true,
    };
    quorum.take_wishes();
    quorum.on_vote_answer(5001, 2, won(Ballot::Pre, epoch - 1), EMPTY);
    quorum.take_wishes();
    quorum.on_kept(5002, EMPTY);
    quorum.on_vote_answer(5003, 3, won(Ballot::Real, epoch), EMPTY);
    assert!(quorum.leading().is_some());
    quorum
}

#[test]
fn a_sole_voter_leads_as_soon_as_its_vote_is_kept() {
    let mut quorum = member(4, &[4], 6);
    let kept = Kept { epoch: LeaderEpoch(7), voted: Some(key(4)), leader: None };
    assert_eq!(quorum.take_wishes(), [Wish::Keep(kept, Hold::Others)]);
    assert!(quorum.leading().is_none(), "a vote that is not kept is none");
    quorum.on_kept(1, EMPTY);
    let wishes = quorum.take_wishes();
    assert!(wishes.contains(&Wish::OpenEpoch { epoch: LeaderEpoch(7), granted_by: vec![4] }), "{wishes:?}");
    assert_eq!(quorum.leadership(), Leadership { epoch: LeaderEpoch(7), leader: Some(4) });
    assert_eq!(quorum.high_watermark(), Offset::ZERO);
    quorum.on_durable(Offset(1));
    assert_eq!(quorum.high_watermark(), Offset(1));
    assert_eq!(quorum.next_deadline(), u64::MAX, "an idle sole voter has nothing to do");
}

#[test]
fn one_vote_is_given_an_epoch_and_kept_before_it_is_told() {
    let mut quorum = member(1, &[1, 2, 3], 5);
    quorum.on_vote(10, vote(Ballot::Real, 6, 2, EMPTY), EMPTY, 9);
    let first = quorum.take_wishes();
    assert!(matches!(first[..], [Wish::Keep(Kept { voted: None, .. }, Hold::Others)]), "the epoch first: {first:?}");
    quorum.on_kept(11, EMPTY);
    assert!(matches!(quorum.take_wishes()[..], [Wish::Keep(Kept { voted: Some(ReplicaKey { id: 2, .. }), .. }, Hold::Others)]));
    quorum.on_kept(11, EMPTY);
    assert!(matches!(quorum.take_wishes()[..], [Wish::AnswerVote { ticket: 9, answer: VoteAnswer { granted: true, .. } }]));
    assert!(!granted(&mut quorum, vote(Ballot::Real, 6, 3, EMPTY), EMPTY), "it is given away");
    assert!(granted(&mut quorum, vote(Ballot::Real, 6, 2, EMPTY), EMPTY), "the same one may ask again");
    assert!(!granted(&mut quorum, vote(Ballot::Real, 5, 3, EMPTY), EMPTY), "that epoch is over");
}

#[test]
fn a_log_that_is_behind_gets_no_vote() {
    for ballot in [Ballot::Pre, Ballot::Real] {
        let mut quorum = member(1, &[1, 2, 3], 5);
        assert!(!granted(&mut quorum, vote(ballot, 6, 2, end(4, 100)), end(5, 1)), "an older epoch");
        assert!(!granted(&mut quorum, vote(ballot, 6, 2, end(5, 9)), end(5, 10)), "a shorter log");
        assert!(granted(&mut quorum, vote(ballot, 6, 2, end(5, 10)), end(5, 10)));
    }
}

#[test]
fn a_pre_vote_changes_nothing_and_is_refused_by_who_hears_from_a_leader() {
    let mut quorum = member(1, &[1, 2, 3], 5);
    assert!(granted(&mut quorum, vote(Ballot::Pre, 5, 2, EMPTY), EMPTY));
    assert!(granted(&mut quorum, vote(Ballot::Pre, 5, 3, EMPTY), EMPTY), "it binds nobody");
    let leadership = Leadership { epoch: LeaderEpoch(5), leader: Some(2) };
    quorum.on_begin_epoch(20, leadership, 1);
    quorum.poll_fetch(20, EMPTY);
    let epochs = LeaderEpochs::default();
    let log = view(EMPTY, &epochs);
    let answer = FetchAnswer { leadership, verdict: Some(FetchVerdict::Agree), high_watermark: Offset::ZERO };
    assert_eq!(quorum.on_fetch_answer(30, 2, answer, log), FetchNews::Append);
    assert!(!granted(&mut quorum, vote(Ballot::Pre, 5, 3, EMPTY), EMPTY));
    quorum.poll_fetch(31, EMPTY);
    quorum.on_fetch_lost(40, 2, Lost::Gone);
    assert!(granted(&mut quorum, vote(Ballot::Pre, 5, 3, EMPTY), EMPTY), "a leader whose port refuses is gone");
    assert!(quorum.next_deadline() <= 40 + 120, "and this node stands soon");
}

#[test]
fn records_of_earlier_epochs_are_committed_only_with_one_of_the_own() {
    let mut quorum = leader_of_three(8);
    let epochs = LeaderEpochs::default();
    let ask = |offset| FetchAsk { replica: key(2), epoch: LeaderEpoch(8), from: end(7, offset) };
    let mut grown = epochs.clone();
    grown.assign(LeaderEpoch(7), Offset(0));
    // The epoch began at 0 in this log; what is there of epoch 7 stands for what earlier leaders left.
    let log = view(end(7, 0), &grown);
    quorum.on_durable(Offset(0));
    assert_eq!(quorum.on_fetch(5010, ask(0), log), FetchVerdict::Agree);
    assert_eq!(quorum.high_watermark(), Offset(0));
    grown.assign(LeaderEpoch(8), Offset(0));
    let log = view(end(8, 1), &grown);
    quorum.on_durable(Offset(1));
    assert_eq!(quorum.high_watermark(), Offset(0), "one of three is no majority");
    let own = FetchAsk { replica: key(2), epoch: LeaderEpoch(8), from: end(8, 1) };
    assert_eq!(quorum.on_fetch(5020, own, log), FetchVerdict::Agree);
    assert_eq!(quorum.high_watermark(), Offset(1));
    let observer = FetchAsk { replica: key(9), epoch: LeaderEpoch(8), from: end(8, 5) };
    assert!(matches!(quorum.on_fetch(5020, observer, log), FetchVerdict::Diverging(_)));
}

#[test]
fn a_leader_that_no_majority_fetches_from_resigns() {
    let mut quorum = leader_of_three(8);
    quorum.tick(5003 + 2999, EMPTY);
    assert!(quorum.leading().is_some());
    quorum.tick(5003 + 3000, EMPTY);
    assert!(quorum.leading().is_none());
    let ends = quorum.take_wishes().into_iter().filter(|wish| matches!(wish, Wish::EndEpoch { .. })).count();
    assert_eq!(ends, 2);
}

#[test]
fn the_first_successor_stands_at_once_when_its_leader_resigns() {
    let mut quorum = member(2, &[1, 2, 3], 5);
    let leadership = Leadership { epoch: LeaderEpoch(6), leader: Some(1) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.on_end_epoch(20, leadership, &[key(2), key(3)], 1);
    assert_eq!(quorum.next_deadline(), 20.min(quorum.next_deadline()));
    quorum.tick(20, EMPTY);
    quorum.take_wishes();
    quorum.on_kept(20, EMPTY);
    let asked = quorum.take_wishes().into_iter().filter(|wish| matches!(wish, Wish::Vote { .. })).count();
    assert_eq!(asked, 2);
}

#[test]
fn a_follower_cuts_its_log_where_it_parts_from_the_leaders() {
    let mut quorum = member(2, &[1, 2, 3], 5);
    let leadership = Leadership { epoch: LeaderEpoch(6), leader: Some(1) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    quorum.poll_fetch(10, end(5, 30));
    let mut epochs = LeaderEpochs::default();
    epochs.assign(LeaderEpoch(3), Offset(0));
    epochs.assign(LeaderEpoch(5), Offset(20));
    let log = view(end(5, 30), &epochs);
    let answer = |verdict| FetchAnswer { leadership, verdict: Some(verdict), high_watermark: Offset(0) };
    let news = quorum.on_fetch_answer(20, 1, answer(FetchVerdict::Diverging(end(4, 25))), log);
    assert_eq!(news, FetchNews::CutBack(Offset(20)), "the leader has an epoch that this log does not know");
}

#[test]
fn a_follower_that_is_told_of_a_snapshot_asks_for_its_pieces() {
    let mut quorum = member(2, &[1, 2, 3], 5);
    let leadership = Leadership { epoch: LeaderEpoch(6), leader: Some(1) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    quorum.poll_fetch(10, EMPTY);
    quorum.take_wishes();
    let epochs = LeaderEpochs::default();
    let log = view(EMPTY, &epochs);
    let id = end(4, 50);
    let answer = FetchAnswer { leadership, verdict: Some(FetchVerdict::InSnapshot(id)), high_watermark: Offset(50) };
    assert_eq!(quorum.on_fetch_answer(20, 1, answer, log), FetchNews::Nothing);
    quorum.on_durable(Offset(0));
    assert_eq!(quorum.high_watermark(), Offset::ZERO, "nothing of this log was compared");
    quorum.poll_fetch(21, EMPTY);
    let ask =
        |position| Wish::FetchSnapshot { to: 1, ask: SnapshotAsk { replica: key(2), epoch: LeaderEpoch(6), id, position } };
    assert_eq!(quorum.take_wishes(), [ask(0)]);
    let piece = |position| SnapshotAnswer { leadership, piece: Some(SnapshotPlace { id, size: 100, position, bytes: 60 }) };
    assert_eq!(quorum.on_snapshot_answer(22, 1, piece(0)), SnapshotNews::Piece);
    quorum.poll_fetch(22, EMPTY);
    assert_eq!(quorum.take_wishes(), [ask(60)]);
    assert_eq!(quorum.on_snapshot_answer(23, 1, piece(60)), SnapshotNews::Nothing, "it would reach beyond the end");
    assert_eq!(quorum.wanted_snapshot(), None, "and the leader is asked anew");
}

#[test]
fn nothing_is_fetched_while_a_snapshot_takes_the_place_of_the_log() {
    let mut quorum = member(2, &[1, 2, 3], 5);
    let leadership = Leadership { epoch: LeaderEpoch(6), leader: Some(1) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    quorum.poll_fetch(10, EMPTY);
    let id = end(4, 50);
    let answer = FetchAnswer { leadership, verdict: Some(FetchVerdict::InSnapshot(id)), high_watermark: Offset(50) };
    quorum.on_fetch_answer(20, 1, answer, view(EMPTY, &LeaderEpochs::default()));
    quorum.poll_fetch(20, EMPTY);
    let whole = SnapshotAnswer { leadership, piece: Some(SnapshotPlace { id, size: 60, position: 0, bytes: 60 }) };
    assert_eq!(quorum.on_snapshot_answer(21, 1, whole), SnapshotNews::LastPiece);
    quorum.take_wishes();
    assert_eq!(quorum.next_fetch_ms(), u64::MAX);
    quorum.poll_fetch(30, EMPTY);
    assert_eq!(quorum.take_wishes(), []);
    quorum.on_installed(40, id.offset, 0, None);
    assert_eq!(quorum.high_watermark(), id.offset);
    quorum.poll_fetch(40, id);
    let ask = FetchAsk { replica: key(2), epoch: LeaderEpoch(6), from: id };
    assert_eq!(quorum.take_wishes(), [Wish::Fetch { to: 1, ask }]);
}

#[test]
fn a_log_that_begins_with_another_epoch_than_the_leaders_gets_its_snapshot() {
    let mut quorum = leader_of_three(6);
    let mut epochs = LeaderEpochs::default();
    epochs.assign(LeaderEpoch(6), Offset(50));
    let log = LogView { start: end(4, 50), end: end(6, 60), epochs: &epochs, snapshot: end(5, 55) };
    let verdict =
        |quorum: &mut Quorum, from| quorum.on_fetch(1, FetchAsk { replica: key(9), epoch: quorum.epoch(), from }, log);
    assert_eq!(verdict(&mut quorum, end(4, 50)), FetchVerdict::Agree);
    for from in [EMPTY, end(4, 49), end(3, 50), end(5, 50), end(3, 55)] {
        assert_eq!(verdict(&mut quorum, from), FetchVerdict::InSnapshot(end(5, 55)), "{from:?}");
    }
}

#[test]
fn a_leader_that_asks_for_committed_records_to_be_cut_is_not_followed_there() {
    let mut quorum = member(2, &[1, 2, 3], 5);
    let leadership = Leadership { epoch: LeaderEpoch(6), leader: Some(1) };
    quorum.on_begin_epoch(10, leadership, 1);
    quorum.take_wishes();
    quorum.on_kept(10, EMPTY);
    let mut epochs = LeaderEpochs::default();
    epochs.assign(LeaderEpoch(5), Offset(0));
    let log = view(end(5, 30), &epochs);
    let answer = |verdict| FetchAnswer { leadership, verdict: Some(verdict), high_watermark: Offset(30) };
    quorum.poll_fetch(10, end(5, 30));
    quorum.on_fetch_answer(20, 1, answer(FetchVerdict::Agree), log);
    quorum.on_durable(Offset(30));
    assert_eq!(quorum.high_watermark(), Offset(30));
    quorum.poll_fetch(20, end(5, 30));
    let news = quorum.on_fetch_answer(30, 1, answer(FetchVerdict::Diverging(end(5, 25))), log);
    assert_eq!(news, FetchNews::Nothing);
    assert_eq!(quorum.next_fetch_ms(), 30 + TIMING.retry_ms, "and it is not asked in a loop");
}

#[test]
fn an_observer_without_a_leader_waits_for_nothing_but_its_next_question() {
    let mut observer = member(9, &[1, 2, 3], 4);
    observer.tick(60_000, EMPTY);
    assert_eq!(observer.next_deadline(), u64::MAX);
    observer.poll_fetch(60_000, EMPTY);
    assert!(matches!(observer.take_wishes()[..], [Wish::Fetch { .. }]));
    observer.on_fetch_lost(60_000, 1, Lost::Gone);
    assert!(observer.next_fetch_ms() > 60_000);
}
