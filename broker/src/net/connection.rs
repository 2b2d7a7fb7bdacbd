//! One connection: a task that reads bursts of requests, and replies written by whoever has them.
//!
//! The reading task is the only one a connection has. A reply is encoded and written by the thread that got it from the
//! node, with a write that does not wait; only when the socket takes no more is a second task begun that waits for
//! room and goes on.
//!
//! Requests of one connection are under way side by side as long as their answers are small, which those to Produce are.
//! Any other request goes alone: nothing behind it is taken before its answer has left. So a connection makes the broker
//! hold one large answer at most, and one request of it at a time is worked on between those of others, whatever it
//! sends. (Kafka has one request of a connection under way, always.)
//!
//! Not here: what is asked (`decode.rs`), the order of replies (`replies.rs`), and what all answers may hold (`answers.rs`).
//! Invariant: one frame, one place; the bytes of a frame count against the budget until its place is settled.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::Shutdown;
use strandline_node::apis;
use strandline_node::io::{ConnectionId, FetchReply, ListenerKind, Sequence};
use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::frame::LENGTH_BYTES;
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::wire::{Message, Writer};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::net::answers::{ANSWER_BYTES_LEAST, Answers};
use crate::net::budget::Budget;
use crate::net::outgoing::Wrote;
use crate::net::pace::Transfer;
use crate::net::replies::{Next, Question, Replies};

/// Room made for a response before it is encoded: most are smaller.
const RESPONSE_BYTES_GUESS: usize = 192;

/// Bytes of answers that the peer has not taken, at which nothing more is taken from it: ten thousand acknowledgements.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// How long replies to earlier requests may take to leave once a request came that cannot be answered.
const LAST_REPLIES_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerKind,
    pub(crate) listener_name: Arc<str>,
    pub(crate) peer: SocketAddr,
    /// The peer's address without its port, as Kafka writes it: `/127.0.0.1`.
    pub(crate) host: Arc<str>,
    socket: OwnedWriteHalf,
    state: Mutex<State>,
    /// Told when the reader may go on.
    room: Notify,
    common: Arc<Common>,
    /// When bytes last came or left.
    active_ms: AtomicU64,
    /// The frame that has begun to come.
    pub(crate) frame: Transfer,
    /// Answers that the socket does not take at once.
    pub(crate) answers: Transfer,
}

/// What all connections share.
pub(crate) struct Common {
    pub(crate) budget: Budget,
    pub(crate) answers: Answers,
    pub(crate) metrics: Arc<Metrics>,
    /// `queued.max.requests`: requests of one connection under way.
    pub(crate) requests_max: usize,
    pub(crate) clock: Clock,
    /// Where tasks run that wait for a socket.
    pub(crate) runtime: Handle,
}

#[derive(Default)]
struct State {
    replies: Replies,
    /// A request is under way whose answer has to leave before the next request is taken.
    goes_alone: bool,
    /// Bytes of answers that count as held.
    answer_bytes: usize,
    /// A task waits for the socket to take more.
    writer_waits: bool,
    /// The reader waits for places.
    reader_waits: bool,
    /// To be closed when everything was written.
    closing: bool,
    /// Nothing is written any more.
    is_closed: bool,
}

