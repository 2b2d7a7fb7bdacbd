//! Letters under way: which question an answer belongs to, and who waits for an answer of this member.

use std::collections::BTreeMap;

use crate::io::{Asker, ConnectionId, Tag};
use crate::parked::{ParkedId, Place};
use crate::quorum::message::Ballot;

/// What was asked of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    Vote(Ballot),
    Epoch,
    Fetch,
    Snapshot,
}

/// Which answer somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Vote,
    BeginEpoch,
    EndEpoch,
}

#[derive(Debug, Default)]
pub(crate) struct Post {
    next: u64,
    asked: BTreeMap<u64, (i32, Letter)>,
    tickets: BTreeMap<u64, (Place, Form)>,
    /// Fetches of the metadata log that wait for records or a higher high watermark.
    pub(crate) fetches: Vec<ParkedId>,
}

impl Post {
    /// A letter goes to a member.
    pub(crate) fn send(&mut self, to: i32, letter: Letter) -> Tag {
        let number = self.number();
        self.asked.insert(number, (to, letter));
        Tag { asker: Asker::Quorum, number }
    }

    /// Its answer came, or it is lost.
    pub(crate) fn answered(&mut self, tag: Tag) -> Option<(i32, Letter)> {
        self.asked.remove(&tag.number)
    }

    /// Somebody waits for an answer.
    pub(crate) fn ticket(&mut self, place: Place, form: Form) -> u64 {
        let number = self.number();
        self.tickets.insert(number, (place, form));
        number
    }

    /// A connection is gone: nobody waits for answers there any more.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.tickets.retain(|_, (place, _)| place.connection != connection);
    }

    pub(crate) fn redeem(&mut self, ticket: u64) -> Option<(Place, Form)> {
        self.tickets.remove(&ticket)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
