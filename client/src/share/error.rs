//! Why a share consumer cannot go on.

use strandline_protocol::error::ErrorCode;

use crate::coordinator::CoordinatorError;
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::metadata::MetadataError;
use crate::reader::ReadError;

/// Why a call of a share consumer failed. What may heal is retried and not seen here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("share group {group}: {code}: {}", .message.as_deref().unwrap_or(.code.meaning()))]
    Group { group: String, code: ErrorCode, message: Option<String> },
    #[error("what was said of records of {topic}-{partition} does not count: {code}: {}", .code.meaning())]
    Acknowledge { topic: String, partition: i32, code: ErrorCode },
    #[error("not a member of the share group at the moment")]
    NotMember,
    #[error("invalid setting: {what}")]
    InvalidSetting { what: &'static str },
    #[error("the share consumer is closed")]
    Closed,
}

impl ShareError {
    pub(super) fn of(group: &str, error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::Metadata(error) => Self::Metadata(error),
            CoordinatorError::Request(error) => Self::Request(error),
            CoordinatorError::Refused { code } => Self::Group { group: group.to_owned(), code, message: None },
        }
    }
}

impl KafkaError for ShareError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Group { code, .. } | Self::Acknowledge { code, .. } => kind_of(*code),
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
            Self::Group { code, .. } | Self::Acknowledge { code, .. } => Some(*code),
            _ => None,
        }
    }
}
