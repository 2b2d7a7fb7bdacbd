//! How a client command ends: every exit code, and every reason with the next step in its text. What a broker ends with
//! is in `crate::exit`.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; also if the reader of the output went away |
//! | 1 | the cluster was asked and the answer is no, for all or for some of the items |
//! | 2 | wrong usage (clap ends with the same code) |
//! | 3 | the cluster cannot be reached, or did not answer in time |
//! | 4 | a local file or stream cannot be read or written, or does not hold what it should |

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use strandline_client::{
    AdminError, ConnectError, ConsumeError, ErrorCode, KafkaError, Kind, MetadataError, ProduceError, ReadError, SendFailed,
    ShareError, TransactionError,
};

const FAILED: u8 = 1;
const UNREACHABLE: u8 = 3;
const LOCAL: u8 = 4;

/// Why a command did not do all that it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", told(.error))]
    Connect { error: ConnectError },
    #[error("{}", told(.0))]
    Admin(#[from] AdminError),
    #[error("{}", told(.0))]
    Read(#[from] ReadError),
    #[error("{}", told(.0))]
    Consume(#[from] ConsumeError),
    #[error("{}", told(.0))]
    Share(#[from] ShareError),
    #[error("{}", told(.0))]
    Produce(#[from] ProduceError),
    #[error("{}", told(.0))]
    Transaction(#[from] TransactionError),
    #[error("line {line}: {}", told(.failed))]
    Record { line: u64, failed: SendFailed },
    #[error("line {line} is longer than {limit} bytes")]
    Line { line: u64, limit: usize },
    #[error("line {line} has no key separator `{separator}`; without keys leave out --key-separator")]
    NoSeparator { line: u64, separator: String },
    #[error("{path}: {error}", path = .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{path} is no file of a log directory by its name", path = .path.display())]
    UnknownFile { path: PathBuf },
    #[error("{path} is damaged", path = .path.display())]
    Damaged { path: PathBuf },
    #[error("standard input: {0}")]
    Input(io::Error),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    #[error("the runtime did not start: {0}")]
    Runtime(io::Error),
    #[error(
        "{offline} partitions have no leader, {under_replicated} lack replicas; are all brokers running? `strandline cluster info` shows them"
    )]
    Unhealthy { offline: usize, under_replicated: usize },
    #[error(
        "no broker can take {topic}:{partition} over from broker {broker}: add a broker, or give the topic fewer replicas with `strandline partition move`"
    )]
    NoHeir { broker: i32, topic: String, partition: i32 },
    #[error("group {group} has {members} members, which would go on where they are: stop them first")]
    GroupInUse { group: String, members: usize },
    #[error("group {group} has committed nothing there; name partitions with --topic to set offsets all the same")]
    NothingToReset { group: String },
    #[error(
        "producer {producer} has no transaction open in {topic}:{partition}; `strandline txn list` shows what coordinators know"
    )]
    NothingOpen { producer: i64, topic: String, partition: i32 },
    #[error("node {id} {role} nowhere; `strandline cluster quorum` shows who does")]
    NoReplica { id: i32, role: &'static str },
    #[error("node {id} {role} with several directories; name one with --directory-id, `strandline cluster quorum` shows them")]
    SeveralReplicas { id: i32, role: &'static str },
    #[error(
        "the voters stand in the configuration of the controllers (kraft.version 0) and cannot be changed; node {id} has no directory there"
    )]
    NoDirectory { id: i32 },
    #[error("{topic}:{partition} has no replica on broker {broker}; `strandline partition list` shows who has")]
    NotOnBroker { topic: String, partition: i32, broker: i32 },
    #[error(
        "{topic}:{partition} is not on its way to {path} any more; `strandline broker dirs --replicas` shows where it lies"
    )]
    NotMoving { topic: String, partition: i32, path: String },
    /// Some items failed, and what became of each has been printed.
    #[error("{failed} of {all} failed")]
    Some { failed: usize, all: usize },
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Connect { error } => code_of(error),
            Self::Admin(error) => code_of(error),
            Self::Read(error) => code_of(error),
            Self::Consume(error) => code_of(error),
            Self::Share(error) => code_of(error),
            Self::Produce(error) => code_of(error),
            Self::Transaction(error) => code_of(error),
            Self::Record { failed, .. } => code_of(failed),
            Self::GroupInUse { .. } | Self::NothingToReset { .. } => FAILED,
            Self::NotOnBroker { .. } | Self::NotMoving { .. } => FAILED,
            Self::NoReplica { .. } | Self::SeveralReplicas { .. } | Self::NoDirectory { .. } => FAILED,
            Self::Some { .. } | Self::Unhealthy { .. } | Self::NoHeir { .. } | Self::NothingOpen { .. } => FAILED,
            Self::Line { .. } | Self::NoSeparator { .. } | Self::UnknownFile { .. } | Self::Damaged { .. } => LOCAL,
            Self::File { .. } | Self::Input(_) | Self::Output(_) | Self::Runtime(_) => LOCAL,
        }
    }

    /// Whether whoever read our output has gone, as `head` does when it has enough.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Says why a command failed, and answers with its code.
