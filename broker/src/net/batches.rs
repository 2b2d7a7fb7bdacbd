//! The batches of a Produce request, judged by their topic's rules before the node sees them.
//!
//! Everything that costs time per byte happens here: checksum, records, and where the rules want it another codec or
//! another timestamp. Not here: whether the topic or partition exists, who leads it, the producer's sequence.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use strandline_node::io::{BatchOutcome, CheckedProduce, PartitionRules, RulesTable};
use strandline_protocol::messages::produce::{ProduceRequest, TopicProduceData};
use strandline_protocol::records::{
    Action, BatchHeader, Limits, Offender, ProduceRules, Refusal, Scratch, examine, judge, offenders, rewrite,
    set_max_timestamp,
};

/// The first version in which topics are named by id.
const IDS_FROM_VERSION: i16 = 13;

thread_local! {
    /// What compression needs over and over; it trims itself.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Takes the records out of a request and judges them.
pub(crate) fn check(mut request: ProduceRequest, version: i16, rules: &RulesTable, now_ms: i64) -> CheckedProduce {
    let mut batches = Vec::with_capacity(1);
    for topic in &mut request.topic_data {
        let rules = rules_of(rules, topic, version);
        for partition in &mut topic.partition_data {
            let bytes = partition.records.take().unwrap_or_default().into_bytes();
            batches.push(SCRATCH.with_borrow_mut(|scratch| outcome(bytes, version, rules, now_ms, scratch)));
        }
    }
    CheckedProduce { request, batches }
}

fn rules_of<'a>(rules: &'a RulesTable, topic: &TopicProduceData, version: i16) -> Option<&'a PartitionRules> {
    if version >= IDS_FROM_VERSION {
        let found = rules.by_id.binary_search_by(|(id, _)| id.cmp(&topic.topic_id));
        found.ok().map(|place| &rules.by_id[place].1)
    } else {
        let found = rules.by_name.binary_search_by(|(name, _)| name.cmp(&topic.name));
        found.ok().map(|place| &rules.by_name[place].1)
    }
}

fn outcome(bytes: Bytes, version: i16, rules: Option<&PartitionRules>, now_ms: i64, scratch: &mut Scratch) -> BatchOutcome {
    // A topic that nobody knows: the node says so, whatever its batches are.
    let Some(rules) = rules else { return refused(Refusal::NoBatch) };
    let limits = Limits::for_message_bytes(rules.max_message_bytes);
    match checked(bytes.clone(), version, rules, now_ms, &limits, scratch) {
        Ok(outcome) => outcome,
        Err(refusal) => {
            let offenders = match refusal {
                Refusal::Timestamp { .. } | Refusal::TimestampType | Refusal::Keyless { .. } => {
                    named(&bytes, rules, now_ms, &limits, scratch)
                }
                _ => Vec::new(),
            };
            BatchOutcome::Refused { refusal, offenders }
        }
    }
}

fn checked(
    bytes: Bytes,
    version: i16,
    rules: &ProduceRules,
    now_ms: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<BatchOutcome, Refusal> {
    let examined = examine(&bytes, limits, scratch)?;
    examined.permitted_in(version)?;
    let verdict = judge(&examined, rules, now_ms)?;
    let log_append_time_ms = verdict.log_append_time_ms;
    let (bytes, header) = match verdict.action {
        Action::Keep => (bytes, examined.header),
        Action::Restamp { timestamp_type, max_timestamp } => {
            let mut stamped = BytesMut::from(&bytes[..]);
            set_max_timestamp(&mut stamped, timestamp_type, max_timestamp).map_err(Refusal::Header)?;
            with_header(stamped.freeze())?
        }
        Action::Rewrite(wanted) => with_header(rewrite(&bytes, &wanted, rules, limits, scratch)?)?,
    };
    Ok(BatchOutcome::Checked { bytes, header, log_append_time_ms })
}

fn with_header(bytes: Bytes) -> Result<(Bytes, BatchHeader), Refusal> {
    let header = BatchHeader::parse(&bytes).map_err(Refusal::Header)?;
    Ok((bytes, header))
}

fn named(bytes: &Bytes, rules: &ProduceRules, now_ms: i64, limits: &Limits, scratch: &mut Scratch) -> Vec<Offender> {
    // Refused without names if it cannot be read again.
    offenders(bytes, rules, now_ms, limits, scratch).unwrap_or_default()
}

fn refused(refusal: Refusal) -> BatchOutcome {
    BatchOutcome::Refused { refusal, offenders: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strandline_protocol::ids::TopicName;
    use strandline_protocol::messages::produce::PartitionProduceData;
    use strandline_protocol::records::{BatchBuilder, BatchOptions, CompressionRule, NewRecord, TimestampType};

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn rules() -> ProduceRules {
        ProduceRules {
            max_message_bytes: 1 << 20,
            segment_bytes: 1 << 30,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            compacted: false,
            compression: CompressionRule::Producer,
        }
    }

    fn batch(timestamp: i64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { timestamp, value: Some(b"value"), ..NewRecord::default() }).unwrap();
        builder.build(&mut Scratch::default()).unwrap()
    }

    fn judged(batch: Bytes, rules: ProduceRules) -> BatchOutcome {
        let name: TopicName = TopicName("t".into());
        let table = RulesTable { by_name: vec![(name.clone(), Arc::new(rules))], by_id: Vec::new() };
        let partition = PartitionProduceData { index: 3, records: Some(batch.into()) };
        let topic = TopicProduceData { name, partition_data: vec![partition], ..TopicProduceData::default() };
        let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
        let mut checked = check(request, 9, &table, NOW_MS);
        assert!(checked.request.topic_data[0].partition_data[0].records.is_none());
        checked.batches.pop().expect("one batch, one outcome")
    }

    #[test]
    fn a_good_batch_is_kept_as_it_is() {
        let batch = batch(NOW_MS);
        let BatchOutcome::Checked { bytes, header, log_append_time_ms } = judged(batch.clone(), rules()) else {
            panic!("it is good")
        };
        assert_eq!(bytes.as_ptr(), batch.as_ptr());
        assert_eq!((header.record_count, log_append_time_ms), (1, -1));
    }

    #[test]
    fn a_topic_with_the_brokers_time_stamps_it() {
        let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
        let BatchOutcome::Checked { bytes, header, log_append_time_ms } = judged(batch(5), rules) else { panic!("it is good") };
        assert_eq!((header.max_timestamp, log_append_time_ms), (NOW_MS, NOW_MS));
        assert_eq!(BatchHeader::parse(&bytes), Ok(header));
    }

    #[test]
    fn a_refusal_names_the_records_to_blame() {
        let outcome = judged(batch(NOW_MS + 7_200_000), rules());
        let BatchOutcome::Refused { refusal: Refusal::Timestamp { .. }, offenders } = outcome else {
            panic!("it comes from the future")
        };
        assert_eq!(offenders.len(), 1);
        let mut broken = batch(NOW_MS).to_vec();
        broken[70] ^= 1;
        assert!(matches!(judged(broken.into(), rules()), BatchOutcome::Refused { refusal: Refusal::Crc { .. }, .. }));
    }
}
