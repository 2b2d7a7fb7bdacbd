//! The record data of a produce, fetch or snapshot message: bytes that the message only carries.

use bytes::Bytes;

use super::{Field, Format, Nullable, Reader, WireError, Writer};
use crate::spec::Type;

/// Record batches in one piece or several, never copied on their way. Two values are equal if their bytes are.
#[derive(Clone, Debug, Default)]
pub struct Records(Pieces);

#[derive(Clone, Debug)]
enum Pieces {
    /// What a decoder finds; kept without the allocation of a list.
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Default for Pieces {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Records {
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Pieces::One(bytes) => std::slice::from_ref(bytes),
            Pieces::Many(list) => list,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in one piece; copies only if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::One(bytes) => bytes,
            Pieces::Many(list) => list.concat().into(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self(Pieces::One(bytes))
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(list: Vec<Bytes>) -> Self {
        Self(Pieces::Many(list))
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |records: &Self| records.len();
        bytes(self) == bytes(other) && self.pieces().iter().flatten().eq(other.pieces().iter().flatten())
    }
}

impl Eq for Records {}

impl Field for Records {
    const TYPE: Type = Type::Records;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        Bytes::read(reader, format).map(Self::from)
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.put_length(self.len(), format);
        self.pieces().iter().for_each(|bytes| writer.put_bytes(bytes));
    }
}

impl Nullable for Records {
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
        Ok(Bytes::read_nullable(reader, format)?.map(Self::from))
    }

    fn write_null(writer: &mut Writer, format: Format) {
        Bytes::write_null(writer, format);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_equal_whatever_pieces_they_are_in() {
        let whole = Records::from(Bytes::from_static(b"abcdef"));
        let pieces = Records::from(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cdef")]);
        assert_eq!(whole, pieces);
        assert_ne!(whole, Records::from(Bytes::from_static(b"abcdeg")));
        assert_eq!(pieces.into_bytes(), "abcdef");
    }

    #[test]
    fn decoded_records_are_a_slice_of_the_frame() {
        let frame = Bytes::from_static(&[0, 0, 0, 2, 8, 9]);
        let records = Records::read(&mut Reader::new(frame.clone()), Format::new(0, false)).unwrap();
        assert_eq!(records.pieces()[0].as_ptr(), frame[4..].as_ptr());
    }
}
