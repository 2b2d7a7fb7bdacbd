//! What is committed of one log, as far as anybody ever said so, and who led it in which epoch.

use std::collections::BTreeMap;

use strandline_log::epochs::LeaderEpochs;
use strandline_protocol::ids::Offset;

use crate::core::MachineId;

/// A log as one of its replicas has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSeen<'a> {
    /// Its leader epoch, if it leads.
    pub(super) leads: Option<i32>,
    /// The epoch in which it led until this step, if it does no more: its last words may be of that.
    pub(super) led: Option<i32>,
    /// The newest epoch of a leader that it knows of; -1 if nobody looks.
    pub(super) knows: i32,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Everything below is held as durably as the log asks for.
    pub(super) held: i64,
    /// Everything below is committed, it says.
    pub(super) committed: i64,
    pub(super) epochs: &'a LeaderEpochs,
}

impl LogSeen<'_> {
    /// The epoch of a record, if it is here.
    pub(super) fn epoch_of(&self, at: i64) -> Option<i32> {
        self.epoch_before(at + 1)
    }

    /// The epoch of the record before `end`, if it is here.
    fn epoch_before(&self, end: i64) -> Option<i32> {
        let inside = end > self.start && end <= self.end;
        inside.then(|| self.epochs.epoch_of(Offset(end - 1)).map(|epoch| epoch.0)).flatten()
    }
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Another machine leads in this epoch.
    TwoLeaders { epoch: i32, first: MachineId, second: MachineId },
    /// A leader without what was committed up to `needed` before its epoch.
    Incomplete { epoch: i32, needed: i64 },
    /// A claim that no leader made, or of another record.
    Differs { claimed: i64, epoch: Option<i32>, known: Option<i32> },
    /// A successor began without what is claimed now.
    Late { epoch: i32, claimed: i64, successor: i32, begins: i64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    pub(super) end: i64,
    /// The epochs of what is committed, and where each begins.
    epochs: BTreeMap<i64, i32>,
    /// How far the leader of an epoch said it is.
    by_epoch: BTreeMap<i32, i64>,
    /// Who leads in an epoch, and where it began.
    leaders: BTreeMap<i32, (MachineId, i64)>,
}

impl Committed {
    /// Where the leader of an epoch began, if one was seen.
    pub(super) fn begins(&self, epoch: i32) -> Option<i64> {
        self.leaders.get(&epoch).map(|(_, begins)| *begins)
    }

    /// The epoch of the committed record before `end`.
    pub(super) fn epoch_before(&self, end: i64) -> Option<i32> {
        self.epochs.range(..end).next_back().map(|(_, epoch)| *epoch)
    }

    /// A replica leads: notes it.
    ///
    /// # Errors
    /// [`Wrong`]
    pub(super) fn led(&mut self, machine: MachineId, log: &LogSeen<'_>) -> Result<(), Wrong> {
        let Some(epoch) = log.leads else { return Ok(()) };
        if let Some((first, _)) = self.leaders.get(&epoch) {
            let (first, second) = (*first, machine);
            return if first == second { Ok(()) } else { Err(Wrong::TwoLeaders { epoch, first, second }) };
        }
        let begins = log.epochs.entries().iter().find(|entry| entry.epoch.0 == epoch).map_or(log.end, |entry| entry.start.0);
        self.leaders.insert(epoch, (machine, begins));
        let needed = self.by_epoch.range(..epoch).map(|(_, end)| *end).max().unwrap_or(0);
        let same = || needed <= log.start || log.epoch_before(needed) == self.epoch_before(needed);
        let has_it = begins >= needed && same();
        if has_it { Ok(()) } else { Err(Wrong::Incomplete { epoch, needed }) }
    }

    /// Takes what a replica says is committed. Answers whether more is committed than before.
    ///
    /// # Errors
    /// [`Wrong`]
    pub(super) fn claimed(&mut self, log: &LogSeen<'_>, alone: bool) -> Result<bool, Wrong> {
        let claimed = log.committed;
        let rises = claimed > self.end;
        let agreed = claimed.min(self.end);
        let (epoch, known) = (log.epoch_before(agreed), self.epoch_before(agreed));
        // A node may begin to lead and end it within one step, also without a record of that epoch: it speaks of one between that of
        // the last record and the newest that it knows. Whoever says no more than others did has it from a leader, perhaps of a later
        // epoch than that of the record.
        let of_record = log.epoch_before(claimed).filter(|_| rises);
        let claimer = log.leads.or(log.led).or_else(|| of_record.map(|epoch| epoch.max(log.knows)));
        if epoch.is_some() && epoch != known || (rises && claimer.is_none() && !alone) {
            return Err(Wrong::Differs { claimed, epoch, known });
        }
        if let Some(epoch) = claimer {
            let told = self.by_epoch.entry(epoch).or_default();
            *told = (*told).max(claimed);
        }
        if !rises {
            return Ok(false);
        }
        let epoch = claimer.unwrap_or(i32::MAX);
        let later = self.leaders.range(epoch.saturating_add(1)..).find(|(_, (_, begins))| *begins < claimed);
        if let Some((successor, (_, begins))) = later {
            return Err(Wrong::Late { epoch, claimed, successor: *successor, begins: *begins });
        }
        let fresh = log.epochs.entries().iter().filter(|entry| entry.start.0 < claimed);
        self.epochs.extend(fresh.map(|entry| (entry.start.0, entry.epoch.0)));
        self.end = claimed;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::LeaderEpoch;

    use super::*;

    #[test]
    fn a_follower_speaks_for_the_leader_that_told_it_and_not_for_the_epoch_of_the_record() {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(LeaderEpoch(2), Offset(0));
        let seen = |leads, end, committed| LogSeen {
            leads,
            led: None,
            knows: -1,
            start: 0,
            end,
            held: end,
            committed,
            epochs: &epochs,
        };
        let mut known = Committed::default();
        known.led(2, &seen(Some(2), 0, 0)).expect("the first");
        known.claimed(&seen(Some(2), 67, 66), false).expect("it leads");
        known.led(1, &seen(Some(4), 67, 66)).expect("it has all");
        known.claimed(&seen(Some(4), 67, 67), false).expect("it leads");
        known.claimed(&seen(None, 67, 67), false).expect("as the leader of 4 told it");
        known.led(0, &seen(Some(3), 66, 66)).expect("it was chosen before 4, and hears of it late");
    }

    #[test]
    fn who_led_within_one_step_and_wrote_nothing_speaks_of_an_epoch_that_it_knows() {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(LeaderEpoch(0), Offset(0));
        let mine = LogSeen { leads: Some(0), led: None, knows: 0, start: 0, end: 22, held: 22, committed: 12, epochs: &epochs };
        let mut known = Committed::default();
        known.led(4, &LogSeen { end: 0, ..mine }).expect("the first");
        known.claimed(&mine, false).expect("it leads");
        known.led(3, &LogSeen { leads: Some(1), end: 12, ..mine }).expect("it has what is committed");
        // The first replica was alone in sync in epoch 2 for a moment, and hears of it and of its end at once.
        let alone = LogSeen { leads: None, knows: 3, committed: 22, ..mine };
        let early = LogSeen { knows: 0, ..alone };
        assert!(matches!(known.clone().claimed(&early, false), Err(Wrong::Late { epoch: 0, successor: 1, .. })));
        known.claimed(&alone, false).expect("it led after 1");
    }
}