/// What is to be done by who settled a place.
#[must_use]
pub(crate) enum Then {
    Nothing,
    /// This fetch is the next to leave: it is to be read from files.
    Read(Sequence, Box<FetchReply>),
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        (listener, listener_name): (ListenerKind, Arc<str>),
        peer: SocketAddr,
        socket: OwnedWriteHalf,
        common: Arc<Common>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            listener,
            listener_name,
            peer,
            host: format!("/{}", peer.ip()).into(),
            socket,
            state: Mutex::default(),
            room: Notify::new(),
            active_ms: AtomicU64::new(common.clock.monotonic_ms()),
            frame: Transfer::default(),
            answers: Transfer::default(),
            common,
        })
    }

    /// Takes the next place for a request.
    pub(crate) fn expect(&self, question: Question) -> Sequence {
        self.common.budget.take(question.bytes);
        let mut state = self.state();
        state.goes_alone |= apis::goes_alone(question.key, question.version);
        state.replies.expect(question)
    }

    /// Whether another request may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.takes_more(&self.state()) && !self.common.budget.is_exhausted()
    }

    fn takes_more(&self, state: &State) -> bool {
        let unsent = state.replies.outgoing.bytes();
        !state.goes_alone && state.replies.open() < self.common.requests_max && unsent < UNSENT_BYTES_MAX
    }

    /// Takes what an answer that wants `bytes` bytes may have, until it has left.
    pub(crate) fn reserve(&self, bytes: usize) -> usize {
        let mut state = self.state();
        if state.is_closed {
            return 0;
        }
        let granted = self.common.answers.take(bytes);
        state.answer_bytes += granted;
        granted
    }

    /// Waits until the connection is closed from this side.
    pub(crate) async fn closed(&self) {
        while !self.state().is_closed {
            self.room.notified().await;
        }
    }

    /// Waits until another request may be taken; answers with false if none will ever be, for the connection is closed. Its
    /// reader must end then: with frames left and no room for them it would ask again and again, on a thread that others need.
    pub(crate) async fn wait_for_room(&self) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.is_closed {
                    return false;
                }
                if self.takes_more(&state) {
                    break;
                }
                state.reader_waits = true;
            }
            self.room.notified().await;
        }
        self.common.budget.room().await;
        true
    }

    /// The question at a place that is not settled.
    pub(crate) fn question(&self, sequence: Sequence) -> Option<Question> {
        self.state().replies.question(sequence)
    }

    /// Settles a place with a response. Nothing is written yet: see [`Connection::flush`].
    pub(crate) fn answer(&self, sequence: Sequence, response: &Response) -> Then {
        let mut state = self.state();
        let Some(question) = state.replies.question(sequence) else { return Then::Nothing };
        let (parts, errors) = frame(question, response);
        self.common.metrics.answered(question.key, question.received, &errors);
        let bytes = parts.iter().map(Bytes::len).sum();
        // What a Fetch gives was counted before it was read.
        if question.key != ApiKey::Fetch && bytes > ANSWER_BYTES_LEAST && !state.is_closed {
            self.common.answers.hold(bytes);
            state.answer_bytes += bytes;
        }
        self.common.budget.give_back(question.bytes);
        let next = state.replies.answer(sequence, parts);
        self.follow(&mut state, next)
    }

    /// Settles a place with a fetch whose records are to be read from files once it is its turn.
    pub(crate) fn answer_from_files(&self, sequence: Sequence, fetch: Box<FetchReply>) -> Then {
        let mut state = self.state();
        let next = state.replies.answer_from_files(sequence, fetch);
        self.follow(&mut state, next)
    }

    /// Settles a place with nothing (acks = 0).
    pub(crate) fn give_up(&self, sequence: Sequence) -> Then {
        if let Some(question) = self.question(sequence) {
            self.common.metrics.answered(question.key, question.received, &[]);
        }
        self.settle(sequence, |replies| replies.give_up(sequence))
    }

    /// Closes the connection in place of a reply.
    pub(crate) fn close_at(&self, sequence: Sequence) -> Then {
        self.settle(sequence, |replies| replies.close(sequence))
    }

    fn settle(&self, sequence: Sequence, settle: impl FnOnce(&mut Replies) -> Option<Next>) -> Then {
        let mut state = self.state();
        let Some(question) = state.replies.question(sequence) else { return Then::Nothing };
        self.common.budget.give_back(question.bytes);
        let next = settle(&mut state.replies);
        self.follow(&mut state, next)
    }

    fn follow(&self, state: &mut State, next: Option<Next>) -> Then {
        self.wake(state);
        match next {
            Some(Next::Read(sequence, fetch)) => return Then::Read(sequence, fetch),
            Some(Next::Close) => state.closing = true,
            None => {}
        }
        Then::Nothing
    }

    /// Lets the reader go on if it waited for what is there now.
    fn wake(&self, state: &mut State) {
        if state.reader_waits && self.takes_more(state) {
            state.reader_waits = false;
            self.room.notify_one();
        }
    }

    /// Writes what is ready, as far as the socket takes it. Answers with the bytes written.
    pub(crate) fn flush(self: &Arc<Self>) -> usize {
        let mut state = self.state();
        let before = state.replies.outgoing.bytes();
        if state.writer_waits || state.is_closed {
            return 0;
        }
        match self.write(&mut state) {
            Ok(Wrote::Everything) => {}
            Ok(Wrote::Blocked) => {
                state.writer_waits = true;
                self.answers.begin(self.common.clock.monotonic_ms(), state.replies.outgoing.bytes());
                self.common.runtime.spawn(Arc::clone(self).write_when_possible());
            }
            Err(_) => self.shut(&mut state),
        }
        before - state.replies.outgoing.bytes()
    }

    async fn write_when_possible(self: Arc<Self>) {
        loop {
            let writable = self.socket.writable().await;
            let mut state = self.state();
            let wrote = match writable {
                Ok(()) if !state.is_closed => self.write(&mut state),
                _ => Err(io::ErrorKind::NotConnected.into()),
            };
            match wrote {
                Ok(Wrote::Blocked) => {}
                Ok(Wrote::Everything) => {
                    state.writer_waits = false;
                    return;
                }
                Err(_) => return self.shut(&mut state),
            }
        }
    }

    fn write(&self, state: &mut State) -> io::Result<Wrote> {
        let before = state.replies.outgoing.bytes();
        let wrote = state.replies.outgoing.write(|slices| match slices {
            [one] => self.socket.try_write(one),
            several => self.socket.try_write_vectored(several),
        })?;
        if before > state.replies.outgoing.bytes() {
            self.touch();
        }
        if wrote == Wrote::Everything {
            self.all_left(state);
        }
        self.wake(state);
        Ok(wrote)
    }

    /// Everything that was ready has left.
    fn all_left(&self, state: &mut State) {
        self.answers.end();
        if state.replies.open() == 0 {
            state.goes_alone = false;
            self.common.answers.give_back(std::mem::take(&mut state.answer_bytes));
        }
        if state.closing {
            self.shut(state);
        }
    }

    /// Closes the connection behind the replies that are still to come, or when they do not.
    pub(crate) async fn close_behind_replies(self: &Arc<Self>) {
        {
            let mut state = self.state();
            state.closing |= state.replies.close_behind();
        }
        self.flush();
        let _ = tokio::time::timeout(LAST_REPLIES_MAX, self.closed()).await;
    }

    /// Ends the connection at once; its reading task notices.
    pub(crate) fn shut_down(&self) {
        self.shut(&mut self.state());
    }

    fn shut(&self, state: &mut State) {
        if !state.is_closed {
            state.is_closed = true;
            // A peer that is gone already is as good.
            let _ = rustix::net::shutdown(self.socket.as_ref(), Shutdown::Both);
            self.room.notify_one();
        }
    }

    /// Gives back what the open places hold: to be called once, when nothing is read any more.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        self.shut(&mut state);
        self.common.budget.give_back(state.replies.abandon());
        self.common.answers.give_back(std::mem::take(&mut state.answer_bytes));
    }

    pub(crate) fn touch(&self) {
        self.active_ms.store(self.common.clock.monotonic_ms(), Ordering::Relaxed);
    }

    pub(crate) fn active_ms(&self) -> u64 {
        self.active_ms.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response with its length and header, as parts of a gathered write, and the errors in it.
fn frame(question: Question, response: &Response) -> (Vec<Bytes>, Vec<(ErrorCode, u64)>) {
    let mut writer = Writer::with_capacity(RESPONSE_BYTES_GUESS);
    writer.put_int32(0);
    let header = ResponseHeader { correlation_id: question.correlation };
    header.encode(&mut writer, question.key.response_header_version(question.version));
    response.encode(&mut writer, question.version);
    let length = i32::try_from(writer.len() - LENGTH_BYTES).expect("limits keep a response below two gigabytes");
    writer.patch_int32(0, length);
    let errors = writer.take_errors();
    (writer.finish(), errors)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection that never has room for a request, and its peer.
    async fn without_room() -> (Arc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (socket, address) = accepted.unwrap();
        let common = Common {
            budget: Budget::new(1 << 20),
            answers: Answers::default(),
            metrics: Arc::new(Metrics::new().unwrap()),
            requests_max: 0,
            clock: Clock::start(),
            runtime: Handle::current(),
        };
        let (_, output) = socket.into_split();
        (
            Connection::new(ConnectionId(1), (ListenerKind::Client, Arc::from("")), address, output, Arc::new(common)),
            peer.unwrap(),
        )
    }

    #[tokio::test]
    async fn a_reader_without_room_ends_with_its_connection() {
        let (connection, _peer) = without_room().await;
        let waiting = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        connection.shut_down();
        assert!(!waiting.await.unwrap(), "closed while it waited");
        assert!(!connection.wait_for_room().await, "closed before it asked");
    }
}
