//! Followers at their leader: one fetch session a peer, and in it only what has news.
//!
//! A consumer's session is looked through whole at every fetch; a follower's may hold thousands of idle partitions, so it keeps
//! the set of those that have something to tell: new records, another high watermark or log start, an error. A
//! partition that changes is put there by whoever changed it, and a waiting fetch is answered from there alone.
//! Source: KIP-227; ReplicaManager.fetchMessages for replicas.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;

use crate::parked::ParkedId;
use crate::sessions::{FetchKey, Wanted, next_epoch};

/// Sessions of followers kept at most: a peer has one, a Kafka broker one for each of its fetcher threads.
const SESSIONS_MAX: usize = 4096;

/// A partition that a follower fetches.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) key: FetchKey,
    pub(crate) wanted: Wanted,
    /// High watermark and log start that it was told last.
    pub(crate) told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) replica: i32,
    epoch: i32,
    pub(crate) followed: BTreeMap<u32, Followed>,
    /// Slots with something to tell.
    news: BTreeSet<u32>,
    /// Where the next answer begins, so that nobody at the end starves.
    next: u32,
    pub(crate) parked: Option<ParkedId>,
}

#[derive(Debug, Default)]
pub(crate) struct FollowerSessions {
    sessions: BTreeMap<i32, Session>,
    by_slot: BTreeMap<u32, BTreeSet<i32>>,
    /// When each replica last fetched anything.
    seen_ms: BTreeMap<i32, u64>,
    last_id: i32,
}

impl FollowerSessions {
    /// When the replica last fetched anything; 0 if it never did.
    pub(crate) fn seen_ms(&self, replica: i32) -> u64 {
        self.seen_ms.get(&replica).copied().unwrap_or(0)
    }

    pub(crate) fn saw(&mut self, replica: i32, now_ms: u64) {
        self.seen_ms.insert(replica, now_ms);
    }

    /// Opens a session.
    pub(crate) fn open(&mut self, replica: i32) -> i32 {
        if self.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = self.sessions.keys().next().copied()
        {
            self.close(oldest);
        }
        while self.last_id == 0 || self.sessions.contains_key(&self.last_id) {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        }
        let session = Session { replica, epoch: 1, followed: BTreeMap::new(), news: BTreeSet::new(), next: 0, parked: None };
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Goes on with a session.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH.
    pub(crate) fn resume(&mut self, id: i32, epoch: i32, replica: i32) -> Result<(), ErrorCode> {
        let session = self.sessions.get_mut(&id).filter(|session| session.replica == replica);
        let session = session.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch = next_epoch(epoch);
        Ok(())
    }

    /// Forgets a session; what was parked in it finds nothing.
    pub(crate) fn close(&mut self, id: i32) {
        let Some(session) = self.sessions.remove(&id) else { return };
        for slot in session.followed.keys() {
            self.unlink(*slot, id);
        }
    }

    pub(crate) fn get_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// The follower wants this of a partition from now on; the next answer looks at it.
    pub(crate) fn want(&mut self, id: i32, slot: u32, key: FetchKey, wanted: Wanted) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let told = session.followed.get(&slot).and_then(|known| known.told);
        session.followed.insert(slot, Followed { key, wanted, told });
        session.news.insert(slot);
        self.by_slot.entry(slot).or_default().insert(id);
    }

