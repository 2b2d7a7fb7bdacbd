//! Records inside a batch, read in place from bytes that are not compressed.
//!
//! ```text
//! length varint | attributes i8 | timestamp_delta varlong | offset_delta varint | key_length varint, key | value_length varint, value
//! header_count varint | (key_length varint, key | value_length varint, value) * header_count
//! ```
//! A negative length is null; a header's key cannot be null. A record is checked to its last byte before it is handed out, so its headers cannot fail later.

use thiserror::Error;

use super::compression::{Codec, CodecError, Scratch, decompress_into};
use super::header::{BatchError, BatchHeader, HEADER_BYTES};
use super::varint::{ByteSource, read_varint, read_varlong};

/// The fewest bytes that a header of a record takes: two lengths of one byte each.
pub(super) const RECORD_HEADER_BYTES_MIN: usize = 2;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    #[error("the bytes end inside the record")]
    Truncated,
    #[error("a number is longer than its type allows")]
    Overlong,
    #[error("length {length} is negative")]
    NegativeLength { length: i32 },
    #[error("header count {count} cannot be")]
    HeaderCount { count: i32 },
    #[error("{bytes} bytes follow the last field")]
    LeftInRecord { bytes: usize },
    #[error("bytes follow the last record")]
    LeftInBatch,
}

/// A fault and the record that has it, counted from 0 in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("record {index}: {fault}")]
pub struct RecordError {
    pub index: u32,
    pub fault: RecordFault,
}

/// A header of a record. Kafka means the key to be UTF-8 but no broker checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record in place. Offsets and times are relative to the batch, see `BatchHeader::timestamp_of`.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// No bit has a meaning yet.
    pub attributes: i8,
    /// Milliseconds after the base timestamp, negative if before.
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record, decoded as they are walked.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: u32,
    encoded: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers after their count, as they are encoded.
    pub(super) fn encoded(&self) -> &'a [u8] {
        self.encoded
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor { rest: self.encoded };
        // The record was checked when it was read.
        let header = cursor.header().ok()?;
        self.encoded = cursor.rest;
        Some(header)
    }
}

/// The records of a batch, each checked as it is reached; ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    index: u32,
    count: u32,
}

impl<'a> Records<'a> {
    /// Reads `count` records, which must fill `bytes` exactly; a negative count is none.
    pub fn new(bytes: &'a [u8], count: i32) -> Records<'a> {
        Records { cursor: Cursor { rest: bytes }, index: 0, count: u32::try_from(count).unwrap_or(0) }
    }

    /// The records that were not read yet, as they are encoded.
    pub(super) fn encoded(&self) -> &'a [u8] {
        self.cursor.rest
    }

    fn fail(&mut self, fault: RecordFault) -> RecordError {
        let error = RecordError { index: self.index, fault };
        *self = Records { cursor: Cursor { rest: &[] }, index: 0, count: 0 };
        error
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            return if self.cursor.rest.is_empty() { None } else { Some(Err(self.fail(RecordFault::LeftInBatch))) };
        }
        match self.cursor.record() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => Some(Err(self.fail(fault))),
        }
    }
}

/// Why the records of a batch cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("compression codec {bits} is unknown")]
    UnknownCodec { bits: i16 },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Reads the records of a whole batch, decompressed into `scratch` if need be.
///
/// `decompressed_bytes_max` bounds the memory that the records may take.
///
/// # Errors
/// The batch's header or its compressed records are malformed, or they grow beyond the bound.
pub fn open<'a>(
    batch: &'a [u8],
    decompressed_bytes_max: usize,
    scratch: &'a mut Scratch,
) -> Result<(BatchHeader, Records<'a>), OpenError> {
    let header = BatchHeader::parse(batch)?;
    let size = header.size_bytes();
    let packed = batch.get(HEADER_BYTES..size).ok_or(BatchError::Partial { have: batch.len(), need: size })?;
    let plain = match header.codec().ok_or(OpenError::UnknownCodec { bits: header.codec_bits() })? {
        Codec::None => packed,
        codec => decompress_into(codec, packed, decompressed_bytes_max, scratch)?,
    };
    Ok((header, Records::new(plain, header.record_count)))
}

