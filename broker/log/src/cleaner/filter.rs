//! What becomes of one batch: it stays as it is, gets other bytes, or goes.
//!
//! Of a batch that is packed anew base and last offset, producer, sequence, leader epoch and codec stay. The first round that
//! sees a tombstone, or a marker that may go, writes into the batch until when it stays (KIP-534): that takes the place of the base timestamp,
//! and attribute bit 6 says so. Rounds after that time drop it.
//!
//! Source: Kafka's `Cleaner.cleanInto`, `MemoryRecords.filterTo`.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_protocol::ids::{Offset, ProducerEpoch, ProducerId};
use strandline_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, Header, NewRecord, ProducerStamp, Record, Scratch, TimestampType,
    Timestamps, open,
};

use super::map::OffsetMap;
use super::transactions::Fate;

/// Bytes that the records of one batch may unfold to; a batch that was taken stayed below this.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The last that is known of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// `None` if it wrote only markers in its epoch.
    pub(crate) offset: Option<Offset>,
    pub(crate) epoch: ProducerEpoch,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stays,
    Becomes(Bytes),
    Goes,
}

/// By what batches are judged, the same for a whole round.
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a OffsetMap,
    /// Keys of records at or above are not all in the map.
    pub(crate) mapped_below: Offset,
    pub(crate) producers: &'a BTreeMap<ProducerId, LastRecord>,
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The segment that is written ends with it.
    pub(crate) ends_segment: bool,
    /// It is the first of its leader epoch.
    pub(crate) begins_epoch: bool,
}

impl Filter<'_> {
    /// Judges a batch.
    ///
    /// # Errors
    /// What is wrong with its records.
    pub(crate) fn judge(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        fate: Fate,
        standing: Standing,
        scratch: &mut Scratch,
    ) -> Result<Verdict, String> {
        let horizon_passed = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let drops_all = fate == Fate::MayGo && (!header.is_control() || horizon_passed);
        let stays_empty = standing.ends_segment || standing.begins_epoch || self.is_last_of_producer(header);
        if drops_all || header.record_count == 0 {
            return Ok(if stays_empty { without_records(header, batch) } else { Verdict::Goes });
        }
        let (_, records) = open(batch, DECOMPRESSED_BYTES_MAX, scratch).map_err(|error| error.to_string())?;
        let (mut kept, mut count) = (Vec::new(), 0);
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            count += 1;
            if header.is_control() || self.stays(header, &record) {
                kept.push(record);
            }
        }
        if kept.is_empty() {
            return Ok(if stays_empty { without_records(header, batch) } else { Verdict::Goes });
        }
        let waits_to_go =
            if header.is_control() { fate == Fate::MayGo } else { kept.iter().any(|record| record.value.is_none()) };
        let horizon_ms = match header.delete_horizon_ms() {
            None if waits_to_go => Some(self.now_ms.saturating_add(self.delete_retention_ms)),
            known => known,
        };
        if kept.len() == count && horizon_ms == header.delete_horizon_ms() {
            return Ok(Verdict::Stays);
        }
        // The records lie in the scratch, so packing needs one of its own.
        packed(header, &kept, horizon_ms, &mut Scratch::default()).map(Verdict::Becomes)
    }

    fn stays(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        let offset = Offset(header.base_offset.saturating_add(i64::from(record.offset_delta)));
        if offset >= self.mapped_below {
            return true;
        }
        // Only a topic that was not always compacted has records without a key.
        let Some(key) = record.key else { return false };
        let is_latest = self.map.get(key).is_none_or(|latest| offset >= latest);
        let is_due = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        is_latest && (record.value.is_some() || !is_due)
    }

    /// Whether the producer's sequence, or its epoch if it has none, would be forgotten with the batch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let known = self.producers.get(&ProducerId(header.producer_id));
        header.has_producer_id()
            && known.is_some_and(|last| match last.offset {
                Some(offset) => header.last_offset() == offset.0,
                None => header.is_control() && header.producer_epoch == last.epoch.0,
            })
    }
}

fn without_records(header: &BatchHeader, batch: &[u8]) -> Verdict {
    let empty = header.without_records();
    if batch == empty { Verdict::Stays } else { Verdict::Becomes(Bytes::copy_from_slice(&empty)) }
}

fn options(header: &BatchHeader) -> BatchOptions {
    BatchOptions {
        base_offset: header.base_offset,
        partition_leader_epoch: header.partition_leader_epoch,
        compression: header.codec().map_or(Compression::None, Compression::of),
        timestamps: match header.timestamp_type() {
            TimestampType::CreateTime => Timestamps::Create,
            TimestampType::LogAppendTime => Timestamps::LogAppend(header.max_timestamp),
        },
        producer: ProducerStamp { id: header.producer_id, epoch: header.producer_epoch, base_sequence: header.base_sequence },
        transactional: header.is_transactional(),
        control: header.is_control(),
        delete_horizon_ms: header.delete_horizon_ms(),
        last_offset_delta: Some(header.last_offset_delta),
    }
}

fn packed(
    header: &BatchHeader,
    records: &[Record<'_>],
    delete_horizon_ms: Option<i64>,
    scratch: &mut Scratch,
) -> Result<Bytes, String> {
    let mut builder = BatchBuilder::new(BatchOptions { delete_horizon_ms, ..options(header) });
    for record in records {
        let headers: Vec<Header<'_>> = record.headers.collect();
        let timestamp = header.timestamp_of(record.timestamp_delta);
        let record_of = NewRecord { timestamp, key: record.key, value: record.value, headers: &headers };
        builder.append_at(record.offset_delta, &record_of).map_err(|error| error.to_string())?;
    }
    builder.build(scratch).map_err(|error| error.to_string())
}
