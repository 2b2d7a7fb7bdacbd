//! `strandline topic create`.

use clap::Args;
use strandline_client::{AdminError, ErrorCode, KafkaError, NewTopic};

use super::{key_value, report};
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Shown};

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// How many partitions; default what the cluster is configured to make
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each partition; default what the cluster is configured to make
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replication: Option<i16>,
    /// A topic configuration, may be given several times
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Do not fail if there is such a topic already
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether the topics could be created
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl CreateArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let topics: Vec<NewTopic> = self.topics.iter().map(|name| self.topic(name)).collect();
        let results = if self.dry_run { admin.check_topics(topics).await? } else { admin.create_topics(topics).await? };
        let status = if self.dry_run { "could be created" } else { "created" };
        let exists = |error: &AdminError| error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS);
        let judged = results.into_iter().map(|(topic, result)| match result {
            Err(error) if self.if_not_exists && exists(&error) => (topic, Ok("exists")),
            result => (topic, result.map(|_| status)),
        });
        report(judged.collect(), self.shown.format)
    }

    fn topic(&self, name: &str) -> NewTopic {
        NewTopic {
            partitions: self.partitions,
            replication: self.replication,
            configs: self.configs.clone(),
            ..NewTopic::with_defaults(name)
        }
    }
}
