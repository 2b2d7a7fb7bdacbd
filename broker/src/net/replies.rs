//! The replies of one connection: they leave in the order of their requests, whatever the order in which they are known.
//!
//! Every request takes the next place. A place is answered, given up (acks = 0), or closes the connection; what stands
//! answered at the front moves to the outgoing bytes. A fetch whose records must be read from files is read only when
//! its place has come to the front: a client that asks for much and reads nothing holds one answer, not many.
//!
//! Not here: sockets and encoding. Invariant: `first` is the place of the front slot; places before it are over.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use strandline_node::io::{FetchReply, Sequence};
use strandline_protocol::api::ApiKey;

use crate::net::outgoing::Outgoing;

/// What is remembered of a request until its reply leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    /// Bytes of the frame, held against the budget until the reply.
    pub(crate) bytes: usize,
    pub(crate) received: Instant,
}

enum Slot {
    /// Nothing is known yet.
    Open(Question),
    /// The reply's bytes.
    Answered(Vec<Bytes>),
    /// A fetch that waits for its turn to be read from files.
    Unread(Question, Box<FetchReply>),
    /// The fetch in front is being read.
    Reading(Question),
    /// Nothing is sent.
    Silent,
    /// The connection is closed here.
    Close,
}

/// What has to happen after a place was settled.
pub(crate) enum Next {
    /// The records of the fetch at the front are to be read; its answer goes to this place.
    Read(Sequence, Box<FetchReply>),
    /// The connection is to be closed once everything outgoing has been written.
    Close,
}

#[derive(Default)]
pub(crate) struct Replies {
    first: u64,
    slots: VecDeque<Slot>,
    pub(crate) outgoing: Outgoing,
}

impl Replies {
    /// Takes the next place for a request.
    pub(crate) fn expect(&mut self, question: Question) -> Sequence {
        let sequence = Sequence(self.first + self.slots.len() as u64);
        self.slots.push_back(Slot::Open(question));
        sequence
    }

    /// Requests whose replies have not moved to the outgoing bytes.
    pub(crate) fn open(&self) -> usize {
        self.slots.len()
    }

    /// The question at a place that waits for its answer.
    pub(crate) fn question(&self, sequence: Sequence) -> Option<Question> {
        match self.slots.get(self.index(sequence)?)? {
            Slot::Open(question) | Slot::Reading(question) => Some(*question),
            _ => None,
        }
    }

    pub(crate) fn answer(&mut self, sequence: Sequence, parts: Vec<Bytes>) -> Option<Next> {
        self.settle(sequence, |_| Slot::Answered(parts))
    }

    /// The answer's records lie in files.
    pub(crate) fn answer_from_files(&mut self, sequence: Sequence, fetch: Box<FetchReply>) -> Option<Next> {
        self.settle(sequence, |question| Slot::Unread(question, fetch))
    }

    pub(crate) fn give_up(&mut self, sequence: Sequence) -> Option<Next> {
        self.settle(sequence, |_| Slot::Silent)
    }

    pub(crate) fn close(&mut self, sequence: Sequence) -> Option<Next> {
        self.settle(sequence, |_| Slot::Close)
    }

    /// Gives up every place and all outgoing bytes; answers with the bytes of requests that were still held.
    pub(crate) fn abandon(&mut self) -> usize {
        self.outgoing = Outgoing::default();
        self.first += self.slots.len() as u64;
        let held = self.slots.drain(..).map(|slot| match slot {
            Slot::Open(question) | Slot::Unread(question, _) | Slot::Reading(question) => question.bytes,
            Slot::Answered(_) | Slot::Silent | Slot::Close => 0,
        });
        held.sum()
    }

    fn index(&self, sequence: Sequence) -> Option<usize> {
        sequence.0.checked_sub(self.first).map(|index| index as usize)
    }

