//! The options that every command has: which cluster, and in which form results are shown.

use std::time::Duration;

use clap::{Args, ValueEnum};
use strandline_client::Client;

use crate::cli::Failure;

/// A person waits at the other end: what is not there is said soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which cluster.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// Addresses of servers of the cluster; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
}

/// For whom results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts
    Json,
}

/// In which form results are shown.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// How results are shown
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

impl Cluster {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let builder = Client::builder(&self.bootstrap).client_id("strandline-cli").connect_timeout(CONNECT_TIMEOUT);
        builder.connect().await.map_err(|error| Failure::Connect { error })
    }
}
