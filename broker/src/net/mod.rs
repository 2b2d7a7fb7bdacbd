//! Sockets: accepting connections, reading requests, and the way back of their replies.
//!
//! [`Net`] holds what connections share. [`Net::listen`] accepts, [`Net::serve`] is a connection's task. Replies come
//! back through [`Net::reply`] from whoever got them out of the node.

pub(crate) mod answers;
mod batches;
pub(crate) mod budget;
pub(crate) mod connection;
mod decode;
mod fetch;
pub(crate) mod intake;
pub(crate) mod outgoing;
pub(crate) mod pace;
pub(crate) mod registry;
pub(crate) mod replies;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use strandline_node::io::{
    CloseReason, ConnectionId, FetchReply, Input, ListenerKind, Reply, RequestContext, RulesTable, Sequence,
};
use strandline_protocol::frame::FrameError;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::disk::reader::Reader;
use crate::net::connection::{Common, Connection, Then};
use crate::net::decode::{Decoded, Unreadable};
use crate::net::intake::{Chunks, Intake};
use crate::net::registry::{Registry, Scarce};
use crate::shell::Submit;

/// How long nothing is accepted after the system refused a new descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Net {
    pub(crate) common: Arc<Common>,
    pub(crate) registry: Registry,
    pub(crate) chunks: Arc<Chunks>,
    frame_bytes_max: usize,
    rules: RwLock<Arc<RulesTable>>,
    reader: Arc<Reader>,
    stopping: watch::Sender<bool>,
}

/// Why a connection's task ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] Unreadable),
}

impl Net {
    pub(crate) fn new(common: Common, registry: Registry, frame_bytes_max: usize, reader: Arc<Reader>) -> Arc<Self> {
        Arc::new(Self {
            // Half of what whole requests may hold: most large frames are whole at once.
            chunks: Arc::new(Chunks::new(common.budget.limit() / 2)),
            common: Arc::new(common),
            registry,
            frame_bytes_max,
            rules: RwLock::default(),
            reader,
            stopping: watch::Sender::new(false),
        })
    }

