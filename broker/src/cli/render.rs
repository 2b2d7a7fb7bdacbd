//! Records as text.

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use strandline_client::ConsumerRecord;

use crate::cli::base64;

/// What is printed of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RecordFormat {
    /// The value, as it is, and a line feed
    #[default]
    Value,
    /// Key and value with a separator between them
    KeyValue,
    /// A JSON object a line, with partition, offset, timestamp and headers
    Json,
}

/// How records are printed.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    pub(crate) topic: String,
    pub(crate) format: RecordFormat,
    pub(crate) key_separator: String,
    /// What stands for a key or a value that is not there.
    pub(crate) null: String,
}

impl Renderer {
    pub(crate) fn write(&self, output: &mut impl Write, record: &ConsumerRecord) -> io::Result<()> {
        let or_null = |bytes: &Option<bytes::Bytes>| bytes.clone().unwrap_or_else(|| self.null.clone().into());
        match self.format {
            RecordFormat::Value => output.write_all(&or_null(&record.value))?,
            RecordFormat::KeyValue => {
                output.write_all(&or_null(&record.key))?;
                output.write_all(self.key_separator.as_bytes())?;
                output.write_all(&or_null(&record.value))?;
            }
            RecordFormat::Json => serde_json::to_writer(&mut *output, &self.line(record))?,
        }
        output.write_all(b"\n")
    }

    fn line<'a>(&'a self, record: &'a ConsumerRecord) -> Line<'a> {
        let header = |header: &'a strandline_client::Header| HeaderLine {
            key: Text(Some(&header.key)),
            value: Text(header.value.as_deref()),
        };
        Line {
            topic: &self.topic,
            partition: record.partition,
            offset: record.offset.0,
            timestamp: Some(record.timestamp_ms).filter(|timestamp| *timestamp >= 0),
            key: Text(record.key.as_deref()),
            value: Text(record.value.as_deref()),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

/// A record as JSON.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
    key: Text<'a>,
    value: Text<'a>,
    headers: Vec<HeaderLine<'a>>,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    key: Text<'a>,
    value: Text<'a>,
}

/// Bytes as a string if they are UTF-8, else as an object with them in base64.
struct Text<'a>(Option<&'a [u8]>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(bytes) = self.0 else { return serializer.serialize_none() };
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64::encode(bytes))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use strandline_client::{Header, Offset, TimestampType};

    use super::*;

    fn rendered(format: RecordFormat, record: &ConsumerRecord) -> String {
        let renderer = Renderer { topic: "t".into(), format, key_separator: "\t".into(), null: "null".into() };
        let mut output = Vec::new();
        renderer.write(&mut output, record).unwrap();
        String::from_utf8(output).unwrap()
    }

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            partition: 2,
            offset: Offset(7),
            timestamp_ms: 5,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(Bytes::from_static(b"say \"hi\"")),
            headers: vec![Header { key: Bytes::from_static(b"h"), value: Some(Bytes::from_static(&[0xff])) }],
        }
    }

    #[test]
    fn a_record_is_shown_in_every_format() {
        assert_eq!(rendered(RecordFormat::Value, &record()), "say \"hi\"\n");
        assert_eq!(rendered(RecordFormat::KeyValue, &record()), "null\tsay \"hi\"\n");
        let json = r#"{"topic":"t","partition":2,"offset":7,"timestamp":5,"key":null,"value":"say \"hi\"","headers":[{"key":"h","value":{"base64":"/w=="}}]}"#;
        assert_eq!(rendered(RecordFormat::Json, &record()), format!("{json}\n"));
    }

    #[test]
    fn a_time_that_is_not_known_is_null() {
        let record = ConsumerRecord { timestamp_ms: -1, ..record() };
        assert!(rendered(RecordFormat::Json, &record).contains(r#""timestamp":null"#));
    }
}
