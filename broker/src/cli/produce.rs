//! `strandline produce`: a record a line.
//!
//! Lines are sent as they come, many in flight, in order. The first record that is refused ends the command; those
//! behind it may have been stored.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use strandline_client::{
    Acks, Codec, Compression, Delivery, Header, Producer, Record, SendFailed, Transaction, TransactionalProducer,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::input::{self, Chunk, LINE_BYTES_MAX, Source};
use crate::cli::progress::{Progress, Wish};
use crate::cli::table;

/// How long the end of the input may take to be acknowledged.
const CLOSE_DEADLINE: Duration = Duration::from_secs(120);

/// Chunks whose acknowledgements are waited for; the producer's buffer is the limit that matters.
const CHUNKS_PENDING: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct ProduceArguments {
    /// The topic
    topic: String,
    /// Read lines from this file; default standard input
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// What stands between key and value of a line; default lines are values
    #[arg(short, long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// A key or value of exactly this text is none at all; a record without a value is a tombstone
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// A header for every record, may be given several times
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// To this partition; default by key, and without a key to all in turn
    #[arg(short, long)]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd; gzip and zstd take a level, as zstd:9
    #[arg(short, long, value_name = "CODEC[:LEVEL]", default_value = "none", value_parser = compression)]
    compression: Compression,
    /// Who has to have a record before it counts: all replicas in sync, 1 for the leader, 0 for nobody
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: Acks,
    /// All lines in one transaction under this id, which is committed at the end of the input, or nothing of it is; another
    /// producer with the id is fenced
    #[arg(long, value_name = "ID", conflicts_with = "acks", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    transactional_id: Option<String>,
    /// How long the transaction may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "transactional_id")]
    transaction_timeout: u32,
    /// Show progress even if standard error is no terminal
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// What was produced.
#[derive(Clone, Copy, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

/// Where records go.
#[derive(Clone, Copy)]
enum Target<'a> {
    Topic(&'a Producer),
    Transaction(&'a Transaction<'a>),
}

impl Target<'_> {
    async fn enqueue(self, record: Record) -> Result<Delivery, SendFailed> {
        match self {
            Self::Topic(producer) => producer.enqueue(record).await,
            Self::Transaction(transaction) => transaction.enqueue(record).await,
        }
    }
}

/// Deliveries of a chunk, and the number of its first line.
type Pending = (u64, Vec<Delivery>);

impl ProduceArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let builder = client.producer().acks(self.acks).compression(self.compression).request_bytes_max(LINE_BYTES_MAX);
        let builder = builder.buffer_bytes(2 * LINE_BYTES_MAX);
        let begun = Instant::now();
        let sum = match &self.transactional_id {
            None => {
                let producer = builder.build()?;
                let sum = self.produce(Target::Topic(&producer)).await?;
                producer.close(CLOSE_DEADLINE).await?;
                sum
            }
            Some(id) => {
                let timeout = Duration::from_secs(self.transaction_timeout.into());
                let producer = builder.transactional_id(id).transaction_timeout(timeout).build().await?;
                self.produce_at_once(producer).await?
            }
        };
        self.report(sum, begun.elapsed())?;
        Ok(())
    }

    /// Produces all lines in one transaction, or none.
    async fn produce_at_once(&self, mut producer: TransactionalProducer) -> Result<Sum, Failure> {
        let transaction = producer.begin().await?;
        let produced = match self.produce(Target::Transaction(&transaction)).await {
            Ok(sum) => transaction.commit().await.map(|()| sum).map_err(Failure::from),
            Err(failure) => {
                drop(transaction);
                Err(failure)
            }
        };
        // What went wrong first is what is told.
        let closed = producer.close(CLOSE_DEADLINE).await;
        let sum = produced?;
        closed?;
        Ok(sum)
    }

    async fn produce(&self, target: Target<'_>) -> Result<Sum, Failure> {
        let mut chunks = input::read(self.source())?;
        let mut progress = Progress::begin(self.wish(), self.total());
        let (pending, deliveries) = mpsc::channel(CHUNKS_PENDING);
        let acknowledged = tokio::spawn(acknowledge(deliveries));
        let mut sum = Sum::default();
        let sent = loop {
            match chunks.recv().await {
                None => break Ok(()),
                Some(Err(failure)) => break Err(failure),
                Some(Ok(chunk)) => match self.send(target, &chunk, &pending).await {
                    Ok(true) => {
                        sum = Sum { records: sum.records + chunk.lines.len() as u64, bytes: sum.bytes + chunk.bytes };
                        progress.advance(chunk.lines.len() as u64, chunk.bytes);
                    }
                    Ok(false) => break Ok(()),
                    Err(failure) => break Err(failure),
                },
            }
        };
        drop(pending);
        let acknowledged = join(acknowledged).await;
        progress.end();
        // A record that was refused comes before whatever stopped the reading of later lines.
        acknowledged.and(sent).map(|()| sum)
    }

    /// Enqueues the lines; false if a record of an earlier chunk has been refused.
    async fn send(&self, target: Target<'_>, chunk: &Chunk, pending: &mpsc::Sender<Pending>) -> Result<bool, Failure> {
        let mut deliveries = Vec::with_capacity(chunk.lines.len());
        let mut stopped = None;
        for (line, text) in (chunk.first_line..).zip(&chunk.lines) {
            let enqueued = match self.record(line, text) {
                Ok(record) => target.enqueue(record).await.map_err(|failed| Failure::Record { line, failed }),
                Err(failure) => Err(failure),
            };
            match enqueued {
                Ok(delivery) => deliveries.push(delivery),
                Err(failure) => {
                    stopped = Some(failure);
                    break;
                }
            }
        }
        let heard = pending.send((chunk.first_line, deliveries)).await.is_ok();
        stopped.map_or(Ok(heard), Err)
    }

    fn record(&self, line: u64, text: &Bytes) -> Result<Record, Failure> {
        let (key, value) = match &self.key_separator {
            None => (None, text.clone()),
            Some(separator) => {
                let at = find(text, separator.as_bytes());
                let at = at.ok_or_else(|| Failure::NoSeparator { line, separator: separator.clone() })?;
                (Some(text.slice(..at)), text.slice(at + separator.len()..))
            }
        };
        let some = |bytes: &Bytes| self.null.as_ref().is_none_or(|null| null.as_bytes() != bytes);
        let header = |(key, value): &(String, String)| Header { key: key.clone().into(), value: Some(value.clone().into()) };
        Ok(Record {
            partition: self.partition,
            key: key.filter(some),
            value: Some(value).filter(some),
            headers: self.headers.iter().map(header).collect(),
            ..Record::to(&self.topic)
        })
    }

    fn source(&self) -> Source {
        self.file.clone().map_or(Source::StandardInput, Source::File)
    }

    /// The size of the input, if it is a file.
    fn total(&self) -> Option<u64> {
        let metadata = self.file.as_ref().and_then(|path| fs::metadata(path).ok())?;
        metadata.is_file().then_some(metadata.len())
    }

    /// A bar under lines that somebody types would only be in the way.
    fn wish(&self) -> Wish {
        let typed = self.file.is_none() && io::stdin().is_terminal();
        match (self.progress, typed) {
            (true, _) => Wish::Always,
            (false, true) => Wish::Never,
            (false, false) => Wish::WhereSeen,
        }
    }

    fn report(&self, sum: Sum, time: Duration) -> io::Result<()> {
        let Sum { records, bytes } = sum;
        match self.shown.format {
            Format::Json => {
                let seconds = (time.as_secs_f64() * 1000.0).round() / 1000.0;
                table::print_json(&json!({ "topic": self.topic, "records": records, "bytes": bytes, "seconds": seconds }))
            }
            Format::Table => {
                let seconds = time.as_secs_f64();
                let noun = if records == 1 { "record" } else { "records" };
                eprintln!("{} {noun}, {} in {seconds:.1} s", HumanCount(records), HumanBytes(bytes));
                Ok(())
            }
        }
    }
}

