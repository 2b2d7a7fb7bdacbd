//! New batches: from records to sealed bytes.
//!
//! Used by the client, by coordinators and the controller for their own records, by the log's cleaner, and by tests. Not on the produce path of the broker, which
//! keeps what it received. Invariant: `build` answers with one batch that `examine` accepts, unless the options ask for what producers may not send (a control
//! batch, offsets with gaps, no records).

use bytes::Bytes;
use thiserror::Error;

use super::compression::{CodecError, Compression, Scratch, compress};
use super::header::{Attributes, BatchHeader, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, MAGIC_V2, TimestampType, sealed};
use super::record::{Header, Record};
use super::varint::put_varint;

/// The most bytes that the records of a new batch may take: what `batch_length` can say, less room for a codec that makes them longer.
const RECORDS_BYTES_MAX: usize = i32::MAX as usize / 2;

/// Who produced a batch; the default is a producer without idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

impl Default for ProducerStamp {
    fn default() -> ProducerStamp {
        ProducerStamp { id: -1, epoch: -1, base_sequence: -1 }
    }
}

/// Where the maximum timestamp of a new batch comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// From the records.
    #[default]
    Create,
    /// The leader's clock, in milliseconds since 1970.
    LogAppend(i64),
}

/// What a new batch says of itself.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    pub base_offset: i64,
    /// -1 if the leader is to stamp it.
    pub partition_leader_epoch: i32,
    pub compression: Compression,
    pub timestamps: Timestamps,
    pub producer: ProducerStamp,
    pub transactional: bool,
    pub control: bool,
    /// Milliseconds since 1970; takes the place of the base timestamp.
    pub delete_horizon_ms: Option<i64>,
    /// The last offset delta to keep although its record is gone, as compaction needs; `None` takes the last record's.
    pub last_offset_delta: Option<i32>,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            base_offset: 0,
            partition_leader_epoch: -1,
            compression: Compression::None,
            timestamps: Timestamps::Create,
            producer: ProducerStamp::default(),
            transactional: false,
            control: false,
            delete_horizon_ms: None,
            last_offset_delta: None,
        }
    }
}

/// A record to append.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

