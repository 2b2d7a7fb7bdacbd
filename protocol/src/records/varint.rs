//! Zigzag varints, as records use them: seven bits a byte, low bits first, the top bit says that more follow.
//!
//! Like Kafka's own reader this one takes overlong forms and ignores the bits of the last byte that do not fit.

/// The longest form of a 32-bit value.
const VARINT_BYTES_MAX: usize = 5;
/// The longest form of a 64-bit value.
const VARLONG_BYTES_MAX: usize = 10;

/// Reads bytes one after the other; `None` at the end.
pub(super) trait ByteSource {
    type Error;
    fn next_byte(&mut self) -> Result<u8, Self::Error>;
    /// The error for a varint that is longer than any value of its type.
    fn overlong(&self) -> Self::Error;
}

/// Reads a zigzag varint of 32 bits.
#[inline]
pub(super) fn read_varint<S: ByteSource>(source: &mut S) -> Result<i32, S::Error> {
    let mut value = 0u32;
    for index in 0..VARINT_BYTES_MAX {
        let byte = source.next_byte()?;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value >> 1) as i32 ^ -((value & 1) as i32));
        }
    }
    Err(source.overlong())
}

/// Reads a zigzag varint of 64 bits.
#[inline]
pub(super) fn read_varlong<S: ByteSource>(source: &mut S) -> Result<i64, S::Error> {
    let mut value = 0u64;
    for index in 0..VARLONG_BYTES_MAX {
        let byte = source.next_byte()?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(source.overlong())
}

/// Appends `value` in its shortest form; a 32-bit value has the same bytes as the 64-bit one.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes<'a>(&'a [u8]);

    impl ByteSource for Bytes<'_> {
        type Error = &'static str;
        fn next_byte(&mut self) -> Result<u8, &'static str> {
            let (first, rest) = self.0.split_first().ok_or("end")?;
            self.0 = rest;
            Ok(*first)
        }
        fn overlong(&self) -> &'static str {
            "overlong"
        }
    }

    fn written(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    }

    #[test]
    fn the_known_forms_are_written() {
        for (value, form) in
            [(0, &[0u8][..]), (-1, &[1]), (1, &[2]), (63, &[0x7e]), (-64, &[0x7f]), (64, &[0x80, 1]), (300, &[0xd8, 4])]
        {
            assert_eq!(written(value), form);
        }
        assert_eq!(written(i64::MIN).len(), VARLONG_BYTES_MAX);
        assert_eq!(written(i64::from(i32::MIN)).len(), VARINT_BYTES_MAX);
    }

    #[test]
    fn what_is_written_is_read() {
        for shift in 0..64 {
            for near in [-1i64, 0, 1] {
                for value in [(1i64 << shift).wrapping_add(near), (-1i64 << shift).wrapping_add(near)] {
                    assert_eq!(read_varlong(&mut Bytes(&written(value))), Ok(value));
                    if let Ok(small) = i32::try_from(value) {
                        assert_eq!(read_varint(&mut Bytes(&written(value))), Ok(small));
                    }
                }
            }
        }
    }

    #[test]
    fn truncated_and_endless_forms_are_refused() {
        assert_eq!(read_varint(&mut Bytes(&[0x80, 0x80])), Err("end"));
        assert_eq!(read_varint(&mut Bytes(&[0x80; 6])), Err("overlong"));
        assert_eq!(read_varlong(&mut Bytes(&[0x80; 11])), Err("overlong"));
    }
}
