//! What can be wrong with a small file, and the text frame that Kafka's checkpoints share.
//!
//! A text checkpoint is three things, one a line: the version, the number of entries, the entries. Every small file of
//! this crate is parsed into a value or refused with a [`FormatError`]; nothing is guessed.

use std::fmt::Write;

use bytes::Bytes;

/// Why the content of a small file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("not UTF-8 text")]
    NotText,
    #[error("version {found}, known is {expected}")]
    Version { expected: i32, found: i32 },
    #[error("line {line} is malformed")]
    Line { line: usize },
    #[error("{found} entries, announced were {expected}")]
    Count { expected: usize, found: usize },
    #[error("{found} bytes, needed are {expected}")]
    Length { expected: usize, found: usize },
    #[error("checksum {found:#010x} where {expected:#010x} is written")]
    Checksum { expected: u32, found: u32 },
    #[error("field {field} is missing or malformed")]
    Field { field: &'static str },
    #[error("entry {entry} does not follow from the one before")]
    Order { entry: usize },
    #[error("not a JSON object")]
    NotJson,
}

/// The text in `contents`.
pub(crate) fn text(contents: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(contents).map_err(|_| FormatError::NotText)
}

/// Renders a text checkpoint of version 0.
pub(crate) fn checkpoint<T>(entries: &[T], line: impl Fn(&mut String, &T)) -> Bytes {
    let mut text = String::with_capacity(16 + entries.len() * 32);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "0\n{}", entries.len());
    for entry in entries {
        line(&mut text, entry);
        text.push('\n');
    }
    Bytes::from(text)
}

/// Parses a text checkpoint of version 0. An empty file has no entries: Kafka makes it before it first writes.
pub(crate) fn parse_checkpoint<T>(contents: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, FormatError> {
    let mut lines = text(contents)?.lines();
    let Some(version) = lines.next() else {
        return Ok(Vec::new());
    };
    let found: i32 = version.parse().map_err(|_| FormatError::Line { line: 1 })?;
    if found != 0 {
        return Err(FormatError::Version { expected: 0, found });
    }
    let Some(count) = lines.next() else {
        return Ok(Vec::new());
    };
    let expected: usize = count.parse().map_err(|_| FormatError::Line { line: 2 })?;
    let entries: Vec<T> = lines
        .enumerate()
        .map(|(index, line)| entry(line).ok_or(FormatError::Line { line: index + 3 }))
        .collect::<Result<_, _>>()?;
    if entries.len() != expected {
        return Err(FormatError::Count { expected, found: entries.len() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(line: &str) -> Option<i64> {
        line.parse().ok()
    }

    #[test]
    fn a_checkpoint_is_version_count_entries() {
        let bytes = checkpoint(&[7, 9], |text, entry| text.push_str(&entry.to_string()));
        assert_eq!(&bytes[..], b"0\n2\n7\n9\n");
        assert_eq!(parse_checkpoint(&bytes, number), Ok(vec![7, 9]));
    }

    #[test]
    fn an_empty_checkpoint_has_no_entries() {
        assert_eq!(parse_checkpoint(b"", number), Ok(vec![]));
        assert_eq!(parse_checkpoint(b"0\n", number), Ok(vec![]));
        assert_eq!(parse_checkpoint(b"0\n0\n", number), Ok(vec![]));
    }

    #[test]
    fn a_malformed_checkpoint_is_refused_with_its_place() {
        let error = |contents: &[u8]| parse_checkpoint(contents, number).expect_err("it is malformed");
        assert_eq!(error(b"1\n0\n"), FormatError::Version { expected: 0, found: 1 });
        assert_eq!(error(b"0\n2\n7\n"), FormatError::Count { expected: 2, found: 1 });
        assert_eq!(error(b"0\n1\nx\n"), FormatError::Line { line: 3 });
        assert_eq!(error(b"0\n1\n\xff\n"), FormatError::NotText);
    }
}
