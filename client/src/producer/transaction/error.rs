//! Why a transaction did not come to the end that was wished for.

use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;

use crate::coordinator::CoordinatorError;
use crate::error::{KafkaError, Kind, kind_of};
use crate::producer::error::ProduceError;

/// Why a call of a transactional producer failed.
///
/// What to do is in the variant: after `Aborted` the same work can be done again in another transaction; after `Abortable`
/// the transaction is still there and is to be aborted; after `Fenced` and `Refused` the producer is of no more use.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The coordinator cannot be asked, now or later.
    #[error(transparent)]
    Coordinator(CoordinatorError),
    /// It can only be aborted; `commit` does so too.
    #[error("the transaction has to be aborted: {cause}")]
    Abortable { cause: AbortCause },
    /// Instead of being committed it was aborted: nothing of it is to be seen.
    #[error("the transaction was aborted: {cause}")]
    Aborted { cause: AbortCause },
    /// Another producer has initialised itself under the transactional id, or the transaction took longer than its timeout.
    #[error("transactional id {transactional_id} belongs to a newer producer: {code}: {}", .code.meaning())]
    Fenced { transactional_id: Arc<str>, code: ErrorCode },
    #[error("transactional id {transactional_id}: {code}: {}", .code.meaning())]
    Refused { transactional_id: Arc<str>, code: ErrorCode },
    /// The coordinator has not said what became of the request. How a transaction ended that was to be committed is found out
    /// by `settle`, or by the next `begin`.
    #[error("unsettled after {} s: {last}", .after.as_secs_f32())]
    Unsettled { after: Duration, last: CoordinatorError },
    #[error("invalid setting: {what}")]
    InvalidSetting { what: &'static str },
    #[error("the producer is closed")]
    Closed,
}

/// Why a transaction cannot be committed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AbortCause {
    #[error("a record was not produced: {0}")]
    Record(Arc<ProduceError>),
    /// Where the group is cannot be part of it: mostly because another member has the partitions already.
    #[error("offsets of group {group} were not taken: {code}: {}", .code.meaning())]
    Offsets { group: String, code: ErrorCode },
    /// The batch that was worked on is of a partition that is not this member's any more.
    #[error("{topic}-{partition} was given to another member of group {group}")]
    LostPartition { group: String, topic: String, partition: i32 },
    #[error("its coordinator answered {code}: {}", .code.meaning())]
    Coordinator { code: ErrorCode },
    #[error("its coordinator could not be asked: {0}")]
    Unanswered(Arc<TransactionError>),
    /// The caller aborted it, or let go of it or of a part of it.
    #[error("its caller gave it up")]
    GivenUp,
}

/// Whether a code says that somebody else produces under the transactional id.
pub(in crate::producer) fn is_fencing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_ID_MAPPING)
}

impl TransactionError {
    /// What ends the producer: `code` was said of its transactional id.
    pub(in crate::producer) fn ending(transactional_id: &Arc<str>, code: ErrorCode) -> Self {
        let transactional_id = Arc::clone(transactional_id);
        if is_fencing(code) { Self::Fenced { transactional_id, code } } else { Self::Refused { transactional_id, code } }
    }
}

impl KafkaError for TransactionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Coordinator(error) | Self::Unsettled { last: error, .. } => error.kind(),
            Self::Abortable { cause } | Self::Aborted { cause } => cause.kind(),
            Self::Fenced { .. } => Kind::Fenced,
            Self::Refused { code, .. } => kind_of(*code),
            Self::InvalidSetting { .. } => Kind::Invalid,
            Self::Closed => Kind::Closed,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Coordinator(error) | Self::Unsettled { last: error, .. } => error.code(),
            Self::Abortable { cause } | Self::Aborted { cause } => cause.code(),
            Self::Fenced { code, .. } | Self::Refused { code, .. } => Some(*code),
            Self::InvalidSetting { .. } | Self::Closed => None,
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Aborted { .. } | Self::Unsettled { .. })
    }

    fn is_fatal(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Refused { .. } | Self::Closed)
    }

    fn requires_abort(&self) -> bool {
        matches!(self, Self::Abortable { .. })
    }
}

impl AbortCause {
    pub(in crate::producer) fn kind(&self) -> Kind {
        match self {
            Self::Record(error) => error.kind(),
            Self::Unanswered(error) => error.kind(),
            Self::Offsets { code, .. } | Self::Coordinator { code } => kind_of(*code),
            Self::LostPartition { .. } => Kind::Fenced,
            Self::GivenUp => Kind::Closed,
        }
    }

    pub(in crate::producer) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Record(error) => error.code(),
            Self::Unanswered(error) => error.code(),
            Self::Offsets { code, .. } | Self::Coordinator { code } => Some(*code),
            Self::LostPartition { .. } | Self::GivenUp => None,
        }
    }
}
