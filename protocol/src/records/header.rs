//! The 61 bytes in front of the records of a batch: read, recognised, and patched in place.
//!
//! Every reader here answers with a typed error for bytes that are too few or a length that cannot be; none trusts `batch_length`.

use thiserror::Error;

use super::compression::Codec;
use super::crc::crc32c_of_parts;

/// Where each field begins, in bytes from the start of the batch.
pub mod position {
    pub const BASE_OFFSET: usize = 0;
    pub const BATCH_LENGTH: usize = 8;
    pub const PARTITION_LEADER_EPOCH: usize = 12;
    pub const MAGIC: usize = 16;
    pub const CRC: usize = 17;
    pub const ATTRIBUTES: usize = 21;
    pub const LAST_OFFSET_DELTA: usize = 23;
    pub const BASE_TIMESTAMP: usize = 27;
    pub const MAX_TIMESTAMP: usize = 35;
    pub const PRODUCER_ID: usize = 43;
    pub const PRODUCER_EPOCH: usize = 51;
    pub const BASE_SEQUENCE: usize = 53;
    pub const RECORD_COUNT: usize = 57;
    pub const RECORDS: usize = 61;
}

/// The size of the header in bytes.
pub const HEADER_BYTES: usize = position::RECORDS;
/// The bytes of a batch that `batch_length` does not count: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD_BYTES: usize = 12;
/// What a leader sets and the CRC does not cover: base offset, length, leader epoch.
pub const PREFIX_BYTES: usize = 16;
/// The least length in formats v0 and v1: checksum, magic, attributes and two lengths. Below this the bytes are no batch of any format.
const OLD_MESSAGE_BYTES_MIN: usize = 14;
/// The only format that is stored and served.
pub(super) const MAGIC_V2: i8 = 2;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;
/// The attribute bits that have a meaning; a patch of the timestamp type keeps these and clears the others, as Kafka does.
const KNOWN_BITS: i16 = CODEC_MASK | LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT | DELETE_HORIZON_BIT;

/// Why bytes are not a batch of format v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    #[error("{have} bytes are too few for a batch, which has at least {need}")]
    Partial { have: usize, need: usize },
    #[error("batch length {batch_length} is less than {least}")]
    Length { batch_length: i32, least: usize },
    #[error("message format v{magic} is not supported")]
    OldMagic { magic: i8 },
    #[error("magic {magic} is unknown")]
    UnknownMagic { magic: i8 },
}

/// Whose clock the timestamps of a batch are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The leader's: the batch's maximum timestamp stands for every record.
    LogAppendTime,
}

