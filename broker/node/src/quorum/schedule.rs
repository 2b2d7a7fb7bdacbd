//! Random schedules: voters and an observer over a network that loses, delays and repeats, with crashes that take what was
//! not synced. After every event: one leader an epoch, logs that agree below where they agree, committed records in every
//! log that claims them and in that of every new leader, high watermarks that never go back. Once the faults end, everybody
//! catches up. In some runs an operator adds and removes voters meanwhile, and disks are replaced by empty ones.

use std::collections::BTreeMap;

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::ids::{LeaderEpoch, Offset, Uuid};

use super::change::AddWait;
use super::message::{
    FetchAsk, FetchNews, FetchVerdict, Hold, JoinAsk, Kept, Leadership, LogEnd, Lost, SnapshotAnswer, SnapshotAsk,
    SnapshotNews, SnapshotPlace, VoteAnswer, VoteAsk, Wish,
};
use super::voters::{BEFORE_THE_LOG, QuorumRecord, ReplicaKey, Voter, VoterEndpoint, VoterHistory, VoterSet};
use super::{FetchAnswer, LogView, Member as Identity, Quorum, Timing, bootstrap_place};
use crate::dice::Dice;

const TIMING: Timing = Timing { election_ms: 1000, fetch_ms: 2000, backoff_max_ms: 1000, retry_ms: 20 };
const FAULTS_MS: u64 = 30_000;
const END_MS: u64 = 50_000;
/// A snapshot comes in so many pieces: its "bytes".
const PIECES: u64 = 3;
/// Whole logs are compared at every so many events: more would take most of the time.
const COMPARED_EVERY: u64 = 16;

/// How long an operator waits for a change. The answer is of no interest: it asks for something else then.
const CHANGE_MS: u64 = 2000;

/// One record: the epoch that wrote it, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    epoch: i32,
    value: u64,
    voters: Option<VoterSet>,
}

/// How voters come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voters {
    Configured,
    /// They stand in the log and are changed.
    InLog,
}

#[derive(Default)]
struct Disk {
    /// All that the log ever held, so that logs can be compared: what lies below `start` is read from here as from a snapshot only.
    log: Vec<Entry>,
    start: usize,
    synced: usize,
    kept: Option<Kept>,
    /// How many disks were replaced before this one.
    number: u8,
}

#[derive(Clone, Debug)]
enum Message {
    Vote(VoteAsk, ReplicaKey),
    VoteAnswer(VoteAnswer),
    Begin(Leadership),
    End(Leadership, Vec<ReplicaKey>),
    EpochAnswer(Leadership),
    Fetch(u64, FetchAsk),
    FetchAnswer(u64, Leadership, Option<FetchVerdict>, Offset, Vec<Entry>),
    Snapshot(u64, SnapshotAsk),
    SnapshotAnswer(u64, SnapshotAnswer, Vec<Entry>),
    AskVersions,
    Versions(ReplicaKey),
    Join(ReplicaKey, JoinAsk),
    Joined(bool),
}

#[derive(Clone, Debug)]
enum Event {
    Deliver {
        from: i32,
        to: i32,
        message: Message,
    },
    Lost {
        who: i32,
        life: u32,
        from: i32,
        lost: Lost,
        number: Option<u64>,
    },
    Synced {
        who: i32,
        life: u32,
        end: usize,
    },
    Kept {
        who: i32,
        life: u32,
        kept: Kept,
        hold: Hold,
    },
    Propose,
    /// Some make a snapshot of what they know to be committed, and cut their log there.
    Snapshot,
    Installed {
        who: i32,
        life: u32,
        entries: Vec<Entry>,
    },
    /// An operator wants other voters.
    Change,
    /// Somebody's disk is replaced.
    Replace,
    Crash,
    Revive {
        who: i32,
    },
    Wake,
}

struct Member {
    disk: Disk,
    life: u32,
    running: Option<Quorum>,
    /// The fetch under way, to tell its answer from others.
    fetching: u64,
    syncing: bool,
    high_watermark: Offset,
    /// Whether records are written as leader of this epoch.
    opened: Option<LeaderEpoch>,
}

