//! What is to be sent: one buffer for what is small, and the large slices that are sent from where they lie.

use bytes::Bytes;

use super::{Format, STRING_BYTES_MAX};
use crate::error::ErrorCode;

/// Slices of at least this many bytes are kept instead of copied. Below it, a copy costs less than one more part of a gathered
/// write.
pub const GATHER_MIN: usize = 4096;

/// Collects the bytes of one or more values; a gathered slice remembers the place in the buffer where it belongs.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    gathered: Vec<(usize, Bytes)>,
    gathered_bytes: usize,
    errors: Vec<(ErrorCode, u64)>,
}

impl Writer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes written so far, gathered ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.gathered_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Remembers an error code that was written: whoever sends an answer counts what it says.
    pub(crate) fn note_error(&mut self, code: ErrorCode) {
        match self.errors.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((code, 1)),
        }
    }

    /// The error codes written so far with how often each; NONE is no error.
    pub fn take_errors(&mut self) -> Vec<(ErrorCode, u64)> {
        std::mem::take(&mut self.errors)
    }

    /// Adds a slice, by reference if it is large.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < GATHER_MIN {
            self.put(bytes);
        } else {
            self.gathered_bytes += bytes.len();
            self.gathered.push((self.buffer.len(), bytes.clone()));
        }
    }

    #[inline]
    pub fn put_int8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_int16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_int32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_int64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn put_unsigned_varint(&mut self, value: u32) {
        self.put_unsigned_varlong(value.into());
    }

    #[inline]
    pub fn put_unsigned_varlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    pub fn put_varint(&mut self, value: i32) {
        self.put_unsigned_varint(((value << 1) ^ (value >> 31)) as u32);
    }

    pub fn put_varlong(&mut self, value: i64) {
        self.put_unsigned_varlong(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Overwrites four bytes of the buffer that were written before anything was gathered, such as a length prefix.
    pub fn patch_int32(&mut self, position: usize, value: i32) {
        debug_assert!(self.gathered.first().is_none_or(|(start, _)| position + 4 <= *start), "the place moved");
        self.buffer[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(super) fn put_string(&mut self, value: &str, format: Format) {
        let value = &value[..value.floor_char_boundary(STRING_BYTES_MAX)];
        if format.flexible {
            self.put_unsigned_varint(value.len() as u32 + 1);
        } else {
            self.put_int16(value.len() as i16);
        }
        self.put(value.as_bytes());
    }

    /// Length of bytes or count of an array; both stay far below `i32::MAX`, which no frame can exceed.
    pub(super) fn put_length(&mut self, length: usize, format: Format) {
        debug_assert!(i32::try_from(length).is_ok(), "no frame holds {length}");
        if format.flexible {
            self.put_unsigned_varint(length as u32 + 1);
        } else {
            self.put_int32(length as i32);
        }
    }

    /// Writes a tagged field: tag, size, and what `value` writes.
    pub fn put_tag(&mut self, tag: u32, value: impl FnOnce(&mut Self)) {
        self.put_unsigned_varint(tag);
        let outer = std::mem::take(self);
        value(self);
        let field = std::mem::replace(self, outer);
        self.put_unsigned_varint(field.len() as u32);
        self.append(field);
    }

    fn append(&mut self, other: Self) {
        let start = self.buffer.len();
        self.put(&other.buffer);
        self.gathered_bytes += other.gathered_bytes;
        self.gathered.extend(other.gathered.into_iter().map(|(place, bytes)| (start + place, bytes)));
    }

    /// The parts in order, ready for a gathered write.
    #[must_use]
    pub fn finish(self) -> Vec<Bytes> {
        let buffer = Bytes::from(self.buffer);
        let mut parts = Vec::with_capacity(2 * self.gathered.len() + 1);
        let mut start = 0;
        for (place, bytes) in self.gathered {
            if place > start {
                parts.push(buffer.slice(start..place));
            }
            parts.push(bytes);
            start = place;
        }
        if start < buffer.len() {
            parts.push(buffer.slice(start..));
        }
        parts
    }

    /// One contiguous piece; copies what was gathered.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.gathered.is_empty() { self.buffer.into() } else { self.finish().concat().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_slice_is_sent_from_where_it_lies() {
        let large = Bytes::from(vec![7; GATHER_MIN]);
        let mut writer = Writer::new();
        writer.put_int8(1);
        writer.put_bytes(&large);
        writer.put_bytes(&large.slice(..3));
        assert_eq!(writer.len(), 1 + GATHER_MIN + 3);
        let parts = writer.finish();
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [1, GATHER_MIN, 3]);
        assert_eq!(parts[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_slice_gathered_within_a_tagged_field_keeps_its_place() {
        let large = Bytes::from(vec![7; GATHER_MIN]);
        let mut writer = Writer::new();
        writer.put_int8(1);
        writer.put_tag(2, |writer| {
            writer.put_int8(3);
            writer.put_bytes(&large);
            writer.put_int8(4);
        });
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..5], [1, 2, 0x82, 0x20, 3]);
        assert_eq!(bytes[5..5 + GATHER_MIN], large[..]);
        assert_eq!(bytes[5 + GATHER_MIN..], [4]);
    }

    #[test]
    fn a_string_above_the_limit_is_cut_at_a_character() {
        let text = "é".repeat(20_000);
        let mut writer = Writer::new();
        writer.put_string(&text, Format::new(0, false));
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..2], 32_766i16.to_be_bytes());
        assert_eq!(bytes.len(), 2 + 32_766);
    }

    #[test]
    fn varints_take_the_fewest_bytes() {
        let mut writer = Writer::new();
        for value in [0, 127, 128, u32::MAX] {
            writer.put_unsigned_varint(value);
        }
        writer.put_varint(-1);
        writer.put_varlong(i64::MIN);
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..9], [0, 0x7f, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(bytes[9..], [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }
}
