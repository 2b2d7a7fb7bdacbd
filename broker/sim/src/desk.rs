//! The connections of a machine: requests take places, replies leave in the order of their places. As in the broker's
//! rim, a fetch whose records lie in files is read when its place has come to the front.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use strandline_node::io::{CloseReason, ConnectionId, FetchReply, ListenerKind, Sequence};
use strandline_protocol::api::ApiKey;

use crate::core::{Caller, Frame};
use crate::flaw::Flaw;

/// What is remembered of a request until its reply leaves.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub key: ApiKey,
    pub version: i16,
    pub correlation: i32,
    pub asked_us: u64,
    /// How long the client allows the broker to wait.
    pub wait_us: u64,
}

#[derive(Debug)]
pub enum Answer {
    Body(Bytes),
    Unread(Box<FetchReply>),
    Silence,
    Close(CloseReason),
}

#[derive(Debug)]
enum Slot {
    Open(Question),
    Settled(Question, Answer),
    Reading(Question, Option<Box<FetchReply>>),
}

/// What has to be done next for a connection.
#[derive(Debug)]
pub enum Next {
    Send(Question, Bytes),
    /// The files of the fetch at this place are to be read.
    Read(Sequence),
    Close(CloseReason),
}

#[derive(Debug)]
pub struct Connection {
    pub caller: Caller,
    pub listener: ListenerKind,
    /// Something was lost on its way out: nothing behind it arrives.
    pub stalled: bool,
    /// What is sent arrives no earlier than what was sent before.
    pub floor_us: u64,
    first: u64,
    slots: VecDeque<Slot>,
}

impl Connection {
    fn pass(&mut self) {
        self.slots.pop_front();
        self.first += 1;
    }
}

/// A reply that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    NoConnection,
    NotOpen,
}

#[derive(Debug, Default)]
pub struct Desk {
    connections: BTreeMap<ConnectionId, Connection>,
    open: usize,
    /// With [`Flaw::SwappedReplies`] an answer takes the first open place.
    pub flaw: Option<Flaw>,
}

impl Desk {
    pub fn accept(&mut self, connection: ConnectionId, caller: Caller, listener: ListenerKind) {
        let fresh = Connection { caller, listener, stalled: false, floor_us: 0, first: 0, slots: VecDeque::new() };
        self.connections.insert(connection, fresh);
    }

