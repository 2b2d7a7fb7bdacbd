//! Share sessions: which partitions a member reads at this broker, kept between its requests (KIP-932).
//!
//! Epoch 0 opens a session, -1 closes it, every request between them raises it by one. A session belongs to the connection that
//! opened it: when that is gone, so is the member. Source: ShareSessionCache, SharePartitionManager.newContext.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId};

use super::partition::MemberId;
use crate::io::ConnectionId;

/// The epoch that opens a session.
pub(crate) const OPENS: i32 = 0;
/// The epoch that closes one.
pub(crate) const CLOSES: i32 = -1;

/// Partitions in one session; far more than one broker leads of what a group reads.
const PARTITIONS_MAX: usize = 10_000;

/// A partition of a session.
pub(crate) type Place = (TopicId, i32);

/// Whose session.
pub(crate) type Owner = (GroupId, MemberId);

#[derive(Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    connection: ConnectionId,
    /// In the order in which they are served next.
    places: Vec<Place>,
}

#[derive(Debug)]
pub(crate) struct ShareSessions {
    sessions: BTreeMap<Owner, Session>,
    sessions_max: usize,
}

impl ShareSessions {
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self { sessions: BTreeMap::new(), sessions_max }
    }

    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Partitions of all sessions.
    pub(crate) fn place_count(&self) -> usize {
        self.sessions.values().map(|session| session.places.len()).sum()
    }

    /// Opens a session, in place of an earlier one.
    ///
    /// # Errors
    /// SHARE_SESSION_LIMIT_REACHED, INVALID_REQUEST for too many partitions.
    pub(crate) fn open(&mut self, owner: &Owner, connection: ConnectionId, places: Vec<Place>) -> Result<(), ErrorCode> {
        if !self.sessions.contains_key(owner) && self.sessions.len() >= self.sessions_max {
            return Err(ErrorCode::SHARE_SESSION_LIMIT_REACHED);
        }
        let mut session = Session { epoch: OPENS + 1, connection, places: Vec::new() };
        session.add(places)?;
        self.sessions.insert(owner.clone(), session);
        Ok(())
    }

    /// Takes the next request of a session.
    ///
    /// # Errors
    /// SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH, INVALID_REQUEST for too many partitions.
    pub(crate) fn go_on(&mut self, owner: &Owner, epoch: i32, added: Vec<Place>, forgotten: &[Place]) -> Result<(), ErrorCode> {
        let session = self.sessions.get_mut(owner).ok_or(ErrorCode::SHARE_SESSION_NOT_FOUND)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH);
        }
        session.places.retain(|place| !forgotten.contains(place));
        session.add(added)?;
        session.epoch = if epoch == i32::MAX { OPENS + 1 } else { epoch + 1 };
        Ok(())
    }

    /// Whether there is such a session.
    ///
    /// # Errors
    /// SHARE_SESSION_NOT_FOUND.
    pub(crate) fn check(&self, owner: &Owner) -> Result<(), ErrorCode> {
        self.sessions.get(owner).map(|_| ()).ok_or(ErrorCode::SHARE_SESSION_NOT_FOUND)
    }

    /// The partitions of a session, in the order in which they are to be served; the next time another one is first.
    pub(crate) fn places(&mut self, owner: &Owner) -> Vec<Place> {
        let Some(session) = self.sessions.get_mut(owner) else { return Vec::new() };
        let places = session.places.clone();
        if !session.places.is_empty() {
            session.places.rotate_left(1);
        }
        places
    }

    /// Whether somebody of the group reads here.
    pub(crate) fn has_group(&self, group: &GroupId) -> bool {
        let from = (group.clone(), MemberId::from(""));
        self.sessions.range(from..).next().is_some_and(|((of, _), _)| of == group)
    }

    pub(crate) fn close(&mut self, owner: &Owner) {
        self.sessions.remove(owner);
    }

    /// Closes the sessions of a connection that is gone; answers with whose they were.
    pub(crate) fn disconnected(&mut self, connection: ConnectionId) -> Vec<Owner> {
        let gone = self.sessions.iter().filter(|(_, session)| session.connection == connection);
        let gone: Vec<Owner> = gone.map(|(owner, _)| owner.clone()).collect();
        gone.iter().for_each(|owner| self.close(owner));
        gone
    }
}

impl Session {
    fn add(&mut self, places: Vec<Place>) -> Result<(), ErrorCode> {
        for place in places {
            if !self.places.contains(&place) {
                if self.places.len() >= PARTITIONS_MAX {
                    return Err(ErrorCode::INVALID_REQUEST);
                }
                self.places.push(place);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Place = (TopicId([1; 16]), 0);
    const TWO: Place = (TopicId([1; 16]), 1);

    fn owner(member: &str) -> Owner {
        (GroupId::from("g"), MemberId::from(member))
    }

    #[test]
    fn a_session_goes_on_epoch_by_epoch_and_knows_its_partitions() {
        let mut sessions = ShareSessions::new(2);
        assert_eq!(sessions.go_on(&owner("a"), 1, vec![], &[]), Err(ErrorCode::SHARE_SESSION_NOT_FOUND));
        sessions.open(&owner("a"), ConnectionId(1), vec![ONE]).expect("room");
        assert_eq!(sessions.go_on(&owner("a"), 2, vec![], &[]), Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH));
        assert_eq!(sessions.go_on(&owner("a"), 1, vec![TWO], &[]), Ok(()));
        assert_eq!(sessions.places(&owner("a")), [ONE, TWO]);
        assert_eq!(sessions.places(&owner("a")), [TWO, ONE], "another one is first");
        assert_eq!(sessions.go_on(&owner("a"), 2, vec![], &[ONE]), Ok(()));
        assert_eq!(sessions.places(&owner("a")), [TWO]);
    }

    #[test]
    fn there_are_so_many_sessions_at_most_and_those_of_a_lost_connection_go() {
        let mut sessions = ShareSessions::new(2);
        sessions.open(&owner("a"), ConnectionId(1), vec![]).expect("room");
        sessions.open(&owner("b"), ConnectionId(2), vec![]).expect("room");
        assert_eq!(sessions.open(&owner("c"), ConnectionId(3), vec![]), Err(ErrorCode::SHARE_SESSION_LIMIT_REACHED));
        assert_eq!(sessions.open(&owner("a"), ConnectionId(1), vec![]), Ok(()), "its own place is free for it");
        assert_eq!(sessions.disconnected(ConnectionId(1)), [owner("a")]);
        assert_eq!(sessions.sessions.len(), 1);
    }
}
