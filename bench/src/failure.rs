//! Why there are no figures. Exit codes are those of `strandline`: 1 the cluster refused, 3 it cannot be reached, 4 this
//! side.

use std::io;
use std::process::ExitCode;

use strandline_client::{
    AdminError, ConnectError, ConsumeError, ErrorCode, KafkaError, Kind, MetadataError, ProduceError, RequestError,
};
use strandline_protocol::records::BuildError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}; use --bootstrap HOST:PORT")]
    Connect(#[from] ConnectError),
    #[error("topic {topic}: {error}")]
    Topic { topic: String, error: AdminError },
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error("partition {partition}: {code}: {}", .code.meaning())]
    Refused { partition: i32, code: ErrorCode },
    #[error("partition {0} has no leader")]
    NoLeader(i32),
    #[error("partition {0} holds no records to read")]
    Empty(i32),
    #[error("the batch cannot be built: {0}")]
    Build(#[from] BuildError),
    #[error("nothing was answered within the measured time; use a longer --duration")]
    NothingMeasured,
    #[error("process {pid}: {error}")]
    Process { pid: u32, error: io::Error },
    #[error("the runtime did not start: {0}")]
    Runtime(io::Error),
    #[error("a worker ended: {0}")]
    Worker(#[from] tokio::task::JoinError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        let by_kind = |error: &dyn KafkaError| match error.kind() {
            Kind::Unreachable | Kind::TimedOut | Kind::Disconnected => 3,
            _ => 1,
        };
        ExitCode::from(match self {
            Self::Connect(error) => by_kind(error),
            Self::Topic { error, .. } | Self::Admin(error) => by_kind(error),
            Self::Metadata(error) => by_kind(error),
            Self::Request(error) => by_kind(error),
            Self::Consume(error) => by_kind(error),
            Self::Produce(error) => by_kind(error),
            Self::Refused { .. } | Self::NoLeader(_) | Self::Empty(_) | Self::NothingMeasured => 1,
            Self::Build(_) | Self::Process { .. } | Self::Runtime(_) | Self::Worker(_) | Self::Output(_) => 4,
        })
    }
}