struct World {
    now_ms: u64,
    dice: Dice,
    kind: Voters,
    /// Those of the beginning.
    voters: VoterSet,
    /// Sets of voters that leaders wrote.
    changes: usize,
    members: BTreeMap<i32, Member>,
    events: BTreeMap<(u64, u64), Event>,
    next: u64,
    leaders: BTreeMap<i32, i32>,
    committed: Vec<Entry>,
    parted: Option<i32>,
    /// Snapshots that were fetched.
    installs: usize,
}

impl World {
    fn new(seed: u64, voters: i32, kind: Voters) -> Self {
        let first = |id: i32| match kind {
            Voters::Configured => voter(ReplicaKey::without_directory(id)),
            Voters::InLog => voter(key(id, 0)),
        };
        let mut world = Self {
            now_ms: 0,
            dice: Dice::new(seed),
            kind,
            voters: (1..=voters).map(first).collect(),
            changes: 0,
            members: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            parted: None,
            installs: 0,
        };
        let others = if kind == Voters::InLog { 2 } else { 1 };
        for id in 1..=voters + others {
            let disk = Disk::default();
            let member = Member {
                disk,
                life: 0,
                running: None,
                fetching: 0,
                syncing: false,
                high_watermark: Offset::ZERO,
                opened: None,
            };
            world.members.insert(id, member);
            world.revive(id);
        }
        world.at(500, Event::Propose);
        world.at(1000, Event::Snapshot);
        world.at(3000, Event::Crash);
        if kind == Voters::InLog {
            world.at(2000, Event::Change);
            world.at(6000, Event::Replace);
        }
        world.at(1, Event::Wake);
        world
    }

    fn roll(&mut self, most: u64) -> u64 {
        self.dice.roll() % (most + 1)
    }

    fn at(&mut self, wait_ms: u64, event: Event) {
        self.next += 1;
        self.events.insert((self.now_ms + wait_ms, self.next), event);
    }

    fn faulty(&self) -> bool {
        self.now_ms < FAULTS_MS
    }

    fn run(&mut self) {
        while let Some(((at_ms, _), event)) = self.events.pop_first() {
            self.now_ms = at_ms;
            if at_ms > END_MS {
                break;
            }
            let is_wake = matches!(event, Event::Wake);
            self.happen(event);
            if !is_wake {
                self.check();
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Lost { who, life, from, lost, number } => self.lost(who, life, from, lost, number),
            Event::Synced { who, life, end } => self.synced(who, life, end),
            Event::Kept { who, life, kept, hold } => {
                let now_ms = self.now_ms;
                let member = self.members.get_mut(&who).expect("known");
                if member.life != life {
                    return;
                }
                member.disk.kept = Some(kept);
                let end = end_of(&member.disk.log);
                if let Some(quorum) = member.running.as_mut().filter(|_| hold == Hold::Others) {
                    quorum.on_kept(now_ms, end);
                }
                self.settle(who);
            }
            Event::Propose => self.propose(),
            Event::Snapshot => self.snapshot(),
            Event::Installed { who, life, entries } => self.installed(who, life, entries),
            Event::Change => self.change(),
            Event::Replace => self.replace(),
            Event::Crash => self.crash(),
            Event::Revive { who } => self.revive(who),
            Event::Wake => self.wake(),
        }
    }

    fn wake(&mut self) {
        let ids: Vec<i32> = self.members.keys().copied().collect();
        for who in ids {
            let now_ms = self.now_ms;
            let member = self.members.get_mut(&who).expect("known");
            let end = end_of(&member.disk.log);
            if let Some(quorum) = &mut member.running
                && now_ms >= quorum.next_deadline()
            {
                quorum.tick(now_ms, end);
            }
            self.settle(who);
        }
        let wait_ms = 5 + self.roll(20);
        self.at(wait_ms, Event::Wake);
    }

    fn propose(&mut self) {
        let value = self.dice.roll();
        for member in self.members.values_mut() {
            let epoch = member.running.as_ref().and_then(|quorum| quorum.leading().map(|_| quorum.epoch()));
            if let Some(epoch) = epoch.filter(|epoch| member.opened == Some(*epoch)) {
                member.disk.log.push(Entry { epoch: epoch.0, value, voters: None });
            }
        }
        let wait_ms = self.roll(400);
        self.at(wait_ms, Event::Propose);
    }

    fn snapshot(&mut self) {
        let makes = self.dice.roll();
        for (id, member) in &mut self.members {
            if makes >> id & 1 == 1 && member.running.is_some() {
                member.disk.start = member.disk.start.max(place(member.high_watermark).min(member.disk.synced));
            }
        }
        let wait_ms = self.roll(1500);
        self.at(wait_ms, Event::Snapshot);
    }

    /// A whole snapshot takes the place of a log, durably.
    fn installed(&mut self, who: i32, life: u32, entries: Vec<Entry>) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = member.running.as_mut().filter(|_| member.life == life) else { return };
        let end = entries.len();
        let history = VoterHistory::new(VoterSet::default(), said(&entries));
        let (version, voters) = history.below(offset(end));
        quorum.on_installed(now_ms, offset(end), version, voters.cloned());
        member.disk.log = entries;
        (member.disk.start, member.disk.synced) = (end, end);
        self.settle(who);
    }

