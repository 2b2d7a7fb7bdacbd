//! What clients did and saw, and whether a log that loses nothing and invents nothing can have done that.
//!
//! Every record carries a value of its own. A send ends acknowledged (with its offset), refused (it was not appended),
//! or unknown (a lost reply): an unknown one counts as written only once it was seen. What can be told at once is told
//! at once; the rest when everything was read at the end, by [`History::finish`].
//!
//! Not here: which transactions are committed (`cluster/books`), and what only the inside of the broker can tell (`invariants.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use strandline_protocol::ids::TopicId;

/// A partition of one life of a topic: a topic that is made again has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey {
    pub topic: TopicId,
    pub partition: i32,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

/// A record's identity: its place in the list of everything sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub u64);

/// What stands where a log holds a marker.
const MARKER: Value = Value(u64::MAX);

/// Whether sending again may store twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Sent once, or idempotent: at most one copy.
    AtMostOnce,
    /// Sent again after a lost reply, without idempotence.
    MayRepeat,
}

/// A record on its way.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    pub partition: PartitionKey,
    /// Sends of one session (a producer id, or a plain producer that waits for each reply) keep their order.
    pub session: u64,
    /// Hash over everything in the record that must come back as it was.
    pub content: u64,
    pub invoked_us: u64,
    pub key: Option<u64>,
    /// It deletes its key.
    pub deletes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    Acknowledged {
        offset: i64,
        at_us: u64,
    },
    Refused,
    Unknown,
    /// Acknowledged under a promise that the power cut did not break.
    Forgiven,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    send: Send,
    delivery: Delivery,
    outcome: Outcome,
    /// Where it was seen first.
    seen: Option<i64>,
}

/// A record that a consumer was given.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub partition: PartitionKey,
    pub offset: i64,
    pub value: Value,
    pub content: u64,
    pub timestamp_ms: i64,
}

/// A lookup by timestamp and its answer.
#[derive(Clone, Copy, Debug)]
pub struct TimeLookup {
    pub partition: PartitionKey,
    pub target_ms: i64,
    /// Offset and timestamp.
    pub answer: Option<(i64, i64)>,
    /// Everything below was acknowledged before the question was asked.
    pub acknowledged_end: i64,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// By offset: what was seen there, and its timestamp.
    seen: BTreeMap<i64, (Value, i64)>,
    /// By offset: what was acknowledged there.
    acknowledged: BTreeMap<i64, Value>,
    lookups: Vec<TimeLookup>,
}

/// How far a partition reaches at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub log_start: i64,
    pub high_watermark: i64,
}

/// What no correct log does. Names follow the list in the testing notes (Jepsen's, where it has one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// inconsistent-offsets: two values at one offset.
    InconsistentOffset { partition: PartitionKey, offset: i64, first: Value, second: Value },
    /// An acknowledged value is at another offset than was acknowledged.
    ChangedOffset { partition: PartitionKey, value: Value, acknowledged: i64, found: i64 },
    /// duplicate: one value at two offsets without a reason.
    Duplicate { partition: PartitionKey, value: Value, first: i64, second: i64 },
    /// lost-write.
    Lost { partition: PartitionKey, value: Value, offset: i64, reach: Reach },
    /// Offsets that nobody was given between log start and high watermark.
    Hole { partition: PartitionKey, offset: i64 },
    /// A value that nobody sent, or not to this partition.
    NeverSent { partition: PartitionKey, offset: i64, value: Value },
    /// Key, value, headers or timestamp are not what was sent.
    Altered { partition: PartitionKey, offset: i64, value: Value },
    /// The broker said that it did not append this.
    RefusedButStored { partition: PartitionKey, offset: i64, value: Value },
    /// nonmonotonic-send: two sends of one session are in the wrong order.
    SessionOrder { partition: PartitionKey, earlier: (Value, i64), later: (Value, i64) },
    /// A send that was acknowledged before another began lies behind it.
    RealTimeOrder { partition: PartitionKey, earlier: (Value, i64), later: (Value, i64) },
    /// Compaction took the newest record of a key, or brought an older one back.
    LostKey { partition: PartitionKey, key: u64, newest: (Value, i64), found: Option<i64> },
    /// An offset by timestamp that is not the first one at or above it.
    WrongLookup { lookup: TimeLookupShown, better: Option<i64> },
}

