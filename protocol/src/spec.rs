//! The specification of a message as data: names, types, versions, defaults and tags as Kafka's definitions state them.
//!
//! `#[derive(Wire)]` writes these values beside the code that it writes, from the same attributes. A test compares them with
//! Kafka's own definitions field by field, so a wrong attribute cannot survive. Nothing here is read on the hot path.

/// An inclusive range of versions; `first > last` is the empty range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    pub const ALL: Self = Self { first: 0, last: i16::MAX };
    pub const NONE: Self = Self { first: 0, last: -1 };

    #[must_use]
    pub const fn new(first: i16, last: i16) -> Self {
        Self { first, last }
    }

    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    #[must_use]
    pub const fn is_none(self) -> bool {
        self.first > self.last
    }

    /// The versions that are in both ranges; every empty result is `NONE`, so that equal sets compare equal.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        if both.is_none() { Self::NONE } else { both }
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = i16> {
        self.first..=self.last
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.last) {
            (first, last) if first > last => formatter.write_str("none"),
            (first, i16::MAX) => write!(formatter, "{first}+"),
            (first, last) if first == last => write!(formatter, "{first}"),
            (first, last) => write!(formatter, "{first}-{last}"),
        }
    }
}

/// What a top-level definition is for; Kafka's word is in `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Header,
    Data,
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
}

impl Kind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Header => "header",
            Self::Data => "data",
            Self::Metadata => "metadata",
            Self::CoordinatorKey => "coordinator-key",
            Self::CoordinatorValue => "coordinator-value",
        }
    }
}

/// A top-level definition: its struct and the versions that exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MessageSpec {
    pub kind: Kind,
    /// The API key of requests and responses, the record type of metadata and coordinator records.
    pub key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    pub body: &'static StructSpec,
}

/// A struct by Kafka's name, with its fields in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StructSpec {
    pub name: &'static str,
    pub fields: &'static [FieldSpec],
}

/// One field as Kafka defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldSpec {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The name of the struct's field.
    pub field: &'static str,
    pub kind: Type,
    /// What the value identifies (`topicName`, `brokerId`, ...), by Kafka's word.
    pub entity: Option<&'static str>,
    pub versions: Versions,
    pub nullable: Versions,
    /// The tag, and the versions in which the field stands among the tagged fields.
    pub tag: Option<u32>,
    pub tagged: Versions,
    /// Differs from the message's flexible versions only where a field keeps its old length prefix for good.
    pub flexible: Option<Versions>,
    pub default: DefaultValue,
    /// Whether Kafka lets a value be dropped silently in a version that does not have the field.
    pub ignorable: bool,
}

/// What a field holds when a message does not carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Zero, false, empty, or a struct of defaults.
    Zero,
    Null,
    Bool(bool),
    Int(i64),
}

/// The wire types of Kafka's definitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(&'static Type),
    Struct(&'static StructSpec),
}

#[cfg(test)]
mod tests {
    use super::Versions;

    #[test]
    fn an_intersection_is_what_both_ranges_hold() {
        assert_eq!(Versions::new(3, 9).intersect(Versions::new(5, i16::MAX)), Versions::new(5, 9));
        assert_eq!(Versions::new(0, 2).intersect(Versions::new(3, 4)), Versions::NONE);
    }

    #[test]
    fn ranges_are_shown_the_way_kafka_writes_them() {
        let shown: Vec<String> = [Versions::new(3, 13), Versions::new(9, i16::MAX), Versions::new(0, 0), Versions::NONE]
            .iter()
            .map(Versions::to_string)
            .collect();
        assert_eq!(shown, ["3-13", "9+", "0", "none"]);
    }
}