    fn crash(&mut self) {
        if !self.faulty() {
            self.parted = None;
            return;
        }
        let count = self.members.len() as u64;
        let who = 1 + i32::try_from(self.roll(count - 1)).expect("small");
        match self.roll(3) {
            0 => self.parted = Some(who),
            1 => self.parted = None,
            _ => {
                let cut = self.dice.roll();
                let member = self.members.get_mut(&who).expect("known");
                if member.running.take().is_some() {
                    member.life += 1;
                    let unsynced = (member.disk.log.len() - member.disk.synced) as u64;
                    let lost = usize::try_from(cut % (unsynced + 1)).expect("small");
                    // What a crash leaves is on the device when the log is opened again.
                    member.disk.log.truncate(member.disk.log.len() - lost);
                    member.disk.synced = member.disk.log.len();
                    let wait_ms = self.roll(4000);
                    self.at(wait_ms, Event::Revive { who });
                }
            }
        }
        let wait_ms = self.roll(2500);
        self.at(wait_ms, Event::Crash);
    }

    fn revive(&mut self, who: i32) {
        let (now_ms, seed, voters) = (self.now_ms, self.dice.roll(), self.voters.clone());
        let (kind, count) = (self.kind, self.members.len());
        let member = self.members.get_mut(&who).expect("known");
        let nothing = Kept { epoch: LeaderEpoch(0), voted: None, leader: None };
        let own = voter(key(who, member.disk.number));
        let history = match kind {
            Voters::Configured => VoterHistory::new(voters, []),
            // What `format` wrote down is on the disks that it formatted.
            Voters::InLog => {
                let is_formatted = voters.has(own.key);
                let first = [QuorumRecord::Version(1), QuorumRecord::Voters(voters)].map(|record| (BEFORE_THE_LOG, record));
                let first = first.into_iter().filter(|_| is_formatted);
                VoterHistory::new(VoterSet::default(), first.chain(said(&member.disk.log)))
            }
        };
        let bootstrap_servers = if kind == Voters::InLog { count } else { 0 };
        let may_vote = kind == Voters::InLog || history.voters().has(own.key);
        let identity = Identity { own, may_vote, joins: who % 2 == 0, bootstrap_servers };
        let kept = member.disk.kept.unwrap_or(nothing);
        let mut quorum = Quorum::new(identity, history, TIMING, kept, offset(member.disk.start), seed);
        quorum.start(now_ms, end_of(&member.disk.log));
        member.running = Some(quorum);
        let start = offset(member.disk.start);
        (member.syncing, member.opened, member.high_watermark) = (false, None, start);
        self.settle(who);
    }

