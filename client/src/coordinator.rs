//! The broker that coordinates a group or a transactional id: looked up when needed, and again when it says that it is not
//! the one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::find_coordinator::{self, FindCoordinatorRequest, FindCoordinatorResponse};
use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::client::Client;
use crate::connection::{CallOptions, Connection};
use crate::connections::Connections;
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::locked::locked;
use crate::metadata::MetadataError;

/// Why a coordinator could not be asked, or what it answers that may pass.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the coordinator: {code}: {}", .code.meaning())]
    Refused { code: ErrorCode },
}

impl KafkaError for CoordinatorError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Refused { code } => kind_of(*code),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Refused { code } => Some(*code),
        }
    }
}

/// What to do about a request whose answer was lost: it may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    SendAgain,
    Report,
}

/// What a key names. Source: FindCoordinatorRequest.CoordinatorType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Group = 0,
    Transaction = 1,
}

/// The way to the coordinator of one group or transactional id.
///
/// Requests of a member and its commits take different ways: a JoinGroup is answered when the others have joined too, and
/// answers of a connection come in order.
#[derive(Debug)]
pub(crate) struct Coordinator {
    client: Client,
    key_type: KeyType,
    key: String,
    known: Mutex<Option<Address>>,
    connections: Connections,
}

impl Coordinator {
    pub(crate) fn new(client: Client, key_type: KeyType, key: String) -> Self {
        let connections = Connections::new(Arc::clone(&client.shared.settings));
        Self { client, key_type, key, known: Mutex::default(), connections }
    }

    /// The group or the transactional id.
    pub(crate) fn key(&self) -> &str {
        &self.key
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
    ) -> Result<C::Response, CoordinatorError> {
        let (deadline, mut dice) = (Instant::now() + patience, Dice::new());
        for failures in 1.. {
            let answer = self.call_once(request, options).await;
            let again = match &answer {
                Ok(response) => is_elsewhere(code(response)),
                Err(CoordinatorError::Request(RequestError::Disconnected { .. } | RequestError::TimedOut { .. })) => {
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
        Err(CoordinatorError::Refused { code: ErrorCode::COORDINATOR_NOT_AVAILABLE })
    }

    async fn call_once<C: Call + Clone>(&self, request: &C, options: CallOptions) -> Result<C::Response, CoordinatorError> {
        let connection = self.connections.get(&self.address().await?).await?;
        Ok(connection.submit_with(request.clone(), options)?.answer().await?)
    }

    async fn address(&self) -> Result<Address, CoordinatorError> {
        let known = locked(&self.known).clone();
        match known {
            Some(address) => Ok(address),
            None => self.find().await,
        }
    }

    async fn find(&self) -> Result<Address, CoordinatorError> {
        let address = address_in(find(&self.client, self.key_type, &self.key).await?)?;
        *locked(&self.known) = Some(address.clone());
        Ok(address)
    }

    /// A connection to the coordinator; waits for the first use of coordinators to make one.
    async fn connection(&self) -> Result<Connection, CoordinatorError> {
        let deadline = Instant::now() + self.client.shared.settings.request_timeout;
        let mut dice = Dice::new();
        for failures in 1.. {
            let connected = match self.address().await {
                Ok(address) => self.connections.get(&address).await.map_err(CoordinatorError::from),
                Err(error) => Err(error),
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            match connected {
                Err(error) if error.is_retriable() && Instant::now() + wait < deadline => *locked(&self.known) = None,
                connected => return connected,
            }
            tokio::time::sleep(wait).await;
        }
        Err(CoordinatorError::Refused { code: ErrorCode::COORDINATOR_NOT_AVAILABLE })
    }

    /// Whether the coordinator serves this API.
    pub(crate) async fn serves<C: Call>(&self) -> Result<bool, CoordinatorError> {
        Ok(self.connection().await?.serves::<C>())
    }

    /// The level of a feature of the cluster, as the coordinator has it; 0 if it says none.
    pub(crate) async fn finalized(&self, feature: &str) -> Result<i16, CoordinatorError> {
        Ok(self.connection().await?.finalized(feature))
    }

    /// The coordinator's id, for those who want to show it.
    pub(crate) async fn id(&self) -> Result<BrokerId, CoordinatorError> {
        let connection = self.connection().await?;
        let cluster = self.client.cluster();
        let mut brokers = cluster.brokers.iter();
        Ok(brokers.find(|(_, broker)| broker.address == *connection.address()).map_or(BrokerId::NONE, |(id, _)| *id))
    }
}

/// Asks any broker. The answer may be a refusal: its error code says so.
pub(crate) async fn find(
    client: &Client,
    key_type: KeyType,
    key: &str,
) -> Result<find_coordinator::Coordinator, MetadataError> {
    let request =
        FindCoordinatorRequest { key: key.to_owned(), key_type: key_type as i8, coordinator_keys: vec![key.to_owned()] };
    Ok(single(client.shared.metadata.call_any(request).await?))
}

/// Before version 4 there is one key, and one answer.
fn single(response: FindCoordinatorResponse) -> find_coordinator::Coordinator {
    let FindCoordinatorResponse { error_code, error_message, node_id, host, port, coordinators, .. } = response;
    let only = find_coordinator::Coordinator { key: String::new(), node_id, host, port, error_code, error_message };
    coordinators.into_iter().next().unwrap_or(only)
}

fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
}

fn address_in(found: find_coordinator::Coordinator) -> Result<Address, CoordinatorError> {
    let find_coordinator::Coordinator { error_code: code, host, port, .. } = found;
    let port = u16::try_from(port).map_err(|_| CoordinatorError::Refused { code: ErrorCode::COORDINATOR_NOT_AVAILABLE });
    if code.is_none() { Ok(Address { host, port: port? }) } else { Err(CoordinatorError::Refused { code }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_is_read_from_answers_of_both_shapes() {
        let old = FindCoordinatorResponse { host: "a".to_owned(), port: 1, ..FindCoordinatorResponse::default() };
        let one = find_coordinator::Coordinator { host: "b".to_owned(), port: 2, ..Default::default() };
        let new = FindCoordinatorResponse { coordinators: vec![one], ..FindCoordinatorResponse::default() };
        assert_eq!(single(old).host, "a");
        assert_eq!(single(new).host, "b");
    }

    #[test]
    fn a_refusal_is_no_address() {
        let found = find_coordinator::Coordinator { host: "b".into(), port: 2, ..Default::default() };
        assert_eq!(address_in(found.clone()).unwrap().host, "b");
        let refused = find_coordinator::Coordinator { error_code: ErrorCode::COORDINATOR_NOT_AVAILABLE, port: -1, ..found };
        assert!(address_in(refused).unwrap_err().is_retriable());
    }
}
