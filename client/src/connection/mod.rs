//! One connection to one server: many requests in flight, answers in the order of the requests.
//!
//! A task owns the socket; a [`Connection`] is a handle to it. The task ends, and everything in flight with it, when the
//! socket does, when an answer does not come in time (nothing behind it could come either), or when the last handle and
//! the last [`Pending`] are gone. It never reconnects: that is for `connections.rs`.
//!
//! Invariant: the queue of expected answers has the order in which requests were written.

mod frames;
mod handshake;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use strandline_protocol::api::{ApiKey, Request};
use strandline_protocol::frame::request_frame;
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::wire::{Message, Reader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::address::Address;
use crate::calls::Call;
use crate::error::RequestError;
use crate::locked::locked;

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) client_id: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    /// The largest frame that is taken from a server.
    pub(crate) response_bytes_max: usize,
}

/// The versions that a server serves, first and last, by API key.
type ServedVersions = BTreeMap<i16, (i16, i16)>;

/// What a server said of itself when the connection was made.
#[derive(Clone, Debug, Default)]
struct Served {
    versions: ServedVersions,
    /// Levels of the cluster's features.
    finalized: BTreeMap<String, i16>,
}

/// A handle to a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    settings: Arc<ConnectionSettings>,
    served: Served,
    correlation: AtomicI32,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    life: Arc<Life>,
    used: Mutex<Instant>,
}

/// How the task is told to end, and how it tells why it ended.
#[derive(Debug, Default)]
struct Life {
    end: Notify,
    reason: Mutex<Option<RequestError>>,
}

/// A request on its way to the socket.
#[derive(Debug)]
struct Outgoing {
    frame: Vec<Bytes>,
    correlation: i32,
    expects: Expects,
}

#[derive(Debug)]
enum Expects {
    /// The rest of the answer's frame, after its length.
    Answer(oneshot::Sender<Bytes>),
    /// No answer: the sender hears when the request has been written.
    Written(oneshot::Sender<()>),
}

/// An answer that the task waits for.
struct Expected {
    correlation: i32,
    answer: oneshot::Sender<Bytes>,
}

/// How one request is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// Time that the server may take on purpose, on top of the request timeout.
    pub extra_time: Duration,
    /// Use no version above this one.
    pub version_max: Option<i16>,
}

impl Connection {
    /// Connects, asks which versions the server serves, and starts the task.
    pub(crate) async fn open(address: Address, settings: Arc<ConnectionSettings>) -> Result<Self, RequestError> {
        let limit = settings.connect_timeout;
        let opened = tokio::time::timeout(limit, handshake::connect(&address, &settings)).await;
        let (stream, served) = opened.map_err(|_| RequestError::Unreachable {
            address: address.clone(),
            source: Arc::new(std::io::ErrorKind::TimedOut.into()),
        })??;
        Ok(Self::start(stream, address, settings, served))
    }

    fn start(stream: TcpStream, address: Address, settings: Arc<ConnectionSettings>, served: Served) -> Self {
        let (outgoing, requests) = mpsc::unbounded_channel();
        let life = Arc::new(Life::default());
        tokio::spawn(run(stream, address.clone(), settings.response_bytes_max, requests, Arc::clone(&life)));
        let used = Mutex::new(Instant::now());
        let correlation = AtomicI32::new(1);
        Self { shared: Arc::new(Shared { address, settings, served, correlation, outgoing, life, used }) }
    }

    /// Where the connection leads.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Whether the connection has ended, as far as is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.outgoing.is_closed()
    }

    /// How long the connection has not been used.
    pub(crate) fn idle(&self) -> Duration {
        locked(&self.shared.used).elapsed()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`RequestError`]: unless it is `UnsupportedApi`, the server may have acted on the request.
    ///
    /// Dropping the future drops the answer, not the request.
    pub async fn call<C: Call>(&self, request: C) -> Result<C::Response, RequestError> {
        self.submit(request)?.answer().await
    }

    /// Queues a request behind those that were submitted before, without waiting for anything.
    ///
    /// # Errors
    /// `UnsupportedApi` if the server does not serve it, `Disconnected` if the connection has ended.
    pub fn submit<C: Call>(&self, request: C) -> Result<Pending<C>, RequestError> {
        self.submit_with(request, CallOptions::default())
    }

    /// As `submit`, with options.
    ///
    /// # Errors
    /// As `submit`.
    pub fn submit_with<C: Call>(&self, request: C, options: CallOptions) -> Result<Pending<C>, RequestError> {
        let version = self.version(C::API, options.version_max)?;
        let (sender, answer) = oneshot::channel();
        self.queue(request.into(), version, Expects::Answer(sender))?;
        let after = self.shared.settings.request_timeout + options.extra_time;
        let deadline = Instant::now() + after;
        Ok(Pending { connection: self.clone(), answer, version, deadline, after, call: PhantomData })
    }

    /// Queues a request that the server does not answer, such as a produce request with acks 0; the receiver hears when
    /// it has been written to the socket.
    pub(crate) fn post<C: Call>(&self, request: C, options: CallOptions) -> Result<oneshot::Receiver<()>, RequestError> {
        let version = self.version(C::API, options.version_max)?;
        let (sender, written) = oneshot::channel();
        self.queue(request.into(), version, Expects::Written(sender))?;
        Ok(written)
    }

    fn queue(&self, request: Request, version: i16, expects: Expects) -> Result<(), RequestError> {
        let shared = &self.shared;
        *locked(&shared.used) = Instant::now();
        let correlation = shared.correlation.fetch_add(1, Ordering::Relaxed);
        let frame = request_frame(version, correlation, Some(&shared.settings.client_id), &request);
        shared.outgoing.send(Outgoing { frame, correlation, expects }).map_err(|_| self.ended())
    }

    /// Whether the server serves this API in a version that this client speaks.
    pub(crate) fn serves<C: Call>(&self) -> bool {
        self.version(C::API, None).is_ok()
    }

    /// The level of a feature of the cluster when the connection was made; 0 if it has none.
    pub(crate) fn finalized(&self, feature: &str) -> i16 {
        self.shared.served.finalized.get(feature).copied().unwrap_or(0)
    }

    /// The highest version that both sides speak, and that is not above `version_max`.
    fn version(&self, key: ApiKey, version_max: Option<i16>) -> Result<i16, RequestError> {
        let unsupported = || RequestError::UnsupportedApi { address: self.shared.address.clone(), api: key };
        let (first, last) = *self.shared.served.versions.get(&(key as i16)).ok_or_else(unsupported)?;
        let row = key.row();
        let version = last.min(row.stable_last).min(version_max.unwrap_or(i16::MAX));
        if version < first.max(row.request.versions.first) { Err(unsupported()) } else { Ok(version) }
    }

    /// Why the connection has ended.
    pub(crate) fn ended(&self) -> RequestError {
        locked(&self.shared.life.reason).clone().unwrap_or_else(|| RequestError::Disconnected {
            address: self.shared.address.clone(),
            source: Arc::new(std::io::ErrorKind::UnexpectedEof.into()),
        })
    }

    /// Ends the connection; what is in flight fails.
    pub(crate) fn close(&self, reason: RequestError) {
        locked(&self.shared.life.reason).get_or_insert(reason);
        self.shared.life.end.notify_one();
    }

    fn decode<C: Call>(&self, version: i16, frame: Bytes) -> Result<C::Response, RequestError> {
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, C::API.response_header_version(version));
        let response = header.and_then(|_| C::Response::decode(&mut reader, version));
        response.map_err(|error| RequestError::Malformed { address: self.shared.address.clone(), error })
    }
}

