//! One connection: a task that reads bursts of requests, and replies written by whoever has them.
//!
//! The reading task is the only one a connection has. A reply is encoded and written by the thread that got it from the
//! node, with a write that does not wait; only when the socket takes no more is a second task begun that waits for
//! room and goes on. A connection that may have no more requests under way is not read.
//!
//! Not here: what is asked (`decode.rs`) and the order of replies (`replies.rs`).
//! Invariant: one frame, one place; the bytes of a frame count against the budget until its place is settled.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::Shutdown;
use strandline_node::io::{ConnectionId, FetchReply, ListenerKind, Sequence};
use strandline_protocol::api::Response;
use strandline_protocol::frame::LENGTH_BYTES;
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::wire::{Message, Writer};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::net::budget::Budget;
use crate::net::outgoing::Wrote;
use crate::net::replies::{Next, Question, Replies};

/// Room made for a response before it is encoded: most are smaller.
const RESPONSE_BYTES_GUESS: usize = 192;

/// How long replies to earlier requests may take to leave once a request came that cannot be answered.
const LAST_REPLIES_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerKind,
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
    /// When the frame that has begun must be whole; `u64::MAX` between frames.
    pub(crate) frame_due_ms: AtomicU64,
}

/// What all connections share.
pub(crate) struct Common {
    pub(crate) budget: Budget,
    /// `queued.max.requests`: requests of one connection under way.
    pub(crate) requests_max: usize,
    pub(crate) clock: Clock,
    /// Where tasks run that wait for a socket.
    pub(crate) runtime: Handle,
}

#[derive(Default)]
struct State {
    replies: Replies,
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
        listener: ListenerKind,
        peer: SocketAddr,
        socket: OwnedWriteHalf,
        common: Arc<Common>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            listener,
            peer,
            host: format!("/{}", peer.ip()).into(),
            socket,
            state: Mutex::default(),
            room: Notify::new(),
            active_ms: AtomicU64::new(common.clock.monotonic_ms()),
            frame_due_ms: AtomicU64::new(u64::MAX),
            common,
        })
    }

    /// Takes the next place for a request.
    pub(crate) fn expect(&self, question: Question) -> Sequence {
        self.common.budget.take(question.bytes);
        self.state().replies.expect(question)
    }

    /// Whether another request may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.state().replies.open() < self.common.requests_max && !self.common.budget.is_exhausted()
    }

    /// Waits until another request may be taken.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            {
                let mut state = self.state();
                if state.replies.open() < self.common.requests_max || state.is_closed {
                    break;
                }
                state.reader_waits = true;
            }
            self.room.notified().await;
        }
        self.common.budget.room().await;
    }

    /// The question at a place that is not settled.
    pub(crate) fn question(&self, sequence: Sequence) -> Option<Question> {
        self.state().replies.question(sequence)
    }

    /// Settles a place with a response. Nothing is written yet: see [`Connection::flush`].
    pub(crate) fn answer(&self, sequence: Sequence, response: &Response) -> Then {
        self.settle(sequence, |replies, question| replies.answer(sequence, frame(question, response)))
    }

    /// Settles a place with a fetch whose records are to be read from files once it is its turn.
    pub(crate) fn answer_from_files(&self, sequence: Sequence, fetch: Box<FetchReply>) -> Then {
        let mut state = self.state();
        let next = state.replies.answer_from_files(sequence, fetch);
        self.follow(&mut state, next)
    }

    /// Settles a place with nothing (acks = 0).
    pub(crate) fn give_up(&self, sequence: Sequence) -> Then {
        self.settle(sequence, |replies, _| replies.give_up(sequence))
    }

    /// Closes the connection in place of a reply.
    pub(crate) fn close_at(&self, sequence: Sequence) -> Then {
        self.settle(sequence, |replies, _| replies.close(sequence))
    }

    fn settle(&self, sequence: Sequence, settle: impl FnOnce(&mut Replies, Question) -> Option<Next>) -> Then {
        let mut state = self.state();
        let Some(question) = state.replies.question(sequence) else { return Then::Nothing };
        self.common.budget.give_back(question.bytes);
        let next = settle(&mut state.replies, question);
        self.follow(&mut state, next)
    }

    fn follow(&self, state: &mut State, next: Option<Next>) -> Then {
        if state.reader_waits && state.replies.open() < self.common.requests_max {
            state.reader_waits = false;
            self.room.notify_one();
        }
        match next {
            Some(Next::Read(sequence, fetch)) => return Then::Read(sequence, fetch),
            Some(Next::Close) => state.closing = true,
            None => {}
        }
        Then::Nothing
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
        if wrote == Wrote::Everything && state.closing {
            self.shut(state);
        }
        Ok(wrote)
    }

    /// Closes the connection behind the replies that are still to come, or when they do not.
    pub(crate) async fn close_behind_replies(self: &Arc<Self>) {
        {
            let mut state = self.state();
            state.closing |= state.replies.close_behind();
        }
        self.flush();
        let closed = async {
            while !self.state().is_closed {
                self.room.notified().await;
            }
        };
        let _ = tokio::time::timeout(LAST_REPLIES_MAX, closed).await;
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

/// A response with its length and header, as parts of a gathered write.
fn frame(question: Question, response: &Response) -> Vec<Bytes> {
    let mut writer = Writer::with_capacity(RESPONSE_BYTES_GUESS);
    writer.put_int32(0);
    let header = ResponseHeader { correlation_id: question.correlation };
    header.encode(&mut writer, question.key.response_header_version(question.version));
    response.encode(&mut writer, question.version);
    let length = i32::try_from(writer.len() - LENGTH_BYTES).expect("limits keep a response below two gigabytes");
    writer.patch_int32(0, length);
    writer.finish()
}

/// When the frame that is being read must be whole: half a minute, and a second for every 64 KiB that it has. Whoever
/// sends slower than that holds memory that others wait for.
pub(crate) fn frame_due_ms(now_ms: u64, missing: usize) -> u64 {
    const GRACE_MS: u64 = 30_000;
    const BYTES_PER_MS: u64 = 64;
    now_ms + GRACE_MS + missing as u64 / BYTES_PER_MS
}
