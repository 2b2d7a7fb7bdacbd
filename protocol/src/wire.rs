//! Bytes to values and back: the reader, the writer, and the traits that `#[derive(Wire)]` implements.
//!
//! A struct is its own specification; the derive writes `fill`, `write_fields` and `SPEC` from its attributes. This module
//! knows how the wire types look, not which messages exist.
//!
//! Invariants. Decoding never reserves memory because a peer named a number: a length or a count is checked against the bytes
//! that remain first, and at most `RESERVE_MAX` elements are reserved before any of them was read. Decoding fails with a
//! `WireError` that names the field. Encoding cannot fail; where Kafka's encoder throws, ours has a rule:
//! - a field that the version does not have is left out, whatever it holds (Kafka does so for ignorable fields only);
//! - null in a version without null is written as the empty value;
//! - a string above `STRING_BYTES_MAX` is cut at a character.

mod error;
mod field;
mod reader;
mod records;
mod writer;

use bytes::Bytes;

pub use error::{WireError, WireErrorKind};
pub use field::{Field, Nullable};
pub use reader::Reader;
pub use records::Records;
pub use writer::{GATHER_MIN, Writer};

use crate::spec::{Kind, MessageSpec, StructSpec, Versions};

/// Longest string on the wire, in bytes: the old length prefix is an `i16`, and Kafka holds the compact one to the same bound.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Most elements reserved for an array before the first of them was read. Doubling it doubles what a short lie can reserve.
pub const RESERVE_MAX: usize = 1024;

/// How a value stands on the wire: the version, and what follows from it and from the field's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    pub version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
    /// Whether the field at hand may be null; only `Option` looks at it.
    pub nullable: bool,
    /// Whether the field at hand is a tagged one; a nullable struct is marked differently there.
    pub tagged: bool,
}

impl Format {
    #[must_use]
    pub const fn new(version: i16, flexible: bool) -> Self {
        Self { version, flexible, nullable: false, tagged: false }
    }

    #[must_use]
    pub const fn nullable(self, nullable: bool) -> Self {
        Self { nullable, tagged: false, ..self }
    }

    #[must_use]
    pub const fn tagged(self) -> Self {
        Self { tagged: true, ..self }
    }

    #[must_use]
    pub const fn flexible(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }
}

/// A struct on the wire. Derived, never written by hand.
pub trait Wire: Sized + Default {
    const SPEC: &'static StructSpec;
    /// Bytes that the struct takes at least in every version; at least 1, so that counts stay bounded.
    const MIN_BYTES: usize;

    /// Reads the fields in order; `at` is left at the index of the field that failed.
    ///
    /// # Errors
    /// When the bytes are not the struct in this version.
    fn fill(&mut self, at: &mut usize, reader: &mut Reader, format: Format) -> Result<(), WireError>;

    /// Writes the fields of the version in order, then the tagged ones that differ from their default.
    fn write_fields(&self, writer: &mut Writer, format: Format);
}

/// A top-level definition: a struct with versions of its own.
pub trait Message: Wire {
    const KIND: Kind;
    /// API key, metadata record type or coordinator record type.
    const KEY: Option<i16>;
    const VERSIONS: Versions;
    const FLEXIBLE: Versions;
    const MESSAGE: MessageSpec =
        MessageSpec { kind: Self::KIND, key: Self::KEY, versions: Self::VERSIONS, flexible: Self::FLEXIBLE, body: Self::SPEC };

    /// Reads the message and leaves what follows it.
    ///
    /// # Errors
    /// When the version does not exist, or the bytes are not the message in it.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, WireError> {
        if !Self::VERSIONS.contains(version) {
            let kind = WireErrorKind::UnsupportedVersion { version, supported: Self::VERSIONS };
            return Err(WireError::new(kind).of(Self::SPEC.name));
        }
        Self::read(reader, Format::new(version, Self::FLEXIBLE.contains(version)))
    }

    /// Writes the message; a version outside `VERSIONS` is a mistake of the caller, who has negotiated it.
    fn encode(&self, writer: &mut Writer, version: i16) {
        debug_assert!(Self::VERSIONS.contains(version), "{} has no version {version}", Self::SPEC.name);
        self.write_fields(writer, Format::new(version, Self::FLEXIBLE.contains(version)));
    }

    /// Reads a message that fills the bytes exactly.
    ///
    /// # Errors
    /// As `decode`, and when bytes are left over.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish().map_err(|error| error.of(Self::SPEC.name))?;
        Ok(message)
    }

    fn to_bytes(&self, version: i16) -> Bytes {
        let mut writer = Writer::new();
        self.encode(&mut writer, version);
        writer.into_bytes()
    }

    /// Bytes that the message takes in this version. Costs an encoding; records are not copied for it.
    fn encoded_len(&self, version: i16) -> usize {
        let mut writer = Writer::new();
        self.encode(&mut writer, version);
        writer.len()
    }
}
