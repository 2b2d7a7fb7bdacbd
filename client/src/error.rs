//! What all errors have in common, and the error of a single request.
//!
//! Every operation has an enum of its own; [`KafkaError`] answers what a caller asks of any of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::api::ApiKey;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::frame::FrameError;
use strandline_protocol::wire::WireError;

use crate::address::Address;

/// What kind of failure it is: by this a caller decides, not by the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No connection could be made.
    Unreachable,
    /// No answer in time. What was asked may have been done.
    TimedOut,
    /// The connection ended before the answer. What was asked may have been done.
    Disconnected,
    /// The servers cannot do it at the moment.
    Unavailable,
    /// There is no such topic, partition, offset or resource.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The request is wrong, or forbidden by a policy.
    Invalid,
    /// A record, a batch or a request is larger than allowed.
    TooLarge,
    /// The principal may not do this.
    Unauthorized,
    /// Somebody newer took over.
    Fenced,
    /// The server does not know the API, the version or the feature.
    Unsupported,
    /// Bytes that are not what they should be.
    Corrupt,
    /// This side has been closed.
    Closed,
    /// Anything else that a server said.
    Other,
}

/// What every error of this crate answers.
pub trait KafkaError: std::error::Error {
    fn kind(&self) -> Kind;

    /// The code that a server answered with, if it was a server that said no.
    fn code(&self) -> Option<ErrorCode>;

    /// Whether the same call may succeed later. Producers and readers have retried by then.
    fn is_retriable(&self) -> bool {
        match self.code() {
            Some(code) => code.is_retriable(),
            None => {
                matches!(self.kind(), Kind::Unreachable | Kind::TimedOut | Kind::Disconnected | Kind::Unavailable)
            }
        }
    }

    /// Whether the transaction that it happened in can only be aborted.
    fn requires_abort(&self) -> bool {
        false
    }

    /// Whether the object that answered so is of no more use, such as a fenced producer.
    fn is_fatal(&self) -> bool {
        matches!(self.kind(), Kind::Fenced | Kind::Closed)
    }
}

/// The kind of a code that a server answered with.
pub(crate) fn kind_of(code: ErrorCode) -> Kind {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::OFFSET_OUT_OF_RANGE
        | ErrorCode::RESOURCE_NOT_FOUND
        | ErrorCode::GROUP_ID_NOT_FOUND => Kind::NotFound,
        ErrorCode::TOPIC_ALREADY_EXISTS => Kind::AlreadyExists,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Kind::TooLarge,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::SASL_AUTHENTICATION_FAILED => Kind::Unauthorized,
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::FENCED_INSTANCE_ID
        | ErrorCode::FENCED_MEMBER_EPOCH => Kind::Fenced,
        ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => Kind::Unsupported,
        ErrorCode::CORRUPT_MESSAGE => Kind::Corrupt,
        ErrorCode::REQUEST_TIMED_OUT => Kind::TimedOut,
        ErrorCode::UNKNOWN_SERVER_ERROR => Kind::Other,
        code if code.is_retriable() => Kind::Unavailable,
        code if code.row().is_some() => Kind::Invalid,
        _ => Kind::Other,
    }
}

/// Why one request to one server has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error("cannot reach {address}: {}", reason(.source))]
    Unreachable { address: Address, source: Arc<io::Error> },
    #[error("connection to {address} lost: {}", reason(.source))]
    Disconnected { address: Address, source: Arc<io::Error> },
    #[error("no answer to {api} from {address} within {} ms", .after.as_millis())]
    TimedOut { address: Address, api: ApiKey, after: Duration },
    #[error("{address} does not serve {api} in a version that this client speaks")]
    UnsupportedApi { address: Address, api: ApiKey },
    #[error("{address} answered what cannot be decoded: {error}")]
    Malformed { address: Address, error: WireError },
    #[error("{address} sent a frame that is refused: {error}")]
    Frame { address: Address, error: FrameError },
    #[error("{address} broke the protocol: {what}")]
    Protocol { address: Address, what: &'static str },
    #[error("broker {0} is not in the cluster's metadata")]
    UnknownBroker(i32),
    #[error("{address} answered {code}: {}", .code.meaning())]
    Refused { address: Address, code: ErrorCode },
}

impl KafkaError for RequestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Disconnected { .. } => Kind::Disconnected,
            Self::TimedOut { .. } => Kind::TimedOut,
            Self::UnsupportedApi { .. } => Kind::Unsupported,
            Self::Malformed { .. } | Self::Frame { .. } | Self::Protocol { .. } => Kind::Corrupt,
            Self::UnknownBroker(_) => Kind::Unavailable,
            Self::Refused { code, .. } => kind_of(*code),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// What the operating system says, without the number that it adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_says_so_without_numbers() {
        let error = RequestError::Unreachable {
            address: Address { host: "127.0.0.1".into(), port: 1 },
            source: Arc::new(io::Error::from_raw_os_error(111)),
        };
        assert_eq!(error.to_string(), "cannot reach 127.0.0.1:1: connection refused");
        assert!(error.is_retriable());
    }

    #[test]
    fn a_code_is_retriable_by_the_table_whatever_its_kind() {
        let address = Address { host: "a".into(), port: 1 };
        let refused = |code| RequestError::Refused { address: address.clone(), code };
        assert!(refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION).is_retriable());
        assert_eq!(refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION).kind(), Kind::NotFound);
        assert!(!refused(ErrorCode::INVALID_CONFIG).is_retriable());
        assert_eq!(refused(ErrorCode::INVALID_CONFIG).kind(), Kind::Invalid);
        assert_eq!(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER).kind(), Kind::Unavailable);
    }
}