    fn send(&mut self, from: i32, to: i32, message: Message) {
        let is_parted = self.parted == Some(from) || self.parted == Some(to);
        if self.faulty() && (is_parted || self.roll(20) == 0) {
            return;
        }
        let wait_ms = 1 + self.roll(if self.faulty() { 40 } else { 5 });
        if self.faulty() && self.roll(20) == 0 {
            let later_ms = wait_ms + self.roll(500);
            self.at(later_ms, Event::Deliver { from, to, message: message.clone() });
        }
        self.at(wait_ms, Event::Deliver { from, to, message });
    }

    /// A question gets an answer, or the asker hears that it is lost.
    fn ask(&mut self, from: i32, to: i32, message: Message, number: Option<u64>) {
        let (asked, to) = (to, bootstrap_place(to).map_or(to, |place| 1 + i32::try_from(place).expect("few")));
        let life = self.members[&from].life;
        let gone = self.members.get(&to).is_none_or(|member| member.running.is_none());
        let (wait_ms, lost) = if gone { (2, Lost::Gone) } else { (600, Lost::Silent) };
        self.at(wait_ms, Event::Lost { who: from, life, from: asked, lost, number });
        self.send(from, to, message);
    }

    fn lost(&mut self, who: i32, life: u32, from: i32, lost: Lost, number: Option<u64>) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = member.running.as_mut().filter(|_| member.life == life) else { return };
        match number {
            Some(number) if number == member.fetching => {
                member.fetching += 1;
                quorum.on_fetch_lost(now_ms, from, lost);
            }
            Some(_) => {}
            None => quorum.on_vote_lost(now_ms, from, lost),
        }
        self.settle(who);
    }

    fn synced(&mut self, who: i32, life: u32, end: usize) {
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = member.running.as_mut().filter(|_| member.life == life) else { return };
        member.syncing = false;
        member.disk.synced = end;
        quorum.on_durable(offset(end));
        self.settle(who);
    }

    fn deliver(&mut self, from: i32, to: i32, message: Message) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&to).expect("known");
        let Some(quorum) = &mut member.running else { return };
        let end = end_of(&member.disk.log);
        match message {
            Message::Vote(ask, meant) if meant.names(quorum.me()) => quorum.on_vote(now_ms, ask, end, from as u64),
            Message::Vote(ask, _) => {
                let answer = VoteAnswer { ballot: ask.ballot, leadership: quorum.leadership(), granted: false };
                self.send(to, from, Message::VoteAnswer(answer));
            }
            Message::VoteAnswer(answer) => quorum.on_vote_answer(now_ms, from, answer, end),
            Message::Begin(leadership) => quorum.on_begin_epoch(now_ms, leadership, from as u64),
            Message::End(leadership, successors) => quorum.on_end_epoch(now_ms, leadership, &successors, from as u64),
            Message::EpochAnswer(leadership) => quorum.on_epoch_answer(now_ms, leadership),
            Message::Fetch(number, ask) => {
                let epochs = epochs_of(&member.disk.log);
                let verdict = quorum.on_fetch(now_ms, ask, view(&member.disk, &epochs));
                let known = matches!(verdict, FetchVerdict::Agree | FetchVerdict::Diverging(_) | FetchVerdict::InSnapshot(_));
                let begin = place(ask.from.offset).min(member.disk.synced);
                let records = match verdict {
                    FetchVerdict::Agree => member.disk.log[begin..member.disk.synced].to_vec(),
                    _ => Vec::new(),
                };
                let (leadership, mark) = (quorum.leadership(), quorum.high_watermark());
                self.send(to, from, Message::FetchAnswer(number, leadership, known.then_some(verdict), mark, records));
            }
            Message::FetchAnswer(number, leadership, verdict, high_watermark, records) => {
                if number != member.fetching {
                    return;
                }
                member.fetching += 1;
                let epochs = epochs_of(&member.disk.log);
                let answer = FetchAnswer { leadership, verdict, high_watermark };
                match quorum.on_fetch_answer(now_ms, from, answer, view(&member.disk, &epochs)) {
                    FetchNews::Append => {
                        let begin = member.disk.log.len();
                        for (offset, record) in said(&records) {
                            quorum.on_record(Offset(offset.0 + i64::try_from(begin).expect("small")), record);
                        }
                        member.disk.log.extend(records);
                    }
                    FetchNews::CutBack(to) => {
                        quorum.on_cut(to);
                        member.disk.log.truncate(place(to));
                        member.disk.synced = member.disk.synced.min(place(to));
                    }
                    FetchNews::Nothing => {}
                }
                quorum.on_durable(offset(member.disk.synced));
            }
            Message::AskVersions => {
                let key = quorum.me();
                self.send(to, from, Message::Versions(key));
            }
            Message::Versions(key) => {
                if let Some(voters) = quorum.on_versions(now_ms, key, Some((0, 1))) {
                    let at = self.write_voters(to, voters);
                    self.members.get_mut(&to).and_then(|member| member.running.as_mut()).expect("runs").on_added(at);
                }
            }
            Message::Join(key, ask) => {
                let is_done = self.join(to, key, &ask);
                self.send(to, from, Message::Joined(is_done));
            }
            Message::Joined(is_done) => quorum.on_join_answer(is_done),
            Message::Snapshot(number, ask) => {
                let is_kept = ask.id == end_of(&member.disk.log[..member.disk.start]);
                let may = quorum.on_snapshot_fetch(now_ms, ask).is_ok() && is_kept;
                let piece = SnapshotPlace { id: ask.id, size: PIECES, position: ask.position, bytes: 1 };
                let entries = if may { member.disk.log[..member.disk.start].to_vec() } else { Vec::new() };
                let answer = SnapshotAnswer { leadership: quorum.leadership(), piece: may.then_some(piece) };
                self.send(to, from, Message::SnapshotAnswer(number, answer, entries));
            }
            Message::SnapshotAnswer(number, answer, entries) => {
                if number != member.fetching {
                    return;
                }
                member.fetching += 1;
                if quorum.on_snapshot_answer(now_ms, from, answer) == SnapshotNews::LastPiece {
                    let (wait_ms, life) = (1 + self.roll(200), self.members[&to].life);
                    self.installs += 1;
                    self.at(wait_ms, Event::Installed { who: to, life, entries });
                }
            }
        }
        self.settle(to);
    }

    /// A leader writes down who votes.
    fn write_voters(&mut self, who: i32, voters: VoterSet) -> Offset {
        self.changes += 1;
        let value = self.dice.roll();
        let member = self.members.get_mut(&who).expect("known");
        let quorum = member.running.as_mut().expect("it leads");
        let at = offset(member.disk.log.len());
        quorum.on_record(at, QuorumRecord::Voters(voters.clone()));
        member.disk.log.push(Entry { epoch: quorum.epoch().0, value, voters: Some(voters) });
        at
    }

    /// Somebody asks a node that may lead for a change that concerns itself.
    fn join(&mut self, who: i32, from: ReplicaKey, ask: &JoinAsk) -> bool {
        let until_ms = self.now_ms + CHANGE_MS;
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = member.running.as_mut().filter(|quorum| member.opened == Some(quorum.epoch())) else { return false };
        let written = match ask {
            JoinAsk::Add => {
                return quorum.add_voter(voter(from), AddWait { ticket: 0, until_committed: false }, until_ms).is_ok();
            }
            JoinAsk::Remove(key) => quorum.remove_voter(*key).ok(),
            JoinAsk::Update(_) => quorum.update_voter(voter(from)).ok().flatten(),
        };
        let Some(voters) = written else { return false };
        let at = self.write_voters(who, voters);
        let quorum = self.members.get_mut(&who).and_then(|member| member.running.as_mut()).expect("it leads");
        if matches!(ask, JoinAsk::Remove(_)) {
            quorum.on_removed(0, at, until_ms);
        }
        true
    }

    /// An operator asks whoever leads for one voter more or less.
    fn change(&mut self) {
        let wait_ms = 200 + self.roll(3000);
        if self.faulty() {
            self.at(wait_ms, Event::Change);
        }
        let whom = 1 + i32::try_from(self.roll(self.members.len() as u64 - 1)).expect("few");
        let key = key(whom, self.members[&whom].disk.number);
        let leaders: Vec<i32> = self.members.iter().filter(|(_, member)| member.opened.is_some()).map(|(id, _)| *id).collect();
        for leader in leaders {
            let Some(quorum) = self.members.get_mut(&leader).and_then(|member| member.running.as_mut()) else { continue };
            let known = quorum.voters().get(whom).map(|voter| voter.key);
            let ask = match known {
                // Three at least, so that the rest of the schedule finds something to break.
                Some(known) if quorum.voters().len() > 3 || known != key => JoinAsk::Remove(known),
                Some(_) => continue,
                None => JoinAsk::Add,
            };
            self.join(leader, key, &ask);
            self.settle(leader);
        }
    }

    /// A disk is replaced by an empty one, and the node that was a voter with the old one is another replica. What is committed stays on
    /// enough others: they all have it.
    fn replace(&mut self) {
        let wait_ms = 1000 + self.roll(4000);
        if self.faulty() {
            self.at(wait_ms, Event::Replace);
        }
        let named = said(&self.committed).filter_map(|(_, record)| match record {
            QuorumRecord::Voters(voters) => Some(voters),
            QuorumRecord::Version(_) => None,
        });
        let voters = named.last().unwrap_or_else(|| self.voters.clone());
        let newest = |member: &Member| said(&member.disk.log).all(|(at, _)| at < offset(self.committed.len()));
        let is_whole = |voter: &Voter| {
            let disk = &self.members[&voter.key.id].disk;
            disk.synced >= self.committed.len() && voter.key.names(key(voter.key.id, disk.number))
        };
        let enough_are_left = voters.len() >= 3 && voters.iter().all(is_whole);
        let is_settled = self.members.values().all(newest);
        let whom = 1 + i32::try_from(self.roll(self.members.len() as u64 - 1)).expect("few");
        if !self.faulty() || !is_settled || (voters.get(whom).is_some() && !enough_are_left) {
            return;
        }
        let wait_ms = 1 + self.roll(3000);
        let member = self.members.get_mut(&whom).expect("known");
        if member.running.take().is_some() {
            self.at(wait_ms, Event::Revive { who: whom });
        }
        let member = self.members.get_mut(&whom).expect("known");
        member.life += 1;
        member.opened = None;
        member.disk = Disk { number: member.disk.number + 1, ..Disk::default() };
    }

    fn settle(&mut self, who: i32) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = &mut member.running else { return };
        let end = end_of(&member.disk.log);
        if member.disk.synced == member.disk.log.len() && !member.syncing {
            quorum.poll_fetch(now_ms, end);
            quorum.poll_join(now_ms, end.offset);
        }
        let wishes = quorum.take_wishes();
        for wish in wishes {
            self.fulfil(who, wish);
        }
        let wait_ms = 1 + self.roll(30);
        let member = self.members.get_mut(&who).expect("known");
        if member.disk.synced < member.disk.log.len() && !member.syncing {
            member.syncing = true;
            let (life, end) = (member.life, member.disk.log.len());
            self.at(wait_ms, Event::Synced { who, life, end });
        }
    }

    fn fulfil(&mut self, who: i32, wish: Wish) {
        let life = self.members[&who].life;
        match wish {
            Wish::Keep(kept, hold) => {
                // Writes of one file are carried out in order.
                let wait_ms = if hold == Hold::Others { 1 + self.roll(20) } else { 0 };
                self.at(wait_ms, Event::Kept { who, life, kept, hold });
            }
            Wish::Vote { to, ask } => self.ask(who, to.id, Message::Vote(ask, to), None),
            Wish::BeginEpoch { to, leadership } => self.send(who, to.id, Message::Begin(leadership)),
            Wish::EndEpoch { to, leadership, successors } => self.send(who, to.id, Message::End(leadership, successors)),
            Wish::AskVersions { to } => self.send(who, to.key.id, Message::AskVersions),
            Wish::AnswerChange { .. } => {}
            Wish::Join { to, ask } => {
                let key = self.members[&who].running.as_ref().expect("it asks").me();
                self.send(who, to, Message::Join(key, ask));
            }
            Wish::Fetch { to, ask } => {
                let number = self.members[&who].fetching;
                self.ask(who, to, Message::Fetch(number, ask), Some(number));
            }
            Wish::FetchSnapshot { to, ask } => {
                let number = self.members[&who].fetching;
                self.ask(who, to, Message::Snapshot(number, ask), Some(number));
            }
            Wish::AnswerVote { ticket, answer } => {
                let to = i32::try_from(ticket).expect("small");
                self.send(who, to, Message::VoteAnswer(answer));
            }
            Wish::AnswerEpoch { ticket, leadership } => {
                let to = i32::try_from(ticket).expect("small");
                self.send(who, to, Message::EpochAnswer(leadership));
            }
            Wish::OpenEpoch { epoch, .. } => {
                let member = self.members.get_mut(&who).expect("known");
                assert!(member.running.as_ref().is_some_and(|quorum| quorum.epoch() == epoch));
                member.opened = Some(epoch);
                let has_all = member.disk.log.starts_with(&self.committed);
                assert!(has_all, "{who} leads epoch {epoch} without all that is committed");
                member.disk.log.push(Entry { epoch: epoch.0, value: 0, voters: None });
                let history = member.running.as_ref().expect("it leads").history();
                if history.voters_at() == Some(BEFORE_THE_LOG) {
                    let voters = history.voters().clone();
                    self.write_voters(who, voters);
                }
                let other = self.leaders.insert(epoch.0, who);
                assert!(other.is_none(), "epoch {epoch} was opened by {other:?} and {who}");
            }
        }
    }

    fn check(&mut self) {
        for (id, member) in &mut self.members {
            let Some(quorum) = &member.running else { continue };
            let mark = quorum.high_watermark();
            assert!(mark >= member.high_watermark, "the high watermark of {id} went back");
            assert!(place(mark) <= member.disk.synced || quorum.leading().is_some(), "{id} has not what it calls committed");
            // What was compared at an earlier mark is looked at again only when the logs are compared.
            for (index, entry) in member.disk.log.iter().enumerate().take(place(mark)).skip(place(member.high_watermark)) {
                match self.committed.get(index) {
                    None => self.committed.push(entry.clone()),
                    Some(known) => assert_eq!(known, entry, "{id} has something else at {index}, which is committed"),
                }
            }
            member.high_watermark = mark;
        }
        if !self.next.is_multiple_of(COMPARED_EVERY) {
            return;
        }
        let logs: Vec<&Vec<Entry>> = self.members.values().map(|member| &member.disk.log).collect();
        for (place, left) in logs.iter().enumerate() {
            for right in &logs[place + 1..] {
                let common = left.len().min(right.len());
                if let Some(last) = (0..common).rev().find(|index| left[*index].epoch == right[*index].epoch) {
                    assert_eq!(left[..=last], right[..=last], "logs that agree at {last} agree below");
                }
            }
        }
        if self.kind == Voters::Configured {
            let holders = self.voters.ids().filter(|voter| self.members[voter].disk.log.len() >= self.committed.len()).count();
            assert!(holders > self.voters.len() / 2, "what is committed is on a majority");
        }
    }
}

