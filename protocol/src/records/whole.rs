//! Batches that came from another node: whole ones with the right checksum, or nothing.

use bytes::Bytes;

use super::batches::Batches;
use super::crc::crc32c;
use super::header::{BatchError, position};

/// Why fetched batches are of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the checksum of the batch at offset {base_offset} does not hold")]
    Checksum { base_offset: i64 },
}

/// Compares the checksum of every batch, and cuts off a last one that is not whole: a sender cuts answers anywhere.
///
/// # Errors
/// [`Unsound`] for the first batch that is none or whose checksum does not hold.
pub fn whole_batches(bytes: Bytes) -> Result<Bytes, Unsound> {
    let mut batches = Batches::new(&bytes);
    for batch in batches.by_ref() {
        let batch = batch?;
        if crc32c(&batch.bytes[position::ATTRIBUTES..]) != batch.header.crc {
            return Err(Unsound::Checksum { base_offset: batch.header.base_offset });
        }
    }
    let end = batches.position();
    Ok(bytes.slice(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("golden/java-lz4.log");

    #[test]
    fn a_cut_batch_at_the_end_is_left_out() {
        assert_eq!(whole_batches(Bytes::from_static(GOLDEN)).as_deref(), Ok(GOLDEN));
        assert_eq!(whole_batches(Bytes::from_static(&GOLDEN[..477])).as_deref(), Ok(&GOLDEN[..278]));
        assert_eq!(whole_batches(Bytes::new()).as_deref(), Ok(&[][..]));
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_the_checksum_reaches() {
        for place in [21, 60, 199, 250, 477] {
            let mut bytes = GOLDEN.to_vec();
            bytes[place] ^= 4;
            assert!(whole_batches(bytes.into()).is_err(), "byte {place}");
        }
    }
}