/// A lookup as anomalies show it.
pub type TimeLookupShown = (PartitionKey, i64, Option<(i64, i64)>);

/// The record of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    sent: Vec<Sent>,
    partitions: BTreeMap<PartitionKey, Partition>,
    excused: BTreeSet<PartitionKey>,
    /// Partitions in which compaction removes records.
    compacted: BTreeSet<PartitionKey>,
    /// What is there at the end, by offset, of compacted partitions.
    left: Option<BTreeMap<PartitionKey, BTreeMap<i64, Value>>>,
}

impl History {
    /// The value that the next record gets.
    pub fn next_value(&self) -> Value {
        Value(self.sent.len() as u64)
    }

    /// Compaction removes records of this partition whose key has a newer one.
    pub fn compacts(&mut self, partition: PartitionKey) {
        self.compacted.insert(partition);
    }

    /// From now on everything is read that is left.
    pub fn begin_audit(&mut self) {
        self.left = Some(BTreeMap::new());
    }

    /// A record is about to be sent.
    pub fn send(&mut self, send: Send) -> Value {
        let value = Value(self.sent.len() as u64);
        self.sent.push(Sent { send, delivery: Delivery::AtMostOnce, outcome: Outcome::Open, seen: None });
        value
    }

    /// It is sent again without idempotence.
    pub fn may_repeat(&mut self, value: Value) {
        if let Some(sent) = self.get_mut(value) {
            sent.delivery = Delivery::MayRepeat;
        }
    }

    /// It was acknowledged at an offset.
    ///
    /// # Errors
    /// [`Anomaly`]
    pub fn acknowledge(&mut self, value: Value, offset: i64, at_us: u64) -> Result<(), Anomaly> {
        let Some(sent) = self.get_mut(value) else { return Ok(()) };
        let (partition, seen, once) = (sent.send.partition, sent.seen, sent.delivery == Delivery::AtMostOnce);
        sent.outcome = Outcome::Acknowledged { offset, at_us };
        if self.excused.contains(&partition) {
            return Ok(());
        }
        if let Some(found) = seen.filter(|found| once && *found != offset) {
            return Err(Anomaly::ChangedOffset { partition, value, acknowledged: offset, found });
        }
        let known = self.partitions.entry(partition).or_default();
        let other = known.seen.get(&offset).map(|(value, _)| *value).or(known.acknowledged.get(&offset).copied());
        known.acknowledged.insert(offset, value);
        match other.filter(|other| *other != value) {
            Some(first) => Err(Anomaly::InconsistentOffset { partition, offset, first, second: value }),
            None => Ok(()),
        }
    }

    /// The broker said that it was not appended.
    pub fn refuse(&mut self, value: Value) {
        self.end(value, Outcome::Refused);
    }

    /// Nobody will ever know.
    pub fn give_up(&mut self, value: Value) {
        self.end(value, Outcome::Unknown);
    }

