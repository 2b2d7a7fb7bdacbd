//! snappy as Kafka's Java clients write it: blocks of raw snappy behind a header ("xerial" framing).
//!
//! ```text
//! 82 "SNAPPY" 00 | version u32 = 1 | least compatible version u32 = 1 | (block length u32 | raw snappy block) *
//! ```
//! Other clients send one raw snappy block without any framing, which is taken too. A framed stream may be followed by another with its own header.

use super::{Codec, CodecError};

const STREAM_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// What a second header begins with where a block's length is expected; as a length it would be over 2 GiB.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// What one block holds before compression; the Java writer takes the same.
const BLOCK_BYTES: usize = 32 << 10;
/// No snappy element makes more than 64 bytes out of 3, so a block that declares more than this times its size is a lie.
const EXPANSION_MAX: usize = 22;

pub(super) enum BlockError {
    Malformed,
    TooLarge,
}

/// A reader of snappy data, block by block.
pub(super) struct SnappyBlocks<'a> {
    rest: &'a [u8],
    framed: bool,
    block: &'a mut Vec<u8>,
    /// How much of the block was handed out.
    used: usize,
}

impl<'a> SnappyBlocks<'a> {
    pub(super) fn new(input: &'a [u8], block: &'a mut Vec<u8>) -> SnappyBlocks<'a> {
        block.clear();
        SnappyBlocks { rest: input, framed: input.starts_with(&MAGIC), block, used: 0 }
    }

    /// Fills the front of `out`; `left` is how many bytes may still come out in all.
    pub(super) fn read(&mut self, out: &mut [u8], left: usize) -> Result<usize, BlockError> {
        while self.used == self.block.len() {
            let Some(packed) = self.next_block()? else {
                return Ok(0);
            };
            self.unpack(packed, left)?;
        }
        let ready = &self.block[self.used..];
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.used += count;
        Ok(count)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, BlockError> {
        if !self.framed {
            let whole = std::mem::take(&mut self.rest);
            return Ok(if whole.is_empty() { None } else { Some(whole) });
        }
        while self.rest.starts_with(&MAGIC) {
            self.rest = self.rest.get(STREAM_HEADER.len()..).ok_or(BlockError::Malformed)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self.rest.split_first_chunk().ok_or(BlockError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BlockError::Malformed)?;
        let (packed, rest) = rest.split_at_checked(length).ok_or(BlockError::Malformed)?;
        self.rest = rest;
        Ok(Some(packed))
    }

    /// The declared length is held against the cap and against what the packed bytes could make before memory is taken.
    fn unpack(&mut self, packed: &[u8], left: usize) -> Result<(), BlockError> {
        let declared = snap::raw::decompress_len(packed).map_err(|_| BlockError::Malformed)?;
        if declared > packed.len().saturating_mul(EXPANSION_MAX) {
            return Err(BlockError::Malformed);
        }
        if declared > left {
            return Err(BlockError::TooLarge);
        }
        self.block.resize(declared, 0);
        self.used = 0;
        let unpacked = snap::raw::Decoder::new().decompress(packed, self.block);
        unpacked.map(|_| ()).map_err(|_| BlockError::Malformed)
    }
}

/// Writes the framing that Java's reader expects.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>, encoder: &mut snap::raw::Encoder) -> Result<(), CodecError> {
    out.extend_from_slice(&STREAM_HEADER);
    for block in input.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let packed_at = length_at + size_of::<u32>();
        out.resize(packed_at + snap::raw::max_compress_len(block.len()), 0);
        let packed =
            encoder.compress(block, &mut out[packed_at..]).map_err(|_| CodecError::Encoder { codec: Codec::Snappy })?;
        out.truncate(packed_at + packed);
        let length = u32::try_from(packed).map_err(|_| CodecError::Encoder { codec: Codec::Snappy })?;
        out[length_at..packed_at].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
