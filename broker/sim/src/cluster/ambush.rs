//! Blows that are aimed. Chance alone seldom hits the moments that count: when a voter has just given its vote, when a
//! leader's epoch has just begun, when an eligible replica comes back without what it had not synced.

use strandline_protocol::api::Request;
use strandline_protocol::messages::begin_quorum_epoch::BeginQuorumEpochRequest;

use crate::core::{Core, Event, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::invariants::Ending;
use crate::machine::Machine;

/// A blow that somebody is to get.
#[derive(Clone, Copy, Debug)]
pub struct Blow {
    pub victim: MachineId,
    pub harm: Harm,
    /// It is back after so long.
    pub for_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    Ends(Ending),
    /// It shuts down in good order, and is back when it is.
    ShutsDown,
    /// Nothing gets to the machine, nor away from it; whoever was cut off before is back.
    CutOff,
    /// What is sent, by anybody, takes longer.
    SlowsDown,
}

impl Blow {
    fn kill(victim: MachineId, for_us: u64) -> Self {
        Self { victim, harm: Harm::Ends(Ending::Killed), for_us }
    }
}

/// What gives a victim away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It gives its vote.
    Vote,
    /// It says that its epoch begins, and dies.
    Epoch,
    /// It says so, and is heard no more until the next one does (Raft, figure 8).
    Reign,
}

/// Waits for a word, and strikes so many times.
#[derive(Debug)]
pub(crate) struct Snare {
    word: Word,
    left: u64,
    until_us: u64,
    /// Who was just struck says more of the same.
    deaf_until_us: u64,
    /// The newest epoch of which somebody said that it begins.
    epoch: i32,
    dice: Dice,
}

impl Snare {
    /// One machine asks another one something.
    pub(crate) fn overhear(&mut self, now_us: u64, from: MachineId, request: &Request) -> Vec<(u64, Blow)> {
        match (self.word, request) {
            (Word::Epoch, Request::BeginQuorumEpoch(begun)) if self.is_awake(now_us) && self.is_new(begun) => {
                let dice = &mut self.dice;
                let ending = if dice.one_in(2) { Ending::Killed } else { Ending::PowerCut };
                let blow = Blow { victim: from, harm: Harm::Ends(ending), for_us: dice.spread(50 * MS, 3 * SECOND) };
                let delay_us = dice.spread(MS / 2, SECOND);
                return self.strike(now_us, vec![(delay_us, blow)]);
            }
            (Word::Reign, Request::BeginQuorumEpoch(begun)) if self.is_awake(now_us) && self.is_new(begun) => {
                let delay_us = if self.dice.one_in(2) { 0 } else { self.dice.spread(MS / 10, 5 * MS) };
                let alone = Blow { victim: from, harm: Harm::CutOff, for_us: 10 * SECOND };
                return self.strike(now_us, vec![(delay_us, alone)]);
            }
            _ => {}
        }
        Vec::new()
    }

    /// One machine gives another one its vote: it forgets what it did not write down, and whoever got it tells nobody.
    pub(crate) fn overhear_vote(&mut self, now_us: u64, from: MachineId, to: MachineId) -> Vec<(u64, Blow)> {
        if self.word != Word::Vote || !self.is_awake(now_us) {
            return Vec::new();
        }
        let alone = Blow { victim: to, harm: Harm::CutOff, for_us: self.dice.spread(2 * SECOND, 6 * SECOND) };
        let blows = vec![(0, Blow::kill(from, self.dice.spread(MS, 50 * MS))), (MS, alone)];
        self.strike(now_us, blows)
    }

    /// Whether this epoch was not heard of before: leaders tell voters that are silent again and again.
    fn is_new(&mut self, begun: &BeginQuorumEpochRequest) -> bool {
        let mut partitions = begun.topics.iter().flat_map(|topic| &topic.partitions);
        let epoch = partitions.next().map_or(-1, |partition| partition.leader_epoch.0);
        let is_new = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        is_new
    }

    fn is_awake(&self, now_us: u64) -> bool {
        self.left > 0 && now_us >= self.deaf_until_us && now_us <= self.until_us
    }

    fn strike(&mut self, now_us: u64, blows: Vec<(u64, Blow)>) -> Vec<(u64, Blow)> {
        self.left -= 1;
        self.deaf_until_us = now_us + 20 * MS + blows.iter().map(|(delay_us, _)| *delay_us).max().unwrap_or(0);
        blows
    }
}

/// Lays one; says whether there was somebody to lay it for.
pub(super) fn lay(core: &mut Core, machines: &[Machine], dice: &mut Dice) -> bool {
    if dice.one_in(2) && siege(core, dice) {
        return true;
    }
    let leader = machines.iter().position(|machine| machine.node().is_some_and(|node| node.quorum().leads));
    let Some(leader) = leader else { return false };
    let word = [Word::Vote, Word::Epoch, Word::Reign][dice.index(3)];
    let (left, own) = (
        if word == Word::Reign { dice.between(3, 8) } else { dice.between(1, 6) },
        dice.fork(&format!("snare {}", core.now_us)),
    );
    let until_us = core.now_us + 20 * SECOND;
    core.snare = Some(Snare { word, left, until_us, deaf_until_us: 0, epoch: -1, dice: own });
    core.note(format_args!("a snare for {word:?}"));
    if word == Word::Vote {
        // Two who stand at a time need a third one whose vote decides.
        core.after(0, Event::Blow(Blow { victim: leader, harm: Harm::SlowsDown, for_us: 4 * SECOND }));
    }
    let back_us = if word == Word::Vote { dice.spread(5 * MS, 300 * MS) } else { dice.spread(100 * MS, SECOND) };
    core.after(0, Event::Blow(Blow::kill(leader, back_us)));
    true
}

/// A replica of a topic whose records need not be on devices loses its power, and when it comes back nobody else is there.
fn siege(core: &mut Core, dice: &mut Dice) -> bool {
    let Some(judge) = &core.judge_of_cluster else { return false };
    let may_lose = |topic| core.topics.by_id(topic).is_some_and(|topic| topic.losses_covered.is_some_and(|losses| losses > 0));
    let besieged: Vec<(MachineId, Vec<MachineId>)> = judge
        .existing()
        .filter(|(key, placed)| may_lose(key.topic) && placed.isr.len() > 1 && !placed.is_moving)
        .filter_map(|(_, placed)| {
            let leader = judge.machine_of(placed.leader)?;
            let others = placed.replicas.iter().filter(|replica| **replica != placed.leader);
            Some((leader, others.filter_map(|replica| judge.machine_of(*replica)).collect()))
        })
        .collect();
    let Some((leader, mut others)) = dice.pick(&besieged).cloned() else { return false };
    let loser = others.remove(dice.index(others.len()));
    let lost_us = dice.spread(300 * MS, 4 * SECOND);
    let back_us = lost_us + dice.spread(500 * MS, 3 * SECOND);
    let alone_us = back_us - dice.below(300 * MS);
    let lost = Blow { victim: loser, harm: Harm::Ends(Ending::PowerCut), for_us: back_us - lost_us };
    core.after(lost_us, Event::Blow(lost));
    // Whoever dies may have lost something too, as far as the controller knows: only one of them does.
    let alone = Blow { victim: leader, harm: Harm::CutOff, for_us: dice.spread(4 * SECOND, 10 * SECOND) };
    core.after(alone_us, Event::Blow(alone));
    for other in others {
        core.after(0, Event::Blow(Blow { victim: other, harm: Harm::ShutsDown, for_us: 0 }));
    }
    true
}
