//! One member of the metadata quorum as a value: KRaft's protocol (KIP-595, KIP-996), told everything, asking nothing.
//!
//! It holds neither the log nor a file: it is told where the log ends and what became durable, and answers with wishes. What
//! it guarantees, and `schedule.rs` checks over random schedules: one leader an epoch; logs that agree at an offset and epoch
//! agree below; what is committed is never lost; the high watermark never goes back.
//!
//! A vote or a new epoch is kept on disk before anything that follows from it leaves ([`Wish::Keep`]); a candidate counts
//! its own vote only then. Fetch offsets are durable ends, and the leader counts its own durable end, so that what a
//! majority has survives the loss of power of all.
//!
//! Faster than Kafka where that is free: a leader whose process is gone (its port refuses) is suspected at once, and then
//! pre-votes are asked for and granted without waiting for the fetch timeout.
//!
//! Source: raft/src/main/java/org/apache/kafka/raft/{KafkaRaftClient,QuorumState}.java.

pub(crate) mod change;
#[cfg(test)]
mod change_tests;
pub(crate) mod join;
pub(crate) mod leader;
pub(crate) mod message;
pub(crate) mod post;
pub(crate) mod role;
#[cfg(test)]
mod schedule;
mod snapshots;
#[cfg(test)]
mod tests;
pub(crate) mod voters;
mod voting;
pub(crate) mod wire;

use std::collections::VecDeque;

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use crate::dice::Dice;
use crate::flaws::{self, Flaw};
use join::Joining;
use leader::Leader;
use message::{FetchAsk, FetchNews, FetchVerdict, Hold, Kept, Leadership, LogEnd, Lost, SnapshotAsk, Wish};
use role::{Follower, Role};
use voters::{QuorumRecord, ReplicaKey, Voter, VoterHistory, VoterSet};

/// How long a follower that found its leader gone waits at most before it asks for pre-votes: long enough that two of them
/// rarely do so at once.
const SUSPICION_MS: usize = 120;

/// The times of the protocol, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// `controller.quorum.election.timeout.ms`
    pub election_ms: u64,
    /// `controller.quorum.fetch.timeout.ms`
    pub fetch_ms: u64,
    /// `controller.quorum.election.backoff.max.ms`
    pub backoff_max_ms: u64,
    /// `controller.quorum.retry.backoff.ms`
    pub retry_ms: u64,
}

impl Timing {
    /// A leader that no majority fetched from for so long resigns: later than its followers give it up.
    fn silence_ms(&self) -> u64 {
        self.fetch_ms * 3 / 2
    }
}

/// The log as the quorum looks at it.
#[derive(Clone, Copy, Debug)]
pub struct LogView<'a> {
    /// Where it begins: the epoch is that of the record before, which is in a snapshot.
    pub start: LogEnd,
    pub end: LogEnd,
    pub epochs: &'a LeaderEpochs,
    /// Where the newest snapshot ends.
    pub snapshot: LogEnd,
}

impl LogView<'_> {
    /// The end of the newest epoch that is not above the one asked for.
    fn end_of(&self, epoch: LeaderEpoch) -> LogEnd {
        self.epochs
            .end_offset_for(epoch, self.end.offset)
            .map_or(self.end, |found| LogEnd { epoch: found.epoch, offset: found.end })
    }
}

/// What a leader answered to a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchAnswer {
    pub leadership: Leadership,
    /// `None` if it was refused for whatever reason.
    pub verdict: Option<FetchVerdict>,
    pub high_watermark: Offset,
}

/// Who a member is.
#[derive(Clone, Debug)]
pub struct Member {
    /// As a record of voters would describe it.
    pub own: Voter,
    /// A broker that is no controller never votes, whatever its number is.
    pub may_vote: bool,
    /// `controller.quorum.auto.join.enable`
    pub joins: bool,
    /// How many servers of `controller.quorum.bootstrap.servers` may be asked for the leader.
    pub bootstrap_servers: usize,
}

