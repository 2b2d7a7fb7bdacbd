//! `strandline consume`: the records of a topic, from a place to its end or on and on, alone or as a member of a group.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use strandline_client::{
    Acknowledge, Client, Commit, CommittedOffset, Consumer, ConsumerRecord, End, GroupProtocol, Isolation, Offset, Reader,
    ShareConsumer, ShareError, Start,
};

use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::render::{RecordFormat, Renderer};
use crate::cli::time;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArguments {
    /// The topic
    topic: String,
    /// Share the topic with the other members of this group, and go on where the group is
    #[arg(short, long, value_name = "GROUP", conflicts_with = "partitions")]
    group: Option<String>,
    /// Share the records with the other members of this share group: what is printed is accepted; without --follow it ends when nothing
    /// has come for two seconds
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["group", "partitions", "from", "committed"])]
    share_group: Option<String>,
    /// Which protocol the members of the group speak
    #[arg(long, value_enum, default_value_t, requires = "group")]
    protocol: Protocol,
    /// Commit what was printed, or leave the group's offsets as they are
    #[arg(long, value_name = "WHETHER", default_value_t = true, action = clap::ArgAction::Set, requires = "group")]
    commit: bool,
    /// Where to begin, in a group only where it has committed nothing: beginning, end, an offset, a time such as 2026-11-21T07:00:00Z, or @ and milliseconds since 1970
    #[arg(long, value_name = "PLACE", default_value = "beginning", value_parser = place)]
    from: Start,
    /// Wait for new records; default end at the last record that there is at the start
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "RECORDS")]
    count: Option<u64>,
    /// Only these partitions
    #[arg(short, long = "partition", value_name = "PARTITION", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// Only records of transactions that were committed, and those without one
    #[arg(long)]
    committed: bool,
    /// What is printed of a record
    #[arg(long, value_enum, default_value_t)]
    format: RecordFormat,
    /// What stands between key and value
    #[arg(short, long, value_name = "TEXT", default_value = "\t", hide_default_value = true)]
    key_separator: String,
    /// What stands for a key or a value that is not there
    #[arg(long, value_name = "TEXT", default_value = "null")]
    null: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Which protocol the members of a group speak.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Protocol {
    /// The new one if the cluster serves it
    #[default]
    Auto,
    /// A member assigns
    Classic,
    /// The coordinator assigns (KIP-848)
    Consumer,
}

/// How long a member of a group without anything to read waits before it looks whether it has come to the end.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// How long a member takes to leave its group.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing comes before a member of a share group takes it that nothing more will: others may have what is left.
const SHARE_IDLE: Duration = Duration::from_secs(2);

/// Records that are asked for at a time in a share group.
const SHARE_RECORDS: u64 = 500;

impl ConsumeArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        if let Some(group) = self.group.clone() {
            return self.run_in_group(&client, group).await;
        }
        if let Some(group) = self.share_group.clone() {
            return self.run_in_share_group(&client, group).await;
        }
        let builder = client
            .reader(&self.topic)
            .partitions(self.partitions.iter().copied())
            .from(self.from)
            .until(if self.follow { End::Never } else { End::Now })
            .isolation(if self.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted });
        let count = self.count.unwrap_or(u64::MAX);
        let reader = builder.open().await?;
        print(reader, &self.renderer(), count).await
    }

    fn renderer(self) -> Renderer {
        Renderer { topic: self.topic, format: self.format, key_separator: self.key_separator, null: self.null }
    }

    /// As a member of a share group; ends with Ctrl-C too.
    async fn run_in_share_group(self, client: &Client, group: String) -> Result<(), Failure> {
        client.topic(&self.topic).await?;
        let (follow, count) = (self.follow, self.count.unwrap_or(u64::MAX));
        let records_max = u32::try_from(count.clamp(1, SHARE_RECORDS)).unwrap_or(u32::MAX);
        let mut consumer = client.share_consumer(group).topics([&self.topic]).records_max(records_max).build()?;
        let stopper = consumer.stopper();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stopper.stop();
            }
        });
        let printed = print_shared(&mut consumer, &self.renderer(), follow, count).await;
        consumer.close(CLOSE_PATIENCE).await;
        printed
    }

    /// As a member of a group; ends with Ctrl-C too, and leaves the group then.
    async fn run_in_group(self, client: &Client, group: String) -> Result<(), Failure> {
        // A topic that does not exist is waited for by members; a person has mistyped it.
        client.topic(&self.topic).await?;
        let builder = client
            .consumer(group)
            .topics([&self.topic])
            .start(self.from)
            .isolation(if self.committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted })
            .commit(if self.commit { Commit::OnAck(Duration::from_secs(1)) } else { Commit::Manual })
            .protocol(match self.protocol {
                Protocol::Auto => GroupProtocol::Auto,
                Protocol::Classic => GroupProtocol::Classic,
                Protocol::Consumer => GroupProtocol::Consumer,
            });
        let mut consumer = builder.build().await?;
        let stopper = consumer.stopper();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stopper.stop();
            }
        });
        let (commit, follow, count) = (self.commit, self.follow, self.count.unwrap_or(u64::MAX));
        let printed = print_group(&mut consumer, &self.renderer(), follow, count, commit).await;
        consumer.close(CLOSE_PATIENCE).await;
        printed
    }
}