fn key(id: i32, disk: u8) -> ReplicaKey {
    ReplicaKey { id, directory: Uuid([disk + 1; 16]) }
}

fn voter(key: ReplicaKey) -> Voter {
    let endpoint = VoterEndpoint { listener: "CONTROLLER".to_owned(), host: "h".to_owned(), port: 1 };
    Voter { key, endpoints: vec![endpoint], versions: (0, 1) }
}

/// What records say of the quorum, with their places.
fn said(log: &[Entry]) -> impl Iterator<Item = (Offset, QuorumRecord)> {
    let named = log.iter().enumerate().filter_map(|(place, entry)| Some((offset(place), entry.voters.clone()?)));
    // Only a log with voters in it has any, and such a log is of the higher level.
    named.flat_map(|(at, voters)| [(at, QuorumRecord::Version(1)), (at, QuorumRecord::Voters(voters))])
}

fn end_of(log: &[Entry]) -> LogEnd {
    LogEnd { epoch: LeaderEpoch(log.last().map_or(0, |entry| entry.epoch)), offset: offset(log.len()) }
}

/// A log whose start is also the end of its only snapshot.
fn view<'a>(disk: &Disk, epochs: &'a LeaderEpochs) -> LogView<'a> {
    let start = end_of(&disk.log[..disk.start]);
    LogView { start, end: end_of(&disk.log), epochs, snapshot: start }
}

