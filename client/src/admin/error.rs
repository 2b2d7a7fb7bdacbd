//! Why the cluster did not do as it was asked.

use strandline_protocol::error::ErrorCode;

use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::metadata::MetadataError;

/// Why a call, or one item of it, failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{code}: {}", .message.as_deref().unwrap_or(.code.meaning()))]
    Refused { code: ErrorCode, message: Option<String> },
    #[error("the server passed over this item")]
    Unanswered,
}

impl KafkaError for AdminError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Refused { code, .. } => kind_of(*code),
            Self::Unanswered => Kind::Other,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Refused { code, .. } => Some(*code),
            Self::Unanswered => None,
        }
    }
}