/// Why a record or a batch cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    #[error("the records of a batch cannot take more than {RECORDS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("offset delta {offset_delta} does not follow {last_offset_delta}")]
    OffsetOrder { offset_delta: i32, last_offset_delta: i32 },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Collects records and seals them into a batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    /// One record's body before its length is known; kept to be used again.
    body: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> BatchBuilder {
        let base_timestamp = options.delete_horizon_ms;
        BatchBuilder {
            options,
            records: Vec::new(),
            body: Vec::new(),
            count: 0,
            last_offset_delta: -1,
            base_timestamp,
            max_timestamp: -1,
        }
    }

    /// How many records the batch has so far.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the batch if the codec saves nothing, in bytes; exact without compression.
    pub fn size_estimate_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Appends a record at the next offset.
    ///
    /// # Errors
    /// `TooLarge` if the batch cannot hold it; the batch is then as before.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        self.append_at(self.last_offset_delta.saturating_add(1), record)
    }

    /// Appends a record at a given distance from the base offset, which must be greater than the last.
    ///
    /// # Errors
    /// `OffsetOrder` or `TooLarge`; the batch is then as before.
    pub fn append_at(&mut self, offset_delta: i32, record: &NewRecord<'_>) -> Result<(), BuildError> {
        if offset_delta <= self.last_offset_delta {
            return Err(BuildError::OffsetOrder { offset_delta, last_offset_delta: self.last_offset_delta });
        }
        // Checked before anything is copied, so that a giant value costs nothing.
        let payload = record_bytes_max(record);
        if self.records.len().saturating_add(payload) > RECORDS_BYTES_MAX {
            return Err(BuildError::TooLarge);
        }
        let base = *self.base_timestamp.get_or_insert(record.timestamp);
        self.body.clear();
        put_body(
            &mut self.body,
            Fields {
                timestamp_delta: record.timestamp.wrapping_sub(base),
                offset_delta,
                attributes: 0,
                key: record.key,
                value: record.value,
            },
        );
        put_headers(&mut self.body, record.headers);
        put_framed(&mut self.records, &self.body);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        Ok(())
    }

    /// Seals the batch and leaves the builder empty, with the same options and its memory kept.
    ///
    /// # Errors
    /// `Codec` if the codec fails, `TooLarge` if what it wrote is longer than a batch can be.
    pub fn build(&mut self, scratch: &mut Scratch) -> Result<Bytes, BuildError> {
        let mut batch = Vec::with_capacity(self.size_estimate_bytes());
        batch.resize(HEADER_BYTES, 0);
        compress(self.options.compression, &self.records, &mut batch, scratch)?;
        let header = self.header(batch.len())?;
        let head = sealed(header, &batch[HEADER_BYTES..]);
        batch[..HEADER_BYTES].copy_from_slice(&head);
        self.clear();
        Ok(batch.into())
    }

    fn header(&self, size: usize) -> Result<BatchHeader, BuildError> {
        let timestamp_type = match self.options.timestamps {
            Timestamps::Create => TimestampType::CreateTime,
            Timestamps::LogAppend(_) => TimestampType::LogAppendTime,
        };
        let attributes = Attributes {
            codec: self.options.compression.codec(),
            timestamp_type,
            transactional: self.options.transactional,
            control: self.options.control,
            delete_horizon: self.options.delete_horizon_ms.is_some(),
        };
        Ok(BatchHeader {
            base_offset: self.options.base_offset,
            batch_length: i32::try_from(size - LENGTH_OVERHEAD_BYTES).map_err(|_| BuildError::TooLarge)?,
            partition_leader_epoch: self.options.partition_leader_epoch,
            magic: MAGIC_V2,
            crc: 0,
            attributes: attributes.bits(),
            last_offset_delta: self.options.last_offset_delta.unwrap_or(self.last_offset_delta).max(self.last_offset_delta),
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: match self.options.timestamps {
                Timestamps::Create => self.max_timestamp,
                Timestamps::LogAppend(now) => now,
            },
            producer_id: self.options.producer.id,
            producer_epoch: self.options.producer.epoch,
            base_sequence: self.options.producer.base_sequence,
            record_count: self.count,
        })
    }

    fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
        self.last_offset_delta = -1;
        self.base_timestamp = self.options.delete_horizon_ms;
        self.max_timestamp = -1;
    }
}

/// Appends a record that was read from a batch, at another offset delta.
pub(super) fn put_renumbered(out: &mut Vec<u8>, body: &mut Vec<u8>, record: &Record<'_>, offset_delta: i32) {
    body.clear();
    put_body(
        body,
        Fields {
            timestamp_delta: record.timestamp_delta,
            offset_delta,
            attributes: record.attributes,
            key: record.key,
            value: record.value,
        },
    );
    put_varint(body, record.headers.len() as i64);
    body.extend_from_slice(record.headers.encoded());
    put_framed(out, body);
}

struct Fields<'a> {
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

fn put_body(body: &mut Vec<u8>, fields: Fields<'_>) {
    body.push(fields.attributes as u8);
    put_varint(body, fields.timestamp_delta);
    put_varint(body, i64::from(fields.offset_delta));
    put_nullable(body, fields.key);
    put_nullable(body, fields.value);
}