/// A request that has been submitted. Dropping it drops the answer, not the request.
#[derive(Debug)]
pub struct Pending<C> {
    connection: Connection,
    answer: oneshot::Receiver<Bytes>,
    version: i16,
    deadline: Instant,
    after: Duration,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Pending<C> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`RequestError`]. An answer that does not come in time ends the connection, because none behind it can come.
    pub async fn answer(self) -> Result<C::Response, RequestError> {
        match tokio::time::timeout_at(self.deadline, self.answer).await {
            Ok(Ok(frame)) => self.connection.decode::<C>(self.version, frame),
            Ok(Err(_)) => Err(self.connection.ended()),
            Err(_) => {
                let address = self.connection.address().clone();
                let error = RequestError::TimedOut { address, api: C::API, after: self.after };
                self.connection.close(error.clone());
                Err(error)
            }
        }
    }
}

/// The task: writes and reads until either side ends.
async fn run(
    stream: TcpStream,
    address: Address,
    response_bytes_max: usize,
    requests: mpsc::UnboundedReceiver<Outgoing>,
    life: Arc<Life>,
) {
    let (read_half, write_half) = stream.into_split();
    let (expect, expected) = mpsc::unbounded_channel();
    let result = tokio::select! {
        result = write_all(write_half, requests, expect) => result.map_err(|error| lost(&address, error)),
        result = read_all(read_half, &address, response_bytes_max, expected) => result,
        () = life.end.notified() => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
        locked(&life.reason).get_or_insert(error);
    }
}

fn lost(address: &Address, error: std::io::Error) -> RequestError {
    RequestError::Disconnected { address: address.clone(), source: Arc::new(error) }
}

/// Requests that are written in one go at most: a bound on the memory of the gathered write.
const GATHERED_REQUESTS_MAX: usize = 64;

/// Writes what is asked for, whatever has queued up in one system call.
async fn write_all(
    mut socket: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Outgoing>,
    expect: mpsc::UnboundedSender<Expected>,
) -> std::io::Result<()> {
    let mut queued = Vec::new();
    while requests.recv_many(&mut queued, GATHERED_REQUESTS_MAX).await > 0 {
        let mut parts = Vec::with_capacity(2 * queued.len());
        let mut written = Vec::new();
        for Outgoing { frame, correlation, expects } in queued.drain(..) {
            parts.extend(frame);
            match expects {
                // Expected before it is written, so that no answer can be early. The reader cannot be gone: it is
                // dropped together with this writer.
                Expects::Answer(answer) => drop(expect.send(Expected { correlation, answer })),
                Expects::Written(sender) => written.push(sender),
            }
        }
        frames::write_parts(&mut socket, parts).await?;
        for sender in written {
            // Who does not wait any more does not need to hear.
            let _ = sender.send(());
        }
    }
    Ok(())
}

/// Reads frames and hands each to whom it belongs.
async fn read_all(
    socket: OwnedReadHalf,
    address: &Address,
    response_bytes_max: usize,
    mut expected: mpsc::UnboundedReceiver<Expected>,
) -> Result<(), RequestError> {
    let broken = |what| RequestError::Protocol { address: address.clone(), what };
    let mut frames = frames::Frames::new(socket, address.clone(), response_bytes_max);
    loop {
        let frame = frames.next().await?;
        let next = expected.try_recv().map_err(|_| broken("it answered a question that was not asked"))?;
        if frame.first_chunk() != Some(&next.correlation.to_be_bytes()) {
            return Err(broken("it answered out of order"));
        }
        // Who does not wait any more does not need the answer.
        drop(next.answer.send(frame));
    }
}

#[cfg(test)]
mod tests;
