//! lz4 in the frame format, of which Java's clients read only a part: one frame, independent blocks, an end mark.
//!
//! What they cannot read must not get into a log, so the frame's outline is walked first; the decoder itself would take linked blocks and a missing end.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::{Codec, CodecError};

const FRAME_MAGIC: u32 = 0x184d_2204;
const VERSION_MASK: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
/// The top bit of a block's size says that the block is stored, not compressed.
const BLOCK_SIZE_MASK: u32 = 0x7fff_ffff;

/// Checks that `input` is exactly one frame with independent blocks and an end mark. The blocks' content is not looked at.
pub(super) fn check_frame(input: &[u8]) -> Result<(), CodecError> {
    match outline(input) {
        Some(()) => Ok(()),
        None => Err(CodecError::Malformed { codec: Codec::Lz4 }),
    }
}

fn outline(mut rest: &[u8]) -> Option<()> {
    let flags = frame_flags(&mut rest)?;
    let checksum_bytes = |flag: u8| {
        if flags & flag == 0 { 0 } else { size_of::<u32>() }
    };
    loop {
        let size = take_u32(&mut rest)? & BLOCK_SIZE_MASK;
        if size == 0 {
            rest = rest.get(checksum_bytes(CONTENT_CHECKSUM)..)?;
            return rest.is_empty().then_some(());
        }
        let size = usize::try_from(size).ok()?;
        rest = rest.get(size.checked_add(checksum_bytes(BLOCK_CHECKSUMS))?..)?;
    }
}

fn frame_flags(rest: &mut &[u8]) -> Option<u8> {
    if take_u32(rest)? != FRAME_MAGIC {
        return None;
    }
    let flags = *rest.first()?;
    if flags & VERSION_MASK != VERSION_1 || flags & INDEPENDENT_BLOCKS == 0 {
        return None;
    }
    // Flags, block descriptor and header checksum are a byte each.
    let descriptor_bytes = if flags & CONTENT_SIZE == 0 { 3 } else { 3 + size_of::<u64>() };
    *rest = rest.get(descriptor_bytes..)?;
    Some(flags)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

/// Writes independent blocks of 64 KiB.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let frame = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(frame, out);
    let failed = CodecError::Encoder { codec: Codec::Lz4 };
    encoder.write_all(input).map_err(|_| failed)?;
    encoder.finish().map_err(|_| failed)?;
    Ok(())
}
