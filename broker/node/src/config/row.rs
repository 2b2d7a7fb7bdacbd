//! What one configuration key is: a row of a table, and the reading of its value.

use std::fmt;

use super::share::OffsetReset;
use super::throttled::ThrottledReplicas;

/// How a value is written and which values are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// A 32-bit number within bounds, both included.
    Int {
        least: i64,
        most: i64,
    },
    /// A 64-bit number within bounds, both included.
    Long {
        least: i64,
        most: i64,
    },
    /// A number between 0 and 1.
    Ratio,
    /// A number above 0.
    Rate,
    Text,
    /// `earliest`, `latest`, or `by_duration:` with a duration.
    OffsetReset,
    /// `*`, or `PARTITION:BROKER` several times; may be empty.
    Replicas,
    /// Comma-separated, each one of these; may be empty.
    List(&'static [&'static str]),
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
}

impl Kind {
    /// Kafka's number for the type in DescribeConfigs (ConfigDef.Type as DescribeConfigsResponse numbers it).
    pub fn wire_type(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text | Self::OffsetReset | Self::OneOf(_) => 2,
            Self::Int { .. } => 3,
            Self::Long { .. } => 5,
            Self::Ratio | Self::Rate => 6,
            Self::Replicas | Self::List(_) => 7,
        }
    }
}

/// Who may set a key, and when it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the file or on the command line only; read at start.
    Start,
    /// Also while running, for one broker or for all of them.
    Dynamic,
}

/// One key. The same shape serves broker and topic keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    /// What holds if nobody sets it; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Unit of the number, for the documentation; empty if it has none.
    pub unit: &'static str,
    pub scope: Scope,
    /// For a topic or group key: the broker key that gives its default.
    pub broker_key: Option<&'static str>,
    pub prose: &'static str,
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("unknown configuration key {key}")]
    UnknownKey { key: String },
    #[error("invalid value {value} for configuration {key}: expected {expected}")]
    Invalid { key: String, value: String, expected: Expected },
    #[error("configuration {key} can only be set at start, in the configuration file or with --set")]
    OnlyAtStart { key: String },
    #[error("conflict topic config setting {} ({}) > {} ({})", .least.0, .least.1, .most.0, .most.1)]
    Conflict { least: (&'static str, i64), most: (&'static str, i64) },
}

/// What would have been legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Kind);

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Boolean => formatter.write_str("true or false"),
            Kind::Int { least, most } | Kind::Long { least, most } => {
                write!(formatter, "a whole number from {least} to {most}")
            }
            Kind::Ratio => formatter.write_str("a number from 0 to 1"),
            Kind::Rate => formatter.write_str("a number above 0"),
            Kind::Text => formatter.write_str("a string"),
            Kind::Replicas => formatter.write_str("*, or a comma-separated list of PARTITION:BROKER"),
            Kind::OffsetReset => formatter.write_str("earliest, latest or by_duration:DURATION"),
            Kind::List(words) => write!(formatter, "a comma-separated list of {}", words.join(", ")),
            Kind::OneOf(words) => write!(formatter, "one of {}", words.join(", ")),
        }
    }
}

impl Row {
    /// Checks a value against the row.
    ///
    /// # Errors
    /// [`ValueError::Invalid`] if it is not of the row's kind or out of bounds.
    pub fn check(&self, value: &str) -> Result<(), ValueError> {
        let value_trimmed = value.trim();
        let legal = match self.kind {
            Kind::Boolean => matches!(value_trimmed, "true" | "false"),
            Kind::Int { least, most } | Kind::Long { least, most } => {
                value_trimmed.parse::<i64>().is_ok_and(|number| number >= least && number <= most)
            }
            Kind::Ratio => value_trimmed.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
            Kind::Rate => value_trimmed.parse::<f64>().is_ok_and(|number| number > 0.0),
            Kind::Text => true,
            Kind::Replicas => ThrottledReplicas::parse(value_trimmed).is_some(),
            Kind::OffsetReset => OffsetReset::parse(value_trimmed).is_some(),
            Kind::List(words) => words_of(value_trimmed).all(|word| words.contains(&word)),
            Kind::OneOf(words) => words.contains(&value_trimmed),
        };
        if legal { Ok(()) } else { Err(self.invalid(value)) }
    }

    fn invalid(&self, value: &str) -> ValueError {
        ValueError::Invalid { key: self.name.to_owned(), value: value.to_owned(), expected: Expected(self.kind) }
    }
}

/// The words of a comma-separated list; blanks around them and empty ones do not count.
pub fn words_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Finds a row by name in a table that is sorted by name.
pub fn find(table: &'static [Row], name: &str) -> Option<&'static Row> {
    table.binary_search_by(|row| row.name.cmp(name)).ok().map(|index| &table[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        name: "k",
        kind: Kind::Int { least: 1, most: 9 },
        default: Some("1"),
        unit: "",
        scope: Scope::Start,
        broker_key: None,
        prose: "",
    };

    #[test]
    fn a_number_out_of_bounds_is_refused_with_the_bounds() {
        let error = ROW.check("10").expect_err("out of bounds");
        assert_eq!(error.to_string(), "invalid value 10 for configuration k: expected a whole number from 1 to 9");
    }

    #[test]
    fn a_list_takes_known_words_and_blanks() {
        let row = Row { kind: Kind::List(&["delete", "compact"]), ..ROW };
        assert_eq!(row.check("compact, delete"), Ok(()));
        assert_eq!(row.check(""), Ok(()));
        assert!(row.check("keep").is_err());
    }
}
