//! Which brokers are alive, as far as the active controller has heard: soft state, kept by nobody else.
//!
//! A session is a registration's: it begins with it, every heartbeat prolongs it, and whoever is still fenced has one too, so that
//! no second process takes its id. Three ways lead to the end of a live broker's session:
//! - *silence*: no heartbeat for `broker.session.timeout.ms`. Holds for every fault; takes that long.
//! - *a refused connection*: the connection that carried its heartbeats broke, and the machine answers that nobody listens
//!   at its port any more. Only a process that ended does that, so nothing is waited for. A machine that lost power or network
//!   does not answer, and a stopped process keeps its port: silence ends those.
//! - *a successor on the same disks*: another process registers with log directories of this one, and no connection carries this one's
//!   heartbeats any more. A log directory is locked by one process, so this one ended; it was started again before anybody asked at its
//!   port. Kafka makes it wait for the end of the session.
//!
//! A newly active controller knows nothing: everybody gets a whole session from then on, and every port is asked once, for a
//! process that was controller and broker may just have ended. The table is ordered by
//! deadline, so that looking costs only what is due.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::Offset;

use crate::io::ConnectionId;

/// What is known of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    /// Of the registration.
    epoch: i64,
    deadline_ms: u64,
    /// The end of what it has applied of the metadata log.
    applied: Offset,
    /// It may end once the others have applied so much.
    leaves_at: Option<Offset>,
    /// That carried the last heartbeat.
    connection: Option<ConnectionId>,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sign {
    pub broker: i32,
    pub epoch: i64,
    pub applied: Offset,
    pub connection: Option<ConnectionId>,
}

#[derive(Default)]
pub(crate) struct Liveness {
    timeout_ms: u64,
    /// The broker of this very process, which lives as long as the controller does.
    own: Option<i32>,
    sessions: BTreeMap<i32, Session>,
    by_deadline: BTreeSet<(u64, i32)>,
    by_connection: BTreeMap<ConnectionId, i32>,
    /// Whose ports are to be asked, and since when.
    to_ask: BTreeSet<i32>,
    ask_at_ms: u64,
}

impl Liveness {
    /// Nobody is known; `own` is the broker in the controller's process.
    pub(crate) fn new(timeout_ms: u64, own: Option<i32>) -> Self {
        Self { timeout_ms, own, ..Self::default() }
    }

    /// Begins or prolongs a session.
    pub(crate) fn renew(&mut self, now_ms: u64, sign: Sign) {
        let before = self.sessions.get(&sign.broker).copied().filter(|known| known.epoch == sign.epoch);
        let connection = sign.connection.or(before.and_then(|known| known.connection));
        let leaves_at = before.and_then(|known| known.leaves_at);
        self.end(sign.broker);
        let deadline_ms = if self.own == Some(sign.broker) { u64::MAX } else { now_ms.saturating_add(self.timeout_ms) };
        let session = Session { epoch: sign.epoch, deadline_ms, applied: sign.applied, leaves_at, connection };
        self.sessions.insert(sign.broker, session);
        if deadline_ms != u64::MAX {
            self.by_deadline.insert((deadline_ms, sign.broker));
        }
        if let Some(connection) = connection {
            self.by_connection.insert(connection, sign.broker);
        }
    }

    /// Forgets a broker.
    pub(crate) fn end(&mut self, broker: i32) {
        if let Some(session) = self.sessions.remove(&broker) {
            self.by_deadline.remove(&(session.deadline_ms, broker));
            if let Some(connection) = session.connection {
                self.by_connection.remove(&connection);
            }
        }
    }

    /// Whether the broker was heard of within its session.
    pub(crate) fn is_live(&self, now_ms: u64, broker: i32) -> bool {
        self.sessions.get(&broker).is_some_and(|session| session.deadline_ms > now_ms)
    }

    /// Whether a connection is there that carried its heartbeats.
    pub(crate) fn is_connected(&self, broker: i32) -> bool {
        self.own == Some(broker) || self.sessions.get(&broker).is_some_and(|session| session.connection.is_some())
    }

