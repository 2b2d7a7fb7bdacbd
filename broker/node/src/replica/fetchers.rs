//! What this broker asks the leaders of the partitions that it follows: one session a leader, one fetch under way in each.
//!
//! The next fetch leaves when everything that the last one brought counts here (is durable, or written, as the topic
//! asks for): the offset that it names is a promise, and the leader counts on it. Meanwhile the leader gathers what comes
//! next. Only partitions whose question changed are named. A partition that cannot go on is taken out and comes back
//! after a while; so does a session whose peer is lost.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::{TopicId, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};

use crate::flaws::{self, Flaw};
use crate::replica::follower::Question;
use crate::sessions::next_epoch;

/// The epoch that opens a session.
const OPEN: i32 = 0;

/// What a fetch asks for in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) wait_ms: i32,
    pub(crate) bytes_min: i32,
    pub(crate) bytes_max: i32,
    pub(crate) partition_bytes_max: i32,
}

/// Names of a followed partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    topic: TopicId,
    name: TopicName,
    partition: i32,
}

/// The fetches from one leader.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    session: i32,
    epoch: i32,
    followed: BTreeMap<u32, Named>,
    /// Whose question has to be told.
    changed: BTreeSet<u32>,
    /// Told to the leader and not followed from it any more.
    forgotten: Vec<Named>,
    /// What the leader knows of.
    told: BTreeSet<u32>,
    /// Slots that were given records which do not count yet.
    writing: BTreeSet<u32>,
    /// The request under way.
    asked: Option<u64>,
    /// Nothing is asked before.
    not_before_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Fetchers {
    by_leader: BTreeMap<i32, Fetcher>,
    /// By slot.
    leaders: BTreeMap<u32, i32>,
    /// Partitions that come back, by when.
    later: BTreeSet<(u64, u32)>,
    /// Leaders that may be asked something.
    ready: BTreeSet<i32>,
}

impl Fetchers {
    /// Fetches the partition from this leader from now on, and from no other.
    pub(crate) fn follow(&mut self, slot: u32, leader: i32, topic: TopicId, name: TopicName, partition: i32) {
        self.leave(slot);
        let fetcher = self.by_leader.entry(leader).or_default();
        fetcher.followed.insert(slot, Named { topic, name, partition });
        fetcher.changed.insert(slot);
        self.leaders.insert(slot, leader);
        self.ready.insert(leader);
    }

    /// Fetches the partition from nobody.
    pub(crate) fn leave(&mut self, slot: u32) {
        self.later.retain(|(_, waiting)| *waiting != slot);
        let Some(leader) = self.leaders.remove(&slot) else { return };
        let Some(fetcher) = self.by_leader.get_mut(&leader) else { return };
        if let Some(named) = fetcher.followed.remove(&slot)
            && fetcher.told.remove(&slot)
        {
            fetcher.forgotten.push(named);
        }
        fetcher.changed.remove(&slot);
        fetcher.writing.remove(&slot);
        self.ready.insert(leader);
    }

    /// Fetches the partition from nobody for a while; it is to be followed anew then.
    pub(crate) fn leave_until(&mut self, slot: u32, at_ms: u64) {
        self.leave(slot);
        self.later.insert((at_ms, slot));
    }

