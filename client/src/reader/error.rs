//! Why a reader cannot go on.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{OpenError, RecordError};

use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::metadata::MetadataError;

/// Why a reader could not be opened, or has ended. What may heal is retried and not seen here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },
    #[error("{topic}-{partition}: {code}: {}", .code.meaning())]
    Refused { topic: String, partition: i32, code: ErrorCode },
    #[error("{topic}-{partition}: offset {offset} is not there; the log begins at {log_start}")]
    OutOfRange { topic: String, partition: i32, offset: Offset, log_start: Offset },
    #[error("{topic}-{partition}: the batch at offset {offset} is damaged: {what}")]
    Corrupt { topic: String, partition: i32, offset: Offset, what: Damage },
    #[error("invalid setting: {what}")]
    InvalidSetting { what: &'static str },
    #[error("the reader has ended")]
    Ended,
}

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    #[error("checksum {computed:08x} where {stored:08x} is stored")]
    Checksum { stored: u32, computed: u32 },
    #[error(transparent)]
    Batch(#[from] OpenError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl KafkaError for ReadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Metadata(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::UnknownPartition { .. } | Self::OutOfRange { .. } => Kind::NotFound,
            Self::Refused { code, .. } => kind_of(*code),
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::InvalidSetting { .. } => Kind::Invalid,
            Self::Ended => Kind::Closed,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Metadata(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Refused { code, .. } => Some(*code),
            Self::OutOfRange { .. } => Some(ErrorCode::OFFSET_OUT_OF_RANGE),
            _ => None,
        }
    }
}
