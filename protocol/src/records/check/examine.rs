//! The first step: one pass over the bytes of a produced batch. Pure, and dear only by the bytes: the rim runs it, in parallel, before the node is asked.

use super::stream::{RecordStream, Seen, WINDOW_BYTES};
use super::{Limits, Refusal};
use crate::records::compression::{Codec, Inflater, Scratch};
use crate::records::crc::crc32c;
use crate::records::header::{BatchError, BatchHeader, HEADER_BYTES, position};
use crate::records::record::Records;

/// The timestamp that stands for none.
const NO_TIMESTAMP: i64 = -1;

/// Whether the records of a batch have the offset deltas 0, 1, 2 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerOffsets {
    Consecutive,
    /// Some old clients number wrongly; the batch is taken and renumbered.
    Scattered,
}

/// A timestamp and the record that has it first, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimestampAt {
    pub(super) timestamp: i64,
    pub(super) index: u32,
}

/// What one pass over a produced batch found out. The bytes are intact and every record is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    pub header: BatchHeader,
    pub(super) codec: Codec,
    /// The earliest timestamp of the records that have one.
    pub(super) earliest: Option<TimestampAt>,
    /// The latest timestamp, -1 if no record has one.
    pub(super) latest: TimestampAt,
    pub(super) inner_offsets: InnerOffsets,
    pub(super) first_keyless: Option<u32>,
}

impl Examined {
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The number of records, at least 1.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    pub fn size_bytes(&self) -> usize {
        self.header.size_bytes()
    }

    /// The true maximum timestamp in milliseconds since 1970, -1 if no record has one.
    pub fn max_timestamp(&self) -> i64 {
        self.latest.timestamp
    }

    /// The distance from the base offset to the first record that has the maximum timestamp, once the records are numbered one by one.
    pub fn max_timestamp_offset_delta(&self) -> u32 {
        self.latest.index
    }

    /// The earliest timestamp in milliseconds since 1970, if any record has one.
    pub fn min_timestamp(&self) -> Option<i64> {
        self.earliest.map(|at| at.timestamp)
    }

    /// The first record without a key, counted from 0.
    pub fn first_keyless(&self) -> Option<u32> {
        self.first_keyless
    }

    pub fn inner_offsets(&self) -> InnerOffsets {
        self.inner_offsets
    }

    /// Checks that a Produce request of this version may carry the batch.
    ///
    /// # Errors
    /// `ZstdNotAllowed` for zstd before version 7 (KIP-110).
    pub fn permitted_in(&self, version: i16) -> Result<(), Refusal> {
        if self.codec == Codec::Zstd && version < 7 { Err(Refusal::ZstdNotAllowed { version }) } else { Ok(()) }
    }
}

/// Reads the records field of one partition in a Produce request, which must be exactly one batch of format v2.
///
/// # Errors
/// In this order: no batch or another format, a base offset, bytes behind the batch, the CRC, counts, control bit, sequence, codec, and then whatever the first
/// malformed record or the decoder says.
pub fn examine(bytes: &[u8], limits: &Limits, scratch: &mut Scratch) -> Result<Examined, Refusal> {
    let header = whole_batch(bytes)?;
    check_crc(&header, bytes)?;
    check_header(&header)?;
    let codec = header.codec().ok_or(Refusal::UnknownCodec { bits: header.codec_bits() })?;
    let packed = &bytes[HEADER_BYTES..];
    let mut summary = Summary::new(&header);
    match codec {
        Codec::None => walk_plain(packed, &header, &mut summary)?,
        _ => walk_packed(codec, packed, &header, limits, scratch, &mut summary)?,
    }
    Ok(summary.finish(header, codec))
}

