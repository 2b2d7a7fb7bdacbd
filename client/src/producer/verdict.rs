//! What an answer means for a batch: decisions only.

use strandline_protocol::error::ErrorCode;

/// What to do with a batch after a broker's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored,
    /// Stored so long ago that the broker does not know the offset any more.
    StoredBefore,
    /// Send it again, as it is.
    Again,
    /// Send it again, after a look for the leader.
    AgainElsewhere,
    /// The broker misses a batch in front of it.
    OutOfOrder,
    /// Send it again in two halves.
    Halve,
    Failed,
}

/// Judges a code, for a batch of so many records.
pub(super) fn judge(code: ErrorCode, records: usize, idempotent: bool) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Stored,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER if idempotent => Verdict::StoredBefore,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID if idempotent => Verdict::OutOfOrder,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE if records > 1 => Verdict::Halve,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::KAFKA_STORAGE_ERROR => Verdict::AgainElsewhere,
        code if code.is_retriable() => Verdict::Again,
        _ => Verdict::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_leader_is_looked_for_and_a_busy_one_is_asked_again() {
        assert_eq!(judge(ErrorCode::NOT_LEADER_OR_FOLLOWER, 1, true), Verdict::AgainElsewhere);
        assert_eq!(judge(ErrorCode::NOT_ENOUGH_REPLICAS, 1, true), Verdict::Again);
        assert_eq!(judge(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1, true), Verdict::Again);
        assert_eq!(judge(ErrorCode::REQUEST_TIMED_OUT, 1, true), Verdict::Again);
    }

    #[test]
    fn sequences_mean_nothing_to_a_producer_without_them() {
        assert_eq!(judge(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 1, true), Verdict::OutOfOrder);
        assert_eq!(judge(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, 1, false), Verdict::Failed);
        assert_eq!(judge(ErrorCode::DUPLICATE_SEQUENCE_NUMBER, 1, true), Verdict::StoredBefore);
    }

    #[test]
    fn a_batch_that_is_too_large_is_halved_until_one_record_is() {
        assert_eq!(judge(ErrorCode::MESSAGE_TOO_LARGE, 2, true), Verdict::Halve);
        assert_eq!(judge(ErrorCode::MESSAGE_TOO_LARGE, 1, true), Verdict::Failed);
    }

    #[test]
    fn what_no_retry_can_help_fails() {
        for code in [
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ErrorCode::INVALID_RECORD,
            ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::POLICY_VIOLATION,
            ErrorCode(4711),
        ] {
            assert_eq!(judge(code, 5, true), Verdict::Failed, "{code}");
        }
    }
}
