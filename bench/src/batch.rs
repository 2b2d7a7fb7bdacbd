//! A batch that is built once and sent over and over.

use bytes::Bytes;
use strandline_client::{BrokerId, Topic};
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use strandline_protocol::records::{BatchBuilder, BatchOptions, BuildError, NewRecord, Scratch};

use crate::settings::{BatchSize, Records};

/// How long the broker may wait for replicas, in milliseconds.
const TIMEOUT_MS: i32 = 30_000;

/// A batch and what it holds. Records have no key and a fixed time: nothing about them changes from request to request.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    pub(crate) records: u64,
    acks: i16,
}

impl Batch {
    /// Builds the batch: as many records as fit, at least one.
    pub(crate) fn build(settings: &Records) -> Result<Self, BuildError> {
        let mut builder = BatchBuilder::new(BatchOptions { compression: settings.compression, ..BatchOptions::default() });
        let mut words = Words::default();
        let timestamp = now_ms();
        loop {
            let value = words.take(settings.record_bytes);
            builder.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] })?;
            let per_record = builder.size_estimate_bytes() / builder.record_count() as usize;
            let full = match settings.batch {
                BatchSize::Single => true,
                BatchSize::Bytes(bytes) => builder.size_estimate_bytes() + per_record > bytes,
            };
            if full {
                break;
            }
        }
        let records = builder.record_count() as u64;
        Ok(Self { bytes: builder.build(&mut Scratch::default())?, records, acks: settings.acks })
    }

    /// The request that appends the batch to one partition.
    pub(crate) fn request(&self, topic: &Topic, partition: i32) -> ProduceRequest {
        let data = PartitionProduceData { index: partition, records: Some(self.bytes.clone().into()) };
        ProduceRequest {
            transactional_id: None,
            acks: self.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: TopicName::from(topic.name.as_str()),
                topic_id: topic.id,
                partition_data: vec![data],
            }],
        }
    }
}

/// The leader of each partition that a worker has.
pub(crate) type Share = Vec<(i32, BrokerId)>;

/// Text that compresses about as logs do, the same in every run.
#[derive(Default)]
struct Words {
    rest: Vec<u8>,
    state: u32,
}

const WORDS: [&str; 16] = [
    "GET",
    "POST",
    "/index.html",
    "/api/v1/orders",
    "200",
    "404",
    "500",
    "user=",
    "session=",
    "latency_ms=",
    "warn",
    "info",
    "connection",
    "closed",
    "retry",
    "ok",
];

impl Words {
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.rest.len() < bytes {
            // Every word is followed by a number, which no codec can guess.
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let word = WORDS[(self.state >> 28) as usize];
            self.rest.extend_from_slice(format!("{word} {} ", (self.state >> 8) % 100_000).as_bytes());
        }
        self.rest.drain(..bytes).collect()
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use strandline_client::Compression;
    use strandline_protocol::records::BatchHeader;

    use super::*;

    fn batch(batch: BatchSize, record_bytes: usize) -> Batch {
        Batch::build(&Records { record_bytes, batch, compression: Compression::None, acks: -1 }).unwrap()
    }

    #[test]
    fn a_batch_is_filled_up_to_its_size_and_not_above() {
        let full = batch(BatchSize::Bytes(16_384), 100);
        assert!((16_000..=16_384).contains(&full.bytes.len()), "{}", full.bytes.len());
        assert_eq!(BatchHeader::parse(&full.bytes).unwrap().record_count as u64, full.records);
    }

    #[test]
    fn a_record_above_the_size_of_a_batch_is_a_batch() {
        assert_eq!(batch(BatchSize::Bytes(10), 100).records, 1);
        assert_eq!(batch(BatchSize::Single, 100).records, 1);
    }
}