/// Prints what this member of a share group is given, and accepts it.
async fn print_shared(consumer: &mut ShareConsumer, renderer: &Renderer, follow: bool, mut left: u64) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout());
    let mut idle_since = Instant::now();
    while left > 0 {
        let mut batch = match tokio::time::timeout(IDLE_LOOK, consumer.poll()).await {
            Ok(polled) => match polled? {
                Some(batch) => batch,
                None => break,
            },
            Err(_) if consumer.assignment().is_empty() => {
                idle_since = Instant::now();
                continue;
            }
            Err(_) if !follow && idle_since.elapsed() >= SHARE_IDLE => break,
            Err(_) => continue,
        };
        idle_since = Instant::now();
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(batch.records().len());
        for index in 0..wanted {
            renderer.write(&mut output, &batch.records()[index].record)?;
            batch.acknowledge(index, Acknowledge::Accept);
        }
        output.flush()?;
        left -= wanted as u64;
    }
    for ((topic, partition), said) in consumer.commit().await {
        said.map_err(|code| ShareError::Acknowledge { topic, partition, code })?;
    }
    Ok(())
}

/// Prints what this member is given. Without `follow` it ends when it has partitions and nothing more is in them.
async fn print_group(
    consumer: &mut Consumer,
    renderer: &Renderer,
    follow: bool,
    mut left: u64,
    commit: bool,
) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout());
    while left > 0 {
        let batch = match tokio::time::timeout(IDLE_LOOK, consumer.poll()).await {
            Ok(polled) => polled?,
            Err(_) if !follow && has_all(consumer).await => break,
            Err(_) => continue,
        };
        let Some(batch) = batch else { break };
        let printed = print_some(&mut output, renderer, batch.records(), left)?;
        output.flush()?;
        left -= printed;
        let whole = printed == batch.records().len() as u64;
        if !commit {
            continue;
        }
        if whole {
            batch.ack();
        } else if let Some(next) = batch.records().get(usize::try_from(printed).unwrap_or(usize::MAX)) {
            let partition = (batch.topic().to_owned(), batch.partition());
            consumer.commit_offsets([(partition, CommittedOffset::at(next.offset))]).await?;
        }
    }
    Ok(())
}

async fn has_all(consumer: &Consumer) -> bool {
    !consumer.assignment().is_empty() && consumer.lag().await.is_ok_and(|lag| lag.values().all(|lag| *lag == 0))
}

/// Prints records as they come. What has been read is written before more is waited for.
async fn print(mut reader: Reader, renderer: &Renderer, count: u64) -> Result<(), Failure> {
    let mut output = BufWriter::new(io::stdout());
    let mut left = count;
    while left > 0 {
        let Some(records) = reader.next_batch().await? else { break };
        left -= print_some(&mut output, renderer, &records, left)?;
        output.flush()?;
    }
    Ok(())
}

fn print_some(output: &mut impl Write, renderer: &Renderer, records: &[ConsumerRecord], left: u64) -> io::Result<u64> {
    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(records.len());
    records[..wanted].iter().try_for_each(|record| renderer.write(output, record))?;
    Ok(wanted as u64)
}

/// Reads a place in a log.
pub(crate) fn place(text: &str) -> Result<Start, &'static str> {
    match text {
        "beginning" => return Ok(Start::Beginning),
        "end" => return Ok(Start::End),
        _ => {}
    }
    if let Some(timestamp) = text.strip_prefix('@') {
        return timestamp.parse().map(Start::Timestamp).map_err(|_| "expected milliseconds since 1970 after @");
    }
    if let Ok(offset) = text.parse::<u64>() {
        return i64::try_from(offset).map(|offset| Start::Offset(Offset(offset))).map_err(|_| "no offset is that large");
    }
    time::parse(text)
        .map(Start::Timestamp)
        .ok_or("expected beginning, end, an offset, a time, or @ and milliseconds since 1970")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_time() {
        assert_eq!(place("beginning"), Ok(Start::Beginning));
        assert_eq!(place("17"), Ok(Start::Offset(Offset(17))));
        assert_eq!(place("@17"), Ok(Start::Timestamp(17)));
        assert_eq!(place("1970-01-01T00:00:01Z"), Ok(Start::Timestamp(1000)));
        assert!(place("-1").is_err());
        assert!(place("yesterday").is_err());
    }
}
