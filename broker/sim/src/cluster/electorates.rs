//! The voters that metadata logs name (KIP-853), held against each other: whoever has a committed record of them goes by that one or by
//! a later one, nobody goes by a record that is not in its log, and a leader changes one at a time.

use std::collections::BTreeMap;

use strandline_protocol::ids::Uuid;

use super::committed::{Committed, LogSeen};

/// Voters by number, with their directories.
pub(super) type Members = BTreeMap<i32, Uuid>;

/// Whom a node goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Electorate {
    /// Where the record lies, as far as the node knows: of one in a snapshot it says where that ends.
    pub(super) at: i64,
    pub(super) members: Members,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistaken {
    /// The record was cut off.
    NotInLog { at: i64, end: i64 },
    /// Another record is committed and here.
    Missed { goes_by: Electorate, named: Electorate },
    /// Another change, or the leader's epoch, was not committed yet.
    TooEarly { before: Electorate, after: Electorate, committed: i64, epoch_start: i64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Electorates {
    /// By offset and epoch of the record, as its leader wrote it.
    named: BTreeMap<(i64, i32), Members>,
    /// What the leader of an epoch went by last.
    leaders: BTreeMap<i32, Electorate>,
}

impl Electorates {
    /// A node goes by these voters.
    ///
    /// # Errors
    /// [`Mistaken`]
    pub(super) fn take(&mut self, log: &LogSeen<'_>, committed: &Committed, now: Electorate) -> Result<(), Mistaken> {
        if now.at >= log.end && now.at >= 0 {
            return Err(Mistaken::NotInLog { at: now.at, end: log.end });
        }
        if let Some(epoch) = log.leads {
            self.led(epoch, log, committed, &now)?;
        }
        let Some((at, members)) = self.newest(log, committed) else { return Ok(()) };
        let is_later = now.at > at && self.named.contains_key(&(now.at, log.epoch_of(now.at).unwrap_or(-1)));
        // A leader that began with a snapshot says of its end what a record below it says.
        if is_later || now.members == *members {
            return Ok(());
        }
        Err(Mistaken::Missed { goes_by: now, named: Electorate { at, members: members.clone() } })
    }

    fn led(&mut self, epoch: i32, log: &LogSeen<'_>, committed: &Committed, now: &Electorate) -> Result<(), Mistaken> {
        if self.leaders.get(&epoch) == Some(now) {
            return Ok(());
        }
        if let Some(written) = log.epoch_of(now.at) {
            self.named.insert((now.at, written), now.members.clone());
        }
        let Some(before) = self.leaders.insert(epoch, now.clone()) else { return Ok(()) };
        let epoch_start = committed.begins(epoch).unwrap_or(0);
        let settled = before.at < log.committed && log.committed > epoch_start;
        if settled || before.members == now.members {
            return Ok(());
        }
        Err(Mistaken::TooEarly { before, after: now.clone(), committed: log.committed, epoch_start })
    }

    /// The newest committed record that this log has, or had before it was cut at its front.
    fn newest(&self, log: &LogSeen<'_>, committed: &Committed) -> Option<(i64, &Members)> {
        let below = log.end.min(committed.end);
        let is_here = |at: i64, epoch: i32| {
            committed.epoch_before(at + 1) == Some(epoch) && (at < log.start || log.epoch_of(at) == Some(epoch))
        };
        let named = self.named.range(..(below, 0)).rev().find(|((at, epoch), _)| is_here(*at, *epoch));
        named.map(|((at, _), members)| (*at, members))
    }
}

#[cfg(test)]
mod tests {
    use strandline_log::epochs::LeaderEpochs;
    use strandline_protocol::ids::{LeaderEpoch, Offset};

    use super::*;

    fn goes_by(at: i64, ids: &[i32]) -> Electorate {
        Electorate { at, members: ids.iter().map(|id| (*id, Uuid([7; 16]))).collect() }
    }

    /// A leader of epoch 1 wrote voters at 2; all is committed up to 5.
    fn written() -> (Electorates, Committed, LeaderEpochs) {
        let mut epochs = LeaderEpochs::default();
        epochs.assign(LeaderEpoch(1), Offset(0));
        let (mut electorates, mut committed) = (Electorates::default(), Committed::default());
        let log = LogSeen { leads: Some(1), ..seen(&epochs, 0, 5, 5) };
        committed.led(0, &LogSeen { end: 0, ..log }).expect("the first leader");
        committed.claimed(&log, false).expect("a leader says so");
        electorates.take(&log, &committed, goes_by(-1, &[1, 2, 3])).expect("as formatted");
        electorates.take(&log, &committed, goes_by(2, &[1, 2])).expect("all before is committed");
        (electorates, committed, epochs)
    }

    fn seen(epochs: &LeaderEpochs, start: i64, end: i64, committed: i64) -> LogSeen<'_> {
        LogSeen { leads: None, led: None, knows: -1, start, end, held: end, committed, epochs }
    }

    #[test]
    fn who_has_the_record_goes_by_it() {
        let (mut electorates, committed, epochs) = written();
        let mut take = |log: LogSeen<'_>, now: Electorate| electorates.take(&log, &committed, now);
        assert_eq!(take(seen(&epochs, 0, 2, 0), goes_by(-1, &[1, 2, 3])), Ok(()), "it is not there yet");
        assert_eq!(take(seen(&epochs, 0, 5, 0), goes_by(2, &[1, 2])), Ok(()));
        assert!(matches!(take(seen(&epochs, 0, 5, 0), goes_by(-1, &[1, 2, 3])), Err(Mistaken::Missed { .. })));
        assert_eq!(take(seen(&epochs, 5, 5, 5), goes_by(4, &[1, 2])), Ok(()), "from a snapshot");
        assert!(matches!(take(seen(&epochs, 5, 5, 5), goes_by(4, &[1, 2, 3])), Err(Mistaken::Missed { .. })));
        assert!(matches!(take(seen(&epochs, 0, 2, 0), goes_by(2, &[1, 2])), Err(Mistaken::NotInLog { .. })));
    }

    #[test]
    fn a_leader_changes_voters_when_its_epoch_and_the_last_change_are_committed() {
        let (mut electorates, committed, epochs) = written();
        let leads = |epoch, end, committed| LogSeen { leads: Some(epoch), ..seen(&epochs, 0, end, committed) };
        electorates.take(&leads(1, 6, 5), &committed, goes_by(5, &[1])).expect("the last one is committed");
        let two = electorates.take(&leads(1, 7, 5), &committed, goes_by(6, &[1, 2]));
        assert!(matches!(two, Err(Mistaken::TooEarly { .. })), "{two:?}");
        let (mut electorates, mut committed, _) = written();
        committed.led(1, &leads(3, 5, 5)).expect("it has all");
        electorates.take(&leads(3, 5, 5), &committed, goes_by(2, &[1, 2])).expect("it took over");
        let early = electorates.take(&leads(3, 7, 5), &committed, goes_by(6, &[1]));
        assert!(matches!(early, Err(Mistaken::TooEarly { .. })), "{early:?}");
    }
}