    /// A consumer was given a record.
    ///
    /// # Errors
    /// [`Anomaly`]
    pub fn see(&mut self, seen: Seen) -> Result<(), Anomaly> {
        let Seen { partition, offset, value, content, timestamp_ms } = seen;
        if self.excused.contains(&partition) {
            return Ok(());
        }
        let Some(sent) = self.get_mut(value).filter(|sent| sent.send.partition == partition) else {
            return Err(Anomaly::NeverSent { partition, offset, value });
        };
        if sent.send.content != content {
            return Err(Anomaly::Altered { partition, offset, value });
        }
        let once = sent.delivery == Delivery::AtMostOnce;
        let first = *sent.seen.get_or_insert(offset);
        match sent.outcome {
            Outcome::Refused => return Err(Anomaly::RefusedButStored { partition, offset, value }),
            Outcome::Acknowledged { offset: acknowledged, .. } if once && acknowledged != offset => {
                return Err(Anomaly::ChangedOffset { partition, value, acknowledged, found: offset });
            }
            _ if once && first != offset => {
                return Err(Anomaly::Duplicate { partition, value, first, second: offset });
            }
            _ => {}
        }
        if let Some(left) = self.left.as_mut().filter(|_| self.compacted.contains(&partition)) {
            left.entry(partition).or_default().insert(offset, value);
        }
        let known = self.partitions.entry(partition).or_default();
        let other = known.seen.insert(offset, (value, timestamp_ms)).map(|(value, _)| value);
        let other = other.or(known.acknowledged.get(&offset).copied());
        match other.filter(|other| *other != value) {
            Some(first) => Err(Anomaly::InconsistentOffset { partition, offset, first, second: value }),
            None => Ok(()),
        }
    }

    /// A consumer was given the end of a transaction.
    ///
    /// # Errors
    /// [`Anomaly`]
    pub fn see_marker(&mut self, partition: PartitionKey, offset: i64) -> Result<(), Anomaly> {
        if self.excused.contains(&partition) {
            return Ok(());
        }
        let known = self.partitions.entry(partition).or_default();
        let other = known.seen.insert(offset, (MARKER, i64::MIN)).map(|(value, _)| value);
        let other = other.or(known.acknowledged.get(&offset).copied());
        match other.filter(|other| *other != MARKER) {
            Some(first) => Err(Anomaly::InconsistentOffset { partition, offset, first, second: MARKER }),
            None => Ok(()),
        }
    }

    /// A lookup by timestamp was answered.
    pub fn looked_up(&mut self, lookup: TimeLookup) {
        self.partitions.entry(lookup.partition).or_default().lookups.push(lookup);
    }

    /// The end of what is acknowledged in a partition.
    pub fn acknowledged_end(&self, partition: PartitionKey) -> i64 {
        let last = self.partitions.get(&partition).and_then(|known| known.acknowledged.last_key_value());
        last.map_or(0, |(offset, _)| offset + 1)
    }

    /// The power went and took what was acknowledged from `offset` on without a promise that it is on the device.
    pub fn forgive_from(&mut self, partition: PartitionKey, offset: i64) {
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        let lost = known.acknowledged.split_off(&offset);
        let unseen = known.seen.split_off(&offset);
        known.lookups.clear();
        let values = lost.into_values().chain(unseen.into_values().map(|(value, _)| value));
        for value in values {
            if let Some(sent) = self.get_mut(value) {
                sent.outcome = Outcome::Forgiven;
                sent.seen = None;
            }
        }
    }

    /// Nothing is promised any more about what is stored in a partition.
    pub fn excuse(&mut self, partition: PartitionKey) {
        self.partitions.remove(&partition);
        self.excused.insert(partition);
    }

    /// A topic was deleted: nothing more is promised about it.
    pub fn forget_topic(&mut self, topic: TopicId) {
        self.partitions.retain(|partition, _| partition.topic != topic);
    }

    /// How many records were acknowledged, and how many reads of one there were places for.
    pub fn counts(&self) -> (usize, usize) {
        let partitions = self.partitions.values();
        partitions.fold((0, 0), |(sent, seen), known| (sent + known.acknowledged.len(), seen + known.seen.len()))
    }