#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl ByteSource for Cursor<'_> {
    type Error = RecordFault;

    #[inline]
    fn next_byte(&mut self) -> Result<u8, RecordFault> {
        let (first, rest) = self.rest.split_first().ok_or(RecordFault::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn overlong(&self) -> RecordFault {
        RecordFault::Overlong
    }
}

impl<'a> Cursor<'a> {
    #[inline]
    fn record(&mut self) -> Result<Record<'a>, RecordFault> {
        let length = self.length()?;
        let mut body = Cursor { rest: self.take(length)? };
        let record = Record {
            attributes: body.next_byte()? as i8,
            timestamp_delta: read_varlong(&mut body)?,
            offset_delta: read_varint(&mut body)?,
            key: body.nullable()?,
            value: body.nullable()?,
            headers: body.headers()?,
        };
        if body.rest.is_empty() { Ok(record) } else { Err(RecordFault::LeftInRecord { bytes: body.rest.len() }) }
    }

    #[inline]
    fn headers(&mut self) -> Result<Headers<'a>, RecordFault> {
        let count = read_varint(self)?;
        let bounded = u32::try_from(count).ok().filter(|count| *count as usize <= self.rest.len() / RECORD_HEADER_BYTES_MIN);
        let count = bounded.ok_or(RecordFault::HeaderCount { count })?;
        let all = self.rest;
        for _ in 0..count {
            self.header()?;
        }
        Ok(Headers { count, encoded: &all[..all.len() - self.rest.len()] })
    }

    fn header(&mut self) -> Result<Header<'a>, RecordFault> {
        let length = self.length()?;
        Ok(Header { key: self.take(length)?, value: self.nullable()? })
    }

    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordFault> {
        match usize::try_from(read_varint(self)?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    #[inline]
    fn length(&mut self) -> Result<usize, RecordFault> {
        let length = read_varint(self)?;
        usize::try_from(length).map_err(|_| RecordFault::NegativeLength { length })
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordFault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(RecordFault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two records: one with key, value and two headers, one with nothing.
    const TWO: &[u8] = &[
        0x26, 0, 4, 0, 4, b'k', b'1', 6, b'v', b'a', b'l', 4, 2, b'h', 2, b'x', 4, b'h', b'2', 1, // 19 bytes
        0x0c, 0, 3, 2, 1, 1, 0,
    ];

    fn fault(bytes: &[u8], count: i32) -> Option<RecordError> {
        Records::new(bytes, count).find_map(Result::err)
    }

    #[test]
    fn fields_and_headers_are_read_in_place() {
        let records: Vec<_> = Records::new(TWO, 2).map(Result::unwrap).collect();
        let [first, second] = &records[..] else { panic!("two records") };
        assert_eq!(
            (first.timestamp_delta, first.offset_delta, first.key, first.value),
            (2, 0, Some(&b"k1"[..]), Some(&b"val"[..]))
        );
        let headers: Vec<_> = first.headers.collect();
        assert_eq!(headers, [Header { key: b"h", value: Some(b"x") }, Header { key: b"h2", value: None }]);
        assert_eq!(
            (second.timestamp_delta, second.offset_delta, second.key, second.value, second.headers.len()),
            (-2, 1, None, None, 0)
        );
    }

    #[test]
    fn every_cut_is_a_fault_of_the_record_that_it_hits() {
        for length in 0..TWO.len() {
            let index = if length < 20 { 0 } else { 1 };
            assert_eq!(fault(&TWO[..length], 2), Some(RecordError { index, fault: RecordFault::Truncated }), "{length}");
        }
    }

    #[test]
    fn more_or_fewer_records_than_declared_are_refused() {
        assert_eq!(fault(TWO, 1), Some(RecordError { index: 1, fault: RecordFault::LeftInBatch }));
        assert_eq!(fault(TWO, 3), Some(RecordError { index: 2, fault: RecordFault::Truncated }));
        assert_eq!(fault(TWO, -7), Some(RecordError { index: 0, fault: RecordFault::LeftInBatch }));
        assert_eq!(Records::new(TWO, i32::MAX).count(), 3);
    }

    #[test]
    fn lies_inside_a_record_are_named() {
        let changed = |at: usize, byte: u8| {
            let mut bytes = TWO.to_vec();
            bytes[at] = byte;
            fault(&bytes, 2).map(|error| error.fault)
        };
        assert_eq!(changed(0, 1), Some(RecordFault::NegativeLength { length: -1 }));
        assert_eq!(changed(0, 0x28), Some(RecordFault::LeftInRecord { bytes: 1 }));
        assert_eq!(changed(11, 0x7e), Some(RecordFault::HeaderCount { count: 63 }));
        assert_eq!(changed(11, 1), Some(RecordFault::HeaderCount { count: -1 }));
        assert_eq!(changed(12, 1), Some(RecordFault::NegativeLength { length: -1 }));
        assert_eq!(changed(14, 0x7e), Some(RecordFault::Truncated));
        assert_eq!(fault(&[0xff; 12], 1).map(|error| error.fault), Some(RecordFault::Overlong));
    }
}
