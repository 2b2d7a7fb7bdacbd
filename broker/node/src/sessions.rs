//! Fetch sessions (KIP-227): what a consumer fetches from is remembered, so that it sends and is sent only changes.
//!
//! A session holds its partitions in an order of its own: whoever was given records moves to the end, so that a large
//! partition cannot starve those behind it. The number of sessions is limited; without a free place a client simply
//! gets session id 0, which is always legal.
//! Source: KIP-227; core/src/main/scala/kafka/server/FetchSession.scala.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

/// `session_epoch` of a request that opens a session.
const OPEN: i32 = 0;
/// `session_epoch` of a request that wants no session.
const SESSIONLESS: i32 = -1;
/// A session that nobody used for so long may be taken over (Kafka: MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS).
const EVICTION_MS: u64 = 120_000;

/// What a fetch names a partition by. Requests below version 13 know names, later ones ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchKey {
    pub name: TopicName,
    pub id: TopicId,
    pub partition: i32,
}

/// What a consumer asks of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub fetch_offset: Offset,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
    pub bytes_max: i32,
    /// Where the log of a follower begins; nothing for consumers.
    pub log_start: Offset,
}

/// A partition of a session and what its client was last told.
#[derive(Clone, Debug)]
struct Remembered {
    key: FetchKey,
    wanted: Wanted,
    told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used_ms: u64,
    next_place: u64,
    places: BTreeMap<FetchKey, u64>,
    ordered: BTreeMap<u64, Remembered>,
}

/// What a request's session fields come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything is in the request and in the reply.
    Full { session: i32 },
    /// The session knows; the reply holds changes only.
    Incremental { session: i32 },
}

impl Kind {
    /// The session id for the reply; 0 is none.
    pub fn session(self) -> i32 {
        match self {
            Self::Full { session } | Self::Incremental { session } => session,
        }
    }
}

/// A request's session fields.
#[derive(Debug)]
pub struct SessionRequest {
    pub session_id: i32,
    pub epoch: i32,
    /// The request names topics by id (version 13 and above).
    pub by_id: bool,
    pub wanted: Vec<(FetchKey, Wanted)>,
    pub forgotten: Vec<FetchKey>,
}

/// All sessions of a broker.
#[derive(Debug)]
pub struct Sessions {
    slots_max: usize,
    last_id: i32,
    sessions: BTreeMap<i32, Session>,
}

