//! Records of one partition that travel together.

use std::sync::Arc;

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{
    self, BatchBuilder, BatchOptions, BuildError, Compression, NewRecord, ProducerStamp, Scratch,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::delivery::{RecordMeta, Waiting};
use super::error::ProduceError;

/// Bytes in front of the records of a batch.
const HEADER_BYTES: usize = records::HEADER_BYTES;

/// Records of one partition, in order. They are encoded when they are sent, because sequence and epoch may change before
/// they are sent again, and because a batch that is too large is cut.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Waiting>,
    pub(super) bytes: usize,
    pub(super) opened: Instant,
    /// Number of the first record among those that were sent; set when the batch is first sent.
    pub(super) number: Option<u64>,
    pub(super) stamp: ProducerStamp,
    /// The share of the producer's buffer, given back when the batch is gone.
    room: Option<OwnedSemaphorePermit>,
}

/// How batches are encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) compression: Compression,
    pub(super) transactional: bool,
}

/// What a broker said about a batch that it has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// -1 if unknown.
    pub(super) base_offset: i64,
    /// -1 if records keep the time that they came with.
    pub(super) log_append_time_ms: i64,
}

impl Stored {
    /// Stored, and that is all that is known.
    pub(super) const UNKNOWN: Self = Self { base_offset: -1, log_append_time_ms: -1 };
}

impl Batch {
    pub(super) fn new(now: Instant) -> Self {
        let stamp = ProducerStamp::default();
        Self { records: Vec::new(), bytes: HEADER_BYTES, opened: now, number: None, stamp, room: None }
    }

    pub(super) fn push(&mut self, waiting: Waiting, bytes: usize, room: OwnedSemaphorePermit) {
        self.records.push(waiting);
        self.bytes += bytes;
        match &mut self.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
    }

    /// Whether the batch was sent before, so that it may have been stored.
    pub(super) fn was_sent(&self) -> bool {
        self.number.is_some()
    }

    /// The two halves of a batch of two records or more. The room stays with the second, which is gone last.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let middle = self.records.len() / 2;
        let second = self.records.split_off(middle);
        let size = |records: &[Waiting]| HEADER_BYTES + records.iter().map(|one| one.record().size_bytes()).sum::<usize>();
        let number = self.number.map(|number| number + middle as u64);
        let second = Self {
            bytes: size(&second),
            records: second,
            opened: self.opened,
            number,
            stamp: self.stamp,
            room: self.room.take(),
        };
        self.bytes = size(&self.records);
        (self, second)
    }

    /// The batch as it is sent.
    pub(super) fn encode(&self, form: Form, scratch: &mut Scratch) -> Result<Bytes, BuildError> {
        let Form { compression, transactional } = form;
        let options = BatchOptions { compression, transactional, producer: self.stamp, ..Default::default() };
        let mut builder = BatchBuilder::new(options);
        let mut headers = Vec::new();
        for waiting in &self.records {
            let record = waiting.record();
            headers.clear();
            headers.extend(record.headers.iter().map(|one| records::Header { key: &one.key, value: one.value.as_deref() }));
            builder.append(&NewRecord {
                timestamp: waiting.timestamp_ms,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })?;
        }
        builder.build(scratch)
    }

    /// Tells every caller where its record is.
    pub(super) fn stored(self, topic: &Arc<str>, partition: i32, stored: Stored) {
        for (index, waiting) in self.records.into_iter().enumerate() {
            let offset = if stored.base_offset < 0 { Offset::NONE } else { Offset(stored.base_offset + index as i64) };
            let timestamp_ms = if stored.log_append_time_ms < 0 { waiting.timestamp_ms } else { stored.log_append_time_ms };
            waiting.stored(RecordMeta { topic: Arc::clone(topic), partition, offset, timestamp_ms });
        }
    }

    /// Gives every caller its record back.
    pub(super) fn failed(self, error: &ProduceError) {
        self.records.into_iter().for_each(|waiting| waiting.failed(error.clone()));
    }
}
