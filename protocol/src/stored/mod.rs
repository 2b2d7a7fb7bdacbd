//! Definitions of Kafka's that are neither sent nor kept by a coordinator: files of a log directory and the remote log's
//! records.

pub mod producer_snapshot;
pub mod quorum_state;
pub mod remote_log;
