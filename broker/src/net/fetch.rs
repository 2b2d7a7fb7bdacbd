//! The records of a Fetch response, put in where the node left room for them.
//!
//! Tail readers are answered from memory on the spot; what lies in files, and was not read ahead, is read on a thread.
//! A partition whose records cannot be read is answered with KAFKA_STORAGE_ERROR, and the others as usual.

use std::sync::Arc;

use bytes::Bytes;
use strandline_log::disk::DiskError;
use strandline_log::slice::Slice;
use strandline_log::transactions::aborted;
use strandline_node::io::{FetchReply, PartitionSlices};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::fetch::{AbortedTransaction, FetchResponse, PartitionData};
use strandline_protocol::wire::Records;
use tracing::error;

use crate::disk::reader::Reader;

/// Replaces slices of files by what was read ahead. Answers whether nothing is left to be read.
pub(crate) fn take_at_hand(fetch: &mut FetchReply, reader: &Arc<Reader>) -> bool {
    let mut all = true;
    for slices in &mut fetch.slices {
        if let Some(Slice::File(file)) = slices.slices.first()
            && let Some(bytes) = reader.at_hand(file)
        {
            slices.slices = vec![Slice::Memory(bytes)];
        }
        all &= slices.aborted.is_none() && slices.slices.iter().all(|slice| matches!(slice, Slice::Memory(_)));
    }
    all
}

/// Puts the records in. Waits for the disk unless everything is in memory.
pub(crate) fn fill(fetch: FetchReply, reader: &Arc<Reader>) -> FetchResponse {
    let FetchReply { mut response, slices } = fetch;
    for slices in slices {
        let topic = response.responses.get_mut(slices.topic);
        if let Some(data) = topic.and_then(|topic| topic.partitions.get_mut(slices.partition))
            && let Err(reason) = fill_partition(data, slices, reader)
        {
            error!(%reason, "records cannot be read");
            data.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
            data.records = Some(Records::default());
        }
    }
    response
}

fn fill_partition(data: &mut PartitionData, slices: PartitionSlices, reader: &Arc<Reader>) -> Result<(), DiskError> {
    let pieces = pieces(slices.slices, reader)?;
    data.records = Some(match <[Bytes; 1]>::try_from(pieces) {
        Ok([piece]) => piece.into(),
        Err(pieces) => pieces.into(),
    });
    if let Some(query) = slices.aborted {
        let found = aborted(reader.files(), &query)?;
        let entry = |aborted: strandline_log::transactions::AbortedTransaction| AbortedTransaction {
            producer_id: aborted.producer_id,
            first_offset: aborted.first,
        };
        data.aborted_transactions = Some(found.into_iter().map(entry).collect());
    }
    Ok(())
}

/// Behind a file, the next slice is there for the case that the file has nothing for this reader.
fn pieces(slices: Vec<Slice>, reader: &Arc<Reader>) -> Result<Vec<Bytes>, DiskError> {
    let mut pieces = Vec::with_capacity(slices.len());
    for slice in slices {
        match slice {
            Slice::Memory(bytes) => pieces.push(bytes),
            Slice::File(_) if !pieces.is_empty() => break,
            Slice::File(file) => {
                let bytes = reader.read(&file)?;
                if !bytes.is_empty() {
                    pieces.push(bytes);
                }
            }
        }
    }
    Ok(pieces)
}
