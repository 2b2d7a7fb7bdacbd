//! Every codec: what it packs comes back, and what it unpacks stays below the cap.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strandline_protocol::records::{Codec, Compression, Scratch, compress, decompress};

const DECOMPRESSED_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((codec, data)) = data.split_first() else {
        return;
    };
    let codec = Codec::ALL[usize::from(*codec) % Codec::ALL.len()];
    let mut scratch = Scratch::default();
    if let Ok(plain) = decompress(codec, data, DECOMPRESSED_BYTES_MAX, &mut scratch) {
        assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
    }
    let mut packed = Vec::new();
    compress(Compression::of(codec), data, &mut packed, &mut scratch).expect("memory to memory");
    assert_eq!(decompress(codec, &packed, data.len(), &mut scratch).as_deref(), Ok(data));
});
