//! What records hold: a value of their own, the timestamp they were sent with, and filler; so that whoever reads one knows
//! which it is and whether every byte is as it was sent.

use bytes::Bytes;
use strandline_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Compression, Header, NewRecord, ProducerStamp, Record, Scratch, TimestampType,
    crc32c,
};

use crate::core::Core;
use crate::dice::{Dice, fnv, fnv_onto};
use crate::history::{Delivery, PartitionKey, Send, Value};
use crate::topics::Use;

/// Value and timestamp.
const HEAD_BYTES: usize = 16;
/// The header that says in a deletion what the payload says in other records.
const HEAD: &[u8] = b"head";

/// Records of one batch, and the batch.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) values: Vec<Value>,
    pub(crate) bytes: Bytes,
}

/// So many keys a partition of a compacted topic has.
const COMPACTED_KEYS: u64 = 6;

/// Which keys records of a topic have.
pub(crate) fn keys(used_for: Use) -> Keys {
    if used_for == Use::Compacting { Keys::Among(COMPACTED_KEYS) } else { Keys::Any }
}

/// How a batch is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) partition: PartitionKey,
    pub(crate) session: u64,
    pub(crate) records: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) stamp: ProducerStamp,
    pub(crate) delivery: Delivery,
    pub(crate) transactional: bool,
    pub(crate) keys: Keys,
}

/// Which keys records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// One of its own, or none.
    Any,
    /// One of so many, and now and then the record deletes it.
    Among(u64),
}

/// Makes a batch whose records are noted as sent.
pub(crate) fn make(core: &mut Core, dice: &mut Dice, scratch: &mut Scratch, recipe: &Recipe) -> Made {
    let options = BatchOptions {
        compression: compression(dice),
        producer: recipe.stamp,
        transactional: recipe.transactional,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    let mut values = Vec::new();
    let filler_bytes = filler_bytes(dice);
    for _ in 0..recipe.records {
        let value = core.history.next_value();
        let timestamp = recipe.timestamp_ms + i64::try_from(dice.below(50)).unwrap_or(0);
        let mut payload = Vec::with_capacity(HEAD_BYTES + filler_bytes);
        payload.extend_from_slice(&value.0.to_be_bytes());
        payload.extend_from_slice(&timestamp.to_be_bytes());
        payload.resize(HEAD_BYTES + filler_bytes, value.0 as u8);
        let (key, deletes) = match recipe.keys {
            Keys::Any => (dice.one_in(2).then(|| dice.roll()), false),
            Keys::Among(count) => (Some(dice.below(count)), dice.one_in(6)),
        };
        let key_bytes = key.map(u64::to_be_bytes);
        let header = [Header { key: b"h", value: Some(b"1") }];
        let head = [Header { key: HEAD, value: Some(&payload[..HEAD_BYTES]) }];
        let headers = if deletes {
            &head[..]
        } else if dice.one_in(4) {
            &header[..]
        } else {
            &[]
        };
        let body = (!deletes).then_some(&payload[..]);
        let record = NewRecord { timestamp, key: key_bytes.as_ref().map(|key| &key[..]), value: body, headers };
        builder.append(&record).expect("a small record fits");
        let content = content(record.key, record.value, headers.iter().copied());
        let (partition, session, invoked_us) = (recipe.partition, recipe.session, core.now_us);
        values.push(core.history.send(Send { partition, session, content, invoked_us, key, deletes }));
        if recipe.delivery == Delivery::MayRepeat {
            core.history.may_repeat(value);
        }
    }
    let bytes = builder.build(scratch).expect("a small batch is built");
    Made { values, bytes }
}

fn filler_bytes(dice: &mut Dice) -> usize {
    match dice.below(40) {
        0 => dice.index(20_000),
        1..=4 => dice.index(2_000),
        _ => dice.index(60),
    }
}

fn compression(dice: &mut Dice) -> Compression {
    match dice.below(40) {
        0 => Compression::Gzip { level: Compression::GZIP_LEVEL_DEFAULT },
        1 => Compression::Zstd { level: 1 },
        2..=4 => Compression::Lz4,
        5..=7 => Compression::Snappy,
        _ => Compression::None,
    }
}

/// What a record that was read says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadRecord {
    pub(crate) value: Value,
    pub(crate) content: u64,
    /// The one that counts for lookups.
    pub(crate) timestamp_ms: i64,
    /// Whether the producer's timestamp is as it was sent, where it has to be.
    pub(crate) timestamp_kept: bool,
}

/// Reads what `make` wrote; nothing if it is no such record.
pub(crate) fn read(header: &BatchHeader, record: &Record<'_>) -> Option<ReadRecord> {
    let head = record.headers.into_iter().find(|header| header.key == HEAD);
    let payload = record.value.or_else(|| head?.value)?;
    let value = u64::from_be_bytes(*payload.first_chunk()?);
    let sent_ms = i64::from_be_bytes(*payload.get(8..)?.first_chunk()?);
    let (timestamp_ms, timestamp_kept) = match header.timestamp_type() {
        TimestampType::CreateTime => {
            let found = header.timestamp_of(record.timestamp_delta);
            (found, found == sent_ms)
        }
        TimestampType::LogAppendTime => (header.max_timestamp, true),
    };
    let content = content(record.key, record.value, record.headers);
    Some(ReadRecord { value: Value(value), content, timestamp_ms, timestamp_kept })
}

fn content<'a>(key: Option<&[u8]>, value: Option<&[u8]>, headers: impl Iterator<Item = Header<'a>>) -> u64 {
    let part = |hash: u64, bytes: Option<&[u8]>| {
        let length = bytes.map_or(-1, |bytes| bytes.len() as i64);
        let sum = crc32c(bytes.unwrap_or_default());
        fnv_onto(fnv_onto(hash, &length.to_be_bytes()), &sum.to_be_bytes())
    };
    let hash = part(part(fnv(b""), key), value);
    headers.fold(hash, |hash, header| part(part(hash, Some(header.key)), header.value))
}
