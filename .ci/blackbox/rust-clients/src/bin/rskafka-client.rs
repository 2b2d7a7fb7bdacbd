//! The `rskafka` crate: a client of its own, without idempotence, with unique and non-null headers only.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::{Record, RecordAndOffset};
use rust_clients::{Line, Outcome, Task, from_hex, lines_from_stdin, optional_from_hex, task, to_hex};

const PATIENCE: Duration = Duration::from_secs(30);
/// Records go out in batches of at most this many bytes, below the broker's default limit of a batch.
const BATCH_BYTES_MAX: usize = 950_000;
const FETCH_BYTES_MAX: i32 = 4 << 20;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, run()).await? })
}

async fn run() -> Outcome<()> {
    match task()? {
        Task::Version => {
            println!("rskafka 0.6");
            Ok(())
        }
        Task::Write { bootstrap, topic, partition, codec } => {
            write(&partition_client(&bootstrap, &topic, partition).await?, compression(&codec)?).await
        }
        Task::Read { bootstrap, topic, partition } => read(&partition_client(&bootstrap, &topic, partition).await?).await,
    }
}

async fn partition_client(bootstrap: &str, topic: &str, partition: i32) -> Outcome<PartitionClient> {
    let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build().await?;
    Ok(client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?)
}

fn compression(codec: &str) -> Outcome<Compression> {
    match codec {
        "none" => Ok(Compression::NoCompression),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("an unknown codec".into()),
    }
}

async fn write(client: &PartitionClient, compression: Compression) -> Outcome<()> {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    for line in lines_from_stdin()? {
        let record = record_of(&line)?;
        let bytes = record.approximate_size();
        if batch_bytes + bytes > BATCH_BYTES_MAX && !batch.is_empty() {
            client.produce(std::mem::take(&mut batch), compression).await?;
            batch_bytes = 0;
        }
        batch_bytes += bytes;
        batch.push(record);
    }
    if !batch.is_empty() {
        client.produce(batch, compression).await?;
    }
    Ok(())
}

fn record_of(line: &Line) -> Outcome<Record> {
    let timestamp = match line.timestamp {
        Some(timestamp_ms) => DateTime::from_timestamp_millis(timestamp_ms).ok_or("a timestamp out of range")?,
        None => DateTime::<Utc>::from(SystemTime::now()),
    };
    let header = |(name, value): &(String, Option<String>)| -> Outcome<(String, Vec<u8>)> {
        Ok((name.clone(), from_hex(value.as_deref().ok_or("a null header value cannot be sent")?)?))
    };
    Ok(Record {
        key: optional_from_hex(line.key.as_ref())?,
        value: optional_from_hex(line.value.as_ref())?,
        headers: line.headers.iter().map(header).collect::<Outcome<_>>()?,
        timestamp,
    })
}

async fn read(client: &PartitionClient) -> Outcome<()> {
    let end = client.get_offset(OffsetAt::Latest).await?;
    let mut next = client.get_offset(OffsetAt::Earliest).await?;
    let mut out = BufWriter::new(io::stdout().lock());
    while next < end {
        let (records, _) = client.fetch_records(next, 1..FETCH_BYTES_MAX, 500).await?;
        for RecordAndOffset { record, offset } in records {
            next = offset + 1;
            serde_json::to_writer(&mut out, &line_of(record, offset))?;
            out.write_all(b"\n")?;
        }
    }
    Ok(out.flush()?)
}

fn line_of(record: Record, offset: i64) -> Line {
    Line {
        offset: Some(offset),
        timestamp: Some(record.timestamp.timestamp_millis()),
        key: record.key.as_deref().map(to_hex),
        value: record.value.as_deref().map(to_hex),
        headers: record.headers.into_iter().map(|(name, value)| (name, Some(to_hex(&value)))).collect(),
    }
}
