//! Records of the metadata log as a follower meets them: out of batches, and past metadata transactions.

use bytes::{Bytes, BytesMut};
use strandline_log::append::AppendError;
use strandline_protocol::ids::Offset;
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::records::{BatchError, Batches, OpenError, RecordError, Scratch, open};
use strandline_protocol::wire::WireError;

use super::BATCH_BYTES_MAX;
use crate::quorum::voters::QuorumRecord;

/// Why batches of a leader are not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordsError {
    #[error("a batch begins at {found}, the log ends at {expected}")]
    Gap { expected: Offset, found: Offset },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Records in order, with their offsets.
pub(crate) type At<T> = Vec<(Offset, T)>;

/// The records of batches that follow each other from `expected` on: those of the metadata, and what is said of the quorum.
///
/// # Errors
/// [`RecordsError`]
pub(crate) fn records_of(bytes: &[u8], mut expected: Offset) -> Result<(At<MetadataRecord>, At<QuorumRecord>), RecordsError> {
    let mut scratch = Scratch::default();
    let (mut records, mut quorum) = (Vec::new(), Vec::new());
    for batch in Batches::strict(bytes) {
        let batch = batch?;
        let found = Offset(batch.header.base_offset);
        if found != expected {
            return Err(RecordsError::Gap { expected, found });
        }
        expected = Offset(batch.header.next_offset());
        let is_control = batch.header.is_control();
        let (_, opened) = open(batch.bytes, BATCH_BYTES_MAX, &mut scratch)?;
        for record in opened {
            let record = record?;
            let offset = Offset(found.0 + i64::from(record.offset_delta));
            if is_control {
                quorum.extend(QuorumRecord::read(record.key, record.value)?.map(|record| (offset, record)));
                continue;
            }
            let value: Bytes = BytesMut::from(record.value.unwrap_or_default()).freeze();
            records.push((offset, MetadataRecord::decode(value)?));
        }
    }
    Ok((records, quorum))
}

/// Holds the records of a metadata transaction back until it ends (KIP-868); those of an aborted one count for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    held: Option<Vec<(Offset, MetadataRecord)>>,
}

impl Transactions {
    /// Whether records are held back.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// The records that count now.
    pub(crate) fn pass(&mut self, offset: Offset, record: MetadataRecord) -> Vec<(Offset, MetadataRecord)> {
        match record {
            MetadataRecord::BeginTransactionRecord(_) => self.held = Some(Vec::new()),
            MetadataRecord::AbortTransactionRecord(_) => self.held = None,
            MetadataRecord::EndTransactionRecord(_) => return self.held.take().unwrap_or_default(),
            record => match &mut self.held {
                Some(held) => held.push((offset, record)),
                None => return vec![(offset, record)],
            },
        }
        Vec::new()
    }
}
