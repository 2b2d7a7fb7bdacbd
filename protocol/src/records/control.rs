//! Control records: what a leader or a coordinator writes into a log about the log. Clients may not produce them.
//!
//! The key is `version i16 | type i16`; the value belongs to the type. Readers must skip types that they do not know.

use bytes::Bytes;
use thiserror::Error;

use super::builder::{BatchBuilder, BatchOptions, BuildError, NewRecord, ProducerStamp};
use super::compression::Scratch;

const KEY_VERSION: i16 = 0;
const KEY_BYTES: usize = 4;
const END_TRANSACTION_VERSION: i16 = 0;
const END_TRANSACTION_BYTES: usize = 6;

/// The kinds of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KraftVersion,
    KraftVoters,
}

/// Why a control record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    #[error("a control record has no key")]
    NoKey,
    #[error("{have} bytes are too few, {need} are needed")]
    Truncated { have: usize, need: usize },
    #[error("version {version} is negative")]
    Version { version: i16 },
}

impl ControlType {
    const ALL: [ControlType; 7] = [
        ControlType::Abort,
        ControlType::Commit,
        ControlType::LeaderChange,
        ControlType::SnapshotHeader,
        ControlType::SnapshotFooter,
        ControlType::KraftVersion,
        ControlType::KraftVoters,
    ];

    /// The type's number in the key.
    pub fn code(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::LeaderChange => 2,
            ControlType::SnapshotHeader => 3,
            ControlType::SnapshotFooter => 4,
            ControlType::KraftVersion => 5,
            ControlType::KraftVoters => 6,
        }
    }

    /// The key of a control record of this type.
    pub fn key(self) -> [u8; KEY_BYTES] {
        let [v0, v1] = KEY_VERSION.to_be_bytes();
        let [t0, t1] = self.code().to_be_bytes();
        [v0, v1, t0, t1]
    }

    /// Reads the key of a control record; `None` is a type of a later release, to be skipped. Later versions of the key may be longer.
    ///
    /// # Errors
    /// The key is null, too short, or of a negative version.
    pub fn from_key(key: Option<&[u8]>) -> Result<Option<ControlType>, ControlError> {
        let key = key.ok_or(ControlError::NoKey)?;
        let [v0, v1, t0, t1] = *key.first_chunk().ok_or(ControlError::Truncated { have: key.len(), need: KEY_BYTES })?;
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 {
            return Err(ControlError::Version { version });
        }
        let code = i16::from_be_bytes([t0, t1]);
        Ok(ControlType::ALL.into_iter().find(|kind| kind.code() == code))
    }
}

/// The value of a commit or abort marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    pub fn to_bytes(self) -> [u8; END_TRANSACTION_BYTES] {
        let [v0, v1] = END_TRANSACTION_VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }

    /// Reads the value of a marker; later versions may be longer.
    ///
    /// # Errors
    /// The value is null or too short, or of a negative version.
    pub fn from_value(value: Option<&[u8]>) -> Result<EndTransactionMarker, ControlError> {
        let value = value.unwrap_or_default();
        let [v0, v1, e0, e1, e2, e3] =
            *value.first_chunk().ok_or(ControlError::Truncated { have: value.len(), need: END_TRANSACTION_BYTES })?;
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 {
            return Err(ControlError::Version { version });
        }
        Ok(EndTransactionMarker { coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]) })
    }
}

/// Builds a batch of control records, each with its type and value, all of one time; `options.control` is set whatever it was.
///
/// # Errors
/// As `BatchBuilder`.
pub fn control_batch(
    options: BatchOptions,
    timestamp: i64,
    records: &[(ControlType, &[u8])],
    scratch: &mut Scratch,
) -> Result<Bytes, BuildError> {
    let mut builder = BatchBuilder::new(BatchOptions { control: true, ..options });
    for (kind, value) in records {
        builder.append(&NewRecord { timestamp, key: Some(&kind.key()), value: Some(value), headers: &[] })?;
    }
    builder.build(scratch)
}

/// Builds the marker that ends a producer's transaction in a partition; the leader stamps offset and epoch when it is appended.
///
/// # Errors
/// As `BatchBuilder`.
pub fn end_transaction_batch(
    kind: ControlType,
    marker: EndTransactionMarker,
    producer: ProducerStamp,
    timestamp: i64,
    scratch: &mut Scratch,
) -> Result<Bytes, BuildError> {
    // A marker takes no sequence, so that it cannot disturb those of the data.
    let producer = ProducerStamp { base_sequence: -1, ..producer };
    let options = BatchOptions { producer, transactional: true, ..BatchOptions::default() };
    control_batch(options, timestamp, &[(kind, &marker.to_bytes())], scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchHeader, open};

    #[test]
    fn every_type_is_read_from_its_key() {
        for (code, kind) in ControlType::ALL.into_iter().enumerate() {
            assert_eq!(kind.key(), [0, 0, 0, code as u8]);
            assert_eq!(ControlType::from_key(Some(&kind.key())), Ok(Some(kind)));
        }
    }

    #[test]
    fn later_types_and_versions_are_skipped_and_broken_keys_refused() {
        assert_eq!(ControlType::from_key(Some(&[0, 0, 0, 7])), Ok(None));
        assert_eq!(ControlType::from_key(Some(&[0, 9, 0, 1, 5])), Ok(Some(ControlType::Commit)));
        assert_eq!(ControlType::from_key(Some(&[0, 0, 0])), Err(ControlError::Truncated { have: 3, need: 4 }));
        assert_eq!(ControlType::from_key(Some(&[255, 255, 0, 0])), Err(ControlError::Version { version: -1 }));
        assert_eq!(ControlType::from_key(None), Err(ControlError::NoKey));
        assert_eq!(EndTransactionMarker::from_value(None), Err(ControlError::Truncated { have: 0, need: 6 }));
        assert_eq!(
            EndTransactionMarker::from_value(Some(&[128, 0, 0, 0, 0, 0])),
            Err(ControlError::Version { version: i16::MIN })
        );
    }

    #[test]
    fn a_marker_is_a_transactional_control_batch_without_a_sequence() {
        let mut scratch = Scratch::default();
        let producer = ProducerStamp { id: 7, epoch: 3, base_sequence: 12 };
        let marker = EndTransactionMarker { coordinator_epoch: 5 };
        let batch = end_transaction_batch(ControlType::Commit, marker, producer, 1_000, &mut scratch).unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert!(header.is_control());
        assert!(header.is_transactional());
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence, header.record_count), (7, 3, -1, 1));
        let (_, mut records) = open(&batch, 1_000, &mut scratch).unwrap();
        let record = records.next().unwrap().unwrap();
        assert_eq!(ControlType::from_key(record.key), Ok(Some(ControlType::Commit)));
        assert_eq!(EndTransactionMarker::from_value(record.value), Ok(marker));
    }
}