/// The number under which a server is asked for the leader that is known by its address alone. Source: KafkaRaftClient gives them numbers
/// from -2 on, downward.
pub(crate) fn bootstrap_server(place: usize) -> i32 {
    i32::try_from(place).map_or(i32::MIN, |place| -2 - place)
}

/// The place among the servers of the configuration that such a number stands for.
pub(crate) fn bootstrap_place(id: i32) -> Option<usize> {
    usize::try_from(-2 - i64::from(id)).ok()
}

#[derive(Clone, Debug)]
pub struct Quorum {
    me: ReplicaKey,
    member: Member,
    history: VoterHistory,
    timing: Timing,
    dice: Dice,
    epoch: LeaderEpoch,
    voted: Option<ReplicaKey>,
    role: Role,
    high_watermark: Offset,
    /// What the leader said is committed of what this log agrees with.
    told_high_watermark: Offset,
    wishes: VecDeque<Wish>,
    /// Writes of `quorum-state` that others wait for and that are not durable.
    unkept: usize,
    /// One of them is under way.
    keeping: bool,
    fetch: Fetching,
    join: Joining,
}

/// The fetch of somebody who does not lead.
#[derive(Clone, Copy, Debug, Default)]
struct Fetching {
    /// Whom it went to, and in which epoch.
    under_way: Option<(i32, LeaderEpoch)>,
    again_ms: u64,
    /// The place among voters and bootstrap servers of the next one to be asked for the leader.
    next: usize,
    /// A snapshot is whole and takes the place of the log: where that ends is not known meanwhile.
    held: bool,
}

impl Quorum {
    /// A member that remembers `kept`. It never stands again in the epoch that it was in: records that it wrote there may be
    /// lost. `high_watermark` is what is known to be committed: the snapshot, and for a sole voter its log.
    pub fn new(member: Member, history: VoterHistory, timing: Timing, kept: Kept, high_watermark: Offset, seed: u64) -> Self {
        Self {
            me: member.own.key,
            member,
            history,
            timing,
            dice: Dice::new(seed),
            epoch: kept.epoch,
            voted: kept.voted,
            role: Role::Unattached { until_ms: u64::MAX },
            high_watermark,
            told_high_watermark: high_watermark,
            wishes: VecDeque::new(),
            unkept: 0,
            keeping: false,
            fetch: Fetching::default(),
            join: Joining::default(),
        }
    }

    /// The first move: a sole voter stands at once, another one soon, because a standing leader is asked for first.
    pub fn start(&mut self, now_ms: u64, log_end: LogEnd) {
        let wait_ms = self.timing.election_ms / 4 + self.roll(self.timing.election_ms / 2);
        self.role = Role::Unattached { until_ms: now_ms + wait_ms };
        if self.is_voter() && self.history.voters().len() == 1 {
            self.become_prospective(now_ms, log_end);
        }
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub fn voters(&self) -> &VoterSet {
        self.history.voters()
    }

    /// The voters and the level of `kraft.version` over the log.
    pub fn history(&self) -> &VoterHistory {
        &self.history
    }

    /// This node among the replicas of the metadata log.
    pub fn me(&self) -> ReplicaKey {
        self.me
    }

    /// This node as a voter.
    pub fn own(&self) -> &Voter {
        &self.member.own
    }

    /// The log has one more record of the quorum, committed or not: it counts from now on.
    pub fn on_record(&mut self, offset: Offset, record: QuorumRecord) {
        self.history.push(offset, record);
        self.follow_voters();
    }

    /// The log ends at `end` now.
    pub fn on_cut(&mut self, end: Offset) {
        self.history.cut(end);
        self.follow_voters();
    }

    /// The newest snapshot ends there.
    pub fn on_snapshot(&mut self, end: Offset) {
        self.history.forget_below(end);
    }

    fn follow_voters(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.set_voters(self.history.voters());
            self.advance();
        }
    }

