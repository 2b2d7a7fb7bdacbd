//! The codecs of record batches: gzip, snappy (xerial framing), lz4 (frame format), zstd.
//!
//! Decompression is a stream with a cap on what comes out (`Inflater`): no declared size is believed, so a bomb costs at most the cap in time and, for a caller
//! that looks at the bytes as they pass, a few windows in memory. Contexts and buffers are kept in a `Scratch` that the caller owns; one serves one thread.

mod lz4;
mod snappy;
mod zstandard;

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use thiserror::Error;

use snappy::SnappyBlocks;
use zstandard::ZstdFrames;

/// How much memory of each buffer a `Scratch` keeps between uses: ordinary batches fit, one giant batch does not stay forever.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;
/// The steps in which a decompressed buffer grows.
const INFLATE_STEP_BYTES: usize = 64 << 10;

/// The codec named by the lowest three attribute bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub fn from_bits(bits: i16) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.bits() == bits)
    }

    pub fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Kafka's word for it in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// A codec and how hard it tries. snappy knows no levels and our lz4 has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    #[default]
    None,
    /// 1 to 9; a level outside is taken as the nearest.
    Gzip {
        level: i32,
    },
    Snappy,
    Lz4,
    /// As zstd has them, up to 22; a level outside is taken as the nearest.
    Zstd {
        level: i32,
    },
}

impl Compression {
    /// What Kafka takes when no level is configured.
    pub const GZIP_LEVEL_DEFAULT: i32 = 6;
    pub const ZSTD_LEVEL_DEFAULT: i32 = 3;

    pub fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip { .. } => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd { .. } => Codec::Zstd,
        }
    }

    /// The codec at its default level.
    pub fn of(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip { level: Compression::GZIP_LEVEL_DEFAULT },
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd { level: Compression::ZSTD_LEVEL_DEFAULT },
        }
    }
}

/// Why compressed bytes cannot be read, or bytes not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("the {} data is malformed", codec.name())]
    Malformed { codec: Codec },
    #[error("the decompressed data is longer than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the {} encoder failed", codec.name())]
    Encoder { codec: Codec },
}

/// Contexts and buffers to be used again from batch to batch.
#[derive(Default)]
pub struct Scratch {
    pub(super) contexts: Contexts,
    /// Decompressed records, or the window through which they pass.
    pub(super) plain: Vec<u8>,
}

/// What the codecs themselves keep.
#[derive(Default)]
pub(super) struct Contexts {
    zstd_in: Option<zstd::zstd_safe::DCtx<'static>>,
    zstd_out: Option<zstd::zstd_safe::CCtx<'static>>,
    snappy_block: Vec<u8>,
    snappy_out: Option<snap::raw::Encoder>,
}

