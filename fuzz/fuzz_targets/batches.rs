//! Record batches: as they come, and with length, magic and CRC put right, so that what lies behind them is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strandline_protocol::records::{Batches, HEADER_BYTES, Limits, Scratch, crc32c, examine, open};

const LENGTH: std::ops::Range<usize> = 8..12;
const MAGIC: usize = 16;
const CRC: std::ops::Range<usize> = 17..21;

/// Small, so that a bomb is noticed long before libFuzzer's own limit of memory.
const DECOMPRESSED_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let mut scratch = Scratch::default();
    Batches::new(data).flatten().for_each(|batch| read(batch.bytes, &mut scratch));
    let _ = Batches::strict(data).count();
    if data.len() >= HEADER_BYTES {
        let batch = put_right(data);
        read(&batch, &mut scratch);
        let limits = Limits { decompressed_bytes_max: DECOMPRESSED_BYTES_MAX };
        if let Ok(examined) = examine(&batch, &limits, &mut scratch) {
            assert_eq!(examined.size_bytes(), batch.len());
            let (_, records) = open(&batch, DECOMPRESSED_BYTES_MAX, &mut scratch).expect("it was examined");
            assert_eq!(records.map(|record| record.expect("it was examined")).count() as i32, examined.record_count());
        }
    }
});

fn read(batch: &[u8], scratch: &mut Scratch) {
    if let Ok((_, records)) = open(batch, DECOMPRESSED_BYTES_MAX, scratch) {
        for record in records.flatten() {
            assert!(record.headers.clone().count() <= batch.len().max(DECOMPRESSED_BYTES_MAX));
        }
    }
}

fn put_right(data: &[u8]) -> Vec<u8> {
    let mut batch = data.to_vec();
    let length = (batch.len() - LENGTH.end) as i32;
    batch[LENGTH].copy_from_slice(&length.to_be_bytes());
    batch[MAGIC] = 2;
    let crc = crc32c(&batch[CRC.end..]);
    batch[CRC].copy_from_slice(&crc.to_be_bytes());
    batch
}
