//! A cursor over received bytes. Whatever it hands out as `Bytes` is a slice of them.

use bytes::Bytes;

use super::{Format, RESERVE_MAX, STRING_BYTES_MAX, WireError, WireErrorKind};

/// Reads one frame, or a part of it. `position <= end <= bytes.len()` always.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    end: usize,
}

impl Reader {
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        let end = bytes.len();
        Self { bytes, position: 0, end }
    }

    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// `TrailingBytes` if something is left.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(WireErrorKind::TrailingBytes { bytes }.into()),
        }
    }

    /// The next `length` bytes, borrowed.
    ///
    /// # Errors
    /// `Truncated` if fewer remain.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&[u8], WireError> {
        self.need(length)?;
        let start = self.position;
        self.position += length;
        Ok(&self.bytes[start..self.position])
    }

    /// The next `length` bytes as a slice that shares the frame's memory.
    ///
    /// # Errors
    /// `Truncated` if fewer remain.
    pub fn slice(&mut self, length: usize) -> Result<Bytes, WireError> {
        self.need(length)?;
        let start = self.position;
        self.position += length;
        Ok(self.bytes.slice(start..self.position))
    }

    /// Everything that remains.
    pub fn rest(&mut self) -> Bytes {
        let start = self.position;
        self.position = self.end;
        self.bytes.slice(start..self.end)
    }

    /// The next `N` bytes, for numbers.
    ///
    /// # Errors
    /// `Truncated` if fewer remain.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.bytes[self.position..self.end].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N)),
        }
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn int8(&mut self) -> Result<i8, WireError> {
        self.array().map(i8::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn int16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn int32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    /// # Errors
    /// `Truncated`.
    #[inline]
    pub fn int64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most five bytes.
    ///
    /// # Errors
    /// `Truncated`, or `BadVarint` if it does not fit 32 bits.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, WireError> {
        if let Some(&byte) = self.bytes[self.position..self.end].first()
            && byte < 0x80
        {
            self.position += 1;
            return Ok(u32::from(byte));
        }
        self.long_varint(5, u32::MAX.into()).map(|value| value as u32)
    }

    /// An unsigned varint of at most ten bytes.
    ///
    /// # Errors
    /// `Truncated`, or `BadVarint` if it does not fit 64 bits.
    pub fn unsigned_varlong(&mut self) -> Result<u64, WireError> {
        self.long_varint(10, u64::MAX)
    }

    /// A zigzag varint, as records use it.
    ///
    /// # Errors
    /// As `unsigned_varint`.
    pub fn varint(&mut self) -> Result<i32, WireError> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zigzag varlong, as records use it.
    ///
    /// # Errors
    /// As `unsigned_varlong`.
    pub fn varlong(&mut self) -> Result<i64, WireError> {
        let raw = self.unsigned_varlong()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn long_varint(&mut self, bytes_max: u32, value_max: u64) -> Result<u64, WireError> {
        let mut value = 0u128;
        for index in 0..bytes_max {
            let byte = self.array::<1>()?[0];
            value |= u128::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return u64::try_from(value)
                    .ok()
                    .filter(|value| *value <= value_max)
                    .ok_or_else(|| WireErrorKind::BadVarint.into());
            }
        }
        Err(WireErrorKind::BadVarint.into())
    }

    /// The length of a string: `None` is null.
    pub(super) fn string_length(&mut self, format: Format) -> Result<Option<usize>, WireError> {
        let length = if format.flexible { self.compact_length()? } else { old_length(self.int16()?.into())? };
        match length {
            Some(length) if length > STRING_BYTES_MAX => Err(WireErrorKind::TooLong { length, limit: STRING_BYTES_MAX }.into()),
            length => Ok(length),
        }
    }

    /// The length of bytes or the count of an array: `None` is null.
    pub(super) fn length(&mut self, format: Format) -> Result<Option<usize>, WireError> {
        if format.flexible { self.compact_length() } else { old_length(self.int32()?) }
    }

    /// Elements to reserve for `count` of them, each `min_bytes` at least.
    pub(super) fn reserve(&self, count: usize, min_bytes: usize) -> Result<usize, WireError> {
        let remaining = self.remaining();
        if count > remaining / min_bytes.max(1) {
            return Err(WireErrorKind::CountAboveRemaining { count, remaining }.into());
        }
        Ok(count.min(RESERVE_MAX))
    }

    /// Reads the tagged fields. `known` answers whether it has read the field; otherwise it is skipped.
    ///
    /// # Errors
    /// When tags do not ascend, or a field is not exactly as long as it says.
    pub fn tags(&mut self, mut known: impl FnMut(&mut Self, u32) -> Result<bool, WireError>) -> Result<(), WireError> {
        let count = self.unsigned_varint()? as usize;
        // A tagged field takes a byte for its tag and one for its size.
        self.reserve(count, 2)?;
        let mut previous = None;
        for _ in 0..count {
            let tag = self.next_tag(previous)?;
            let (field_end, outer_end) = self.enter()?;
            if known(self, tag)? {
                self.finish()?;
            }
            (self.position, self.end) = (field_end, outer_end);
            previous = Some(tag);
        }
        Ok(())
    }

    fn next_tag(&mut self, previous: Option<u32>) -> Result<u32, WireError> {
        let tag = self.unsigned_varint()?;
        match previous {
            Some(previous) if tag <= previous => Err(WireErrorKind::TagOrder { tag, previous }.into()),
            _ => Ok(tag),
        }
    }

    /// Narrows the reader to a sized field; answers with the field's end and the end to return to.
    fn enter(&mut self) -> Result<(usize, usize), WireError> {
        let size = self.unsigned_varint()? as usize;
        self.need(size)?;
        let outer_end = self.end;
        self.end = self.position + size;
        Ok((self.end, outer_end))
    }

    fn compact_length(&mut self) -> Result<Option<usize>, WireError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    #[inline]
    fn need(&self, length: usize) -> Result<(), WireError> {
        if length > self.remaining() { Err(self.truncated(length)) } else { Ok(()) }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> WireError {
        WireErrorKind::Truncated { needed, remaining: self.remaining() }.into()
    }
}

fn old_length(length: i32) -> Result<Option<usize>, WireError> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| WireErrorKind::NegativeLength { length }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn varints_of_five_and_ten_bytes_reach_the_largest_values() {
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unsigned_varint().unwrap(), u32::MAX);
        assert_eq!(
            reader(&[0xff; 9]).unsigned_varlong().unwrap_err().kind(),
            &WireErrorKind::Truncated { needed: 1, remaining: 0 }
        );
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(Bytes::copy_from_slice(&largest)).unsigned_varlong().unwrap(), u64::MAX);
    }

    #[test]
    fn a_varint_longer_than_its_type_is_refused() {
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x10]).unsigned_varint().unwrap_err().kind(), &WireErrorKind::BadVarint);
        assert_eq!(reader(&[0x80; 6]).unsigned_varint().unwrap_err().kind(), &WireErrorKind::BadVarint);
        assert_eq!(reader(&[0x80; 11]).unsigned_varlong().unwrap_err().kind(), &WireErrorKind::BadVarint);
    }

    #[test]
    fn zigzag_folds_the_sign_into_the_lowest_bit() {
        assert_eq!(reader(&[0x01]).varint().unwrap(), -1);
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint().unwrap(), i32::MIN);
        assert_eq!(reader(&[0x02]).varlong().unwrap(), 1);
    }

    #[test]
    fn a_count_above_the_bytes_that_remain_is_refused() {
        let kind = WireErrorKind::CountAboveRemaining { count: 3, remaining: 8 };
        assert_eq!(reader(&[0; 8]).reserve(3, 4).unwrap_err().kind(), &kind);
        assert_eq!(reader(&[0; 8]).reserve(2, 4).unwrap(), 2);
    }

    #[test]
    fn unknown_tags_are_skipped_and_what_follows_is_read() {
        let mut reader = reader(&[2, 0, 1, 0xaa, 5, 2, 0xbb, 0xcc, 7]);
        reader.tags(|_, _| Ok(false)).unwrap();
        assert_eq!(reader.int8().unwrap(), 7);
    }

    #[test]
    fn tags_that_do_not_ascend_are_refused() {
        let kind = WireErrorKind::TagOrder { tag: 1, previous: 1 };
        assert_eq!(reader(&[2, 1, 0, 1, 0]).tags(|_, _| Ok(false)).unwrap_err().kind(), &kind);
    }

    #[test]
    fn a_tagged_field_shorter_than_its_size_is_refused() {
        let error = reader(&[1, 0, 2, 0xaa, 0xbb]).tags(|reader, _| reader.int8().map(|_| true)).unwrap_err();
        assert_eq!(error.kind(), &WireErrorKind::TrailingBytes { bytes: 1 });
    }

    #[test]
    fn a_tagged_field_cannot_read_past_its_size() {
        let error = reader(&[1, 0, 1, 0xaa, 0xbb]).tags(|reader, _| reader.int16().map(|_| true)).unwrap_err();
        assert_eq!(error.kind(), &WireErrorKind::Truncated { needed: 2, remaining: 1 });
    }
}
