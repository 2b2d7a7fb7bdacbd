//! Why a produced batch is refused, with the error that Kafka's clients know for it.

use thiserror::Error;

use crate::records::compression::CodecError;
use crate::records::header::BatchError;
use crate::records::record::RecordError;

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const RECORD_LIST_TOO_LARGE: i16 = 18;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// Why a produced batch is refused. Display gives the message for the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("there is no record batch")]
    NoBatch,
    #[error("there must be exactly one record batch, but {bytes} bytes follow the first")]
    MoreThanOneBatch { bytes: usize },
    #[error(transparent)]
    Header(BatchError),
    #[error("the base offset of a produced batch must be 0, but it is {base_offset}")]
    BaseOffset { base_offset: i64 },
    #[error("the stored CRC is {stored:#010x}, the computed one {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("{record_count} records cannot have a last offset delta of {last_offset_delta}")]
    RecordCount { record_count: i32, last_offset_delta: i32 },
    #[error("clients may not write control records")]
    Control,
    #[error("base sequence {base_sequence} is invalid with producer id {producer_id}")]
    Sequence { producer_id: i64, base_sequence: i32 },
    #[error("compression codec {bits} is unknown")]
    UnknownCodec { bits: i16 },
    #[error("zstd needs Produce version 7, the request has {version}")]
    ZstdNotAllowed { version: i16 },
    #[error(transparent)]
    Codec(CodecError),
    #[error(transparent)]
    Record(RecordError),
    #[error("the batch has {bytes} bytes, more than the topic's maximum of {bytes_max}")]
    MessageTooLarge { bytes: usize, bytes_max: usize },
    #[error("the batch has {bytes} bytes, more than a segment's {bytes_max}")]
    RecordListTooLarge { bytes: usize, bytes_max: usize },
    #[error("timestamp {timestamp} of record {index} is not within {earliest} and {latest}")]
    Timestamp { index: u32, timestamp: i64, earliest: i64, latest: i64 },
    #[error("a producer may not set the timestamp type to LogAppendTime")]
    TimestampType,
    #[error("record {index} has no key, which a compacted topic needs")]
    Keyless { index: u32 },
}

impl Refusal {
    /// The number of Kafka's error.
    pub fn error_code(&self) -> i16 {
        match self {
            Refusal::Crc { .. } | Refusal::Header(BatchError::Length { .. } | BatchError::UnknownMagic { .. }) => {
                CORRUPT_MESSAGE
            }
            Refusal::MessageTooLarge { .. } | Refusal::Codec(CodecError::TooLarge { .. }) => MESSAGE_TOO_LARGE,
            Refusal::RecordListTooLarge { .. } => RECORD_LIST_TOO_LARGE,
            Refusal::Timestamp { .. } | Refusal::TimestampType => INVALID_TIMESTAMP,
            Refusal::UnknownCodec { .. } | Refusal::ZstdNotAllowed { .. } => UNSUPPORTED_COMPRESSION_TYPE,
            Refusal::NoBatch
            | Refusal::MoreThanOneBatch { .. }
            | Refusal::Header(BatchError::Partial { .. } | BatchError::OldMagic { .. })
            | Refusal::BaseOffset { .. }
            | Refusal::RecordCount { .. }
            | Refusal::Control
            | Refusal::Sequence { .. }
            | Refusal::Codec(CodecError::Malformed { .. } | CodecError::Encoder { .. })
            | Refusal::Record(_)
            | Refusal::Keyless { .. } => INVALID_RECORD,
        }
    }

    /// The record that is to blame, counted from 0, if one record is.
    pub fn record_index(&self) -> Option<u32> {
        match self {
            Refusal::Timestamp { index, .. } | Refusal::Keyless { index } | Refusal::Record(RecordError { index, .. }) => {
                Some(*index)
            }
            _ => None,
        }
    }
}
