//! What is shown of a file, row by row: names and values, the same in tables and in JSON.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use strandline_log::checkpoints::OffsetCheckpoint;
use strandline_log::dump::{Batch, Contents, Record};
use strandline_log::epochs::EpochEntry;
use strandline_log::meta_properties::MetaProperties;
use strandline_log::quorum_state::{QuorumState, Voters};
use strandline_log::transactions::AbortedTransaction;
use strandline_log::{index, time_index};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::records::BatchHeader;
use strandline_protocol::stored::producer_snapshot::ProducerEntry;

use crate::cli::{base64, time};

/// Characters of a key or a value in a table; JSON has them all.
const TEXT_CHARACTERS_MAX: usize = 80;

/// One row: names in the order of the columns.
#[derive(Debug, PartialEq)]
pub(crate) struct Row(Vec<(&'static str, Value)>);

impl Row {
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    /// The values for people.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| text(name, value)).collect()
    }

    /// The values for scripts.
    pub(crate) fn json(&self, file: &str) -> Value {
        let named = self.0.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone()));
        Value::Object(std::iter::once(("file".to_owned(), json!(file))).chain(named).collect::<Map<_, _>>())
    }
}

fn text(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Number(number) if name.ends_with("timestamp") => number.as_i64().map_or_else(String::new, time::show),
        Value::String(text) if text.chars().count() > TEXT_CHARACTERS_MAX => {
            let shown: String = text.chars().take(TEXT_CHARACTERS_MAX).collect();
            format!("{shown}...")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn of_batch(batch: &Batch) -> Row {
    let header = &batch.header;
    let kind = match (header.is_control(), header.is_transactional()) {
        (true, _) => "control",
        (false, true) => "transaction",
        (false, false) => "data",
    };
    let known = |number: i64| if number < 0 { Value::Null } else { json!(number) };
    Row(vec![
        ("first", json!(header.base_offset)),
        ("last", json!(header.last_offset())),
        ("records", json!(header.record_count)),
        ("position", json!(batch.position)),
        ("bytes", json!(header.size_bytes())),
        ("max timestamp", json!(header.max_timestamp)),
        ("codec", json!(header.codec().map(|codec| codec.name()))),
        ("epoch", json!(header.partition_leader_epoch)),
        ("producer", known(header.producer_id)),
        ("producer epoch", known(header.producer_epoch.into())),
        ("sequence", known(header.base_sequence.into())),
        ("kind", json!(kind)),
        ("checksum", json!(if batch.checksum_holds { "ok" } else { "WRONG" })),
    ])
}

pub(crate) fn of_record(record: &Record, header: &BatchHeader, is_metadata: bool) -> Row {
    let value = match &record.value {
        Some(value) if is_metadata && !header.is_control() => match MetadataRecord::decode(value.clone()) {
            Ok(metadata) => json!(format!("{metadata:?}")),
            Err(_) => bytes(Some(value)),
        },
        value => bytes(value.as_ref()),
    };
    let headers: Vec<Value> =
        record.headers.iter().map(|(key, value)| json!([bytes(Some(key)), bytes(value.as_ref())])).collect();
    Row(vec![
        ("offset", json!(record.offset.0)),
        ("timestamp", json!(record.timestamp_ms)),
        ("sequence", if record.sequence < 0 { Value::Null } else { json!(record.sequence) }),
        ("control", json!(record.control.map(|control| format!("{control:?}")))),
        ("key", if record.control.is_some() { Value::Null } else { bytes(record.key.as_ref()) }),
        ("value", value),
        ("headers", if headers.is_empty() { Value::Null } else { Value::Array(headers) }),
    ])
}

/// Bytes as text if they are, else in base64.
fn bytes(bytes: Option<&Bytes>) -> Value {
    bytes.map_or(Value::Null, |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": base64::encode(bytes) }),
    })
}

pub(crate) fn of_contents(contents: &Contents) -> Vec<Row> {
    match contents {
        Contents::OffsetIndex { entries, .. } => entries.iter().map(of_index_entry).collect(),
        Contents::TimeIndex { entries, .. } => entries.iter().map(of_time_index_entry).collect(),
        Contents::TransactionIndex(aborted) => aborted.iter().map(of_aborted).collect(),
        Contents::Snapshot(producers) => producers.iter().map(of_producer).collect(),
        Contents::LeaderEpochs(epochs) => epochs.iter().map(of_epoch).collect(),
        Contents::Offsets(offsets) => offsets.iter().map(of_offset).collect(),
        Contents::PartitionMetadata(topic_id) => vec![Row(vec![("topic id", json!(topic_id.to_string()))])],
        Contents::CleanShutdown(shutdown) => vec![Row(vec![("broker epoch", json!(shutdown.broker_epoch))])],
        Contents::MetaProperties(properties) => vec![of_properties(properties)],
        Contents::QuorumState(state) => vec![of_quorum(state)],
    }
}

/// Entries of an index that are allocated ahead, or make no sense.
pub(crate) fn spare(contents: &Contents) -> usize {
    match contents {
        Contents::OffsetIndex { spare, .. } | Contents::TimeIndex { spare, .. } => *spare,
        _ => 0,
    }
}

fn of_index_entry(entry: &index::Entry) -> Row {
    Row(vec![("offset", json!(entry.offset.0)), ("position", json!(entry.position))])
}

fn of_time_index_entry(entry: &time_index::Entry) -> Row {
    Row(vec![("timestamp", json!(entry.timestamp_ms)), ("offset", json!(entry.offset.0))])
}

fn of_aborted(aborted: &AbortedTransaction) -> Row {
    Row(vec![
        ("producer", json!(aborted.producer_id.0)),
        ("first", json!(aborted.first.0)),
        ("last", json!(aborted.last.0)),
        ("last stable", json!(aborted.last_stable.0)),
    ])
}

fn of_producer(producer: &ProducerEntry) -> Row {
    Row(vec![
        ("producer", json!(producer.producer_id.0)),
        ("epoch", json!(producer.epoch.0)),
        ("last sequence", json!(producer.last_sequence)),
        ("last offset", json!(producer.last_offset.0)),
        ("offset delta", json!(producer.offset_delta)),
        ("timestamp", json!(producer.timestamp)),
        ("coordinator epoch", json!(producer.coordinator_epoch)),
        ("transaction from", json!(producer.current_txn_first_offset.0)),
    ])
}

fn of_epoch(entry: &EpochEntry) -> Row {
    Row(vec![("epoch", json!(entry.epoch.0)), ("start", json!(entry.start.0))])
}

fn of_offset(entry: &OffsetCheckpoint) -> Row {
    Row(vec![("topic", json!(entry.topic)), ("partition", json!(entry.partition)), ("offset", json!(entry.offset.0))])
}

fn of_properties(properties: &MetaProperties) -> Row {
    Row(vec![
        ("cluster id", json!(properties.cluster_id)),
        ("node id", json!(properties.node_id.0)),
        ("directory id", json!(properties.directory_id.map(|id| id.to_string()))),
    ])
}

fn of_quorum(state: &QuorumState) -> Row {
    let (voters, directory) = match &state.voters {
        Voters::Configured(voters) => (json!(voters.iter().map(|voter| voter.0).collect::<Vec<_>>()), Value::Null),
        Voters::InLog { voted_directory } => (Value::Null, json!(voted_directory.to_string())),
    };
    Row(vec![
        ("leader", json!(state.leader.0)),
        ("epoch", json!(state.leader_epoch.0)),
        ("voted for", json!(state.voted.0)),
        ("voted directory", directory),
        ("voters", voters),
    ])
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::{LeaderEpoch, Offset};

    use super::*;

    #[test]
    fn a_row_is_shown_for_people_and_for_scripts() {
        let row = of_time_index_entry(&time_index::Entry { timestamp_ms: 1000, offset: Offset(7) });
        assert_eq!(row.texts(), ["1970-01-01T00:00:01.000Z", "7"]);
        assert_eq!(row.json("f").to_string(), r#"{"file":"f","offset":7,"timestamp":1000}"#);
    }

    #[test]
    fn a_long_text_is_cut_for_people_only() {
        let row = Row(vec![("value", json!("x".repeat(100)))]);
        assert_eq!(row.texts()[0].len(), TEXT_CHARACTERS_MAX + 3);
        assert!(row.json("f").to_string().len() > 100);
    }

    #[test]
    fn names_follow_the_contents() {
        let epochs = Contents::LeaderEpochs(vec![EpochEntry { epoch: LeaderEpoch(3), start: Offset(9) }]);
        let rows = of_contents(&epochs);
        assert_eq!(rows[0].names(), ["epoch", "start"]);
        assert_eq!(rows[0].texts(), ["3", "9"]);
    }
}