fn whole_batch(bytes: &[u8]) -> Result<BatchHeader, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::NoBatch);
    }
    let header = BatchHeader::parse(bytes).map_err(Refusal::Header)?;
    let size = header.size_bytes();
    if bytes.len() < size {
        return Err(Refusal::Header(BatchError::Partial { have: bytes.len(), need: size }));
    }
    if bytes.len() > size {
        return Err(Refusal::MoreThanOneBatch { bytes: bytes.len() - size });
    }
    if header.base_offset != 0 {
        return Err(Refusal::BaseOffset { base_offset: header.base_offset });
    }
    Ok(header)
}

fn check_crc(header: &BatchHeader, bytes: &[u8]) -> Result<(), Refusal> {
    let computed = crc32c(&bytes[position::ATTRIBUTES..]);
    if computed == header.crc { Ok(()) } else { Err(Refusal::Crc { stored: header.crc, computed }) }
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let BatchHeader { record_count, last_offset_delta, producer_id, base_sequence, .. } = *header;
    if record_count <= 0 || last_offset_delta != record_count - 1 {
        return Err(Refusal::RecordCount { record_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(Refusal::Control);
    }
    if header.has_producer_id() && base_sequence < 0 {
        return Err(Refusal::Sequence { producer_id, base_sequence });
    }
    Ok(())
}

fn walk_plain(records: &[u8], header: &BatchHeader, summary: &mut Summary) -> Result<(), Refusal> {
    for record in Records::new(records, header.record_count) {
        let record = record.map_err(Refusal::Record)?;
        summary.add(Seen {
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            has_key: record.key.is_some(),
        });
    }
    Ok(())
}

fn walk_packed(
    codec: Codec,
    packed: &[u8],
    header: &BatchHeader,
    limits: &Limits,
    scratch: &mut Scratch,
    summary: &mut Summary,
) -> Result<(), Refusal> {
    scratch.trim();
    let Scratch { contexts, plain } = scratch;
    plain.resize(WINDOW_BYTES.max(plain.len()), 0);
    let inflater = Inflater::with_contexts(codec, packed, limits.decompressed_bytes_max, contexts).map_err(Refusal::Codec)?;
    let mut stream = RecordStream::new(inflater, &mut plain[..WINDOW_BYTES]);
    for _ in 0..header.record_count {
        summary.add(stream.next_record()?);
    }
    stream.expect_end()
}

/// What is gathered record by record; nothing in it grows.
struct Summary {
    base_timestamp: i64,
    index: u32,
    earliest: TimestampAt,
    latest: TimestampAt,
    inner_offsets: InnerOffsets,
    first_keyless: Option<u32>,
}

impl Summary {
    fn new(header: &BatchHeader) -> Summary {
        Summary {
            base_timestamp: header.base_timestamp,
            index: 0,
            earliest: TimestampAt { timestamp: i64::MAX, index: u32::MAX },
            latest: TimestampAt { timestamp: NO_TIMESTAMP, index: 0 },
            inner_offsets: InnerOffsets::Consecutive,
            first_keyless: None,
        }
    }

    #[inline]
    fn add(&mut self, record: Seen) {
        let index = self.index;
        let timestamp = self.base_timestamp.wrapping_add(record.timestamp_delta);
        if timestamp > self.latest.timestamp {
            self.latest = TimestampAt { timestamp, index };
        }
        if timestamp < self.earliest.timestamp && timestamp != NO_TIMESTAMP {
            self.earliest = TimestampAt { timestamp, index };
        }
        if record.offset_delta as u32 != index {
            self.inner_offsets = InnerOffsets::Scattered;
        }
        if !record.has_key && self.first_keyless.is_none() {
            self.first_keyless = Some(index);
        }
        self.index = index + 1;
    }

    fn finish(self, header: BatchHeader, codec: Codec) -> Examined {
        let has_time = self.earliest.index != u32::MAX;
        Examined {
            header,
            codec,
            earliest: has_time.then_some(self.earliest),
            latest: self.latest,
            inner_offsets: self.inner_offsets,
            first_keyless: self.first_keyless,
        }
    }
}
