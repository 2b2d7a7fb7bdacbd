//! Codecs: round trips, foreign forms, truncation, mutation and bombs.

use super::*;

const PACKED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn packed(compression: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(compression, input, &mut out, &mut Scratch::default()).unwrap();
    out
}

fn unpacked(codec: Codec, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    decompress(codec, input, bytes_max, &mut Scratch::default())
}

fn sample(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| if i % 3 == 0 { b'e' } else { (i.wrapping_mul(2_654_435_761) >> 27) as u8 }).collect()
}

#[test]
fn every_codec_and_level_gives_back_what_it_took() {
    let mut scratch = Scratch::default();
    let levels = [1, 6, 9].map(|level| Compression::Gzip { level });
    let zstd = [-5, 1, 3, 19, 99].map(|level| Compression::Zstd { level });
    let all = Codec::ALL.map(Compression::of).into_iter().chain(levels).chain(zstd);
    for compression in all {
        for length in [0, 1, 5, 1_000, 32 << 10, (32 << 10) + 1, 64 << 10, 300_000] {
            let input = sample(length);
            let mut out = b"kept".to_vec();
            compress(compression, &input, &mut out, &mut scratch).unwrap();
            assert_eq!(out[..4], *b"kept");
            // The cap is met exactly: that is still allowed.
            assert_eq!(decompress(compression.codec(), &out[4..], length, &mut scratch), Ok(input), "{compression:?} {length}");
        }
    }
}

#[test]
fn one_byte_beyond_the_cap_is_too_large() {
    for codec in Codec::ALL {
        let data = packed(Compression::of(codec), &sample(100_000));
        assert_eq!(unpacked(codec, &data, 99_999), Err(CodecError::TooLarge { bytes_max: 99_999 }), "{codec:?}");
        assert_eq!(unpacked(codec, &data, 0), Err(CodecError::TooLarge { bytes_max: 0 }), "{codec:?}");
    }
}

#[test]
fn a_bomb_costs_no_more_than_its_cap() {
    let zeros = vec![0; 64 << 20];
    for codec in PACKED {
        let bomb = packed(Compression::of(codec), &zeros);
        let mut scratch = Scratch::default();
        let mut inflater = Inflater::new(codec, &bomb, 1 << 20, &mut scratch).unwrap();
        let mut window = [0; 4096];
        let mut seen = 0;
        let end = loop {
            match inflater.read_some(&mut window) {
                Ok(read) => seen += read,
                Err(error) => break error,
            }
        };
        assert_eq!(end, CodecError::TooLarge { bytes_max: 1 << 20 }, "{codec:?}");
        assert!(seen <= 1 << 20);
        assert!(scratch.contexts.snappy_block.capacity() <= 1 << 20);
    }
}

#[test]
fn data_that_was_cut_is_never_taken_for_whole() {
    let input = sample(70_000);
    for codec in PACKED {
        let data = packed(Compression::of(codec), &input);
        let step = if data.len() > 3_000 { 97 } else { 1 };
        let cuts =
            (0..data.len().min(300)).chain((300..data.len()).step_by(step)).chain(data.len().saturating_sub(64)..data.len());
        for length in cuts {
            let result = unpacked(codec, &data[..length], 1 << 20);
            // Snappy has no end mark: a cut between blocks gives a shorter whole, which the record count then unmasks.
            let shorter = codec == Codec::Snappy && result.as_ref().is_ok_and(|out| out.len() < input.len());
            // Nothing at all is an empty stream to gzip's reader, and to snappy.
            let empty = length == 0 && result.as_ref().is_ok_and(Vec::is_empty);
            assert!(result.is_err() || shorter || empty, "{codec:?} {length}");
        }
    }
}