fn put_headers(body: &mut Vec<u8>, headers: &[Header<'_>]) {
    put_varint(body, headers.len() as i64);
    for header in headers {
        put_nullable(body, Some(header.key));
        put_nullable(body, header.value);
    }
}

fn put_nullable(body: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(body, bytes.map_or(-1, |bytes| bytes.len() as i64));
    body.extend_from_slice(bytes.unwrap_or_default());
}

fn put_framed(out: &mut Vec<u8>, body: &[u8]) {
    put_varint(out, body.len() as i64);
    out.extend_from_slice(body);
}

/// An upper bound of the bytes that a record takes.
fn record_bytes_max(record: &NewRecord<'_>) -> usize {
    // Length, attributes, two deltas, two lengths and a count, each at its longest.
    const FIELDS_BYTES_MAX: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
    const HEADER_LENGTHS_BYTES_MAX: usize = 5 + 5;
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter().map(|header| HEADER_LENGTHS_BYTES_MAX + header.key.len() + length(header.value));
    headers
        .fold(FIELDS_BYTES_MAX, usize::saturating_add)
        .saturating_add(length(record.key))
        .saturating_add(length(record.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Codec, Limits, examine, open};

    const HEADERS: [Header<'static>; 2] = [Header { key: b"trace", value: Some(b"id") }, Header { key: b"none", value: None }];

    fn filled(options: BatchOptions) -> BatchBuilder {
        let mut builder = BatchBuilder::new(options);
        for index in 0..40i64 {
            let value = vec![b'a' + (index % 7) as u8; 900 * (index as usize % 5)];
            let headers = if index % 3 == 0 { &HEADERS[..] } else { &[] };
            let key = (index % 4 != 0).then_some(&b"key"[..]);
            builder.append(&NewRecord { timestamp: 1_000 - index % 11, key, value: Some(&value), headers }).unwrap();
        }
        builder
    }

    #[test]
    fn what_is_built_passes_the_check_and_is_read_back_in_every_codec() {
        let mut scratch = Scratch::default();
        for codec in Codec::ALL {
            let mut builder = filled(BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() });
            let estimate = builder.size_estimate_bytes();
            let batch = builder.build(&mut scratch).unwrap();
            assert!(builder.is_empty());
            assert_eq!(codec == Codec::None, batch.len() == estimate);
            let examined = examine(&batch, &Limits::for_message_bytes(1 << 20), &mut scratch).unwrap();
            assert_eq!(
                (examined.codec(), examined.record_count(), examined.max_timestamp(), examined.first_keyless()),
                (codec, 40, 1_000, Some(0))
            );
            let (header, records) = open(&batch, 1 << 20, &mut scratch).unwrap();
            for (record, index) in records.zip(0..) {
                let record = record.unwrap();
                assert_eq!(
                    (record.offset_delta, header.timestamp_of(record.timestamp_delta)),
                    (index, 1_000 - i64::from(index) % 11)
                );
                assert_eq!(record.headers.eq(HEADERS), index % 3 == 0);
                assert_eq!(record.value.map(<[u8]>::len), Some(900 * (index as usize % 5)));
            }
        }
    }

    #[test]
    fn a_builder_is_used_again_with_the_same_result() {
        let mut scratch = Scratch::default();
        let mut builder = filled(BatchOptions::default());
        let first = builder.build(&mut scratch).unwrap();
        let again = filled(BatchOptions::default()).build(&mut scratch).unwrap();
        builder.append(&NewRecord { timestamp: 5, ..NewRecord::default() }).unwrap();
        let second = builder.build(&mut scratch).unwrap();
        assert_eq!(first, again);
        assert_eq!(
            BatchHeader::parse(&second).map(|header| (header.base_timestamp, header.max_timestamp, header.record_count)),
            Ok((5, 5, 1))
        );
    }

    #[test]
    fn gaps_a_kept_last_offset_and_a_delete_horizon_are_for_compaction() {
        let mut scratch = Scratch::default();
        let options = BatchOptions {
            base_offset: 100,
            delete_horizon_ms: Some(7_000),
            last_offset_delta: Some(9),
            ..BatchOptions::default()
        };
        let mut builder = BatchBuilder::new(options);
        let record = NewRecord { timestamp: 6_000, ..NewRecord::default() };
        builder.append_at(2, &record).unwrap();
        builder.append_at(5, &record).unwrap();
        assert_eq!(builder.append_at(5, &record), Err(BuildError::OffsetOrder { offset_delta: 5, last_offset_delta: 5 }));
        let batch = builder.build(&mut scratch).unwrap();
        let (header, records) = open(&batch, 1_000, &mut scratch).unwrap();
        assert_eq!((header.last_offset(), header.delete_horizon_ms(), header.record_count), (109, Some(7_000), 2));
        let found: Vec<_> = records
            .map(Result::unwrap)
            .map(|record| (record.offset_delta, header.timestamp_of(record.timestamp_delta)))
            .collect();
        assert_eq!(found, [(2, 6_000), (5, 6_000)]);
    }

    #[test]
    fn the_leaders_time_stands_for_all_records() {
        let batch = filled(BatchOptions { timestamps: Timestamps::LogAppend(77), ..BatchOptions::default() })
            .build(&mut Scratch::default())
            .unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.timestamp_type(), header.timestamp_of(-3)), (TimestampType::LogAppendTime, 77));
    }
}
