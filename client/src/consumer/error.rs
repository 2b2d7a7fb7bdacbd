//! Why a consumer cannot go on.

use std::time::Duration;

use strandline_protocol::error::ErrorCode;

use crate::coordinator::CoordinatorError;
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::metadata::MetadataError;
use crate::reader::ReadError;

/// Why a call of a consumer failed. What may heal is retried and not seen here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("group {group}: {code}: {}", .message.as_deref().unwrap_or(.code.meaning()))]
    Group { group: String, code: ErrorCode, message: Option<String> },
    #[error("{topic}-{partition} was not committed: {code}: {}", .code.meaning())]
    Commit { topic: String, partition: i32, code: ErrorCode },
    #[error("{topic}-{partition} is not assigned to this member")]
    NotAssigned { topic: String, partition: i32 },
    #[error("the member has left the group, because poll was not called for {} ms", .after.as_millis())]
    PollIntervalExceeded { after: Duration },
    #[error("not a member of the group at the moment")]
    NotMember,
    #[error("invalid setting: {what}")]
    InvalidSetting { what: &'static str },
    #[error("the consumer is closed")]
    Closed,
}

impl KafkaError for ConsumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Group { code, .. } | Self::Commit { code, .. } => kind_of(*code),
            Self::NotAssigned { .. } => Kind::NotFound,
            Self::PollIntervalExceeded { .. } => Kind::TimedOut,
            Self::NotMember => Kind::Unavailable,
            Self::InvalidSetting { .. } => Kind::Invalid,
            Self::Closed => Kind::Closed,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Group { code, .. } | Self::Commit { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl ConsumeError {
    pub(super) fn of(group: &str, error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::Metadata(error) => Self::Metadata(error),
            CoordinatorError::Request(error) => Self::Request(error),
            CoordinatorError::Refused { code } => Self::Group { group: group.to_owned(), code, message: None },
        }
    }
}