    pub fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&connection)
    }

    /// Forgets a connection and answers whose it was.
    pub fn close(&mut self, connection: ConnectionId) -> Option<Caller> {
        let closed = self.connections.remove(&connection)?;
        self.open -= closed.slots.iter().filter(|slot| matches!(slot, Slot::Open(_))).count();
        Some(closed.caller)
    }

    /// Forgets all connections.
    pub fn close_all(&mut self) -> Vec<(ConnectionId, Caller)> {
        self.open = 0;
        std::mem::take(&mut self.connections).into_iter().map(|(id, connection)| (id, connection.caller)).collect()
    }

    /// Connections that are there, in order.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Gives a request its place; nothing if the connection is gone.
    pub fn expect(&mut self, connection: ConnectionId, frame: &Frame, now_us: u64, wait_us: u64) -> Option<Sequence> {
        let known = self.connections.get_mut(&connection)?;
        let (key, version, correlation) = (frame.key, frame.version, frame.correlation);
        known.slots.push_back(Slot::Open(Question { key, version, correlation, asked_us: now_us, wait_us }));
        self.open += 1;
        Some(Sequence(known.first + known.slots.len() as u64 - 1))
    }

    /// Requests that the node has not answered.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The unanswered requests.
    pub fn questions(&self) -> impl Iterator<Item = (ConnectionId, Question)> {
        self.connections.iter().flat_map(|(id, connection)| {
            connection.slots.iter().filter_map(|slot| match slot {
                Slot::Open(question) => Some((*id, *question)),
                _ => None,
            })
        })
    }

    /// The question at a place that is not answered yet.
    pub fn question(&self, connection: ConnectionId, sequence: Sequence) -> Option<Question> {
        let known = self.connections.get(&connection)?;
        match known.slots.get(usize::try_from(sequence.0.checked_sub(known.first)?).ok()?)? {
            Slot::Open(question) | Slot::Reading(question, _) => Some(*question),
            Slot::Settled(..) => None,
        }
    }

    /// The node answers a request.
    ///
    /// # Errors
    /// [`Misplaced`] if nobody waits for that.
    pub fn settle(&mut self, connection: ConnectionId, sequence: Sequence, answer: Answer) -> Result<(), Misplaced> {
        let sequence = if self.flaw == Some(Flaw::SwappedReplies) { self.first_open(connection) } else { sequence };
        let slot = self.slot(connection, sequence)?;
        let Slot::Open(question) = *slot else { return Err(Misplaced::NotOpen) };
        *slot = Slot::Settled(question, answer);
        self.open -= 1;
        Ok(())
    }

    /// The fetch that was being read; nothing if its connection is gone.
    pub fn take_reading(&mut self, connection: ConnectionId, sequence: Sequence) -> Option<Box<FetchReply>> {
        match self.slot(connection, sequence).ok()? {
            Slot::Reading(_, fetch) => fetch.take(),
            _ => None,
        }
    }

    /// The fetch that was being read is complete.
    pub fn read(&mut self, connection: ConnectionId, sequence: Sequence, body: Bytes) {
        if let Ok(slot) = self.slot(connection, sequence)
            && let Slot::Reading(question, _) = *slot
        {
            *slot = Slot::Settled(question, Answer::Body(body));
        }
    }

    /// What may leave now, one at a time; nothing if the front is not settled.
    pub fn next(&mut self, connection: ConnectionId) -> Option<Next> {
        let known = self.connections.get_mut(&connection)?;
        loop {
            match known.slots.front_mut()? {
                Slot::Open(_) | Slot::Reading(..) => return None,
                Slot::Settled(question, answer) => {
                    let question = *question;
                    let place = Sequence(known.first);
                    match std::mem::replace(answer, Answer::Silence) {
                        Answer::Unread(fetch) => {
                            known.slots[0] = Slot::Reading(question, Some(fetch));
                            return Some(Next::Read(place));
                        }
                        Answer::Close(reason) => {
                            // It stays in front: nothing leaves behind it.
                            *answer = Answer::Close(reason);
                            return Some(Next::Close(reason));
                        }
                        Answer::Body(body) => {
                            known.pass();
                            return Some(Next::Send(question, body));
                        }
                        Answer::Silence => known.pass(),
                    }
                }
            }
        }
    }

    fn first_open(&self, connection: ConnectionId) -> Sequence {
        let known = self.connections.get(&connection);
        let place = known.and_then(|known| known.slots.iter().position(|slot| matches!(slot, Slot::Open(_))));
        Sequence(known.map_or(0, |known| known.first) + place.unwrap_or(0) as u64)
    }

    fn slot(&mut self, connection: ConnectionId, sequence: Sequence) -> Result<&mut Slot, Misplaced> {
        let known = self.connections.get_mut(&connection).ok_or(Misplaced::NoConnection)?;
        let place = sequence.0.checked_sub(known.first).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| known.slots.get_mut(place)).ok_or(Misplaced::NotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(correlation: i32) -> Frame {
        Frame { key: ApiKey::Metadata, version: 1, correlation, body: Bytes::new() }
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let (mut desk, connection) = (Desk::default(), ConnectionId(1));
        desk.accept(connection, Caller::Client(7), ListenerKind::Broker);
        let first = desk.expect(connection, &frame(10), 0, 0).unwrap();
        let second = desk.expect(connection, &frame(11), 0, 0).unwrap();
        desk.settle(connection, second, Answer::Body(Bytes::new())).unwrap();
        assert!(desk.next(connection).is_none());
        desk.settle(connection, first, Answer::Silence).unwrap();
        assert!(matches!(desk.next(connection), Some(Next::Send(question, _)) if question.correlation == 11));
        assert_eq!((desk.open(), desk.close(connection)), (0, Some(Caller::Client(7))));
    }

    #[test]
    fn a_reply_that_nobody_waits_for_is_told() {
        let (mut desk, connection) = (Desk::default(), ConnectionId(1));
        assert_eq!(desk.settle(connection, Sequence(0), Answer::Silence), Err(Misplaced::NoConnection));
        desk.accept(connection, Caller::Client(7), ListenerKind::Broker);
        let place = desk.expect(connection, &frame(1), 0, 0).unwrap();
        desk.settle(connection, place, Answer::Silence).unwrap();
        assert_eq!(desk.settle(connection, place, Answer::Silence), Err(Misplaced::NotOpen));
        assert_eq!(desk.settle(connection, Sequence(5), Answer::Silence), Err(Misplaced::NotOpen));
    }
}