    /// From now on batches are judged by these rules.
    pub(crate) fn publish(&self, rules: Arc<RulesTable>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> Arc<RulesTable> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts connections until [`Net::stop_accepting`]; the listener is `told` by its kind and name.
    pub(crate) async fn listen(self: Arc<Self>, listener: TcpListener, told: (ListenerKind, Arc<str>), node: Arc<dyn Submit>) {
        let mut stopping = self.stopping.subscribe();
        loop {
            self.registry.room().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match accepted {
                Ok((socket, peer)) => self.accept(socket, peer, told.clone(), &node),
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the listening sockets.
    pub(crate) fn stop_accepting(&self) {
        self.stopping.send_replace(true);
    }

    fn accept(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr, told: (ListenerKind, Arc<str>), node: &Arc<dyn Submit>) {
        if self.registry.admit(peer.ip()).is_err() {
            self.common.metrics.connections_refused.inc();
            warn!(%peer, "the address has too many connections");
            return;
        }
        // Without it replies wait for acknowledgements of others; a socket that refuses is gone already.
        let _ = socket.set_nodelay(true);
        let (input, output) = socket.into_split();
        let connection = Connection::new(self.registry.next_id(), told, peer, output, Arc::clone(&self.common));
        self.registry.insert(Arc::clone(&connection));
        self.common.metrics.connections_accepted.inc();
        // On the runtime that listens: that of the peers for controllers.
        tokio::spawn(Arc::clone(self).serve(connection, input, Arc::clone(node)));
    }

    /// A connection from its first byte to its last.
    async fn serve(self: Arc<Self>, connection: Arc<Connection>, input: OwnedReadHalf, node: Arc<dyn Submit>) {
        let ended = self.read(&connection, input, &*node).await;
        match ended {
            Ended::Closed => {}
            Ended::Io(error) => debug!(peer = %connection.peer, %error, "connection lost"),
            reason => {
                self.common.metrics.connections_unanswerable.inc();
                warn!(peer = %connection.peer, %reason, "connection closed: a request cannot be answered");
                connection.close_behind_replies().await;
            }
        }
        connection.end();
        self.registry.remove(&connection);
        node.submit(&mut vec![Input::Disconnected { connection: connection.id }]);
    }

    async fn read(self: &Arc<Self>, connection: &Arc<Connection>, mut input: OwnedReadHalf, node: &dyn Submit) -> Ended {
        let mut intake = Intake::new(Arc::clone(&self.chunks), self.frame_bytes_max);
        let mut client_id = Arc::from("");
        let mut inputs = Vec::new();
        let mut received = Instant::now();
        loop {
            let taken = self.take_burst(connection, received, &mut intake, &mut client_id, &mut inputs);
            if !inputs.is_empty() {
                node.submit(&mut inputs);
            }
            match taken {
                Err(ended) => return ended,
                Ok(Burst::Paused) if connection.wait_for_room().await => continue,
                Ok(Burst::Paused) => return Ended::Closed,
                Ok(Burst::Taken) => intake.rest(),
            }
            if !self.may_read(connection, &intake).await {
                return Ended::Closed;
            }
            match intake.read(&mut input).await {
                Ok(0) => return Ended::Closed,
                Ok(bytes) => self.common.metrics.received_bytes.inc_by(bytes as u64),
                Err(error) => return Ended::Io(error),
            }
            received = Instant::now();
            connection.touch();
        }
    }

    /// Waits while there is no room for more of the large frame that has begun; answers with false if the connection was
    /// closed meanwhile.
    async fn may_read(&self, connection: &Connection, intake: &Intake) -> bool {
        if !intake.is_inside_large_frame() || !self.chunks.begun.is_exhausted() {
            return true;
        }
        tokio::select! {
            () = self.chunks.begun.room() => true,
            () = connection.closed() => false,
        }
    }

    /// Takes whole frames out of what was `received`, as far as the connection may have more under way.
    fn take_burst(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        received: Instant,
        intake: &mut Intake,
        client_id: &mut Arc<str>,
        inputs: &mut Vec<Input>,
    ) -> Result<Burst, Ended> {
        let rules = self.rules();
        let now_ms = self.common.clock.now().wall_ms;
        while intake.has_frame()? {
            if !connection.has_room() {
                return Ok(Burst::Paused);
            }
            let frame = intake.take_frame();
            connection.frame.end();
            let mut opened = decode::open(frame, received)?;
            let decoded = decode::body(&mut opened, connection.listener, &rules, now_ms)?;
            let sequence = connection.expect(opened.question);
            match decoded {
                Decoded::Ask(request) => {
                    let context = RequestContext {
                        connection: connection.id,
                        sequence,
                        listener: connection.listener,
                        listener_name: Arc::clone(&connection.listener_name),
                        api_version: opened.question.version,
                        client_id: decode::shared_client_id(client_id, opened.client_id.as_deref()),
                        client_host: Arc::clone(&connection.host),
                    };
                    inputs.push(Input::Request { context, request });
                }
                Decoded::Answer(response) => {
                    self.then(connection, connection.answer(sequence, &response));
                    self.flush(connection);
                }
            }
        }
        if intake.is_inside_frame() {
            // It counts from its first byte, however the others come.
            let begun_ms = connection.frame.begun_ms().unwrap_or_else(|| self.common.clock.monotonic_ms());
            connection.frame.begin(begun_ms, intake.frame_bytes());
        }
        Ok(Burst::Taken)
    }

    /// What there is little of.
    pub(crate) fn scarce(&self) -> Scarce {
        Scarce { frames: self.chunks.begun.is_exhausted(), answers: self.common.answers.is_scarce() }
    }

    /// Settles the place of a reply. Written is it by [`Net::flush`].
    pub(crate) fn reply(self: &Arc<Self>, connection: &Arc<Connection>, sequence: Sequence, reply: Reply) {
        if connection.question(sequence).is_none() {
            return;
        }
        let then = match reply {
            Reply::Silence => connection.give_up(sequence),
            Reply::Body(response) => connection.answer(sequence, &response),
            Reply::Fetch(mut fetch) => {
                let granted = connection.reserve(fetch::bytes(&fetch));
                fetch::trim(&mut fetch, granted);
                match fetch::take_at_hand(&mut fetch, &self.reader) {
                    true => connection.answer(sequence, &fetch::fill(*fetch, &self.reader).into()),
                    false => connection.answer_from_files(sequence, fetch),
                }
            }
        };
        self.then(connection, then);
    }

    /// Closes a connection in place of a reply.
    pub(crate) fn close(self: &Arc<Self>, connection: &Arc<Connection>, sequence: Sequence, reason: CloseReason) {
        debug!(peer = %connection.peer, ?reason, "connection closed");
        self.then(connection, connection.close_at(sequence));
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.registry.get(id)
    }

    /// Writes what is ready.
    pub(crate) fn flush(&self, connection: &Arc<Connection>) {
        let written = connection.flush();
        self.common.metrics.sent_bytes.inc_by(written as u64);
    }

    fn then(self: &Arc<Self>, connection: &Arc<Connection>, then: Then) {
        let Then::Read(sequence, fetch) = then else { return };
        let net = Arc::clone(self);
        let connection = Arc::clone(connection);
        self.common.runtime.spawn_blocking(move || net.read_files(&connection, sequence, *fetch));
    }

    /// Reads the records of a fetch, and of those behind it whose turn comes then.
    fn read_files(self: &Arc<Self>, connection: &Arc<Connection>, mut sequence: Sequence, mut fetch: FetchReply) {
        loop {
            let response = fetch::fill(fetch, &self.reader).into();
            let then = connection.answer(sequence, &response);
            self.flush(connection);
            match then {
                Then::Read(next, waiting) => (sequence, fetch) = (next, *waiting),
                Then::Nothing => return,
            }
        }
    }
}

/// How taking frames ended.
enum Burst {
    /// There is no whole frame left.
    Taken,
    /// No more may be taken for now.
    Paused,
}

/// Opens a listening socket.
///
/// # Errors
/// The address cannot be had.
pub(crate) fn bind(address: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A port in whose last connections something may still come is free for a new listener.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