    /// Takes out one broker whose session is over.
    pub(crate) fn expired(&mut self, now_ms: u64) -> Option<i32> {
        let (_, broker) = self.by_deadline.first().copied().filter(|(deadline, _)| *deadline <= now_ms)?;
        self.end(broker);
        Some(broker)
    }

    /// When the next session ends, or somebody is to be asked for.
    pub(crate) fn next_deadline(&self) -> u64 {
        let ends = self.by_deadline.first().map_or(u64::MAX, |(deadline, _)| *deadline);
        if self.to_ask.is_empty() { ends } else { ends.min(self.ask_at_ms) }
    }

    /// The broker's port is to be asked whether anybody is there.
    pub(crate) fn ask(&mut self, now_ms: u64, broker: i32) {
        self.to_ask.insert(broker);
        self.ask_at_ms = now_ms;
    }

    pub(crate) fn take_asked(&mut self) -> BTreeSet<i32> {
        std::mem::take(&mut self.to_ask)
    }

    /// The broker whose heartbeats came over a connection that is gone.
    pub(crate) fn disconnected(&mut self, connection: ConnectionId) -> Option<i32> {
        let broker = self.by_connection.remove(&connection)?;
        self.sessions.get_mut(&broker)?.connection = None;
        Some(broker)
    }

    /// The offset up to which others must have applied before this broker may end; the first one said counts.
    pub(crate) fn leaves_at(&mut self, broker: i32, offset: Offset) -> Offset {
        self.sessions.get_mut(&broker).map_or(offset, |session| *session.leaves_at.get_or_insert(offset))
    }

    /// What all of these brokers have applied; those never heard of do not count.
    pub(crate) fn applied_by_all(&self, brokers: impl Iterator<Item = i32>) -> Offset {
        let applied = brokers.filter_map(|broker| self.sessions.get(&broker)).map(|session| session.applied);
        applied.min().unwrap_or(Offset::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(broker: i32, applied: i64) -> Sign {
        Sign { broker, epoch: 7, applied: Offset(applied), connection: Some(ConnectionId(broker as u64)) }
    }

    #[test]
    fn sessions_end_in_order_of_their_deadlines_and_a_heartbeat_prolongs() {
        let mut liveness = Liveness::new(3000, None);
        liveness.renew(0, sign(1, 0));
        liveness.renew(100, sign(2, 0));
        liveness.renew(200, sign(1, 0));
        assert_eq!(liveness.next_deadline(), 3100);
        assert_eq!(liveness.expired(3099), None);
        assert_eq!(liveness.expired(3200), Some(2));
        assert!(!liveness.is_live(3200, 2));
        assert_eq!(liveness.expired(3200), Some(1));
        assert_eq!(liveness.expired(9999), None);
        assert_eq!(liveness.next_deadline(), u64::MAX);
    }

    #[test]
    fn the_broker_of_the_same_process_never_expires() {
        let mut liveness = Liveness::new(3000, Some(1));
        liveness.renew(0, sign(1, 0));
        assert_eq!(liveness.expired(1_000_000), None);
        assert!(liveness.is_live(1_000_000, 1));
    }

    #[test]
    fn only_the_connection_of_the_last_heartbeat_tells_of_a_broker() {
        let mut liveness = Liveness::new(3000, None);
        liveness.renew(0, sign(1, 0));
        liveness.renew(10, Sign { connection: Some(ConnectionId(9)), ..sign(1, 0) });
        assert_eq!(liveness.disconnected(ConnectionId(1)), None);
        assert_eq!(liveness.disconnected(ConnectionId(9)), Some(1));
        assert_eq!(liveness.disconnected(ConnectionId(9)), None);
        assert!(liveness.is_live(20, 1));
    }

    #[test]
    fn what_all_have_applied_is_the_least() {
        let mut liveness = Liveness::new(3000, None);
        liveness.renew(0, sign(1, 5));
        liveness.renew(0, sign(2, 3));
        assert_eq!(liveness.applied_by_all([1, 2, 3].into_iter()), Offset(3));
        assert_eq!(liveness.leaves_at(1, Offset(8)), Offset(8));
        assert_eq!(liveness.leaves_at(1, Offset(9)), Offset(8));
    }
}