/// The fields of the header, in the order of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record that the batch had when it was written; producers send 0.
    pub base_offset: i64,
    /// Bytes that follow this field; at least 49.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    /// CRC-32C of all bytes from the attributes on.
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// Milliseconds since 1970, or the delete horizon if the batch has one; record deltas count from here either way.
    pub base_timestamp: i64,
    /// Milliseconds since 1970, -1 if no record has a timestamp.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without idempotence.
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch that begins at `bytes`; the records need not be there.
    ///
    /// # Errors
    /// `Partial` for fewer bytes than a header, `Length` for a batch length that does not hold one, `OldMagic` and `UnknownMagic` for other formats.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() {
            let batch_length = i32::from_be_bytes(field(prefix, position::BATCH_LENGTH));
            checked_size(batch_length, LENGTH_OVERHEAD_BYTES + OLD_MESSAGE_BYTES_MIN)?;
        }
        known_magic(bytes)?;
        let head: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(BatchError::Partial { have: bytes.len(), need: HEADER_BYTES })?;
        let header = BatchHeader::from_array(head);
        checked_size(header.batch_length, HEADER_BYTES)?;
        Ok(header)
    }

    fn from_array(head: &[u8; HEADER_BYTES]) -> BatchHeader {
        BatchHeader {
            base_offset: i64::from_be_bytes(field(head, position::BASE_OFFSET)),
            batch_length: i32::from_be_bytes(field(head, position::BATCH_LENGTH)),
            partition_leader_epoch: i32::from_be_bytes(field(head, position::PARTITION_LEADER_EPOCH)),
            magic: i8::from_be_bytes(field(head, position::MAGIC)),
            crc: u32::from_be_bytes(field(head, position::CRC)),
            attributes: i16::from_be_bytes(field(head, position::ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(field(head, position::LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(field(head, position::BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(field(head, position::MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(head, position::PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(field(head, position::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(head, position::BASE_SEQUENCE)),
            record_count: i32::from_be_bytes(field(head, position::RECORD_COUNT)),
        }
    }

    /// The bytes of the header, as they stand in a batch.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        put(&mut head, position::BASE_OFFSET, self.base_offset.to_be_bytes());
        put(&mut head, position::BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(&mut head, position::PARTITION_LEADER_EPOCH, self.partition_leader_epoch.to_be_bytes());
        put(&mut head, position::MAGIC, self.magic.to_be_bytes());
        put(&mut head, position::CRC, self.crc.to_be_bytes());
        put(&mut head, position::ATTRIBUTES, self.attributes.to_be_bytes());
        put(&mut head, position::LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut head, position::BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(&mut head, position::MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(&mut head, position::PRODUCER_ID, self.producer_id.to_be_bytes());
        put(&mut head, position::PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(&mut head, position::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut head, position::RECORD_COUNT, self.record_count.to_be_bytes());
        head
    }

    /// The bytes of the whole batch, header included.
    pub fn size_bytes(&self) -> usize {
        // `parse` refuses negative lengths, and a header that was made by hand has none to misuse.
        LENGTH_OVERHEAD_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The codec of the records; `None` if the number is not Kafka's.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_bits(self.codec_bits())
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// When tombstones and markers of this batch may be dropped, in milliseconds since 1970.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// The offset of the last record that the batch had when it was written; compaction keeps it.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence of the last record, which wraps from `i32::MAX` to 0; -1 if the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sequence = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let wrapped = sequence.rem_euclid(1 << 31);
        i32::try_from(wrapped).expect("a remainder of 2^31 fits")
    }

    /// The time of the first record, as far as the header tells: that of the newest one where a horizon stands in its place. None
    /// if its producer gave no time.
    pub fn first_timestamp(&self) -> Option<i64> {
        let is_first = self.timestamp_type() == TimestampType::CreateTime && !self.has_delete_horizon();
        let timestamp = if is_first { self.base_timestamp } else { self.max_timestamp };
        Some(timestamp).filter(|timestamp| *timestamp >= 0)
    }

    /// The time of a record in milliseconds since 1970, from its delta.
    pub fn timestamp_of(&self, timestamp_delta: i64) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// The attributes of the batch that its records are packed into anew. A delete horizon is not taken over: only the cleaner gives one.
    pub(super) fn repacked_attributes(&self, codec: Codec, timestamp_type: TimestampType) -> i16 {
        let attributes = Attributes {
            codec,
            timestamp_type,
            transactional: self.is_transactional(),
            control: self.is_control(),
            delete_horizon: false,
        };
        attributes.bits()
    }

    /// The whole batch that is left when compaction has taken all its records. Offsets, producer, sequence, leader epoch and
    /// largest timestamp stay; codec and delete horizon belonged to the records.
    ///
    /// Source: Kafka's `DefaultRecordBatch.writeEmptyHeader`.
    pub fn without_records(&self) -> [u8; HEADER_BYTES] {
        let header = BatchHeader {
            batch_length: (HEADER_BYTES - LENGTH_OVERHEAD_BYTES) as i32,
            attributes: self.repacked_attributes(Codec::None, self.timestamp_type()),
            base_timestamp: -1,
            record_count: 0,
            ..*self
        };
        sealed(header, &[])
    }

    /// The number of the codec, known or not.
    pub(super) fn codec_bits(&self) -> i16 {
        self.attributes & CODEC_MASK
    }
}

/// The attribute bits for a new batch.
pub(super) struct Attributes {
    pub(super) codec: Codec,
    pub(super) timestamp_type: TimestampType,
    pub(super) transactional: bool,
    pub(super) control: bool,
    pub(super) delete_horizon: bool,
}

impl Attributes {
    pub(super) fn bits(&self) -> i16 {
        let bit = |set: bool, bit: i16| if set { bit } else { 0 };
        self.codec.bits()
            | bit(self.timestamp_type == TimestampType::LogAppendTime, LOG_APPEND_TIME_BIT)
            | bit(self.transactional, TRANSACTIONAL_BIT)
            | bit(self.control, CONTROL_BIT)
            | bit(self.delete_horizon, DELETE_HORIZON_BIT)
    }
}

/// The size of the batch that begins at `bytes`, from its first 12 bytes.
///
/// # Errors
/// `Partial` for fewer bytes than those, `Length` if the length does not hold a header.
pub fn peek_size(bytes: &[u8]) -> Result<usize, BatchError> {
    let head: &[u8; LENGTH_OVERHEAD_BYTES] =
        bytes.first_chunk().ok_or(BatchError::Partial { have: bytes.len(), need: LENGTH_OVERHEAD_BYTES })?;
    checked_size(i32::from_be_bytes(field(head, position::BATCH_LENGTH)), HEADER_BYTES)
}

/// The magic byte, which stands at the same place in all formats.
pub fn magic(bytes: &[u8]) -> Option<i8> {
    bytes.get(position::MAGIC).map(|byte| i8::from_be_bytes([*byte]))
}

/// Stamps the offset of the first record and the leader's epoch into a batch; neither is under the CRC. Fewer bytes than a prefix stay as they are.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(prefix) = batch.first_chunk_mut::<PREFIX_BYTES>() {
        put(prefix, position::BASE_OFFSET, base_offset.to_be_bytes());
        put(prefix, position::PARTITION_LEADER_EPOCH, leader_epoch.to_be_bytes());
    }
}

/// The first 16 bytes of a stamped batch, for a caller that keeps the rest as an untouched slice.
pub fn stamped_prefix(base_offset: i64, batch_length: i32, leader_epoch: i32) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    put(&mut prefix, position::BASE_OFFSET, base_offset.to_be_bytes());
    put(&mut prefix, position::BATCH_LENGTH, batch_length.to_be_bytes());
    put(&mut prefix, position::PARTITION_LEADER_EPOCH, leader_epoch.to_be_bytes());
    prefix
}

/// The header of `batch` with another timestamp type and maximum timestamp, and the CRC that then holds; the records are read but not copied.
///
/// # Errors
/// As `BatchHeader::parse`.
pub fn restamped_header(
    batch: &[u8],
    timestamp_type: TimestampType,
    max_timestamp: i64,
) -> Result<[u8; HEADER_BYTES], BatchError> {
    let mut header = BatchHeader::parse(batch)?;
    header.attributes = match timestamp_type {
        TimestampType::CreateTime => header.attributes & KNOWN_BITS & !LOG_APPEND_TIME_BIT,
        TimestampType::LogAppendTime => header.attributes & KNOWN_BITS | LOG_APPEND_TIME_BIT,
    };
    header.max_timestamp = max_timestamp;
    let records = batch.get(HEADER_BYTES..).unwrap_or_default();
    Ok(sealed(header, records))
}

/// Sets timestamp type and maximum timestamp in place and computes the CRC again.
///
/// # Errors
/// As `BatchHeader::parse`.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) -> Result<(), BatchError> {
    let head = restamped_header(batch, timestamp_type, max_timestamp)?;
    batch[..HEADER_BYTES].copy_from_slice(&head);
    Ok(())
}

/// The bytes of `header` with the CRC that holds in front of `records`.
pub(super) fn sealed(header: BatchHeader, records: &[u8]) -> [u8; HEADER_BYTES] {
    let mut head = header.to_bytes();
    let crc = crc32c_of_parts(&head[position::ATTRIBUTES..], records);
    put(&mut head, position::CRC, crc.to_be_bytes());
    head
}

fn known_magic(bytes: &[u8]) -> Result<(), BatchError> {
    match magic(bytes) {
        None => Err(BatchError::Partial { have: bytes.len(), need: HEADER_BYTES }),
        Some(MAGIC_V2) => Ok(()),
        Some(magic @ (0 | 1)) => Err(BatchError::OldMagic { magic }),
        Some(magic) => Err(BatchError::UnknownMagic { magic }),
    }
}

fn checked_size(batch_length: i32, least: usize) -> Result<usize, BatchError> {
    let size = usize::try_from(batch_length).map(|length| length + LENGTH_OVERHEAD_BYTES);
    size.ok().filter(|size| *size >= least).ok_or(BatchError::Length { batch_length, least: least - LENGTH_OVERHEAD_BYTES })
}

fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

fn put<const N: usize>(head: &mut [u8], at: usize, bytes: [u8; N]) {
    head[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::crc32c;

    const GOLDEN: &[u8] = include_bytes!("golden/librdkafka-none.log");

    #[test]
    fn a_header_is_written_as_it_was_read() {
        let header = BatchHeader::parse(GOLDEN).unwrap();
        assert_eq!(header.to_bytes(), GOLDEN[..HEADER_BYTES]);
        assert_eq!(header.size_bytes(), GOLDEN.len());
        assert_eq!(peek_size(GOLDEN), Ok(GOLDEN.len()));
        assert_eq!((header.record_count, header.last_offset(), header.next_offset()), (4, 3, 4));
    }

    #[test]
    fn every_cut_of_a_header_is_partial() {
        for have in 0..HEADER_BYTES {
            assert!(matches!(BatchHeader::parse(&GOLDEN[..have]), Err(BatchError::Partial { .. })), "{have}");
        }
    }

    #[test]
    fn lengths_that_hold_no_header_are_refused() {
        let with_length = |length: i32| {
            let mut bytes = GOLDEN.to_vec();
            put(&mut bytes, position::BATCH_LENGTH, length.to_be_bytes());
            (BatchHeader::parse(&bytes), peek_size(&bytes))
        };
        for length in [i32::MIN, -1, 0, 13, 14, 48] {
            let (parsed, peeked) = with_length(length);
            assert!(matches!(parsed, Err(BatchError::Length { batch_length, .. }) if batch_length == length), "{length}");
            assert!(
                matches!(peeked, Err(BatchError::Length { batch_length, least: 49 }) if batch_length == length),
                "{length}"
            );
        }
        assert!(with_length(49).0.is_ok());
        assert_eq!(with_length(i32::MAX).1, Ok(i32::MAX as usize + 12));
    }

    #[test]
    fn other_formats_are_told_apart() {
        for (number, expected) in [
            (0, BatchError::OldMagic { magic: 0 }),
            (1, BatchError::OldMagic { magic: 1 }),
            (3, BatchError::UnknownMagic { magic: 3 }),
            (-1, BatchError::UnknownMagic { magic: -1 }),
        ] {
            let mut bytes = GOLDEN.to_vec();
            bytes[position::MAGIC] = number as u8;
            assert_eq!(BatchHeader::parse(&bytes), Err(expected));
            assert_eq!(magic(&bytes), Some(number));
        }
    }

    #[test]
    fn a_stamp_leaves_the_crc_valid_and_the_prefix_is_the_stamp() {
        let mut bytes = GOLDEN.to_vec();
        stamp(&mut bytes, 1 << 40, 17);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_offset, header.partition_leader_epoch, header.last_offset()), (1 << 40, 17, (1 << 40) + 3));
        assert_eq!(crc32c(&bytes[position::ATTRIBUTES..]), header.crc);
        assert_eq!(stamped_prefix(1 << 40, header.batch_length, 17), bytes[..PREFIX_BYTES]);
        stamp(&mut bytes[..PREFIX_BYTES - 1], 0, 0);
    }

    #[test]
    fn another_maximum_timestamp_comes_with_its_crc() {
        let mut bytes = GOLDEN.to_vec();
        set_max_timestamp(&mut bytes, TimestampType::LogAppendTime, 5_000).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(
            (header.timestamp_type(), header.max_timestamp, header.timestamp_of(9)),
            (TimestampType::LogAppendTime, 5_000, 5_000)
        );
        assert_eq!(crc32c(&bytes[position::ATTRIBUTES..]), header.crc);
        let before = BatchHeader::parse(GOLDEN).unwrap();
        set_max_timestamp(&mut bytes, TimestampType::CreateTime, before.max_timestamp).unwrap();
        assert_eq!(bytes, GOLDEN);
    }

    #[test]
    fn sequences_wrap_and_offsets_saturate() {
        let header = BatchHeader {
            base_sequence: i32::MAX - 1,
            last_offset_delta: 3,
            base_offset: i64::MAX,
            ..BatchHeader::parse(GOLDEN).unwrap()
        };
        assert_eq!(header.last_sequence(), 1);
        assert_eq!(header.next_offset(), i64::MAX);
        assert_eq!(BatchHeader { base_sequence: -1, ..header }.last_sequence(), -1);
        assert_eq!(BatchHeader { last_offset_delta: i32::MIN, ..header }.last_sequence(), i32::MAX - 1);
    }
}