    /// Judges the whole, after every partition in `reach` was read from its log start to its high watermark.
    ///
    /// # Errors
    /// The first [`Anomaly`].
    pub fn finish(&self, reach: &BTreeMap<PartitionKey, Reach>) -> Result<(), Anomaly> {
        for (partition, reach) in reach {
            let Some(known) = self.partitions.get(partition) else { continue };
            if self.compacted.contains(partition) {
                self.newest_stays(*partition, known)?;
                continue;
            }
            no_holes(*partition, known, *reach)?;
            nothing_lost(*partition, known, *reach)?;
            self.real_time_order(*partition, known)?;
            for lookup in &known.lookups {
                lookup_is_right(lookup, known, *reach)?;
            }
        }
        self.session_order()
    }

    /// Judges what consumers saw where nothing that was committed is ever taken back: none of it is behind the end now.
    ///
    /// # Errors
    /// The first [`Anomaly`].
    pub fn nothing_vanished(&self, reach: &BTreeMap<PartitionKey, Reach>) -> Result<(), Anomaly> {
        for (partition, reach) in reach {
            let last = self.partitions.get(partition).and_then(|known| known.seen.last_key_value());
            if let Some((offset, (value, _))) = last.filter(|(offset, _)| **offset >= reach.high_watermark) {
                return Err(Anomaly::Lost { partition: *partition, value: *value, offset: *offset, reach: *reach });
            }
        }
        Ok(())
    }

    /// The newest record of every key is there, or a newer one; a deletion may be gone, and then everything before it, also one
    /// that was never acknowledged.
    fn newest_stays(&self, partition: PartitionKey, known: &Partition) -> Result<(), Anomaly> {
        let key = |value: &Value| self.get(*value).and_then(|sent| sent.send.key);
        let mut newest: BTreeMap<u64, (Value, i64)> = BTreeMap::new();
        for (offset, value) in &known.acknowledged {
            if let Some(key) = key(value) {
                newest.insert(key, (*value, *offset));
            }
        }
        let left = self.left.as_ref().and_then(|left| left.get(&partition));
        let mut there: BTreeMap<u64, i64> = BTreeMap::new();
        for (offset, value) in left.into_iter().flatten() {
            if let Some(key) = key(value) {
                there.insert(key, *offset);
            }
        }
        for (key, newest) in newest {
            let found = there.get(&key).copied();
            let deletes = self.get(newest.0).is_some_and(|sent| sent.send.deletes);
            let may_be_gone = || deletes || self.may_have_deleted(partition, key, newest.1);
            if !found.map_or_else(may_be_gone, |found| found >= newest.1) {
                return Err(Anomaly::LostKey { partition, key, newest, found });
            }
        }
        Ok(())
    }

    /// Acknowledged before the other was begun: lies before the other.
    fn real_time_order(&self, partition: PartitionKey, known: &Partition) -> Result<(), Anomaly> {
        let mut begun: Vec<(u64, Value, i64)> = Vec::new();
        let mut ended: Vec<(u64, Value, i64)> = Vec::new();
        for (offset, value) in &known.acknowledged {
            let Some(sent) = self.get(*value).filter(|sent| sent.delivery == Delivery::AtMostOnce) else { continue };
            if let Outcome::Acknowledged { at_us, .. } = sent.outcome {
                begun.push((sent.send.invoked_us, *value, *offset));
                ended.push((at_us, *value, *offset));
            }
        }
        begun.sort_unstable();
        ended.sort_unstable();
        let mut highest: Option<(Value, i64)> = None;
        let mut next = 0;
        for (invoked, value, offset) in begun {
            while let Some((at, earlier, found)) = ended.get(next).filter(|(at, ..)| *at < invoked) {
                debug_assert!(*at < invoked);
                if highest.is_none_or(|(_, offset)| offset < *found) {
                    highest = Some((*earlier, *found));
                }
                next += 1;
            }
            if let Some(earlier) = highest.filter(|(_, found)| *found > offset) {
                return Err(Anomaly::RealTimeOrder { partition, earlier, later: (value, offset) });
            }
        }
        Ok(())
    }