impl Sessions {
    /// No sessions yet, and never more than `slots_max`.
    pub fn new(slots_max: usize) -> Self {
        Self { slots_max, last_id: 0, sessions: BTreeMap::new() }
    }

    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Finds out which partitions a request is about, in the order in which they are served.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub fn resolve(&mut self, now_ms: u64, request: SessionRequest) -> Result<(Kind, Vec<(FetchKey, Wanted)>), ErrorCode> {
        if request.epoch == OPEN || request.epoch == SESSIONLESS {
            self.sessions.remove(&request.session_id);
            let session = if request.epoch == OPEN { self.open(now_ms, &request) } else { 0 };
            return Ok((Kind::Full { session }, request.wanted));
        }
        let session = self.sessions.get_mut(&request.session_id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if request.epoch != session.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.by_id != request.by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.epoch = next_epoch(session.epoch);
        session.used_ms = now_ms;
        for (key, wanted) in request.wanted {
            session.want(key, wanted);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        let all = session.ordered.values().map(|known| (known.key.clone(), known.wanted.clone())).collect();
        Ok((Kind::Incremental { session: request.session_id }, all))
    }

    /// Whether an incremental reply must name the partition: records, or a high watermark or log start not yet told.
    /// Remembers what is told. `told` is `None` for an error, which is always named and makes the next reply complete.
    pub fn must_tell(&mut self, session: i32, key: &FetchKey, told: Option<(Offset, Offset)>, has_records: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&session) else { return true };
        let Some(place) = session.places.get(key).copied() else { return true };
        let Some(known) = session.ordered.get_mut(&place) else { return true };
        let changed = told.is_none() || known.told != told;
        known.told = told;
        if has_records {
            session.move_to_end(key, place);
        }
        changed || has_records
    }

    fn open(&mut self, now_ms: u64, request: &SessionRequest) -> i32 {
        if self.sessions.len() >= self.slots_max && !self.evict(now_ms, request.wanted.len()) {
            return 0;
        }
        let id = self.free_id();
        let mut session = Session {
            epoch: 1,
            by_id: request.by_id,
            used_ms: now_ms,
            next_place: 0,
            places: BTreeMap::new(),
            ordered: BTreeMap::new(),
        };
        for (key, wanted) in &request.wanted {
            session.want(key.clone(), wanted.clone());
        }
        self.sessions.insert(id, session);
        id
    }

    /// Makes room: the longest unused session if it is unused for long, or the smallest one if it is smaller.
    fn evict(&mut self, now_ms: u64, size: usize) -> bool {
        let unused = self.sessions.iter().min_by_key(|(_, session)| session.used_ms);
        let victim = match unused {
            Some((id, session)) if now_ms.saturating_sub(session.used_ms) > EVICTION_MS => Some(*id),
            _ => {
                let smallest = self.sessions.iter().min_by_key(|(_, session)| session.ordered.len());
                smallest.filter(|(_, session)| session.ordered.len() < size).map(|(id, _)| *id)
            }
        };
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }

    fn free_id(&mut self) -> i32 {
        loop {
            self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
            if !self.sessions.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Session {
    fn want(&mut self, key: FetchKey, wanted: Wanted) {
        if let Some(known) = self.places.get(&key).and_then(|place| self.ordered.get_mut(place)) {
            known.wanted = wanted;
            return;
        }
        let place = self.take_place();
        self.places.insert(key.clone(), place);
        self.ordered.insert(place, Remembered { key, wanted, told: None });
    }

    fn forget(&mut self, key: &FetchKey) {
        if let Some(place) = self.places.remove(key) {
            self.ordered.remove(&place);
        }
    }

    fn move_to_end(&mut self, key: &FetchKey, place: u64) {
        if let Some(known) = self.ordered.remove(&place) {
            let place = self.take_place();
            self.ordered.insert(place, known);
            self.places.insert(key.clone(), place);
        }
    }

    fn take_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }
}

pub(crate) fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> FetchKey {
        FetchKey { name: TopicName::from("t"), id: TopicId::default(), partition }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            fetch_offset: Offset(offset),
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            bytes_max: 1,
            log_start: Offset::NONE,
        }
    }

    fn request(session_id: i32, epoch: i32, partitions: &[i32]) -> SessionRequest {
        let wanted = partitions.iter().map(|partition| (key(*partition), wanted(0))).collect();
        SessionRequest { session_id, epoch, by_id: false, wanted, forgotten: Vec::new() }
    }

    fn opened(sessions: &mut Sessions, partitions: &[i32]) -> i32 {
        sessions.resolve(0, request(0, 0, partitions)).expect("opens").0.session()
    }

    #[test]
    fn an_incremental_fetch_is_about_all_partitions_of_the_session() {
        let mut sessions = Sessions::new(10);
        let id = opened(&mut sessions, &[0, 1]);
        let (kind, all) = sessions.resolve(1, request(id, 1, &[2])).expect("known");
        assert_eq!(kind, Kind::Incremental { session: id });
        assert_eq!(all.iter().map(|(key, _)| key.partition).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_wrong_epoch_and_an_unknown_session_have_errors_of_their_own() {
        let mut sessions = Sessions::new(10);
        let id = opened(&mut sessions, &[0]);
        assert_eq!(sessions.resolve(1, request(id, 7, &[])).unwrap_err(), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(sessions.resolve(1, request(id + 1, 1, &[])).unwrap_err(), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }

    #[test]
    fn a_partition_that_gave_records_moves_behind_the_others() {
        let mut sessions = Sessions::new(10);
        let id = opened(&mut sessions, &[0, 1]);
        assert!(sessions.must_tell(id, &key(0), Some((Offset(5), Offset(0))), true));
        let (_, all) = sessions.resolve(1, request(id, 1, &[])).expect("known");
        assert_eq!(all.iter().map(|(key, _)| key.partition).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn what_was_told_is_not_told_again_but_an_error_is() {
        let mut sessions = Sessions::new(10);
        let id = opened(&mut sessions, &[0]);
        let ends = Some((Offset(5), Offset(0)));
        assert!(sessions.must_tell(id, &key(0), ends, false));
        assert!(!sessions.must_tell(id, &key(0), ends, false));
        assert!(sessions.must_tell(id, &key(0), None, false));
        assert!(sessions.must_tell(id, &key(0), ends, false));
    }

    #[test]
    fn without_a_place_a_client_gets_no_session() {
        let mut sessions = Sessions::new(1);
        assert_ne!(opened(&mut sessions, &[0, 1]), 0);
        assert_eq!(opened(&mut sessions, &[0]), 0);
        assert_ne!(opened(&mut sessions, &[0, 1, 2]), 0, "a larger one takes the place");
    }
}
