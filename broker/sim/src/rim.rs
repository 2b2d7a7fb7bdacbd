//! What the broker's rim does between bytes and the node: decodes requests, judges produced batches, fills records into
//! Fetch responses, encodes. Pure; the connections and their order are `desk.rs`.

use bytes::{Bytes, BytesMut};
use strandline_log::cut::{self, ReadFault};
use strandline_log::disk::{DiskError, FilePath, Files};
use strandline_log::slice::Slice;
use strandline_log::transactions::aborted;
use strandline_node::io::{
    Asked, BatchOutcome, CheckedProduce, FetchReply, PartitionRules, PartitionSlices, RulesTable, unreadable,
};
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;
use strandline_protocol::messages::fetch::{AbortedTransaction, FetchResponse, PartitionData};
use strandline_protocol::messages::produce::{ProduceRequest, TopicProduceData};
use strandline_protocol::records::{
    Action, BatchHeader, Limits, ProduceRules, Refusal, Scratch, examine, judge, offenders, rewrite, set_max_timestamp,
};
use strandline_protocol::wire::{Reader, WireError, Writer};

use crate::flaw::Flaw;

/// The first version of Produce in which topics are named by id.
const IDS_FROM_VERSION: i16 = 13;

/// Encodes a request's body.
pub fn encode_request(request: &Request, version: i16) -> Bytes {
    let mut writer = Writer::new();
    request.encode(&mut writer, version);
    writer.into_bytes()
}

/// Encodes a response's body.
pub fn encode_response(response: &Response, version: i16) -> Bytes {
    let mut writer = Writer::new();
    response.encode(&mut writer, version);
    writer.into_bytes()
}

/// Decodes a response's body.
///
/// # Errors
/// [`WireError`]
pub fn decode_response(key: ApiKey, version: i16, body: Bytes) -> Result<Response, WireError> {
    let mut reader = Reader::new(body);
    let response = Response::decode(key, version, &mut reader)?;
    reader.finish()?;
    Ok(response)
}

/// Decodes a request and judges its batches.
///
/// # Errors
/// [`WireError`]
pub fn decode_request(
    key: ApiKey,
    version: i16,
    body: Bytes,
    rules: &RulesTable,
    now_ms: i64,
    scratch: &mut Scratch,
    flaw: Option<Flaw>,
) -> Result<Asked, WireError> {
    let mut reader = Reader::new(body);
    let request = Request::decode(key, version, &mut reader)?;
    reader.finish()?;
    Ok(match request {
        Request::Produce(request) => Asked::Produce(Box::new(check(request, version, rules, now_ms, scratch, flaw))),
        other => Asked::Other(Box::new(other)),
    })
}

/// How long a request allows the broker to wait before it answers.
pub fn wait_ms(asked: &Asked) -> u64 {
    let allowed = match asked {
        Asked::Produce(checked) => checked.request.timeout_ms,
        Asked::Other(request) => match &**request {
            Request::Fetch(fetch) => fetch.max_wait_ms,
            _ => 0,
        },
    };
    u64::try_from(allowed).unwrap_or(0)
}