    fn session_order(&self) -> Result<(), Anomaly> {
        let mut last: BTreeMap<(PartitionKey, u64), (Value, i64)> = BTreeMap::new();
        for (sent, number) in self.sent.iter().zip(0..) {
            let place = match sent.outcome {
                Outcome::Acknowledged { offset, .. } => Some(offset),
                _ => sent.seen,
            };
            let counts = sent.delivery == Delivery::AtMostOnce && !self.excused.contains(&sent.send.partition);
            let Some(offset) = place.filter(|_| counts) else { continue };
            let (partition, later) = (sent.send.partition, (Value(number), offset));
            if let Some(earlier) = last.insert((partition, sent.send.session), later)
                && earlier.1 >= offset
            {
                return Err(Anomaly::SessionOrder { partition, earlier, later });
            }
        }
        Ok(())
    }

    fn end(&mut self, value: Value, outcome: Outcome) {
        if let Some(sent) = self.get_mut(value)
            && sent.outcome == Outcome::Open
        {
            sent.outcome = outcome;
        }
    }

    /// Whether a deletion of the key whose answer nobody knows may lie behind `offset`, or have lain there.
    fn may_have_deleted(&self, partition: PartitionKey, key: u64, offset: i64) -> bool {
        self.sent.iter().any(|sent| {
            let is_open = !matches!(sent.outcome, Outcome::Acknowledged { .. } | Outcome::Refused);
            let is_meant = sent.send.deletes && sent.send.key == Some(key) && sent.send.partition == partition;
            is_open && is_meant && sent.seen.is_none_or(|seen| seen > offset)
        })
    }

    fn get(&self, value: Value) -> Option<&Sent> {
        self.sent.get(usize::try_from(value.0).ok()?)
    }

    fn get_mut(&mut self, value: Value) -> Option<&mut Sent> {
        self.sent.get_mut(usize::try_from(value.0).ok()?)
    }
}

fn no_holes(partition: PartitionKey, known: &Partition, reach: Reach) -> Result<(), Anomaly> {
    // Behind the high watermark there may be records of producers that wait for no answer.
    let mut expected = reach.log_start;
    for offset in known.seen.range(reach.log_start..reach.high_watermark.max(reach.log_start)).map(|(offset, _)| *offset) {
        if offset != expected {
            return Err(Anomaly::Hole { partition, offset: expected });
        }
        expected += 1;
    }
    if expected < reach.high_watermark { Err(Anomaly::Hole { partition, offset: expected }) } else { Ok(()) }
}

fn nothing_lost(partition: PartitionKey, known: &Partition, reach: Reach) -> Result<(), Anomaly> {
    for (offset, value) in known.acknowledged.range(reach.log_start..) {
        let there = known.seen.get(offset).is_some_and(|(seen, _)| seen == value);
        if !there || *offset >= reach.high_watermark {
            return Err(Anomaly::Lost { partition, value: *value, offset: *offset, reach });
        }
    }
    Ok(())
}

/// Records below the log start are left out: they may have been there or not when the question was asked.
fn lookup_is_right(lookup: &TimeLookup, known: &Partition, reach: Reach) -> Result<(), Anomaly> {
    let wrong = |better| Anomaly::WrongLookup { lookup: (lookup.partition, lookup.target_ms, lookup.answer), better };
    let end = lookup.answer.map_or(lookup.acknowledged_end, |(offset, _)| offset);
    let better = known.seen.range(reach.log_start..end.max(reach.log_start)).find(|(_, (_, time))| *time >= lookup.target_ms);
    if let Some((offset, _)) = better {
        return Err(wrong(Some(*offset)));
    }
    let Some((offset, timestamp)) = lookup.answer else { return Ok(()) };
    let found = known.seen.get(&offset);
    if timestamp < lookup.target_ms || found.is_some_and(|(_, time)| *time != timestamp) {
        return Err(wrong(None));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
