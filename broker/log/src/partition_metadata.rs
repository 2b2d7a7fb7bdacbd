//! `partition.metadata`: which topic, by id, a partition directory belongs to.
//!
//! Two lines of text. A directory whose id is not the one in the cluster's metadata is left over from an earlier topic of
//! the same name.

use bytes::Bytes;
use strandline_protocol::ids::TopicId;

use crate::format::{FormatError, text};

/// Renders the file.
pub fn encode(topic_id: TopicId) -> Bytes {
    Bytes::from(format!("version: 0\ntopic_id: {topic_id}"))
}

/// Parses the file.
///
/// # Errors
/// [`FormatError`] if a line is malformed or the id is zero.
pub fn parse(contents: &[u8]) -> Result<TopicId, FormatError> {
    let mut lines = text(contents)?.lines();
    let mut value = |key: &str, line: usize| {
        let words = lines.next().and_then(|line| line.split_once(char::is_whitespace));
        words.filter(|(found, _)| *found == key).map(|(_, value)| value.trim()).ok_or(FormatError::Line { line })
    };
    let version: i32 = value("version:", 1)?.parse().map_err(|_| FormatError::Line { line: 1 })?;
    // Kafka reads versions above 0 too, so that it can be downgraded.
    if version < 0 {
        return Err(FormatError::Version { expected: 0, found: version });
    }
    let topic_id: TopicId = value("topic_id:", 2)?.parse().map_err(|_| FormatError::Line { line: 2 })?;
    if topic_id.is_zero() {
        return Err(FormatError::Field { field: "topic_id" });
    }
    Ok(topic_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_back() {
        assert_eq!(&encode(TopicId::METADATA)[..], b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(parse(&encode(TopicId::METADATA)), Ok(TopicId::METADATA));
    }

    #[test]
    fn a_file_without_an_id_is_refused() {
        assert_eq!(parse(b"version: 0\n"), Err(FormatError::Line { line: 2 }));
        assert_eq!(parse(b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"), Err(FormatError::Field { field: "topic_id" }));
        assert_eq!(parse(b""), Err(FormatError::Line { line: 1 }));
    }
}
