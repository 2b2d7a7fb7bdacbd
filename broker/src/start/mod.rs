//! From a command line to a node: settings, the data directories, what lies in them.
//!
//! Everything that can be wrong with a start is found out here and said with the next step; nothing is served yet.
//! Invariant: a directory is written to only while its lock is held, and its mark of a clean shutdown is gone before
//! anything else in it changes.

pub(crate) mod directory;
pub(crate) mod recovery;
pub(crate) mod settings;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use strandline_log::disk::{DiskError, LogDir};
use strandline_log::format::FormatError;
use strandline_log::recover::RecoverError;
use strandline_node::config::row::ValueError;
use strandline_node::metadata_log::LoadError;
use strandline_node::recovery::SurveyError;
use strandline_node::topology::TopologyError;

/// Why a broker cannot start. Every message names what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot read the configuration file {}: {reason}", file.display())]
    ConfigFile { file: PathBuf, reason: io::Error },
    #[error("the configuration file {} is no TOML: {reason}", file.display())]
    ConfigSyntax { file: PathBuf, reason: Box<toml::de::Error> },
    #[error("the configuration file {}: key {key} has a value that is no string, number, boolean or list of those", file.display())]
    ConfigValue { file: PathBuf, key: String },
    #[error("{0}; `strandline keys` lists them all")]
    Config(#[from] ValueError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error("--set takes KEY=VALUE, not {given:?}")]
    Set { given: String },
    #[error("{given:?} is no HOST:PORT: {reason}")]
    Address { given: String, reason: String },
    #[error("cannot listen on {address}: {reason}; is another broker running there? choose another with {option} HOST:PORT")]
    Listen { address: SocketAddr, reason: io::Error, option: &'static str },
    #[error("the data directory {} is in use by process {process}; stop it, or choose another with --data DIR", directory.display())]
    InUse { directory: PathBuf, process: String },
    #[error("cannot use the data directory {}: {reason}; check its owner and permissions, or choose another with --data DIR", directory.display())]
    Directory { directory: PathBuf, reason: io::Error },
    #[error("the data directory {} belongs to node {found}, not {wanted}; pass --set node.id={found}, or choose another with --data DIR", directory.display())]
    OtherNode { directory: PathBuf, found: i32, wanted: i64 },
    #[error("the data directory {} belongs to cluster {found}, not {wanted}; choose another with --data DIR", directory.display())]
    OtherCluster { directory: PathBuf, found: String, wanted: String },
    #[error("the data directories {} and {} are the same; name each of them once", directory.display(), other.display())]
    Same { directory: PathBuf, other: PathBuf },
    #[error("the data directories {} and {} have the same directory.id: one is a copy of the other; take one of them out of log.dirs", directory.display(), other.display())]
    SameId { directory: PathBuf, other: PathBuf },
    #[error("none of the data directories takes partitions: all of log.dirs is offline")]
    NoneOnline,
    #[error("partition {topic}-{partition} lies in both {} and {}: a directory failed while the partition was moved between them; remove its files from the one that failed", directories[0].display(), directories[1].display())]
    Twice { topic: String, partition: i32, directories: [PathBuf; 2] },
    #[error("{} has files but no meta.properties: it is no data directory of Strandline or Kafka; choose an empty one with --data DIR", directory.display())]
    NotOurs { directory: PathBuf },
    #[error("{}: {reason}", file.display())]
    MetaProperties { file: PathBuf, reason: FormatError },
    #[error("cannot load the metadata log: {0}")]
    Metadata(#[from] LoadError),
    #[error(transparent)]
    Survey(SurveyError),
    #[error("cannot open partition {topic}-{partition}: {reason}")]
    Partition { topic: String, partition: i32, reason: RecoverError },
    #[error("cannot repair the data directory: {0}")]
    Repair(#[from] DiskError),
}

impl StartError {
    /// The log directory that cannot be used, if it is one that the process can do without.
    pub(crate) fn failed_log_dir(&self) -> Option<LogDir> {
        let reason = match self {
            Self::Repair(reason)
            | Self::Survey(SurveyError::Disk(reason))
            | Self::Partition { reason: RecoverError::Disk(reason), .. } => reason,
            _ => return None,
        };
        Some(reason.file().log_dir()).filter(|log_dir| *log_dir != LogDir::FIRST)
    }
}
