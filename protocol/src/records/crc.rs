//! CRC-32C (Castagnoli, reflected), the checksum of record batches. Not the IEEE polynomial of crate `crc32fast`.

use crc_fast::CrcAlgorithm::Crc32Iscsi;

/// Computes the CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // The algorithm is 32 bits wide, so the upper half is zero.
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// Computes the CRC-32C of two parts as if they were one, so that a changed header need not be copied in front of its records.
pub fn crc32c_of_parts(head: &[u8], tail: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(Crc32Iscsi);
    digest.update(head);
    digest.update(tail);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial_is_met() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn every_length_and_split_agrees_with_the_bitwise_definition() {
        let bytes: Vec<u8> = (0..700u32).map(|i| (i * 31 + i / 7) as u8).collect();
        for length in 0..bytes.len() {
            let part = &bytes[..length];
            assert_eq!(crc32c(part), bitwise(part), "length {length}");
            let (head, tail) = part.split_at(length / 3);
            assert_eq!(crc32c_of_parts(head, tail), crc32c(part), "length {length}");
        }
    }

    fn bitwise(bytes: &[u8]) -> u32 {
        let step = |crc: u32| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        };
        !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }
}