    /// Everything below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn leadership(&self) -> Leadership {
        let leader = match &self.role {
            Role::Follower(follower) => Some(follower.leader),
            Role::Leader(_) | Role::Resigned { .. } => Some(self.me.id),
            Role::Unattached { .. } | Role::Prospective { .. } | Role::Candidate { .. } => None,
        };
        Leadership { epoch: self.epoch, leader }
    }

    /// What this node knows as leader.
    pub fn leading(&self) -> Option<&Leader> {
        if let Role::Leader(leader) = &self.role { Some(leader) } else { None }
    }

    /// The wishes that may leave now.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        let mut taken = Vec::new();
        while !self.keeping
            && let Some(wish) = self.wishes.pop_front()
        {
            self.keeping = matches!(wish, Wish::Keep(_, Hold::Others));
            taken.push(wish);
        }
        taken
    }

    /// A held write of `quorum-state` is durable.
    pub fn on_kept(&mut self, now_ms: u64, log_end: LogEnd) {
        self.keeping = false;
        self.unkept -= 1;
        let votes = self.is_voter();
        if let Role::Candidate { tally, .. } = &mut self.role
            && self.unkept == 0
        {
            if votes {
                tally.grant(self.me.id);
            }
            self.count_votes(now_ms, log_end);
        }
    }

    /// The log is durable up to `end`.
    pub fn on_durable(&mut self, end: Offset) {
        match &mut self.role {
            Role::Leader(leader) => {
                leader.on_durable(end);
                self.advance();
            }
            _ => self.high_watermark = self.high_watermark.max(self.told_high_watermark.min(end)),
        }
    }

    /// Somebody fetches. If the logs agree and the asker is a voter, what it has counts from now on.
    pub fn on_fetch(&mut self, now_ms: u64, ask: FetchAsk, log: LogView<'_>) -> FetchVerdict {
        if ask.epoch < self.epoch {
            return FetchVerdict::Fenced;
        }
        if ask.epoch > self.epoch {
            return FetchVerdict::Unknown;
        }
        // Its own question, from before it led, may have come to itself.
        let Role::Leader(leader) = &mut self.role else { return FetchVerdict::NotLeader };
        if ask.replica == self.me {
            return FetchVerdict::NotLeader;
        }
        let verdict = compare(ask.from, log);
        if verdict == FetchVerdict::Agree {
            leader.on_fetch(now_ms, ask.replica, ask.from.offset, log.end.offset);
            if flaws::is(Flaw::QuorumCountsUnsynced) {
                leader.on_durable(log.end.offset);
            }
            self.advance();
        } else {
            leader.on_heard(now_ms, ask.replica);
        }
        verdict
    }

    /// Asks for what lies behind the log's end, if that is this node's to do and it is time. Everything in the log is durable.
    pub fn poll_fetch(&mut self, now_ms: u64, log_end: LogEnd) {
        if self.fetch.under_way.is_some() || now_ms < self.fetch.again_ms || self.unkept > 0 || self.fetch.held {
            return;
        }
        let Some(to) = self.whom_to_fetch_from() else { return };
        self.fetch.under_way = Some((to, self.epoch));
        if let Some((id, position)) = self.wanted_snapshot() {
            let ask = SnapshotAsk { replica: self.me, epoch: self.epoch, id, position };
            return self.wishes.push_back(Wish::FetchSnapshot { to, ask });
        }
        let ask = FetchAsk { replica: self.me, epoch: self.epoch, from: log_end };
        self.wishes.push_back(Wish::Fetch { to, ask });
    }

    fn whom_to_fetch_from(&mut self) -> Option<i32> {
        match &self.role {
            Role::Follower(follower) => Some(follower.leader),
            Role::Unattached { .. } => {
                let others: Vec<i32> = self.who_may_know().collect();
                let to = *others.get(self.fetch.next % others.len().max(1))?;
                self.fetch.next = self.fetch.next.wrapping_add(1);
                Some(to)
            }
            _ => None,
        }
    }

    /// Who may know the leader: the other voters, and whom the configuration names by address.
    fn who_may_know(&self) -> impl Iterator<Item = i32> {
        let others = self.history.voters().iter().filter(|voter| !voter.key.names(self.me)).map(|voter| voter.key.id);
        others.chain((0..self.member.bootstrap_servers).map(bootstrap_server))
    }

    /// A fetch was answered.
    pub fn on_fetch_answer(&mut self, now_ms: u64, from: i32, answer: FetchAnswer, log: LogView<'_>) -> FetchNews {
        let asked_in = self.fetch.under_way.take().map(|(_, epoch)| epoch);
        self.learn(now_ms, answer.leadership);
        let is_current = asked_in == Some(self.epoch) && answer.leadership.epoch == self.epoch;
        let retry_ms = now_ms + self.timing.retry_ms;
        let Role::Follower(follower) = &mut self.role else {
            self.fetch.again_ms = retry_ms;
            return FetchNews::Nothing;
        };
        let Some(verdict) = answer.verdict.filter(|_| is_current && follower.leader == from) else {
            // A leader that was just found is asked at once; one that refuses, later.
            self.fetch.again_ms = if follower.leader == from { retry_ms } else { now_ms };
            return FetchNews::Nothing;
        };
        follower.until_ms = now_ms + self.timing.fetch_ms;
        follower.has_fetched = true;
        follower.suspects = false;
        self.fetch.again_ms = now_ms;
        match verdict {
            FetchVerdict::Agree => {
                self.told_high_watermark = self.told_high_watermark.max(answer.high_watermark);
                FetchNews::Append
            }
            FetchVerdict::Diverging(theirs) => match self.cut_to(theirs, log) {
                Some(to) => FetchNews::CutBack(to),
                None => {
                    self.fetch.again_ms = retry_ms;
                    FetchNews::Nothing
                }
            },
            FetchVerdict::InSnapshot(id) => {
                // One that ends below what is committed here would take something back.
                if id.offset >= self.high_watermark && id.offset > Offset::ZERO {
                    follower.snapshot = Some((id, 0));
                } else {
                    self.fetch.again_ms = retry_ms;
                }
                FetchNews::Nothing
            }
            FetchVerdict::NotLeader | FetchVerdict::Fenced | FetchVerdict::Unknown => FetchNews::Nothing,
        }
    }

    /// Where this log still agrees with the leader's at most (KIP-279). Nothing that is committed is ever cut, whatever a
    /// peer says: a leader that asks for it is not followed there.
    fn cut_to(&self, theirs: LogEnd, log: LogView<'_>) -> Option<Offset> {
        let ours = log.end_of(theirs.epoch);
        let to = if ours.epoch == theirs.epoch { ours.offset.min(theirs.offset) } else { ours.offset };
        (to >= self.high_watermark).then_some(to)
    }

    /// A fetch came to nothing.
    pub fn on_fetch_lost(&mut self, now_ms: u64, from: i32, lost: Lost) {
        self.fetch.under_way = None;
        self.fetch.again_ms = now_ms + self.timing.retry_ms;
        let soon = now_ms + self.roll(SUSPICION_MS as u64);
        let stands = self.stands();
        match &mut self.role {
            Role::Follower(follower) if follower.leader == from && lost == Lost::Gone && stands && !follower.suspects => {
                follower.suspects = true;
                follower.until_ms = follower.until_ms.min(soon);
            }
            Role::Follower(follower) if follower.leader == from && !stands => {
                self.role = Role::Unattached { until_ms: u64::MAX };
            }
            _ => {}
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now_ms: u64, log_end: LogEnd) {
        let stands = self.stands();
        match &self.role {
            Role::Unattached { until_ms } | Role::Candidate { until_ms, .. } if now_ms >= *until_ms && stands => {
                self.become_prospective(now_ms, log_end);
            }
            Role::Prospective { until_ms, .. } if now_ms >= *until_ms => self.step_back(now_ms),
            Role::Follower(follower) if now_ms >= follower.until_ms && stands => self.become_prospective(now_ms, log_end),
            Role::Follower(follower) if now_ms >= follower.until_ms => {
                self.role = Role::Unattached { until_ms: u64::MAX };
            }
            Role::Leader(_) if self.is_removed() => self.resign(now_ms),
            Role::Leader(leader) if now_ms >= leader.majority_lost_at(self.timing.silence_ms()) => self.resign(now_ms),
            Role::Resigned { until_ms } if now_ms >= *until_ms => self.step_back(now_ms),
            _ => {}
        }
        self.expire_change(now_ms);
        self.ask_for_votes(now_ms, log_end);
        self.tell_epoch(now_ms);
    }

    /// When [`Quorum::tick`] has something to do next.
    pub fn next_deadline(&self) -> u64 {
        match &self.role {
            // An observer stands for nothing: it asks around until somebody leads.
            Role::Unattached { .. } if !self.stands() => u64::MAX,
            Role::Unattached { until_ms } | Role::Resigned { until_ms } => *until_ms,
            Role::Prospective { tally, until_ms } | Role::Candidate { tally, until_ms } => (*until_ms).min(tally.again_ms),
            Role::Follower(follower) => follower.until_ms,
            Role::Leader(_) if self.is_removed() => 0,
            Role::Leader(leader) => {
                let told_ms = leader.next_told_ms(self.timing.fetch_ms / 2);
                leader.majority_lost_at(self.timing.silence_ms()).min(told_ms).min(leader.change_expires_ms())
            }
        }
    }

    /// When [`Quorum::poll_fetch`] has something to ask, if the log is durable by then; never while an answer or a write of
    /// `quorum-state` is waited for.
    pub fn next_fetch_ms(&self) -> u64 {
        let asks = match &self.role {
            Role::Follower(_) => true,
            Role::Unattached { .. } => self.who_may_know().next().is_some(),
            _ => false,
        };
        let may = self.fetch.under_way.is_none() && self.unkept == 0 && !self.fetch.held;
        if asks && may { self.fetch.again_ms } else { u64::MAX }
    }

    /// Gives up leading: others are told, the most advanced first.
    pub fn resign(&mut self, now_ms: u64) {
        self.give_up_change();
        let Role::Leader(leader) = &self.role else { return };
        let successors = leader.successors();
        let leadership = self.leadership();
        for to in successors.clone() {
            self.wishes.push_back(Wish::EndEpoch { to, leadership, successors: successors.clone() });
        }
        self.role = Role::Resigned { until_ms: now_ms + self.election_wait_ms() };
    }

    /// A leader presents itself.
    pub fn on_begin_epoch(&mut self, now_ms: u64, leadership: Leadership, ticket: u64) {
        self.learn(now_ms, leadership);
        let leadership = self.leadership();
        self.wishes.push_back(Wish::AnswerEpoch { ticket, leadership });
    }

    /// The leader of an epoch gives up; those named first stand first.
    pub fn on_end_epoch(&mut self, now_ms: u64, leadership: Leadership, successors: &[ReplicaKey], ticket: u64) {
        self.learn(now_ms, leadership);
        let place = successors.iter().position(|key| key.names(self.me)).unwrap_or(successors.len()) as u64;
        let wait_ms = if place == 0 { 0 } else { place * self.timing.retry_ms * 2 + self.roll(SUSPICION_MS as u64) };
        if let Role::Follower(follower) = &mut self.role
            && leadership.epoch == self.epoch
            && leadership.leader == Some(follower.leader)
        {
            follower.suspects = true;
            follower.until_ms = follower.until_ms.min(now_ms + wait_ms);
        }
        let leadership = self.leadership();
        self.wishes.push_back(Wish::AnswerEpoch { ticket, leadership });
    }

    /// Somebody answered to a begin or an end of an epoch.
    pub fn on_epoch_answer(&mut self, now_ms: u64, leadership: Leadership) {
        self.learn(now_ms, leadership);
    }

    /// Takes over a newer epoch, or the leader of this one.
    fn learn(&mut self, now_ms: u64, told: Leadership) {
        if told.epoch < self.epoch {
            return;
        }
        let leader = told.leader.filter(|leader| *leader != self.me.id);
        if told.epoch > self.epoch {
            self.give_up_change();
            self.epoch = told.epoch;
            self.voted = None;
            let wait_ms = self.election_wait_ms();
            self.role = match leader {
                Some(leader) => self.follower_of(now_ms, leader),
                None => Role::Unattached { until_ms: now_ms + wait_ms },
            };
            self.fetch.again_ms = now_ms;
            return self.keep(Hold::Others);
        }
        let Some(leader) = leader else { return };
        // Whoever claims an epoch that has a leader is not believed.
        if let Role::Unattached { .. } | Role::Prospective { .. } | Role::Candidate { .. } = &self.role {
            self.role = self.follower_of(now_ms, leader);
            self.fetch.again_ms = now_ms;
            self.keep(Hold::Nothing);
        }
    }

    fn follower_of(&self, now_ms: u64, leader: i32) -> Role {
        let until_ms = now_ms + self.timing.fetch_ms;
        Role::Follower(Follower { leader, until_ms, suspects: false, has_fetched: false, snapshot: None, is_described: false })
    }

    fn tell_epoch(&mut self, now_ms: u64) {
        let leadership = self.leadership();
        let interval_ms = self.timing.fetch_ms / 2;
        let Role::Leader(leader) = &mut self.role else { return };
        for to in leader.whom_to_tell(now_ms, interval_ms) {
            self.wishes.push_back(Wish::BeginEpoch { to, leadership });
        }
    }

    fn advance(&mut self) {
        if let Role::Leader(leader) = &self.role
            && let Some(high_watermark) = leader.high_watermark()
        {
            self.high_watermark = self.high_watermark.max(high_watermark);
            self.answer_change();
        }
    }

    fn keep(&mut self, hold: Hold) {
        let kept = Kept { epoch: self.epoch, voted: self.voted, leader: self.leadership().leader };
        self.unkept += usize::from(hold == Hold::Others);
        self.wishes.push_back(Wish::Keep(kept, hold));
    }

    /// Whether this node votes, by what its log says.
    pub fn is_voter(&self) -> bool {
        self.member.may_vote && self.history.voters().has(self.me)
    }

    /// To whom this node gave its vote in the epoch.
    pub fn voted(&self) -> Option<i32> {
        self.voted.map(|candidate| candidate.id)
    }

    /// Whether the voters that count are known to be committed.
    pub fn has_settled_voters(&self) -> bool {
        self.history.voters_at().is_none_or(|offset| offset < self.high_watermark)
    }

    /// Whether this node stands when nobody leads: as a voter, or as one that was a voter until a record that nobody may commit but who
    /// has it.
    fn stands(&self) -> bool {
        let was_voter = || !self.has_settled_voters() && self.history.voters_before().has(self.me);
        self.is_voter() || (self.member.may_vote && was_voter())
    }

    /// Whether this node leads and is known to be no voter any more.
    fn is_removed(&self) -> bool {
        let leads = matches!(self.role, Role::Leader(_)) && !flaws::is(Flaw::RemovedLeaderStays);
        leads && !self.is_voter() && self.has_settled_voters()
    }

    fn election_wait_ms(&mut self) -> u64 {
        self.timing.election_ms + self.roll(self.timing.election_ms)
    }

    /// A number up to `most`.
    fn roll(&mut self, most: u64) -> u64 {
        self.dice.roll() % (most + 1)
    }
}

/// Whether a replica's log, which ends at `from`, agrees with this one.
fn compare(from: LogEnd, log: LogView<'_>) -> FetchVerdict {
    let knows_epoch = log.start.epoch != LeaderEpoch::NONE;
    let begins_elsewhere = knows_epoch && from.offset == log.start.offset && from.epoch != log.start.epoch;
    let is_cut = log.start.offset > Offset::ZERO;
    if is_cut && (from.offset < log.start.offset || from.epoch < log.start.epoch || begins_elsewhere) {
        return FetchVerdict::InSnapshot(log.snapshot);
    }
    if from.offset == Offset::ZERO {
        return FetchVerdict::Agree;
    }
    let end = log.end_of(from.epoch);
    let parts_ways = end.epoch != from.epoch || end.offset < from.offset;
    if parts_ways && !(flaws::is(Flaw::MetadataDivergenceIgnored) && from.offset <= log.end.offset) {
        return FetchVerdict::Diverging(end);
    }
    FetchVerdict::Agree
}
