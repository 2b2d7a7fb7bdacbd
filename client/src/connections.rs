//! One connection to each server, made when it is needed and made again when it has ended.
//!
//! Each user has connections of its own: the client for its questions, every producer, every reader. So a fetch that
//! waits for records never holds up a produce request. Who asks while a connection is being made waits for that one and
//! shares its failure; after a failure the next attempt waits its backoff.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::connection::{Connection, ConnectionSettings};
use crate::error::RequestError;
use crate::locked::locked;

/// A connection that was idle this long is made anew: servers close idle ones after ten minutes, and a request that
/// crosses that moment would fail for nothing.
const IDLE_MAX: Duration = Duration::from_secs(9 * 60);

#[derive(Debug)]
pub(crate) struct Connections {
    settings: Arc<ConnectionSettings>,
    slots: Mutex<BTreeMap<Address, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    failures: u32,
    failed: Option<(Instant, RequestError)>,
    not_before: Option<Instant>,
}

impl Connections {
    pub(crate) fn new(settings: Arc<ConnectionSettings>) -> Self {
        Self { settings, slots: Mutex::default() }
    }

    /// The connection to `address`.
    ///
    /// Dropping the future drops an attempt that it has begun; whoever waits next begins another.
    pub(crate) async fn get(&self, address: &Address) -> Result<Connection, RequestError> {
        let asked = Instant::now();
        let slot = Arc::clone(locked(&self.slots).entry(address.clone()).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.usable() {
            return Ok(connection);
        }
        if let Some((when, error)) = &slot.failed
            && *when > asked
        {
            return Err(error.clone());
        }
        if let Some(not_before) = slot.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        let opened = Connection::open(address.clone(), Arc::clone(&self.settings)).await;
        slot.keep(opened)
    }

    /// Asks `address` and waits for the answer.
    pub(crate) async fn call<C: Call>(&self, address: &Address, request: C) -> Result<C::Response, RequestError> {
        self.get(address).await?.call(request).await
    }

    /// Whether there is a connection to `address` now. A slot that is busy connecting has none yet.
    pub(crate) fn is_connected(&self, address: &Address) -> bool {
        let slot = locked(&self.slots).get(address).map(Arc::clone);
        slot.is_some_and(|slot| slot.try_lock().is_ok_and(|slot| slot.usable().is_some()))
    }
}

impl Slot {
    fn usable(&self) -> Option<Connection> {
        self.connection.as_ref().filter(|connection| !connection.is_closed() && connection.idle() < IDLE_MAX).cloned()
    }

    fn keep(&mut self, opened: Result<Connection, RequestError>) -> Result<Connection, RequestError> {
        match &opened {
            Ok(connection) => {
                *self = Self { connection: Some(connection.clone()), ..Self::default() };
            }
            Err(error) => {
                let now = Instant::now();
                self.connection = None;
                self.failures = self.failures.saturating_add(1);
                self.failed = Some((now, error.clone()));
                self.not_before = Some(now + Backoff::CONNECT.after(self.failures, &mut Dice::new()));
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{KafkaError, Kind};

    fn connections() -> Connections {
        Connections::new(Arc::new(ConnectionSettings {
            client_id: "test".into(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            response_bytes_max: 1 << 20,
        }))
    }

    async fn closed_port() -> Address {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() }
    }

    #[tokio::test]
    async fn a_refused_connection_fails_everybody_who_waited_for_it() {
        let (connections, address) = (connections(), closed_port().await);
        let (one, two) = tokio::join!(connections.get(&address), connections.get(&address));
        assert_eq!(one.unwrap_err().kind(), Kind::Unreachable);
        assert_eq!(two.unwrap_err().kind(), Kind::Unreachable);
        assert!(!connections.is_connected(&address));
    }

    #[tokio::test]
    async fn the_attempt_after_a_failure_waits() {
        let (connections, address) = (connections(), closed_port().await);
        connections.get(&address).await.unwrap_err();
        let begun = Instant::now();
        connections.get(&address).await.unwrap_err();
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}
