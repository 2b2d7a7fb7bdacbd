//! Letters under way: which question an answer belongs to, and who waits for an answer of this member.

use std::collections::BTreeMap;

use strandline_protocol::ids::LeaderEpoch;

use crate::io::{Asker, ConnectionId, PeerAddress, Tag};
use crate::parked::{ParkedId, Place};
use crate::quorum::message::Ballot;
use crate::quorum::voters::ReplicaKey;

/// What was asked of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    Vote(Ballot),
    Epoch,
    Fetch,
    Snapshot,
    /// Which levels a replica works at that is to vote.
    Versions(ReplicaKey),
    Join,
}

/// Which answer somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Vote,
    BeginEpoch,
    EndEpoch,
    AddVoter,
    RemoveVoter,
}

#[derive(Debug, Default)]
pub(crate) struct Post {
    next: u64,
    asked: BTreeMap<u64, (i32, Letter)>,
    tickets: BTreeMap<u64, (Place, Form)>,
    /// Fetches of the metadata log that wait for records or a higher high watermark.
    pub(crate) fetches: Vec<ParkedId>,
    /// Where the leader of an epoch said it listens: the voters of this node's log may not know.
    told: Option<(LeaderEpoch, PeerAddress)>,
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

    /// The leader of an epoch listens there.
    pub(crate) fn leader_listens(&mut self, epoch: LeaderEpoch, at: PeerAddress) {
        self.told = Some((epoch, at));
    }

    /// Where a node listens that leads the epoch, as far as somebody told.
    pub(crate) fn told(&self, epoch: LeaderEpoch, node: i32) -> Option<&PeerAddress> {
        self.told.as_ref().filter(|(of, at)| *of == epoch && at.node == node).map(|(_, at)| at)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