#[test]
fn mutated_data_neither_panics_nor_outgrows_the_cap() {
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = move |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 11) as usize % sides
    };
    let mut scratch = Scratch::default();
    for codec in PACKED {
        let original = packed(Compression::of(codec), &sample(5_000));
        for _ in 0..4_000 {
            let mut data = original.clone();
            for _ in 0..=roll(4) {
                let front = roll(2) == 0;
                let at = roll(if front { 40 } else { data.len() });
                data[at] = roll(256) as u8;
            }
            data.truncate(data.len() - if roll(4) == 0 { roll(data.len()) } else { 0 });
            if let Ok(out) = decompress(codec, &data, 20_000, &mut scratch) {
                assert!(out.len() <= 20_000);
            }
        }
        assert_eq!(decompress(codec, &original, 20_000, &mut scratch), Ok(sample(5_000)), "the scratch is as good as new");
    }
}

#[test]
fn snappy_is_framed_as_java_does_and_taken_raw_too() {
    let input = sample(40_000);
    let framed = packed(Compression::Snappy, &input);
    assert_eq!(framed[..16], [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let first = u32::from_be_bytes([framed[16], framed[17], framed[18], framed[19]]) as usize;
    assert_eq!(snap::raw::decompress_len(&framed[20..20 + first]), Ok(32 << 10));
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(unpacked(Codec::Snappy, &raw, 40_000), Ok(input.clone()));
    let twice = [&framed[..], &framed[..]].concat();
    assert_eq!(unpacked(Codec::Snappy, &twice, 80_000), Ok([&input[..], &input[..]].concat()));
}

#[test]
fn a_snappy_length_that_the_bytes_cannot_make_takes_no_memory() {
    // Declares 4 GiB less one in nine bytes, raw and in a frame.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0];
    let framed = [&packed(Compression::Snappy, b"")[..], &[0, 0, 0, 9], &lie].concat();
    for data in [&lie[..], &framed] {
        let mut scratch = Scratch::default();
        assert_eq!(
            decompress(Codec::Snappy, data, usize::MAX, &mut scratch),
            Err(CodecError::Malformed { codec: Codec::Snappy })
        );
        assert_eq!(scratch.contexts.snappy_block.capacity(), 0);
    }
    let long = [&packed(Compression::Snappy, b"")[..], &[0xff; 4], &lie].concat();
    assert_eq!(unpacked(Codec::Snappy, &long, 1_000), Err(CodecError::Malformed { codec: Codec::Snappy }));
}

#[test]
fn lz4_frames_that_javas_clients_cannot_read_are_refused() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    let framed = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&sample(200_000)).unwrap();
        encoder.finish().unwrap()
    };
    let malformed = Err(CodecError::Malformed { codec: Codec::Lz4 });
    assert_eq!(unpacked(Codec::Lz4, &framed(FrameInfo::new().block_mode(BlockMode::Linked)), 1 << 20), malformed);
    let rich = framed(FrameInfo::new().block_checksums(true).content_checksum(true).content_size(Some(200_000)));
    assert_eq!(unpacked(Codec::Lz4, &rich, 200_000), Ok(sample(200_000)));
    assert_eq!(unpacked(Codec::Lz4, &[&rich[..], &[0]].concat(), 1 << 20), malformed);
    assert_eq!(unpacked(Codec::Lz4, &[&rich[..], &rich[..]].concat(), 1 << 20), malformed);
    let plain = packed(Compression::Lz4, b"value");
    assert_eq!(unpacked(Codec::Lz4, &plain[..plain.len() - 4], 100), malformed, "no end mark");
}

#[test]
fn levels_change_the_size() {
    let input: Vec<u8> = sample(200_000).iter().map(|byte| byte % 13).collect();
    let size = |compression| packed(compression, &input).len();
    assert!(size(Compression::Gzip { level: 9 }) < size(Compression::Gzip { level: 1 }));
    assert!(size(Compression::Zstd { level: 19 }) < size(Compression::Zstd { level: 1 }));
}

#[test]
fn the_codec_numbers_are_kafkas() {
    for (bits, codec) in [(0, Codec::None), (1, Codec::Gzip), (2, Codec::Snappy), (3, Codec::Lz4), (4, Codec::Zstd)] {
        assert_eq!((Codec::from_bits(bits), codec.bits()), (Some(codec), bits));
    }
    assert_eq!([5, 6, 7, -1].map(Codec::from_bits), [None; 4]);
}
