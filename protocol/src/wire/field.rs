//! How each wire type reads and writes itself.

use bytes::Bytes;

use super::{Format, Reader, Wire, WireError, WireErrorKind, Writer};
use crate::spec::Type;

/// A value that can be a field or an element of an array.
pub trait Field: Sized {
    const TYPE: Type;
    /// Kafka's word for what the value identifies.
    const ENTITY: Option<&'static str> = None;
    /// Bytes that a value takes at least, in every version.
    const MIN_BYTES: usize;

    /// # Errors
    /// When the bytes are not such a value.
    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError>;

    fn write(&self, writer: &mut Writer, format: Format);
}

/// A value whose encoding has room for null.
pub trait Nullable: Field + Default {
    /// # Errors
    /// When the bytes are neither such a value nor null.
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError>;

    fn write_null(writer: &mut Writer, format: Format);

    /// Writes a value where null could stand.
    fn write_present(&self, writer: &mut Writer, format: Format) {
        self.write(writer, format);
    }
}

macro_rules! numbers {
    ($($number:ty => $kind:ident,)*) => {$(
        impl Field for $number {
            const TYPE: Type = Type::$kind;
            const MIN_BYTES: usize = size_of::<Self>();

            #[inline]
            fn read(reader: &mut Reader, _: Format) -> Result<Self, WireError> {
                reader.array().map(Self::from_be_bytes)
            }

            #[inline]
            fn write(&self, writer: &mut Writer, _: Format) {
                writer.put(&self.to_be_bytes());
            }
        }
    )*};
}

numbers! {
    i8 => Int8,
    i16 => Int16,
    u16 => Uint16,
    i32 => Int32,
    u32 => Uint32,
    i64 => Int64,
    f64 => Float64,
}

impl Field for bool {
    const TYPE: Type = Type::Bool;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, _: Format) -> Result<Self, WireError> {
        reader.int8().map(|value| value != 0)
    }

    fn write(&self, writer: &mut Writer, _: Format) {
        writer.put_int8((*self).into());
    }
}

fn not_null<T: Nullable>(reader: &mut Reader, format: Format) -> Result<T, WireError> {
    T::read_nullable(reader, format)?.ok_or_else(|| WireErrorKind::NullNotAllowed.into())
}

/// Null as a length: -1, or 0 where lengths are compact.
fn put_null_length(writer: &mut Writer, format: Format) {
    if format.flexible {
        writer.put_unsigned_varint(0);
    } else {
        writer.put_int32(-1);
    }
}

impl Field for String {
    const TYPE: Type = Type::String;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        not_null(reader, format)
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.put_string(self, format);
    }
}

impl Nullable for String {
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
        let Some(length) = reader.string_length(format)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(reader.take(length)?).map_err(|_| WireErrorKind::InvalidUtf8)?;
        Ok(Some(text.to_owned()))
    }

    fn write_null(writer: &mut Writer, format: Format) {
        if format.flexible {
            writer.put_unsigned_varint(0);
        } else {
            writer.put_int16(-1);
        }
    }
}

impl Field for Bytes {
    const TYPE: Type = Type::Bytes;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        not_null(reader, format)
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.put_length(self.len(), format);
        writer.put_bytes(self);
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
        match reader.length(format)? {
            Some(length) => reader.slice(length).map(Some),
            None => Ok(None),
        }
    }

    fn write_null(writer: &mut Writer, format: Format) {
        put_null_length(writer, format);
    }
}

impl<T: Field> Field for Vec<T> {
    const TYPE: Type = Type::Array(&T::TYPE);
    const ENTITY: Option<&'static str> = T::ENTITY;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        not_null(reader, format)
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        writer.put_length(self.len(), format);
        self.iter().for_each(|element| element.write(writer, format));
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
        let Some(count) = reader.length(format)? else {
            return Ok(None);
        };
        let mut list = Self::with_capacity(reader.reserve(count, T::MIN_BYTES)?);
        for index in 0..count {
            list.push(T::read(reader, format).map_err(|error| error.element(index))?);
        }
        Ok(Some(list))
    }

    fn write_null(writer: &mut Writer, format: Format) {
        put_null_length(writer, format);
    }
}

impl<T: Nullable> Field for Option<T> {
    const TYPE: Type = T::TYPE;
    const ENTITY: Option<&'static str> = T::ENTITY;
    const MIN_BYTES: usize = 1;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        if format.nullable { T::read_nullable(reader, format) } else { T::read(reader, format).map(Some) }
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        match self {
            Some(value) if format.nullable => value.write_present(writer, format),
            Some(value) => value.write(writer, format),
            None if format.nullable => T::write_null(writer, format),
            None => T::default().write(writer, format),
        }
    }
}

impl<T: Wire> Field for T {
    const TYPE: Type = Type::Struct(T::SPEC);
    const MIN_BYTES: usize = <T as Wire>::MIN_BYTES;

    fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
        let mut value = Self::default();
        let mut at = 0;
        match value.fill(&mut at, reader, format) {
            Ok(()) => Ok(value),
            Err(error) => Err(error.inside(T::SPEC, at)),
        }
    }

    fn write(&self, writer: &mut Writer, format: Format) {
        self.write_fields(writer, format);
    }
}

/// A nullable struct stands behind a mark: a byte that is -1 for null, or a varint that is 0 for null in a tagged field.
impl<T: Wire> Nullable for T {
    fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
        let present = if format.tagged { reader.unsigned_varint()? > 0 } else { reader.int8()? >= 0 };
        if present { T::read(reader, format).map(Some) } else { Ok(None) }
    }

    fn write_null(writer: &mut Writer, format: Format) {
        writer.put_int8(if format.tagged { 0 } else { -1 });
    }

    fn write_present(&self, writer: &mut Writer, format: Format) {
        writer.put_int8(1);
        self.write_fields(writer, format);
    }
}
