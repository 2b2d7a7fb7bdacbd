//! The `rdkafka` crate with the librdkafka that it bundles: an idempotent producer and an assigned consumer.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use rust_clients::{Line, Outcome, Task, lines_from_stdin, optional_from_hex, task, to_hex};

const PATIENCE: Duration = Duration::from_secs(30);

/// Counts what the broker acknowledged; refusals are printed as they come.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => eprintln!("not delivered: {error}"),
        }
    }
}

fn main() -> Outcome<()> {
    match task()? {
        Task::Version => {
            let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
            println!("rdkafka 0.39 on librdkafka {librdkafka}");
            Ok(())
        }
        Task::Write { bootstrap, topic, partition, codec } => write(&bootstrap, &topic, partition, &codec),
        Task::Read { bootstrap, topic, partition } => read(&bootstrap, &topic, partition),
    }
}

fn write(bootstrap: &str, topic: &str, partition: i32, codec: &str) -> Outcome<()> {
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.codec", codec)
        .set("linger.ms", "20")
        .set("message.timeout.ms", "30000")
        .create_with_context(Deliveries::default())?;
    let lines = lines_from_stdin()?;
    for line in &lines {
        send(&producer, topic, partition, line)?;
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    let acknowledged = producer.context().acknowledged.load(Ordering::Relaxed);
    if acknowledged != lines.len() {
        return Err(format!("{acknowledged} of {} records were acknowledged", lines.len()).into());
    }
    Ok(())
}

fn send(producer: &BaseProducer<Deliveries>, topic: &str, partition: i32, line: &Line) -> Outcome<()> {
    let (key, value) = (optional_from_hex(line.key.as_ref())?, optional_from_hex(line.value.as_ref())?);
    let mut record: BaseRecord<'_, Vec<u8>, Vec<u8>> = BaseRecord::to(topic).partition(partition).headers(headers_of(line)?);
    record.key = key.as_ref();
    record.payload = value.as_ref();
    record.timestamp = line.timestamp;
    producer.send(record).map_err(|(error, _)| error.into())
}

fn headers_of(line: &Line) -> Outcome<OwnedHeaders> {
    line.headers.iter().try_fold(OwnedHeaders::new(), |headers, (name, value)| {
        let value = optional_from_hex(value.as_ref())?;
        Ok(headers.insert(Header { key: name, value: value.as_ref() }))
    })
}

fn read(bootstrap: &str, topic: &str, partition: i32) -> Outcome<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "assigned-only")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                serde_json::to_writer(&mut out, &line_of(&message))?;
                out.write_all(b"\n")?;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(out.flush()?),
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure))) | None
                if Instant::now() < deadline => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("the end of the partition was not reached".into()),
        }
    }
}

fn line_of(message: &BorrowedMessage<'_>) -> Line {
    Line {
        offset: Some(message.offset()),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(to_hex),
        value: message.payload().map(to_hex),
        headers: message
            .headers()
            .map(|headers| headers.iter().map(|header| (header.key.to_owned(), header.value.map(to_hex))).collect())
            .unwrap_or_default(),
    }
}
