//! `strandline topic delete`.

use clap::Args;
use strandline_client::{AdminError, ErrorCode, KafkaError};

use super::report;
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Shown};

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Do not fail if there is no such topic
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl DeleteArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let results = admin.delete_topics(self.topics).await?;
        let missing = |error: &AdminError| error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let judged = results.into_iter().map(|(topic, result)| match result {
            Err(error) if self.if_exists && missing(&error) => (topic, Ok("not there")),
            result => (topic, result.map(|()| "deleted")),
        });
        report(judged.collect(), self.shown.format)
    }
}
