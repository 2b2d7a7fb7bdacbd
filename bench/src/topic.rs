//! The topic that is loaded, and who takes which of its partitions.

use std::sync::Arc;
use std::time::Duration;

use strandline_client::{Client, ErrorCode, KafkaError, NewTopic, Partition, Topic};

use crate::batch::Share;
use crate::failure::Failure;
use crate::settings::Common;

/// A topic for the time of a run.
pub(crate) struct BenchTopic {
    client: Client,
    pub(crate) topic: Arc<Topic>,
    /// Whether the run has made it under a name of its own.
    is_ours: bool,
}

impl BenchTopic {
    /// Makes the topic unless it is there.
    pub(crate) async fn prepare(client: &Client, common: &Common) -> Result<Self, Failure> {
        let name = common.topic.clone().unwrap_or_else(|| format!("strandline-bench-{}", std::process::id()));
        let new = NewTopic {
            replication: common.replication,
            configs: common.topic_config.clone(),
            ..NewTopic::new(&name, common.partitions)
        };
        for (topic, created) in client.admin().create_topics([new]).await? {
            match created {
                Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) && common.topic.is_some() => {}
                Err(error) => return Err(Failure::Topic { topic, error }),
                Ok(_) => {}
            }
        }
        let topic = with_leaders(client, &name).await?;
        Ok(Self { client: client.clone(), topic, is_ours: common.topic.is_none() })
    }

    /// Who takes which partition: connection `index` of `connections`.
    pub(crate) fn share(&self, index: u16, connections: u16) -> Result<Share, Failure> {
        let count = self.topic.partitions.len();
        let (index, connections) = (usize::from(index), usize::from(connections));
        let mine = |place: usize| place % connections == index % count.max(1);
        let partitions = self.topic.partitions.iter().enumerate().filter(|(place, _)| mine(*place));
        let led = |partition: &Partition| {
            partition.leader.map(|leader| (partition.index, leader)).ok_or(Failure::NoLeader(partition.index))
        };
        partitions.map(|(_, partition)| led(partition)).collect()
    }

    /// Deletes the topic if the run has made it.
    pub(crate) async fn clean_up(self) -> Result<(), Failure> {
        if self.is_ours {
            for (topic, deleted) in self.client.admin().delete_topics([self.topic.name.as_str()]).await? {
                deleted.map_err(|error| Failure::Topic { topic, error })?;
            }
        }
        Ok(())
    }
}

/// Waits until every partition has a leader, for as long as the client is patient with a new topic.
async fn with_leaders(client: &Client, name: &str) -> Result<Arc<Topic>, Failure> {
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(100);
    let mut left = ATTEMPTS;
    loop {
        let described = client.admin().describe_topics([name]).await?.into_iter().next();
        let topic = match described {
            Some((_, Ok(topic))) => Some(topic),
            _ => None,
        };
        let leaderless = topic.as_ref().map_or(Some(0), |topic| {
            topic.partitions.iter().find(|partition| partition.leader.is_none()).map(|partition| partition.index)
        });
        match (topic, leaderless) {
            (Some(topic), None) => return Ok(Arc::new(topic)),
            (_, leaderless) if left == 0 => return Err(Failure::NoLeader(leaderless.unwrap_or(0))),
            _ => left -= 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
