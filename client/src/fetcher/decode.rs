//! From the bytes of an answer to records.
//!
//! Everything is checked: the checksum of each batch, what it decompresses to, every record. Key, value and headers are
//! slices of the answer, or of the decompressed batch.

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{
    BatchHeader, Batches, Codec, HEADER_BYTES, OpenError, Record, Records, Scratch, crc32c, decompress, position,
};

use super::aborted::Aborted;
use crate::reader::Damage;
use crate::record::{ConsumerRecord, Header};

/// What the records of one partition's answer came to.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) records: Vec<ConsumerRecord>,
    /// Where to read on: behind the last batch, also if none of its records is to be seen.
    pub(crate) next: Option<Offset>,
    /// A batch that is damaged; the records before it are good.
    pub(crate) damaged: Option<(Offset, Damage)>,
}

/// What of an answer is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: i32,
    /// The first offset; a batch is sent whole even if it begins before.
    pub(crate) from: Offset,
    /// The first offset that is not wanted any more.
    pub(crate) until: Offset,
    /// Bounds one batch, and where reading stops with the batches behind it still packed: many small batches that unfold to
    /// much are then fetched again, instead of all being held at once.
    pub(crate) decompressed_bytes_max: usize,
}

/// Reads the batches up to the end, to a batch that is cut off, to one that is damaged, or until enough is unpacked.
pub(crate) fn decode(bytes: &Bytes, wanted: Wanted, aborted: &mut Aborted, scratch: &mut Scratch) -> Decoded {
    let (mut decoded, mut unpacked) = (Decoded::default(), 0);
    for batch in Batches::new(bytes) {
        if unpacked > wanted.decompressed_bytes_max {
            break;
        }
        let at = decoded.next.unwrap_or(wanted.from);
        let read = match batch {
            Ok(batch) => {
                let hidden = aborted.hides(&batch.header) || batch.header.is_control();
                let whole = bytes.slice_ref(batch.bytes);
                decoded.next = Some(Offset(batch.header.next_offset()).max(at));
                read_batch(&whole, &batch.header, hidden, wanted, scratch, &mut decoded.records)
            }
            Err(error) => Err(OpenError::Batch(error).into()),
        };
        match read {
            Ok(bytes) => unpacked += bytes,
            Err(damage) => {
                decoded.next = Some(at);
                decoded.damaged = Some((at, damage));
                break;
            }
        }
    }
    decoded
}

/// Reads one batch; answers with the memory that its records take.
fn read_batch(
    batch: &Bytes,
    header: &BatchHeader,
    hidden: bool,
    wanted: Wanted,
    scratch: &mut Scratch,
    out: &mut Vec<ConsumerRecord>,
) -> Result<usize, Damage> {
    let computed = crc32c(&batch[position::ATTRIBUTES..]);
    if computed != header.crc {
        return Err(Damage::Checksum { stored: header.crc, computed });
    }
    if hidden || header.last_offset() < wanted.from.0 {
        return Ok(0);
    }
    let packed = batch.slice(HEADER_BYTES..);
    let plain = match header.codec().ok_or(OpenError::UnknownCodec { bits: header.attributes & CODEC_MASK })? {
        Codec::None => packed,
        codec => decompress(codec, &packed, wanted.decompressed_bytes_max, scratch).map_err(OpenError::Codec)?.into(),
    };
    let kept = out.len();
    for record in Records::new(&plain, header.record_count) {
        match record {
            Ok(record) => {
                let offset = Offset(header.base_offset.saturating_add(record.offset_delta.into()));
                if (wanted.from..wanted.until).contains(&offset) {
                    out.push(consumer_record(&plain, header, wanted.partition, offset, &record));
                }
            }
            Err(error) => {
                // All records of a batch or none.
                out.truncate(kept);
                return Err(error.into());
            }
        }
    }
    Ok(plain.len() + (out.len() - kept) * size_of::<ConsumerRecord>())
}

/// Bits of the attributes that name the codec.
const CODEC_MASK: i16 = 0b111;