    /// Partitions whose while is over.
    pub(crate) fn back(&mut self, now_ms: u64) -> Vec<u32> {
        let mut back = Vec::new();
        while let Some((_, slot)) = self.later.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.later.pop_first();
            back.push(slot);
        }
        back
    }

    /// When something is to be done by the clock.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let later = self.later.first().map(|(at, _)| *at);
        let held = self.ready.iter().filter_map(|leader| self.by_leader.get(leader)).map(|fetcher| fetcher.not_before_ms);
        later.into_iter().chain(held.filter(|at| *at > 0)).min()
    }

    /// The partition was given records.
    pub(crate) fn writes(&mut self, slot: u32) {
        if let Some(fetcher) = self.fetcher_of(slot) {
            if !flaws::is(Flaw::FollowerFetchesUnsynced) {
                fetcher.writing.insert(slot);
            }
            fetcher.changed.insert(slot);
        }
    }

    /// Everything that the partition was given counts now.
    pub(crate) fn wrote(&mut self, slot: u32) {
        let Some(leader) = self.leaders.get(&slot).copied() else { return };
        let Some(fetcher) = self.by_leader.get_mut(&leader) else { return };
        if fetcher.writing.remove(&slot) && fetcher.writing.is_empty() {
            self.ready.insert(leader);
        }
    }

    /// Whether records that the partition was given do not count yet.
    pub(crate) fn is_writing(&self, slot: u32) -> bool {
        let fetcher = self.leaders.get(&slot).and_then(|leader| self.by_leader.get(leader));
        fetcher.is_some_and(|fetcher| fetcher.writing.contains(&slot))
    }

    /// Leaders that something is to be asked of now.
    pub(crate) fn take_ready(&mut self, now_ms: u64) -> Vec<i32> {
        let open: Vec<i32> = self
            .ready
            .iter()
            .copied()
            .filter(|leader| self.by_leader.get(leader).is_none_or(|fetcher| fetcher.not_before_ms <= now_ms))
            .collect();
        for leader in &open {
            self.ready.remove(leader);
        }
        open
    }

    /// The partitions of which the next fetch names the question; nothing if no fetch may leave now.
    pub(crate) fn to_ask(&self, leader: i32) -> Option<Vec<u32>> {
        let fetcher = self.by_leader.get(&leader)?;
        let may = fetcher.asked.is_none() && fetcher.writing.is_empty() && !fetcher.followed.is_empty();
        may.then(|| {
            if fetcher.session == 0 {
                fetcher.followed.keys().copied().collect()
            } else {
                fetcher.changed.iter().copied().collect()
            }
        })
    }

    /// The next fetch, with these questions.
    pub(crate) fn ask(
        &mut self,
        leader: i32,
        number: u64,
        questions: &[(u32, Question)],
        bounds: Bounds,
        me: ReplicaState,
    ) -> Option<FetchRequest> {
        let fetcher = self.by_leader.get_mut(&leader)?;
        let mut request = FetchRequest {
            replica_id: me.replica_id,
            replica_state: me,
            max_wait_ms: bounds.wait_ms,
            min_bytes: bounds.bytes_min,
            max_bytes: bounds.bytes_max,
            session_id: fetcher.session,
            session_epoch: fetcher.epoch,
            ..FetchRequest::default()
        };
        for (slot, question) in questions {
            let Some(named) = fetcher.followed.get(slot) else { continue };
            fetcher.told.insert(*slot);
            let partition = FetchPartition {
                partition: named.partition,
                current_leader_epoch: question.leader_epoch,
                fetch_offset: question.offset,
                last_fetched_epoch: question.last_epoch,
                log_start_offset: question.log_start,
                partition_max_bytes: bounds.partition_bytes_max,
                ..FetchPartition::default()
            };
            topic_of(&mut request, named).partitions.push(partition);
        }
        for named in fetcher.forgotten.drain(..).filter(|_| fetcher.session != 0) {
            let (topic, topic_id) = (named.name, named.topic);
            request.forgotten_topics_data.push(ForgottenTopic { topic, topic_id, partitions: vec![named.partition] });
        }
        fetcher.changed.clear();
        fetcher.asked = Some(number);
        Some(request)
    }

    /// An answer came: whether it is to the fetch under way. The session goes on with this id.
    pub(crate) fn answered(&mut self, leader: i32, number: u64, session: i32) -> bool {
        let Some(fetcher) = self.by_leader.get_mut(&leader).filter(|fetcher| fetcher.asked == Some(number)) else {
            return false;
        };
        fetcher.asked = None;
        fetcher.epoch = if session == 0 { OPEN } else { next_epoch(fetcher.epoch.max(OPEN)) };
        fetcher.session = session;
        fetcher.not_before_ms = 0;
        self.ready.insert(leader);
        true
    }

    /// The fetch under way came to nothing: the session is gone, and the next one is not opened before.
    pub(crate) fn lost(&mut self, leader: i32, number: u64, not_before_ms: u64) {
        let Some(fetcher) = self.by_leader.get_mut(&leader).filter(|fetcher| fetcher.asked == Some(number)) else { return };
        fetcher.asked = None;
        (fetcher.session, fetcher.epoch) = (0, OPEN);
        fetcher.told.clear();
        fetcher.forgotten.clear();
        fetcher.not_before_ms = not_before_ms;
        self.ready.insert(leader);
        if fetcher.followed.is_empty() {
            self.by_leader.remove(&leader);
        }
    }

    /// The slot by which a partition is followed from this leader.
    pub(crate) fn follows(&self, leader: i32, slot: u32) -> bool {
        self.leaders.get(&slot) == Some(&leader)
    }

    /// The slots of what is followed from this leader.
    pub(crate) fn followed_from(&self, leader: i32) -> Vec<u32> {
        self.by_leader.get(&leader).map_or_else(Vec::new, |fetcher| fetcher.followed.keys().copied().collect())
    }

    fn fetcher_of(&mut self, slot: u32) -> Option<&mut Fetcher> {
        let leader = self.leaders.get(&slot)?;
        self.by_leader.get_mut(leader)
    }
}

