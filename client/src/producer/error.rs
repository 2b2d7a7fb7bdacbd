//! Why a record was not produced.

use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::records::BuildError;

use super::transaction::AbortCause;
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::metadata::MetadataError;
use crate::record::Record;

/// Why a record was not produced, or why a producer cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{topic}-{partition}: {code}: {}", .message.as_deref().unwrap_or(.code.meaning()))]
    Refused { topic: Arc<str>, partition: i32, code: ErrorCode, message: Option<String> },
    #[error("no producer id: {code}: {}", .code.meaning())]
    NoProducerId { code: ErrorCode },
    #[error("the record takes {bytes} bytes, more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    /// Not acknowledged in time. If it was sent at all, it may have been written.
    #[error("not acknowledged within {} s{}", .after.as_secs_f32(), cause(.last))]
    TimedOut { after: Duration, maybe_written: bool, last: Option<Arc<ProduceError>> },
    #[error("the batch cannot be encoded: {0}")]
    Encode(#[from] BuildError),
    /// The transaction that it belongs to can only be aborted.
    #[error("the transaction has to be aborted: {cause}")]
    Abortable { cause: AbortCause },
    /// The coordinator will not have the producer any more.
    #[error("transactional id {transactional_id}: {code}: {}", .code.meaning())]
    Ended { transactional_id: Arc<str>, code: ErrorCode },
    #[error("invalid setting: {what}")]
    InvalidSetting { what: &'static str },
    #[error("the producer was closed before the record was acknowledged")]
    Closed,
}

fn cause(last: &Option<Arc<ProduceError>>) -> String {
    last.as_ref().map_or_else(String::new, |last| format!("; the last failure was: {last}"))
}

impl KafkaError for ProduceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Refused { code, .. } | Self::NoProducerId { code } | Self::Ended { code, .. } => kind_of(*code),
            Self::Abortable { cause } => cause.kind(),
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::UnknownPartition { .. } => Kind::NotFound,
            Self::TimedOut { .. } => Kind::TimedOut,
            Self::Encode(_) | Self::InvalidSetting { .. } => Kind::Invalid,
            Self::Closed => Kind::Closed,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Refused { code, .. } | Self::NoProducerId { code } | Self::Ended { code, .. } => Some(*code),
            Self::Abortable { cause } => cause.code(),
            _ => None,
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Abortable { .. } => false,
            Self::NoProducerId { .. } | Self::Ended { .. } => true,
            _ => matches!(self.kind(), Kind::Fenced | Kind::Closed),
        }
    }

    fn requires_abort(&self) -> bool {
        matches!(self, Self::Abortable { .. })
    }
}

/// A record that was not produced, given back with the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendFailed {
    pub record: Box<Record>,
    pub error: ProduceError,
}

impl KafkaError for SendFailed {
    fn kind(&self) -> Kind {
        self.error.kind()
    }

    fn code(&self) -> Option<ErrorCode> {
        self.error.code()
    }

    fn is_retriable(&self) -> bool {
        self.error.is_retriable()
    }

    fn is_fatal(&self) -> bool {
        self.error.is_fatal()
    }

    fn requires_abort(&self) -> bool {
        self.error.requires_abort()
    }
}
