//! Records on their way in and out.

use bytes::Bytes;
use strandline_protocol::ids::Offset;

/// Whose clock a timestamp is from.
pub use strandline_protocol::records::TimestampType;

/// A name and a value that travel with a record. Names may come twice; their order is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A record to produce. Without a value it is a tombstone, without a partition the key decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; the moment of `send` if none.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// An empty record for a topic.
    #[must_use]
    pub fn to(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), partition: None, key: None, value: None, headers: Vec::new(), timestamp_ms: None }
    }

    /// The key; records with the same key go to the same partition and stay in order.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }

    /// The partition, whatever the key.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The same record for another topic; the partition is open again.
    #[must_use]
    pub fn retopic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self.partition = None;
        self
    }

    /// Bytes that the record takes in a batch, at most.
    pub(crate) fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|header| header.key.len() + length(&header.value) + HEADER_OVERHEAD_BYTES);
        RECORD_OVERHEAD_BYTES + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// Length, attributes, time, offset, two lengths and a count of headers, each at its longest.
const RECORD_OVERHEAD_BYTES: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;

/// Two lengths at their longest.
const HEADER_OVERHEAD_BYTES: usize = 5 + 5;

/// A record that was read. Key, value and headers share the memory of the batch they came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub partition: i32,
    pub offset: Offset,
    /// Milliseconds since 1970, -1 if the producer gave none.
    pub timestamp_ms: i64,
    pub timestamp_type: TimestampType,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{self, BatchBuilder, BatchOptions, NewRecord};

    use super::*;

    #[test]
    fn the_size_of_a_record_is_never_below_what_it_takes_in_a_batch() {
        let record = Record::to("t").key(vec![1; 70]).value(vec![2; 9000]).header("name", "value").header("n", "");
        let headers: Vec<_> =
            record.headers.iter().map(|header| records::Header { key: &header.key, value: header.value.as_deref() }).collect();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let empty = builder.size_estimate_bytes();
        let new =
            NewRecord { timestamp: i64::MAX, key: record.key.as_deref(), value: record.value.as_deref(), headers: &headers };
        builder.append(&new).unwrap();
        assert!(builder.size_estimate_bytes() - empty <= record.size_bytes());
    }
}