fn topic_of<'a>(request: &'a mut FetchRequest, named: &Named) -> &'a mut FetchTopic {
    let last = request.topics.last().is_some_and(|topic| topic.topic_id == named.topic);
    if !last {
        let (topic, topic_id) = (named.name.clone(), named.topic);
        request.topics.push(FetchTopic { topic, topic_id, partitions: Vec::new() });
    }
    request.topics.last_mut().expect("one was just put there")
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset};

    use super::*;

    const BOUNDS: Bounds = Bounds { wait_ms: 500, bytes_min: 1, bytes_max: 100, partition_bytes_max: 10 };

    fn follow(fetchers: &mut Fetchers, slot: u32) {
        fetchers.follow(slot, 2, TopicId::METADATA, TopicName::from("t"), i32::try_from(slot).unwrap());
    }

    /// Asks what is to be asked, and names the partitions of the request.
    fn ask(fetchers: &mut Fetchers, number: u64) -> Option<(i32, i32, Vec<i32>, usize)> {
        let question =
            Question { leader_epoch: LeaderEpoch(1), offset: Offset(0), last_epoch: LeaderEpoch::NONE, log_start: Offset(0) };
        let questions: Vec<_> = fetchers.to_ask(2)?.into_iter().map(|slot| (slot, question)).collect();
        let me = ReplicaState { replica_id: BrokerId(1), replica_epoch: 7 };
        let request = fetchers.ask(2, number, &questions, BOUNDS, me)?;
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.partition);
        Some((request.session_id, request.session_epoch, partitions.collect(), request.forgotten_topics_data.len()))
    }

    #[test]
    fn a_session_opens_with_everything_and_goes_on_with_what_changed() {
        let mut fetchers = Fetchers::default();
        (0..3).for_each(|slot| follow(&mut fetchers, slot));
        assert_eq!(ask(&mut fetchers, 1), Some((0, 0, vec![0, 1, 2], 0)));
        assert_eq!(ask(&mut fetchers, 2), None, "one fetch is under way");
        assert!(!fetchers.answered(2, 9, 77), "another fetch's answer");
        assert!(fetchers.answered(2, 1, 77));
        assert_eq!(ask(&mut fetchers, 2), Some((77, 1, vec![], 0)));
        fetchers.answered(2, 2, 77);
        fetchers.writes(1);
        assert_eq!(ask(&mut fetchers, 3), None, "what was written does not count yet");
        fetchers.wrote(1);
        fetchers.leave(2);
        assert_eq!(ask(&mut fetchers, 3), Some((77, 2, vec![1], 1)));
    }

    #[test]
    fn a_lost_session_is_opened_anew_after_a_while() {
        let mut fetchers = Fetchers::default();
        follow(&mut fetchers, 0);
        ask(&mut fetchers, 1);
        fetchers.lost(2, 1, 500);
        assert_eq!(fetchers.next_due_ms(), Some(500));
        assert!(fetchers.take_ready(499).is_empty());
        assert_eq!(fetchers.take_ready(500), [2]);
        assert_eq!(ask(&mut fetchers, 2), Some((0, 0, vec![0], 0)));
    }

    #[test]
    fn a_partition_that_cannot_go_on_comes_back() {
        let mut fetchers = Fetchers::default();
        follow(&mut fetchers, 0);
        follow(&mut fetchers, 1);
        ask(&mut fetchers, 1);
        fetchers.answered(2, 1, 77);
        fetchers.leave_until(0, 900);
        assert_eq!(ask(&mut fetchers, 2), Some((77, 1, vec![], 1)));
        assert!(fetchers.back(899).is_empty());
        assert_eq!(fetchers.back(900), [0]);
        assert!(fetchers.back(901).is_empty());
    }
}