fn consumer_record(plain: &Bytes, header: &BatchHeader, partition: i32, offset: Offset, record: &Record<'_>) -> ConsumerRecord {
    let slice = |bytes: &[u8]| plain.slice_ref(bytes);
    ConsumerRecord {
        partition,
        offset,
        timestamp_ms: header.timestamp_of(record.timestamp_delta),
        timestamp_type: header.timestamp_type(),
        key: record.key.map(slice),
        value: record.value.map(slice),
        headers: record.headers.map(|one| Header { key: slice(one.key), value: one.value.map(slice) }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{self, BatchBuilder, BatchOptions, Compression, NewRecord};

    use super::*;

    const WANTED: Wanted = Wanted { partition: 3, from: Offset(0), until: Offset::MAX, decompressed_bytes_max: 1 << 20 };

    fn batch(base_offset: i64, values: &[&str], compression: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset, compression, ..Default::default() });
        for value in values {
            let headers = [records::Header { key: b"h", value: None }];
            let record = NewRecord { timestamp: 5, key: None, value: Some(value.as_bytes()), headers: &headers };
            builder.append(&record).unwrap();
        }
        builder.build(&mut Scratch::default()).unwrap().to_vec()
    }

    fn read(bytes: Vec<u8>, wanted: Wanted) -> Decoded {
        decode(&bytes.into(), wanted, &mut Aborted::default(), &mut Scratch::default())
    }

    fn offsets(decoded: &Decoded) -> Vec<i64> {
        decoded.records.iter().map(|record| record.offset.0).collect()
    }

    #[test]
    fn records_of_all_codecs_are_read() {
        for codec in Codec::ALL {
            let decoded = read(batch(10, &["a", "b"], Compression::of(codec)), WANTED);
            assert_eq!(offsets(&decoded), [10, 11]);
            assert_eq!(decoded.next, Some(Offset(12)));
            assert_eq!(decoded.records[1].value.as_deref(), Some(&b"b"[..]));
            assert_eq!(decoded.records[1].headers, [Header { key: Bytes::from_static(b"h"), value: None }]);
        }
    }

    #[test]
    fn a_batch_that_begins_before_the_offset_or_reaches_beyond_the_end_is_trimmed() {
        let wanted = Wanted { from: Offset(11), until: Offset(12), ..WANTED };
        let decoded = read(batch(10, &["a", "b", "c"], Compression::None), wanted);
        assert_eq!(offsets(&decoded), [11]);
        assert_eq!(decoded.next, Some(Offset(13)));
    }

    #[test]
    fn a_batch_that_is_cut_off_ends_the_answer_without_an_error() {
        let mut bytes = batch(0, &["a"], Compression::None);
        bytes.extend_from_slice(&batch(1, &["b"], Compression::None)[..30]);
        let decoded = read(bytes, WANTED);
        assert_eq!(offsets(&decoded), [0]);
        assert_eq!(decoded.next, Some(Offset(1)));
        assert!(decoded.damaged.is_none());
    }

    #[test]
    fn a_flipped_bit_is_found_and_what_stands_before_it_is_kept() {
        let mut bytes = batch(0, &["a"], Compression::None);
        bytes.extend_from_slice(&batch(1, &["b"], Compression::None));
        *bytes.last_mut().unwrap() ^= 1;
        let decoded = read(bytes, WANTED);
        assert_eq!(offsets(&decoded), [0]);
        assert_eq!(decoded.next, Some(Offset(1)));
        assert!(matches!(decoded.damaged, Some((Offset(1), Damage::Checksum { .. }))));
    }

    #[test]
    fn batches_that_unfold_to_much_together_are_read_in_portions() {
        let value = "z".repeat(700 << 10);
        let bytes: Vec<u8> = (0..3).flat_map(|offset| batch(offset, &[&value], Compression::of(Codec::Zstd))).collect();
        let decoded = read(bytes, WANTED);
        assert_eq!(offsets(&decoded), [0, 1]);
        assert_eq!(decoded.next, Some(Offset(2)));
        assert!(decoded.damaged.is_none());
    }

    #[test]
    fn a_batch_that_decompresses_to_too_much_is_damaged() {
        let value = "z".repeat(2 << 20);
        let decoded = read(batch(0, &[&value], Compression::of(Codec::Zstd)), WANTED);
        assert!(matches!(decoded.damaged, Some((Offset(0), Damage::Batch(OpenError::Codec(_))))));
    }
}
