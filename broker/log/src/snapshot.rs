//! `.snapshot` files: the producers of a partition at the offset in the file's name.
//!
//! A version, a CRC-32C of what follows it, and one entry a producer; drawn in `FORMAT.md`. Of the five batches that are held
//! in memory Kafka stores the last one only, so after a restart a retry is recognised by that one alone. A snapshot is
//! never edited: a new one is written, whole, under a new name.

use bytes::{Bytes, BytesMut};
use strandline_protocol::records::crc32c;
use strandline_protocol::stored::producer_snapshot::{ProducerEntry, ProducerSnapshot};
use strandline_protocol::wire::Message;

use crate::format::FormatError;

/// The only version that Kafka 4 knows.
const VERSION: i16 = 1;

/// Version and checksum.
const HEAD_BYTES: usize = 6;

/// Renders a snapshot.
pub fn encode(producer_entries: Vec<ProducerEntry>) -> Bytes {
    let body = ProducerSnapshot { crc: 0, producer_entries }.to_bytes(VERSION);
    let mut contents = BytesMut::with_capacity(2 + body.len());
    contents.extend_from_slice(&VERSION.to_be_bytes());
    contents.extend_from_slice(&body);
    let checksum = crc32c(&contents[HEAD_BYTES..]);
    contents[2..HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    contents.freeze()
}

/// Parses a snapshot.
///
/// # Errors
/// [`FormatError`] if the version is unknown, the checksum wrong or the entries malformed.
pub fn parse(contents: &Bytes) -> Result<Vec<ProducerEntry>, FormatError> {
    if contents.len() < HEAD_BYTES {
        return Err(FormatError::Length { expected: HEAD_BYTES, found: contents.len() });
    }
    let version = i16::from_be_bytes([contents[0], contents[1]]);
    if version != VERSION {
        return Err(FormatError::Version { expected: i32::from(VERSION), found: i32::from(version) });
    }
    let expected = u32::from_be_bytes([contents[2], contents[3], contents[4], contents[5]]);
    let found = crc32c(&contents[HEAD_BYTES..]);
    if found != expected {
        return Err(FormatError::Checksum { expected, found });
    }
    let snapshot = ProducerSnapshot::from_bytes(contents.slice(2..), VERSION);
    Ok(snapshot.map_err(|_| FormatError::Field { field: "producer_entries" })?.producer_entries)
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::{Offset, ProducerEpoch, ProducerId};

    use super::*;

    fn entry() -> ProducerEntry {
        ProducerEntry {
            producer_id: ProducerId(4_000),
            epoch: ProducerEpoch(3),
            last_sequence: 99,
            last_offset: Offset(1_234),
            offset_delta: 9,
            timestamp: 1_700_000_000_000,
            coordinator_epoch: -1,
            current_txn_first_offset: Offset(-1),
        }
    }

    #[test]
    fn a_snapshot_is_read_back() {
        let contents = encode(vec![entry()]);
        assert_eq!(contents.len(), 2 + 4 + 4 + 46);
        assert_eq!(parse(&contents), Ok(vec![entry()]));
        assert_eq!(parse(&encode(vec![])), Ok(vec![]));
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let contents = encode(vec![entry()]);
        for place in 0..contents.len() {
            let mut flipped = contents.to_vec();
            flipped[place] ^= 0x10;
            assert!(parse(&Bytes::from(flipped)).is_err(), "bit in byte {place}");
        }
        assert_eq!(parse(&contents.slice(..3)), Err(FormatError::Length { expected: 6, found: 3 }));
    }
}
