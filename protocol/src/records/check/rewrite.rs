//! Packing the records of a batch anew: with the topic's codec, or numbered as they must be. The only place where a broker makes other bytes out of a producer's.

use bytes::Bytes;

use super::{InnerOffsets, Limits, ProduceRules, Refusal};
use crate::records::builder::put_renumbered;
use crate::records::compression::{Compression, Scratch, compress};
use crate::records::header::{BatchHeader, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, TimestampType, sealed};
use crate::records::record::{OpenError, Records, open};

/// What a batch is to be made into; a part of the verdict over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub compression: Compression,
    /// `Scattered` if the records must be numbered anew.
    pub inner_offsets: InnerOffsets,
    pub timestamp_type: TimestampType,
    pub max_timestamp: i64,
}

/// Makes the batch that is stored in place of `batch`, which was examined. Keys, values, headers and times of the records stay.
///
/// # Errors
/// `MessageTooLarge` or `RecordListTooLarge` if the result exceeds the topic's limits; what `examine` says, if the batch was not examined.
pub fn rewrite(
    batch: &[u8],
    wanted: &Rewrite,
    rules: &ProduceRules,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Bytes, Refusal> {
    let (header, records) = open(batch, limits.decompressed_bytes_max, scratch).map_err(refusal)?;
    let renumbered = wanted.inner_offsets == InnerOffsets::Scattered;
    let plain = if renumbered { numbered(records)? } else { records.encoded().to_vec() };
    let mut out = vec![0; HEADER_BYTES];
    compress(wanted.compression, &plain, &mut out, scratch).map_err(Refusal::Codec)?;
    check_size(out.len(), rules)?;
    let batch_length = i32::try_from(out.len() - LENGTH_OVERHEAD_BYTES);
    let header = BatchHeader {
        batch_length: batch_length.map_err(|_| Refusal::MessageTooLarge { bytes: out.len(), bytes_max: i32::MAX as usize })?,
        attributes: header.repacked_attributes(wanted.compression.codec(), wanted.timestamp_type),
        max_timestamp: wanted.max_timestamp,
        ..header
    };
    let head = sealed(header, &out[HEADER_BYTES..]);
    out[..HEADER_BYTES].copy_from_slice(&head);
    Ok(out.into())
}

fn numbered(records: Records<'_>) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let mut body = Vec::new();
    for (record, offset_delta) in records.zip(0..) {
        put_renumbered(&mut out, &mut body, &record.map_err(Refusal::Record)?, offset_delta);
    }
    Ok(out)
}

fn check_size(bytes: usize, rules: &ProduceRules) -> Result<(), Refusal> {
    if bytes > rules.max_message_bytes {
        return Err(Refusal::MessageTooLarge { bytes, bytes_max: rules.max_message_bytes });
    }
    if bytes > rules.segment_bytes {
        return Err(Refusal::RecordListTooLarge { bytes, bytes_max: rules.segment_bytes });
    }
    Ok(())
}

fn refusal(error: OpenError) -> Refusal {
    match error {
        OpenError::Batch(error) => Refusal::Header(error),
        OpenError::UnknownCodec { bits } => Refusal::UnknownCodec { bits },
        OpenError::Codec(error) => Refusal::Codec(error),
    }
}
