//! The broker that coordinates a group: looked up when needed, and again when it says that it is not the one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::find_coordinator;
use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::client::Client;
use crate::connection::{CallOptions, Connection};
use crate::connections::Connections;
use crate::coordinators::{self, KeyType};
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::locked::locked;
use crate::metadata::MetadataError;

/// Why a coordinator could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum GroupError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the group has no coordinator: {code}: {}", .code.meaning())]
    NoCoordinator { code: ErrorCode },
}

impl KafkaError for GroupError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::NoCoordinator { code } => kind_of(*code),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::NoCoordinator { code } => Some(*code),
        }
    }
}

/// What to do about a request whose answer was lost: it may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    SendAgain,
    Report,
}

/// The way to the coordinator of one group.
///
/// Requests of a member and its commits take different ways: a JoinGroup is answered when the others have joined too, and
/// answers of a connection come in order.
#[derive(Debug)]
pub(crate) struct Coordinator {
    client: Client,
    group: String,
    known: Mutex<Option<Address>>,
    connections: Connections,
}

impl Coordinator {
    pub(crate) fn new(client: Client, group: String) -> Self {
        let connections = Connections::new(Arc::clone(&client.shared.settings));
        Self { client, group, known: Mutex::default(), connections }
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Asks the coordinator; asks again, within `patience`, while there is none or it is elsewhere. `code` finds the code
    /// in an answer that says so.
    pub(crate) async fn call<C: Call + Clone>(
        &self,
        request: &C,
        options: CallOptions,
        patience: Duration,
        lost: Lost,
        code: impl Fn(&C::Response) -> ErrorCode,
    ) -> Result<C::Response, GroupError> {
        let (deadline, mut dice) = (Instant::now() + patience, Dice::new());
        for failures in 1.. {
            let answer = self.call_once(request, options).await;
            let again = match &answer {
                Ok(response) => is_elsewhere(code(response)),
                Err(GroupError::Request(RequestError::Disconnected { .. } | RequestError::TimedOut { .. })) => {
                    lost == Lost::SendAgain
                }
                Err(error) => error.is_retriable(),
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            if !again {
                return answer;
            }
            *locked(&self.known) = None;
            if Instant::now() + wait > deadline {
                return answer;
            }
            tokio::time::sleep(wait).await;
        }
        Err(GroupError::NoCoordinator { code: ErrorCode::COORDINATOR_NOT_AVAILABLE })
    }

    async fn call_once<C: Call + Clone>(&self, request: &C, options: CallOptions) -> Result<C::Response, GroupError> {
        let connection = self.connections.get(&self.address().await?).await?;
        Ok(connection.submit_with(request.clone(), options)?.answer().await?)
    }

    async fn address(&self) -> Result<Address, GroupError> {
        let known = locked(&self.known).clone();
        match known {
            Some(address) => Ok(address),
            None => self.find().await,
        }
    }

    async fn find(&self) -> Result<Address, GroupError> {
        let address = address_in(coordinators::find(&self.client, KeyType::Group, &self.group).await?)?;
        *locked(&self.known) = Some(address.clone());
        Ok(address)
    }

    /// A connection to the coordinator; waits for a group's first use to make one.
    async fn connection(&self) -> Result<Connection, GroupError> {
        let deadline = Instant::now() + self.client.shared.settings.request_timeout;
        let mut dice = Dice::new();
        for failures in 1.. {
            let connected = match self.address().await {
                Ok(address) => self.connections.get(&address).await.map_err(GroupError::from),
                Err(error) => Err(error),
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            match connected {
                Err(error) if error.is_retriable() && Instant::now() + wait < deadline => *locked(&self.known) = None,
                connected => return connected,
            }
            tokio::time::sleep(wait).await;
        }
        Err(GroupError::NoCoordinator { code: ErrorCode::COORDINATOR_NOT_AVAILABLE })
    }

    /// Whether the coordinator serves this API.
    pub(crate) async fn serves<C: Call>(&self) -> Result<bool, GroupError> {
        Ok(self.connection().await?.serves::<C>())
    }

    /// The coordinator's id, for those who want to show it.
    pub(crate) async fn id(&self) -> Result<BrokerId, GroupError> {
        let connection = self.connection().await?;
        let cluster = self.client.cluster();
        let mut brokers = cluster.brokers.iter();
        Ok(brokers.find(|(_, broker)| broker.address == *connection.address()).map_or(BrokerId::NONE, |(id, _)| *id))
    }
}

fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
}

fn address_in(found: find_coordinator::Coordinator) -> Result<Address, GroupError> {
    let find_coordinator::Coordinator { error_code: code, host, port, .. } = found;
    let port = u16::try_from(port).map_err(|_| GroupError::NoCoordinator { code: ErrorCode::COORDINATOR_NOT_AVAILABLE });
    if code.is_none() { Ok(Address { host, port: port? }) } else { Err(GroupError::NoCoordinator { code }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_address() {
        let found = find_coordinator::Coordinator { host: "b".into(), port: 2, ..Default::default() };
        assert_eq!(address_in(found.clone()).unwrap().host, "b");
        let refused = find_coordinator::Coordinator { error_code: ErrorCode::COORDINATOR_NOT_AVAILABLE, port: -1, ..found };
        assert!(address_in(refused).unwrap_err().is_retriable());
    }
}
