//! The second step: the summary of a batch against a topic's rules and the clock. A few comparisons; the bytes are not touched.

use super::rewrite::Rewrite;
use super::{Examined, InnerOffsets, Limits, Refusal};
use crate::records::compression::{Compression, Scratch};
use crate::records::header::TimestampType;
use crate::records::record::{OpenError, open};

/// How many offending records are named in one response; clients give the others a general error.
const OFFENDERS_MAX: usize = 1000;

/// A topic's `compression.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionRule {
    /// What the producer chose is kept.
    #[default]
    Producer,
    /// Batches of another codec are recompressed; the level matters only then.
    Always(Compression),
}

/// The settings of a topic that decide over produced batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// `max.message.bytes`: the most that a batch may take, before and after a rewrite.
    pub max_message_bytes: usize,
    /// `segment.bytes`: a batch cannot be split over segments.
    pub segment_bytes: usize,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how much older than now a record may say it is.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may say it is.
    pub after_max_ms: i64,
    /// Whether `cleanup.policy` has `compact`, so that every record needs a key.
    pub compacted: bool,
    /// `compression.type`
    pub compression: CompressionRule,
}

/// What is to be done to the bytes before they are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are stored as they came.
    Keep,
    /// The header is patched by `set_max_timestamp` or `restamped_header`.
    Restamp { timestamp_type: TimestampType, max_timestamp: i64 },
    /// The records are packed anew by `rewrite`.
    Rewrite(Rewrite),
}

/// A batch may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub action: Action,
    /// The maximum timestamp that the stored batch has, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// What the response says: the time of the append, or -1 if the records keep their own.
    pub log_append_time_ms: i64,
}

/// Decides over a batch. `now_ms` is in milliseconds since 1970.
///
/// # Errors
/// In this order: larger than `max.message.bytes`; a timestamp or its type; a record without a key in a compacted topic; larger than a segment. For the first two
/// kinds of record errors `offenders` names every record. After a rewrite the sizes are checked again, by `rewrite`.
pub fn judge(examined: &Examined, rules: &ProduceRules, now_ms: i64) -> Result<Verdict, Refusal> {
    let bytes = examined.size_bytes();
    if bytes > rules.max_message_bytes {
        return Err(Refusal::MessageTooLarge { bytes, bytes_max: rules.max_message_bytes });
    }
    check_timestamps(examined, rules, now_ms)?;
    if let Some(index) = examined.first_keyless.filter(|_| rules.compacted) {
        return Err(Refusal::Keyless { index });
    }
    let verdict = verdict(examined, rules, now_ms);
    let rewritten = matches!(verdict.action, Action::Rewrite(_));
    if !rewritten && bytes > rules.segment_bytes {
        return Err(Refusal::RecordListTooLarge { bytes, bytes_max: rules.segment_bytes });
    }
    Ok(verdict)
}

fn verdict(examined: &Examined, rules: &ProduceRules, now_ms: i64) -> Verdict {
    let (max_timestamp, log_append_time_ms) = match rules.timestamp_type {
        TimestampType::CreateTime => (examined.max_timestamp(), -1),
        TimestampType::LogAppendTime => (now_ms, now_ms),
    };
    Verdict { action: action(examined, rules, max_timestamp), max_timestamp, log_append_time_ms }
}

fn action(examined: &Examined, rules: &ProduceRules, max_timestamp: i64) -> Action {
    let timestamp_type = rules.timestamp_type;
    let compression = match rules.compression {
        CompressionRule::Always(compression) if compression.codec() != examined.codec => compression,
        CompressionRule::Always(compression) if examined.inner_offsets == InnerOffsets::Scattered => compression,
        CompressionRule::Producer if examined.inner_offsets == InnerOffsets::Scattered => Compression::of(examined.codec),
        _ if examined.header.timestamp_type() == timestamp_type && examined.header.max_timestamp == max_timestamp => {
            return Action::Keep;
        }
        _ => {
            return Action::Restamp { timestamp_type, max_timestamp };
        }
    };
    Action::Rewrite(Rewrite { compression, inner_offsets: examined.inner_offsets, timestamp_type, max_timestamp })
}

/// The times that a record may have.
struct Window {
    earliest: i64,
    latest: i64,
}

impl Window {
    fn new(rules: &ProduceRules, now_ms: i64) -> Window {
        Window { earliest: now_ms.saturating_sub(rules.before_max_ms), latest: now_ms.saturating_add(rules.after_max_ms) }
    }

    fn check(&self, index: u32, timestamp: i64) -> Result<(), Refusal> {
        if (self.earliest..=self.latest).contains(&timestamp) {
            return Ok(());
        }
        Err(Refusal::Timestamp { index, timestamp, earliest: self.earliest, latest: self.latest })
    }
}

fn check_timestamps(examined: &Examined, rules: &ProduceRules, now_ms: i64) -> Result<(), Refusal> {
    if examined.header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(Refusal::TimestampType);
    }
    let Some(earliest) = examined.earliest.filter(|_| rules.timestamp_type == TimestampType::CreateTime) else {
        return Ok(());
    };
    let window = Window::new(rules, now_ms);
    window.check(earliest.index, earliest.timestamp)?;
    // The latest is -1 if every time is before 1970; then the earliest has spoken for all.
    if examined.latest.timestamp >= 0 { window.check(examined.latest.index, examined.latest.timestamp) } else { Ok(()) }
}

/// A record that a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offender {
    /// Counted from 0 in the batch.
    pub index: u32,
    pub refusal: Refusal,
}

/// Names the records for which `judge` refused a batch, at most a thousand, for the record errors of the response (KIP-467). Only for the refused: it reads all.
///
/// # Errors
/// The batch cannot be read, which `examine` would have said.
pub fn offenders(
    batch: &[u8],
    rules: &ProduceRules,
    now_ms: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Vec<Offender>, OpenError> {
    let (header, records) = open(batch, limits.decompressed_bytes_max, scratch)?;
    let window = Window::new(rules, now_ms);
    let claims_log_append = header.timestamp_type() == TimestampType::LogAppendTime;
    let complaint = |index: u32, has_key: bool, timestamp: i64| {
        if rules.compacted && !has_key {
            return Some(Refusal::Keyless { index });
        }
        if claims_log_append {
            return Some(Refusal::TimestampType);
        }
        let bounded = rules.timestamp_type == TimestampType::CreateTime && timestamp != -1;
        bounded.then(|| window.check(index, timestamp).err()).flatten()
    };
    let named = records.map_while(Result::ok).zip(0u32..).filter_map(|(record, index)| {
        let refusal = complaint(index, record.key.is_some(), header.timestamp_of(record.timestamp_delta))?;
        Some(Offender { index, refusal })
    });
    Ok(named.take(OFFENDERS_MAX).collect())
}
