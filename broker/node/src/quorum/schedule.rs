//! Random schedules: voters and an observer over a network that loses, delays and repeats, with crashes that take what was
//! not synced. After every event: one leader an epoch, logs that agree below where they agree, committed records in every
//! log that claims them, high watermarks that never go back. Once the faults end, everybody catches up.

use std::collections::BTreeMap;

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use super::message::{
    FetchAsk, FetchNews, FetchVerdict, Hold, Kept, Leadership, LogEnd, Lost, SnapshotAnswer, SnapshotAsk, SnapshotNews,
    SnapshotPlace, VoteAnswer, VoteAsk, Wish,
};
use super::{FetchAnswer, LogView, Quorum, Timing};
use crate::dice::Dice;

const TIMING: Timing = Timing { election_ms: 1000, fetch_ms: 2000, backoff_max_ms: 1000, retry_ms: 20 };
const FAULTS_MS: u64 = 30_000;
const END_MS: u64 = 50_000;
/// A snapshot comes in so many pieces: its "bytes".
const PIECES: u64 = 3;
/// Whole logs are compared at every so many events: more would take most of the time.
const COMPARED_EVERY: u64 = 16;

/// One record: the epoch that wrote it, and what it says.
type Entry = (i32, u64);

#[derive(Default)]
struct Disk {
    /// All that the log ever held, so that logs can be compared: what lies below `start` is read from here as from a snapshot only.
    log: Vec<Entry>,
    start: usize,
    synced: usize,
    kept: Option<Kept>,
}

#[derive(Clone, Debug)]
enum Message {
    Vote(VoteAsk),
    VoteAnswer(VoteAnswer),
    Begin(Leadership),
    End(Leadership, Vec<i32>),
    EpochAnswer(Leadership),
    Fetch(u64, FetchAsk),
    FetchAnswer(u64, Leadership, Option<FetchVerdict>, Offset, Vec<Entry>),
    Snapshot(u64, SnapshotAsk),
    SnapshotAnswer(u64, SnapshotAnswer, Vec<Entry>),
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
    voters: Vec<i32>,
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
    fn new(seed: u64, voters: i32) -> Self {
        let mut world = Self {
            now_ms: 0,
            dice: Dice::new(seed),
            voters: (1..=voters).collect(),
            members: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            parted: None,
            installs: 0,
        };
        for id in 1..=voters + 1 {
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
                member.disk.log.push((epoch.0, value));
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
        member.disk.log = entries;
        (member.disk.start, member.disk.synced) = (end, end);
        quorum.on_installed(now_ms, offset(end));
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
        let member = self.members.get_mut(&who).expect("known");
        let nothing = Kept { epoch: LeaderEpoch(0), voted: None, leader: None };
        let mut quorum =
            Quorum::new(who, &voters, TIMING, member.disk.kept.unwrap_or(nothing), offset(member.disk.start), seed);
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
        let life = self.members[&from].life;
        let gone = self.members.get(&to).is_none_or(|member| member.running.is_none());
        let (wait_ms, lost) = if gone { (2, Lost::Gone) } else { (600, Lost::Silent) };
        self.at(wait_ms, Event::Lost { who: from, life, from: to, lost, number });
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
            Message::Vote(ask) => quorum.on_vote(now_ms, ask, end, from as u64),
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
                    FetchNews::Append => member.disk.log.extend(records),
                    FetchNews::CutBack(to) => {
                        member.disk.log.truncate(place(to));
                        member.disk.synced = member.disk.synced.min(place(to));
                    }
                    FetchNews::Nothing => {}
                }
                quorum.on_durable(offset(member.disk.synced));
            }
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

    fn settle(&mut self, who: i32) {
        let now_ms = self.now_ms;
        let member = self.members.get_mut(&who).expect("known");
        let Some(quorum) = &mut member.running else { return };
        let end = end_of(&member.disk.log);
        if member.disk.synced == member.disk.log.len() && !member.syncing {
            quorum.poll_fetch(now_ms, end);
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
            Wish::Vote { to, ask } => self.ask(who, to, Message::Vote(ask), None),
            Wish::BeginEpoch { to, leadership } => self.send(who, to, Message::Begin(leadership)),
            Wish::EndEpoch { to, leadership, successors } => self.send(who, to, Message::End(leadership, successors)),
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
                member.disk.log.push((epoch.0, 0));
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
                    None => self.committed.push(*entry),
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
                if let Some(last) = (0..common).rev().find(|index| left[*index].0 == right[*index].0) {
                    assert_eq!(left[..=last], right[..=last], "logs that agree at {last} agree below");
                }
            }
        }
        let holders = self.voters.iter().filter(|voter| self.members[*voter].disk.log.len() >= self.committed.len()).count();
        assert!(holders > self.voters.len() / 2, "what is committed is on a majority");
    }
}

fn end_of(log: &[Entry]) -> LogEnd {
    LogEnd { epoch: LeaderEpoch(log.last().map_or(0, |entry| entry.0)), offset: offset(log.len()) }
}

/// A log whose start is also the end of its only snapshot.
fn view<'a>(disk: &Disk, epochs: &'a LeaderEpochs) -> LogView<'a> {
    let start = end_of(&disk.log[..disk.start]);
    LogView { start, end: end_of(&disk.log), epochs, snapshot: start }
}

fn epochs_of(log: &[Entry]) -> LeaderEpochs {
    let mut epochs = LeaderEpochs::default();
    for (index, entry) in log.iter().enumerate() {
        if epochs.latest() != Some(LeaderEpoch(entry.0)) {
            epochs.assign(LeaderEpoch(entry.0), offset(index));
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

/// Answers with how many snapshots were fetched.
fn run(seed: u64, voters: i32) -> usize {
    let mut world = World::new(seed, voters);
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
    world.installs
}

#[test]
fn three_voters_and_an_observer_survive_random_schedules() {
    let installs: usize = (0..20).map(|seed| run(seed, 3)).sum();
    assert!(installs > 20, "only {installs} snapshots were fetched");
}

#[test]
fn five_voters_survive_random_schedules() {
    let installs: usize = (1000..1004).map(|seed| run(seed, 5)).sum();
    assert!(installs > 4, "only {installs} snapshots were fetched");
}

#[test]
fn a_sole_voter_survives_random_schedules() {
    let installs: usize = (2000..2005).map(|seed| run(seed, 1)).sum();
    assert!(installs > 0, "the observer fetches some");
}
