//! The open connections: found by id, counted by address, and closed when nothing happens on them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use strandline_node::io::{ConnectionId, ListenerKind};
use tokio::sync::Notify;

use crate::net::connection::Connection;
use crate::net::pace;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `max.connections`
    pub(crate) connections: usize,
    /// `max.connections.per.ip`
    pub(crate) connections_per_address: usize,
    /// `connections.max.idle.ms`
    pub(crate) idle_ms: u64,
}

/// What there is little of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scarce {
    /// Room for frames that are not whole.
    pub(crate) frames: bool,
    /// Room for answers that are not taken.
    pub(crate) answers: bool,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyOfOneAddress;

pub(crate) struct Registry {
    limits: Limits,
    open: RwLock<HashMap<ConnectionId, Arc<Connection>>>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
    left: Notify,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, open: RwLock::default(), by_address: Mutex::default(), next: AtomicU64::new(0), left: Notify::new() }
    }

    /// Waits until another connection may be taken.
    pub(crate) async fn room(&self) {
        while self.count() >= self.limits.connections {
            self.left.notified().await;
        }
    }

    /// An id for a new connection.
    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a connection of `address`.
    ///
    /// # Errors
    /// The address has as many as it may.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<(), TooManyOfOneAddress> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= self.limits.connections_per_address {
            return Err(TooManyOfOneAddress);
        }
        *count += 1;
        Ok(())
    }

    pub(crate) fn insert(&self, connection: Arc<Connection>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(connection.id, connection);
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&connection.id);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let address = connection.peer.ip();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
        drop(by_address);
        self.left.notify_one();
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Closes connections on which nothing happened for too long, whose frame does not end, or which have to go because
    /// memory is scarce. Answers with their number.
    pub(crate) fn sweep(&self, now_ms: u64, scarce: Scarce) -> usize {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let frame_pace = if scarce.frames { pace::EARNEST } else { pace::ANY };
        let overdue = open.values().filter(|connection| {
            let idle = now_ms.saturating_sub(connection.active_ms()) > self.limits.idle_ms;
            let hoards = scarce.answers && connection.answers.is_overdue(now_ms, pace::EARNEST);
            idle || hoards || connection.frame.is_overdue(now_ms, frame_pace)
        });
        overdue.map(|connection| connection.shut_down()).count()
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().for_each(|connection| connection.shut_down());
    }

    /// Closes what did not come to a listener of controllers.
    pub(crate) fn close_clients(&self) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let clients = open.values().filter(|connection| connection.listener != ListenerKind::Controller);
        clients.for_each(|connection| connection.shut_down());
    }
}