    /// The follower wants nothing of the partition any more.
    pub(crate) fn forget(&mut self, id: i32, slot: u32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.followed.remove(&slot);
            session.news.remove(&slot);
        }
        self.unlink(slot, id);
    }

    /// The slot is given up: nobody is told of it any more.
    pub(crate) fn forget_slot(&mut self, slot: u32) {
        for id in self.by_slot.remove(&slot).unwrap_or_default() {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.followed.remove(&slot);
                session.news.remove(&slot);
            }
        }
    }

    fn unlink(&mut self, slot: u32, id: i32) {
        if let Some(sessions) = self.by_slot.get_mut(&slot) {
            sessions.remove(&id);
            if sessions.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
    }

    /// Something of the partition changed. Answers with the fetches that wait for such news.
    pub(crate) fn news(&mut self, slot: u32) -> Vec<ParkedId> {
        let Some(ids) = self.by_slot.get(&slot) else { return Vec::new() };
        let mut waiting = Vec::new();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(id) {
                session.news.insert(slot);
                waiting.extend(session.parked);
            }
        }
        waiting
    }

    /// Fetches of a replica that wait: it may have partitions to add.
    pub(crate) fn waiting_of(&self, replica: i32) -> Vec<ParkedId> {
        self.sessions.values().filter(|session| session.replica == replica).filter_map(|session| session.parked).collect()
    }
}

impl Session {
    /// Slots with something to tell, those first that did not get their turn last time.
    pub(crate) fn in_turn(&self) -> Vec<u32> {
        self.news.range(self.next..).chain(self.news.range(..self.next)).copied().collect()
    }

    /// The slot may still have something to tell.
    pub(crate) fn is_to_be_told(&mut self, slot: u32) {
        self.news.insert(slot);
    }

    /// The next answer begins with this slot.
    pub(crate) fn begin_with(&mut self, slot: u32) {
        self.next = slot;
    }

    /// What there was to tell of the slot is told.
    pub(crate) fn told(&mut self, slot: u32, ends: Option<(Offset, Offset)>) {
        self.news.remove(&slot);
        self.next = slot.wrapping_add(1);
        if let Some(followed) = self.followed.get_mut(&slot) {
            followed.told = ends;
        }
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::{LeaderEpoch, TopicId, TopicName};

    use super::*;

    fn want(sessions: &mut FollowerSessions, id: i32, slot: u32) {
        let key = FetchKey { name: TopicName::from("t"), id: TopicId::METADATA, partition: 0 };
        let wanted = Wanted {
            fetch_offset: Offset(0),
            current_leader_epoch: LeaderEpoch(1),
            last_fetched_epoch: LeaderEpoch::NONE,
            bytes_max: 1,
            log_start: Offset::ZERO,
        };
        sessions.want(id, slot, key, wanted);
    }

    #[test]
    fn only_what_has_news_is_looked_at() {
        let mut sessions = FollowerSessions::default();
        let id = sessions.open(2);
        (0..5).for_each(|slot| want(&mut sessions, id, slot));
        let session = sessions.get_mut(id).expect("open");
        assert_eq!(session.in_turn(), [0, 1, 2, 3, 4]);
        session.told(0, None);
        session.told(1, None);
        assert_eq!(session.in_turn(), [2, 3, 4], "the rest comes first next time");
        (2..5).for_each(|slot| session.told(slot, None));
        assert!(session.in_turn().is_empty());
        sessions.news(3);
        assert_eq!(sessions.get_mut(id).expect("open").in_turn(), [3]);
        sessions.forget_slot(3);
        assert!(sessions.get_mut(id).expect("open").in_turn().is_empty());
    }

    #[test]
    fn a_slot_that_found_no_room_comes_first_and_is_still_to_be_told() {
        let mut sessions = FollowerSessions::default();
        let id = sessions.open(2);
        (0..3).for_each(|slot| want(&mut sessions, id, slot));
        let session = sessions.get_mut(id).expect("open");
        session.told(0, None);
        session.told(2, None);
        session.begin_with(1);
        sessions.news(0);
        assert_eq!(sessions.get_mut(id).expect("open").in_turn(), [1, 0]);
    }

    #[test]
    fn a_session_belongs_to_its_replica_and_has_an_epoch() {
        let mut sessions = FollowerSessions::default();
        let id = sessions.open(2);
        assert_eq!(sessions.resume(id, 1, 3), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(sessions.resume(id, 2, 2), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(sessions.resume(id, 1, 2), Ok(()));
        assert_eq!(sessions.resume(id, 2, 2), Ok(()));
        sessions.close(id);
        assert_eq!(sessions.resume(id, 3, 2), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }
}