impl Scratch {
    /// Gives back what an unusually large batch made it take.
    pub(super) fn trim(&mut self) {
        for buffer in [&mut self.plain, &mut self.contexts.snappy_block] {
            if buffer.capacity() > SCRATCH_KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// A stream of decompressed bytes that ends with an error if it grows beyond its cap.
pub struct Inflater<'a> {
    source: Source<'a>,
    codec: Codec,
    bytes_max: usize,
    produced: usize,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyBlocks<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(ZstdFrames<'a>),
}

impl<'a> Inflater<'a> {
    /// Begins to read `input`, of which at most `bytes_max` bytes may come out.
    ///
    /// # Errors
    /// The input cannot be of this codec.
    pub fn new(codec: Codec, input: &'a [u8], bytes_max: usize, scratch: &'a mut Scratch) -> Result<Inflater<'a>, CodecError> {
        Inflater::with_contexts(codec, input, bytes_max, &mut scratch.contexts)
    }

    pub(super) fn with_contexts(
        codec: Codec,
        input: &'a [u8],
        bytes_max: usize,
        contexts: &'a mut Contexts,
    ) -> Result<Inflater<'a>, CodecError> {
        let source = match codec {
            Codec::None => Source::Plain(input),
            Codec::Gzip => Source::Gzip(Box::new(MultiGzDecoder::new(input))),
            Codec::Snappy => Source::Snappy(SnappyBlocks::new(input, &mut contexts.snappy_block)),
            Codec::Lz4 => {
                lz4::check_frame(input)?;
                Source::Lz4(Box::new(FrameDecoder::new(input)))
            }
            Codec::Zstd => {
                Source::Zstd(ZstdFrames::new(input, contexts.zstd_in.get_or_insert_with(zstd::zstd_safe::DCtx::create))?)
            }
        };
        Ok(Inflater { source, codec, bytes_max, produced: 0 })
    }

    /// Fills the front of `out` and answers how far; 0 is the end of the data, unless `out` is empty.
    ///
    /// # Errors
    /// `Malformed` if the data is not the codec's or ends early, `TooLarge` as soon as there is a byte beyond the cap.
    pub fn read_some(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        if out.is_empty() {
            return Ok(0);
        }
        let room = self.bytes_max - self.produced;
        // One byte more than allowed is asked for, to tell the end from an overflow.
        let wanted = out.len().min(room.saturating_add(1));
        let read = self.read_source(&mut out[..wanted])?;
        if read > room {
            return Err(CodecError::TooLarge { bytes_max: self.bytes_max });
        }
        self.produced += read;
        Ok(read)
    }

    fn read_source(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        let malformed = |_| CodecError::Malformed { codec: self.codec };
        let left = self.bytes_max - self.produced;
        match &mut self.source {
            Source::Plain(rest) => rest.read(out).map_err(malformed),
            Source::Gzip(stream) => stream.read(out).map_err(malformed),
            Source::Lz4(stream) => stream.read(out).map_err(malformed),
            Source::Zstd(frames) => frames.read(out),
            Source::Snappy(blocks) => blocks.read(out, left).map_err(|error| match error {
                snappy::BlockError::Malformed => CodecError::Malformed { codec: Codec::Snappy },
                snappy::BlockError::TooLarge => CodecError::TooLarge { bytes_max: self.bytes_max },
            }),
        }
    }
}

/// Decompresses the whole of `input`.
///
/// # Errors
/// As `Inflater`; the memory taken grows with what really comes out, up to `bytes_max`.
pub fn decompress(codec: Codec, input: &[u8], bytes_max: usize, scratch: &mut Scratch) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    inflate(codec, input, bytes_max, &mut scratch.contexts, &mut out)?;
    Ok(out)
}

/// Decompresses into the scratch's buffer.
pub(super) fn decompress_into<'a>(
    codec: Codec,
    input: &[u8],
    bytes_max: usize,
    scratch: &'a mut Scratch,
) -> Result<&'a [u8], CodecError> {
    scratch.trim();
    scratch.plain.clear();
    inflate(codec, input, bytes_max, &mut scratch.contexts, &mut scratch.plain)?;
    Ok(&scratch.plain)
}

fn inflate(codec: Codec, input: &[u8], bytes_max: usize, contexts: &mut Contexts, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut inflater = Inflater::with_contexts(codec, input, bytes_max, contexts)?;
    let mut filled = 0;
    loop {
        if filled == out.len() {
            out.resize(filled + INFLATE_STEP_BYTES.max(filled), 0);
        }
        let read = inflater.read_some(&mut out[filled..])?;
        if read == 0 {
            out.truncate(filled);
            return Ok(());
        }
        filled += read;
    }
}

/// Compresses `input` and appends the result to `out`.
///
/// # Errors
/// The encoder failed, which for memory to memory is a defect of ours or no memory.
pub fn compress(compression: Compression, input: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Result<(), CodecError> {
    let contexts = &mut scratch.contexts;
    match compression {
        Compression::None => out.extend_from_slice(input),
        Compression::Gzip { level } => gzip(input, level, out)?,
        Compression::Snappy => snappy::compress(input, out, contexts.snappy_out.get_or_insert_with(snap::raw::Encoder::new))?,
        Compression::Lz4 => lz4::compress(input, out)?,
        Compression::Zstd { level } => {
            zstandard::compress(input, level, out, contexts.zstd_out.get_or_insert_with(zstd::zstd_safe::CCtx::create))?
        }
    }
    Ok(())
}

fn gzip(input: &[u8], level: i32, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let level = flate2::Compression::new(level.clamp(1, 9).unsigned_abs());
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    let written = encoder.write_all(input).and_then(|()| encoder.finish().map(|_| ()));
    written.map_err(|_| CodecError::Encoder { codec: Codec::Gzip })
}

#[cfg(test)]
mod tests;