pub(crate) fn code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn code_of(error: &impl KafkaError) -> u8 {
    match error.kind() {
        Kind::Unreachable | Kind::TimedOut | Kind::Disconnected => UNREACHABLE,
        _ if error.code() == Some(ErrorCode::REQUEST_TIMED_OUT) => UNREACHABLE,
        _ => FAILED,
    }
}

/// What the user can do about it; empty if nothing comes to mind.
fn next_step(error: &impl KafkaError) -> &'static str {
    match error.kind() {
        Kind::Unreachable => "is `strandline serve` running? use --bootstrap HOST:PORT",
        Kind::Disconnected => "does a Kafka-compatible server listen there, without TLS?",
        Kind::TimedOut => "is the cluster healthy? see its log",
        _ => match error.code() {
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => "`strandline topic list` shows the topics",
            Some(ErrorCode::LOG_DIR_NOT_FOUND) => "`strandline broker dirs` shows the directories, as they are to be named",
            Some(ErrorCode::GROUP_ID_NOT_FOUND) => "`strandline group list` shows the groups",
            Some(ErrorCode::NON_EMPTY_GROUP) => "stop its members first; `strandline group describe` shows them",
            Some(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC) => "stop the members that are subscribed first",
            Some(ErrorCode::TOPIC_ALREADY_EXISTS) => "use --if-not-exists to accept that",
            Some(ErrorCode::INVALID_REPLICATION_FACTOR) => "a topic cannot have more replicas than there are brokers",
            Some(ErrorCode::VOTER_NOT_FOUND | ErrorCode::DUPLICATE_VOTER) => "`strandline cluster quorum` shows the voters",
            Some(ErrorCode::OFFSET_OUT_OF_RANGE) => "`strandline topic describe` shows which offsets there are",
            Some(ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND) => {
                "`strandline topic describe` shows which replicas are missing"
            }
            _ => "",
        },
    }
}

/// What went wrong, with the next step.
pub(crate) fn told(error: &impl KafkaError) -> String {
    match next_step(error) {
        "" => error.to_string(),
        // Servers end their messages as they like.
        step => format!("{}; {step}", error.to_string().trim_end_matches('.')),
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        Self::Admin(error.into())
    }
}

#[cfg(test)]
mod tests {
    use strandline_client::{Address, RequestError};

    use super::*;

    #[test]
    fn a_cluster_that_is_not_there_is_told_with_the_next_step() {
        let attempt = RequestError::Unreachable {
            address: Address { host: "127.0.0.1".into(), port: 9092 },
            source: std::sync::Arc::new(io::Error::from_raw_os_error(111)),
        };
        let failure = Failure::Connect { error: MetadataError::NoServer { attempts: vec![attempt] }.into() };
        assert_eq!(failure.code(), UNREACHABLE);
        let expected =
            "cannot reach 127.0.0.1:9092: connection refused; is `strandline serve` running? use --bootstrap HOST:PORT";
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn a_refusal_is_told_from_a_missing_cluster() {
        let failure = Failure::Admin(AdminError::Refused { code: ErrorCode::INVALID_CONFIG, message: None });
        assert_eq!(failure.code(), FAILED);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).code(), LOCAL);
    }
}