/// Waits for the acknowledgements in order, up to the first failure.
async fn acknowledge(mut pending: mpsc::Receiver<Pending>) -> Result<(), Failure> {
    while let Some((first_line, deliveries)) = pending.recv().await {
        for (line, delivery) in (first_line..).zip(deliveries) {
            delivery.await.map_err(|failed| Failure::Record { line, failed })?;
        }
    }
    Ok(())
}

async fn join(acknowledged: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    acknowledged.await.map_err(|error| Failure::Input(io::Error::other(error)))?
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn compression(text: &str) -> Result<Compression, &'static str> {
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    let codec = Codec::ALL.into_iter().find(|codec| codec.name() == name);
    let codec = codec.ok_or("expected none, gzip, snappy, lz4 or zstd")?;
    let level = level.map(|level| level.parse().map_err(|_| "the level is no number")).transpose()?;
    match (Compression::of(codec), level) {
        (compression, None) => Ok(compression),
        (Compression::Gzip { .. }, Some(level)) => Ok(Compression::Gzip { level }),
        (Compression::Zstd { .. }, Some(level)) => Ok(Compression::Zstd { level }),
        (_, Some(_)) => Err("only gzip and zstd have levels"),
    }
}

fn acks(text: &str) -> Result<Acks, &'static str> {
    match text {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("expected all, 1 or 0"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        arguments: ProduceArguments,
    }

    fn arguments(text: &str) -> ProduceArguments {
        Command::try_parse_from(std::iter::once("produce").chain(text.split(' '))).unwrap().arguments
    }

    fn record(options: &str, line: &'static str) -> Result<Record, Failure> {
        arguments(options).record(1, &Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn a_line_is_a_value_unless_a_separator_is_given() {
        assert_eq!(record("t", "a:b").unwrap(), Record::to("t").value("a:b"));
        assert_eq!(record("t -k :", "a:b:c").unwrap(), Record::to("t").key("a").value("b:c"));
        assert_eq!(record("t -k ::", "::").unwrap(), Record::to("t").key("").value(""));
        assert!(matches!(record("t -k :", "a"), Err(Failure::NoSeparator { line: 1, .. })));
    }

    #[test]
    fn the_text_for_null_makes_tombstones() {
        let tombstone = record("t -k : --null NIL", "a:NIL").unwrap();
        assert_eq!((tombstone.key, tombstone.value), (Some(Bytes::from_static(b"a")), None));
        assert_eq!(record("t -k : --null NIL", "NIL:b").unwrap().key, None);
    }

    #[test]
    fn headers_and_partition_go_with_every_record() {
        let made = record("t --header a=b --header a= -p 3", "v").unwrap();
        assert_eq!(made, Record::to("t").value("v").header("a", "b").header("a", "").partition(3));
    }

    #[test]
    fn codecs_are_named_with_or_without_a_level() {
        assert_eq!(compression("zstd:9"), Ok(Compression::Zstd { level: 9 }));
        assert_eq!(compression("lz4"), Ok(Compression::Lz4));
        assert!(compression("lz4:3").is_err());
        assert!(compression("brotli").is_err());
        assert!(compression("gzip:x").is_err());
    }
}
