//! Identifiers and positions. A partition index stays an `i32`; everything else that can be mixed up has a type of its own.
//!
//! Arithmetic only through named methods that cannot wrap: a position comes from a peer or a disk as often as from us.

use std::fmt;
use std::str::FromStr;

use crate::spec::Type;
use crate::wire::{Field, Format, Nullable, Reader, WireError, Writer};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($base:ty) $entity:expr, { $($(#[$constant_doc:meta])* $constant:ident = $value:expr;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $base);

        impl $name {
            $($(#[$constant_doc])* pub const $constant: Self = Self($value);)*
        }

        impl From<$base> for $name {
            fn from(value: $base) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $base {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl Field for $name {
            const TYPE: Type = <$base>::TYPE;
            const ENTITY: Option<&'static str> = $entity;
            const MIN_BYTES: usize = <$base>::MIN_BYTES;

            #[inline]
            fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
                <$base>::read(reader, format).map(Self)
            }

            #[inline]
            fn write(&self, writer: &mut Writer, format: Format) {
                self.0.write(writer, format);
            }
        }
    )*};
}

numbers! {
    /// A node of the cluster, broker or controller: `node.id`.
    BrokerId(i32) Some("brokerId"), {
        /// No broker: no leader, or a consumer where a follower could stand.
        NONE = -1;
    }
    /// Identity of an idempotent or transactional producer, handed out by the controller in blocks.
    ProducerId(i64) Some("producerId"), {
        /// Not idempotent.
        NONE = -1;
    }
    /// Fences the earlier owner of a producer id.
    ProducerEpoch(i16) None, {
        NONE = -1;
        /// The last epoch of a producer id; its successor gets a new id.
        MAX = i16::MAX;
    }
    /// Counts the leaders of a partition; every batch carries the epoch of the leader that took it.
    LeaderEpoch(i32) None, {
        /// Unknown, or not to be checked.
        NONE = -1;
    }
    /// The position of a record in its partition.
    Offset(i64) None, {
        NONE = -1;
        ZERO = 0;
        MAX = i64::MAX;
    }
}

impl LeaderEpoch {
    /// The epoch of the next leader; `None` at the last one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl ProducerEpoch {
    /// The epoch that fences this one; `None` when the producer id is used up.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl Offset {
    /// The following offset; the last offset has none and stays.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The offset `count` further; `None` past the last one.
    #[must_use]
    pub fn plus(self, count: i64) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }

    /// How many offsets lie from `earlier` to here; negative if `earlier` lies behind.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident $entity:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        /// A text orders and hashes as its `str` does, so maps can be asked with a borrowed one.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Field for $name {
            const TYPE: Type = Type::String;
            const ENTITY: Option<&'static str> = $entity;
            const MIN_BYTES: usize = 1;

            fn read(reader: &mut Reader, format: Format) -> Result<Self, WireError> {
                String::read(reader, format).map(Self)
            }

            fn write(&self, writer: &mut Writer, format: Format) {
                self.0.write(writer, format);
            }
        }

        impl Nullable for $name {
            fn read_nullable(reader: &mut Reader, format: Format) -> Result<Option<Self>, WireError> {
                Ok(String::read_nullable(reader, format)?.map(Self))
            }

            fn write_null(writer: &mut Writer, format: Format) {
                String::write_null(writer, format);
            }
        }
    )*};
}

texts! {
    TopicName Some("topicName");
    /// Consumer, share or streams group.
    GroupId Some("groupId");
    TransactionalId Some("transactionalId");
}

macro_rules! uuids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// All zero: none.
            pub const ZERO: Self = Self([0; 16]);

            #[must_use]
            pub fn is_zero(&self) -> bool {
                *self == Self::ZERO
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&base64(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidUuid;

            fn from_str(text: &str) -> Result<Self, InvalidUuid> {
                from_base64(text).map(Self)
            }
        }

        impl Field for $name {
            const TYPE: Type = Type::Uuid;
            const MIN_BYTES: usize = 16;

            fn read(reader: &mut Reader, _: Format) -> Result<Self, WireError> {
                reader.array().map(Self)
            }

            fn write(&self, writer: &mut Writer, _: Format) {
                writer.put(&self.0);
            }
        }
    )*};
}

uuids! {
    /// Sixteen bytes that identify a log directory, an incarnation, a member; shown as Kafka shows them.
    Uuid;
    /// Identity of a topic, which its name is not: a topic that is deleted and created again has another id.
    TopicId;
}

impl TopicId {
    /// The id of `__cluster_metadata`.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

impl Uuid {
    /// A replica that was placed before brokers registered their directories.
    pub const MIGRATING_DIRECTORY: Self = Self::ZERO;
    /// A replica whose log directory is not known yet.
    pub const UNASSIGNED_DIRECTORY: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    /// A replica whose log directory has failed.
    pub const LOST_DIRECTORY: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

    /// Whether it is a directory's own id, and none of those that stand for something else.
    pub fn is_directory(self) -> bool {
        !matches!(self, Self::MIGRATING_DIRECTORY | Self::UNASSIGNED_DIRECTORY | Self::LOST_DIRECTORY)
    }
}

/// Not 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a uuid of 22 URL-safe base64 characters")]
pub struct InvalidUuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a uuid without padding: 128 bits in sixes, the last with two bits of value.
const UUID_CHARACTERS: usize = 22;

fn base64(bytes: [u8; 16]) -> String {
    let value = u128::from_be_bytes(bytes);
    (0..UUID_CHARACTERS)
        .map(|index| {
            let shift = 122 - 6 * index as i32;
            let six = if shift >= 0 { value >> shift } else { value << -shift };
            char::from(ALPHABET[(six & 0x3f) as usize])
        })
        .collect()
}

fn from_base64(text: &str) -> Result<[u8; 16], InvalidUuid> {
    if text.len() != UUID_CHARACTERS {
        return Err(InvalidUuid);
    }
    let mut value = 0u128;
    for (index, character) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|known| *known == character).ok_or(InvalidUuid)? as u128;
        let shift = 122 - 6 * index as i32;
        value |= if shift >= 0 { six << shift } else { six >> -shift };
    }
    Ok(value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_shown_the_way_kafka_shows_it() {
        let uuid = Uuid([0xe0, 0x04, 0x5b, 0x2d, 0x9a, 0x5e, 0x4c, 0x17, 0x8f, 0xff, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05]);
        assert_eq!(uuid.to_string(), "4ARbLZpeTBeP_wABAgMEBQ");
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
        assert_eq!(TopicId::METADATA.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    #[test]
    fn a_text_that_is_no_uuid_is_refused() {
        assert_eq!("AAAA".parse::<Uuid>(), Err(InvalidUuid));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAA+".parse::<Uuid>(), Err(InvalidUuid));
    }

    #[test]
    fn positions_never_wrap() {
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset::MAX.plus(1), None);
        assert_eq!(Offset(5).distance_from(Offset(2)), 3);
        assert_eq!(ProducerEpoch::MAX.next(), None);
    }
}