    /// Closes the connection behind the places taken so far; answers whether there are none.
    pub(crate) fn close_behind(&mut self) -> bool {
        let is_free = self.slots.is_empty();
        if !is_free {
            self.slots.push_back(Slot::Close);
        }
        is_free
    }

    fn settle(&mut self, sequence: Sequence, become_: impl FnOnce(Question) -> Slot) -> Option<Next> {
        let index = self.index(sequence)?;
        let question = self.question(sequence)?;
        self.slots[index] = become_(question);
        if index == 0 { self.advance() } else { None }
    }

    /// Moves what is answered at the front to the outgoing bytes.
    fn advance(&mut self) -> Option<Next> {
        loop {
            match self.slots.pop_front()? {
                Slot::Answered(parts) => parts.into_iter().for_each(|part| self.outgoing.put(part)),
                Slot::Silent => {}
                Slot::Close => {
                    self.slots.clear();
                    return Some(Next::Close);
                }
                Slot::Unread(question, fetch) => {
                    self.slots.push_front(Slot::Reading(question));
                    return Some(Next::Read(Sequence(self.first), fetch));
                }
                waiting @ (Slot::Open(_) | Slot::Reading(_)) => {
                    self.slots.push_front(waiting);
                    return None;
                }
            }
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::messages::fetch::FetchResponse;

    use super::*;

    fn question() -> Question {
        Question { key: ApiKey::Fetch, version: 4, correlation: 0, bytes: 10, received: Instant::now() }
    }

    fn with_places(count: usize) -> Replies {
        let mut replies = Replies::default();
        for place in 0..count {
            assert_eq!(replies.expect(question()), Sequence(place as u64));
        }
        replies
    }

    fn sent(replies: &mut Replies) -> Vec<u8> {
        let mut sent = Vec::new();
        let wrote = replies.outgoing.write(|slices| {
            slices.iter().for_each(|slice| sent.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
        wrote.unwrap();
        sent
    }

    fn reply(byte: u8) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(&[byte])]
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut replies = with_places(5);
        for place in [3, 1, 4] {
            assert!(replies.answer(Sequence(place), reply(place as u8)).is_none());
        }
        assert!(sent(&mut replies).is_empty());
        replies.give_up(Sequence(0));
        assert_eq!(sent(&mut replies), [1]);
        replies.answer(Sequence(2), reply(2));
        assert_eq!(sent(&mut replies), [2, 3, 4]);
        assert_eq!(replies.expect(question()), Sequence(5));
    }

    #[test]
    fn files_are_read_when_the_place_has_come_to_the_front() {
        let mut replies = with_places(3);
        let fetch = || Box::new(FetchReply { response: FetchResponse::default(), slices: Vec::new() });
        assert!(replies.answer_from_files(Sequence(1), fetch()).is_none());
        assert!(replies.answer(Sequence(2), reply(2)).is_none());
        let Some(Next::Read(place, _)) = replies.answer(Sequence(0), reply(0)) else { panic!("the fetch is in front") };
        assert_eq!(sent(&mut replies), [0]);
        assert!(replies.answer(place, reply(1)).is_none());
        assert_eq!(sent(&mut replies), [1, 2]);
    }

    #[test]
    fn a_connection_closes_after_the_replies_before() {
        let mut replies = with_places(3);
        assert!(replies.close(Sequence(1)).is_none());
        assert!(matches!(replies.answer(Sequence(0), reply(7)), Some(Next::Close)));
        assert_eq!(sent(&mut replies), [7]);
        assert!(replies.answer(Sequence(2), reply(8)).is_none());
        assert!(sent(&mut replies).is_empty());
    }

    #[test]
    fn a_place_is_answered_once() {
        let mut replies = with_places(2);
        replies.answer(Sequence(0), reply(0));
        replies.answer(Sequence(0), reply(9));
        replies.answer(Sequence(7), reply(9));
        replies.answer(Sequence(1), reply(1));
        assert_eq!(sent(&mut replies), [0, 1]);
    }
}
