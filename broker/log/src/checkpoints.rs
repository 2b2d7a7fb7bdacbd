//! Checkpoints of a log directory: one offset a partition.
//!
//! Three files share the format: the recovery points, the log start offsets and the high watermarks. Text, version 0,
//! `topic partition offset` a line; Kafka's own brokers read and write the same.

use std::fmt::Write;

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::format::{FormatError, checkpoint, parse_checkpoint};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCheckpoint {
    pub topic: String,
    pub partition: i32,
    pub offset: Offset,
}

/// Renders a checkpoint file.
pub fn encode(entries: &[OffsetCheckpoint]) -> Bytes {
    checkpoint(entries, |text, entry| {
        let _ = write!(text, "{} {} {}", entry.topic, entry.partition, entry.offset);
    })
}

/// Parses a checkpoint file.
///
/// # Errors
/// [`FormatError`] if a line or the count is wrong.
pub fn parse(contents: &[u8]) -> Result<Vec<OffsetCheckpoint>, FormatError> {
    parse_checkpoint(contents, |line| {
        let mut words = line.split_ascii_whitespace();
        let entry = OffsetCheckpoint {
            topic: words.next()?.to_owned(),
            partition: words.next()?.parse().ok()?,
            offset: Offset(words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back() {
        let entries = vec![
            OffsetCheckpoint { topic: "orders".into(), partition: 0, offset: Offset(12) },
            OffsetCheckpoint { topic: "a.b-c".into(), partition: 11, offset: Offset(0) },
        ];
        let bytes = encode(&entries);
        assert_eq!(&bytes[..], b"0\n2\norders 0 12\na.b-c 11 0\n");
        assert_eq!(parse(&bytes), Ok(entries));
    }

    #[test]
    fn a_line_with_a_word_too_many_or_few_is_refused() {
        assert_eq!(parse(b"0\n1\norders 0\n"), Err(FormatError::Line { line: 3 }));
        assert_eq!(parse(b"0\n1\norders 0 1 2\n"), Err(FormatError::Line { line: 3 }));
    }
}