fn epochs_of(log: &[Entry]) -> LeaderEpochs {
    let mut epochs = LeaderEpochs::default();
    for (index, entry) in log.iter().enumerate() {
        if epochs.latest() != Some(LeaderEpoch(entry.epoch)) {
            epochs.assign(LeaderEpoch(entry.epoch), offset(index));
        }
    }
    epochs
}

fn offset(place: usize) -> Offset {
    Offset(i64::try_from(place).expect("small"))
}

fn place(offset: Offset) -> usize {
    usize::try_from(offset.0).expect("not negative")
}

/// A run to its end.
fn run(seed: u64, voters: i32, kind: Voters) -> World {
    let mut world = World::new(seed, voters, kind);
    world.run();
    let leaders: Vec<i32> = world
        .members
        .iter()
        .filter(|(_, member)| member.running.as_ref().is_some_and(|q| q.leading().is_some()))
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(leaders.len(), 1, "seed {seed}: one leads when the faults are over");
    let end = world.committed.len();
    assert!(end > 30, "seed {seed}: only {end} records were committed");
    for (id, member) in &world.members {
        assert!(place(member.high_watermark) + 5 >= end, "seed {seed}: {id} did not catch up");
    }
    world
}

#[test]
fn three_voters_and_an_observer_survive_random_schedules() {
    let installs: usize = (0..20).map(|seed| run(seed, 3, Voters::Configured).installs).sum();
    assert!(installs > 20, "only {installs} snapshots were fetched");
}

#[test]
fn five_voters_survive_random_schedules() {
    let installs: usize = (1000..1004).map(|seed| run(seed, 5, Voters::Configured).installs).sum();
    assert!(installs > 4, "only {installs} snapshots were fetched");
}

#[test]
fn a_sole_voter_survives_random_schedules() {
    let installs: usize = (2000..2005).map(|seed| run(seed, 1, Voters::Configured).installs).sum();
    assert!(installs > 0, "the observer fetches some");
}

#[test]
fn voters_that_come_and_go_survive_random_schedules() {
    let runs: Vec<World> = (3000..3020).map(|seed| run(seed, 3, Voters::InLog)).collect();
    let changes: usize = runs.iter().map(|world| world.changes).sum();
    assert!(changes > 60, "only {changes} sets of voters were written");
    let replaced: u8 = runs.iter().flat_map(|world| world.members.values()).map(|member| member.disk.number).sum();
    assert!(replaced > 10, "only {replaced} disks were replaced");
}

#[test]
fn a_quorum_of_one_grows_in_random_schedules() {
    let changes: usize = (4000..4010).map(|seed| run(seed, 1, Voters::InLog).changes).sum();
    assert!(changes > 20, "only {changes} sets of voters were written");
}