fn check(
    mut request: ProduceRequest,
    version: i16,
    rules: &RulesTable,
    now_ms: i64,
    scratch: &mut Scratch,
    flaw: Option<Flaw>,
) -> CheckedProduce {
    let mut batches = Vec::new();
    for topic in &mut request.topic_data {
        let rules = rules_of(rules, topic, version);
        for partition in &mut topic.partition_data {
            let bytes = partition.records.take().unwrap_or_default().into_bytes();
            let mut outcome = outcome(&bytes, version, rules, now_ms, scratch);
            if let (Some(Flaw::ForgottenProducers), BatchOutcome::Checked { header, .. }) = (flaw, &mut outcome) {
                header.producer_id = -1;
            }
            batches.push(outcome);
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

fn outcome(bytes: &Bytes, version: i16, rules: Option<&PartitionRules>, now_ms: i64, scratch: &mut Scratch) -> BatchOutcome {
    let Some(rules) = rules else {
        return BatchOutcome::Refused { refusal: Refusal::NoBatch, offenders: Vec::new() };
    };
    let limits = Limits::for_message_bytes(rules.max_message_bytes);
    checked(bytes, version, rules, now_ms, &limits, scratch).unwrap_or_else(|refusal| {
        let offenders = offenders(bytes, rules, now_ms, &limits, scratch).unwrap_or_default();
        BatchOutcome::Refused { refusal, offenders }
    })
}

fn checked(
    bytes: &Bytes,
    version: i16,
    rules: &ProduceRules,
    now_ms: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<BatchOutcome, Refusal> {
    let examined = examine(bytes, limits, scratch)?;
    examined.permitted_in(version)?;
    let verdict = judge(&examined, rules, now_ms)?;
    let bytes = match verdict.action {
        Action::Keep => bytes.clone(),
        Action::Restamp { timestamp_type, max_timestamp } => {
            let mut stamped = BytesMut::from(&bytes[..]);
            set_max_timestamp(&mut stamped, timestamp_type, max_timestamp).map_err(Refusal::Header)?;
            stamped.freeze()
        }
        Action::Rewrite(wanted) => rewrite(bytes, &wanted, rules, limits, scratch)?,
    };
    let header = BatchHeader::parse(&bytes).map_err(Refusal::Header)?;
    Ok(BatchOutcome::Checked { bytes, header, log_append_time_ms: verdict.log_append_time_ms })
}

/// What could not be read, and of which segment its checksums do not hold.
#[derive(Debug)]
pub struct Unread {
    pub error: DiskError,
    pub damaged: Option<(FilePath, Offset)>,
}

impl From<DiskError> for Unread {
    fn from(error: DiskError) -> Self {
        Self { error, damaged: None }
    }
}

/// Who compares the checksums of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// The broker: what does not hold is not served.
    Broker,
    /// Clients alone: the broker's own comparison is not to hide what it serves.
    Clients,
}

/// Puts the records into a Fetch response. A partition whose records cannot be read says so, and the others are as usual.
pub fn fill(fetch: FetchReply, files: &dyn Files, checks: Checks, flaw: Option<Flaw>) -> (FetchResponse, Vec<Unread>) {
    let FetchReply { mut response, slices } = fetch;
    let mut errors = Vec::new();
    for slices in slices {
        let topic = response.responses.get_mut(slices.topic);
        if let Some(data) = topic.and_then(|topic| topic.partitions.get_mut(slices.partition))
            && let Err(reason) = fill_partition(data, slices, files, checks, flaw)
        {
            errors.push(reason);
            *data = unreadable(data.partition_index, ErrorCode::KAFKA_STORAGE_ERROR);
        }
    }
    (response, errors)
}

fn fill_partition(
    data: &mut PartitionData,
    slices: PartitionSlices,
    files: &dyn Files,
    checks: Checks,
    flaw: Option<Flaw>,
) -> Result<(), Unread> {
    let mut pieces = Vec::new();
    for slice in slices.slices {
        match slice {
            Slice::Memory(bytes) => pieces.push(bytes),
            // Behind a file, the next slice is there for the case that the file has nothing for this reader.
            Slice::File(_) if !pieces.is_empty() => break,
            Slice::File(mut file) => {
                if flaw == Some(Flaw::ReadsAhead) {
                    (file.below, file.position_end) = (Offset::MAX, u64::MAX);
                }
                pieces.push(match checks {
                    Checks::Broker => cut::read_sound(files, &file).map_err(|fault| match fault {
                        ReadFault::Disk(error) => Unread::from(error),
                        ReadFault::Damaged(error) => Unread { error, damaged: Some((file.log, file.base_offset)) },
                    })?,
                    Checks::Clients => cut::read(files, &file)?,
                });
            }
        }
        pieces.retain(|piece| !piece.is_empty());
    }
    data.records = Some(pieces.into());
    if let Some(query) = slices.aborted {
        let entry = |aborted: strandline_log::transactions::AbortedTransaction| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first,
        };
        data.aborted_transactions = Some(aborted(files, &query)?.into_iter().map(entry).collect());
    }
    Ok(())
}
