//! The records of a Fetch response, put in where the node left room for them.
//!
//! Tail readers are answered from memory on the spot; what lies in files, and was not read ahead, is read on a thread.
//! A partition whose records cannot be read is answered with KAFKA_STORAGE_ERROR, one whose files are gone without records, and the
//! others as usual.

use std::sync::Arc;

use bytes::Bytes;
use strandline_log::disk::DiskError;
use strandline_log::slice::{FileSlice, Slice};
use strandline_log::transactions::aborted;
use strandline_node::io::{FetchReply, PartitionSlices, unreadable};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::fetch::{AbortedTransaction, FetchResponse, PartitionData};
use strandline_protocol::records::BatchHeader;
use strandline_protocol::wire::Records;
use tracing::error;

use crate::disk::reader::{READ_BYTES_MAX, Reader};

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

/// Bytes of memory that the records of a fetch take at most, large batches excepted.
pub(crate) fn bytes(fetch: &FetchReply) -> usize {
    let slices = fetch.slices.iter().flat_map(|slices| &slices.slices);
    slices.map(slice_bytes).sum()
}

fn slice_bytes(slice: &Slice) -> usize {
    match slice {
        Slice::Memory(bytes) => bytes.len(),
        Slice::File(file) => (file.bytes_max as usize).min(READ_BYTES_MAX),
    }
}

/// Cuts a fetch down to `bytes_max` bytes of whole batches; its first batch stays whatever its size, so that its reader comes
/// further. Partitions for which nothing is left are answered without records: their reader asks again.
pub(crate) fn trim(fetch: &mut FetchReply, bytes_max: usize) {
    let mut room = bytes_max;
    let mut is_first = true;
    for slices in &mut fetch.slices {
        let mut most = 0;
        let kept = std::mem::take(&mut slices.slices).into_iter().filter_map(|slice| {
            // What stands behind a file is there for the case that the file has nothing, and is not counted twice.
            let kept = trim_slice(slice, room, is_first)?;
            most = most.max(slice_bytes(&kept));
            Some(kept)
        });
        slices.slices = kept.collect();
        is_first &= slices.slices.is_empty();
        room = room.saturating_sub(most);
    }
}

fn trim_slice(slice: Slice, room: usize, is_first: bool) -> Option<Slice> {
    match slice {
        Slice::Memory(bytes) => {
            let kept = batches_within(&bytes, room, is_first);
            (kept > 0).then(|| Slice::Memory(bytes.slice(..kept)))
        }
        Slice::File(file) => {
            let bytes_max = u32::try_from(room).unwrap_or(u32::MAX).min(file.bytes_max);
            (is_first || bytes_max > 0).then_some(Slice::File(FileSlice { bytes_max, ..file }))
        }
    }
}

/// The end of the last whole batch within `room` bytes, or of the first batch if that is to stay.
fn batches_within(bytes: &Bytes, room: usize, keep_first: bool) -> usize {
    if bytes.len() <= room {
        return bytes.len();
    }
    let mut end = 0;
    while let Some(Ok(header)) = bytes.get(end..).map(BatchHeader::parse) {
        let next = end + header.size_bytes();
        if next > bytes.len() || (next > room && !(keep_first && end == 0)) {
            break;
        }
        end = next;
    }
    end
}

/// Puts the records in. Waits for the disk unless everything is in memory.
pub(crate) fn fill(fetch: FetchReply, reader: &Arc<Reader>) -> FetchResponse {
    let FetchReply { mut response, slices } = fetch;
    for slices in slices {
        let topic = response.responses.get_mut(slices.topic);
        if let Some(data) = topic.and_then(|topic| topic.partitions.get_mut(slices.partition))
            && let Err(reason) = fill_partition(data, slices, reader)
        {
            // It was removed or moved since the node answered: who asks again is sent elsewhere.
            if matches!(reason, DiskError::Missing { .. }) {
                data.records = Some(Records::default());
                continue;
            }
            error!(%reason, "records cannot be read");
            *data = unreadable(data.partition_index, ErrorCode::KAFKA_STORAGE_ERROR);
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

#[cfg(test)]
mod tests {
    use strandline_log::disk::FilePath;
    use strandline_log::slice::{FirstBatch, Start};
    use strandline_protocol::ids::Offset;
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, Scratch};

    use super::*;

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { value: Some(&[7; 900]), ..NewRecord::default() }).unwrap();
        builder.build(&mut Scratch::default()).unwrap()
    }

    fn batches(count: usize) -> Slice {
        Slice::Memory(batch().repeat(count).into())
    }

    fn file(bytes_max: u32) -> Slice {
        Slice::File(FileSlice {
            log: FilePath::inside("t-0", "0.log"),
            base_offset: Offset(0),
            next_offset: Offset(9),
            start: Start::Position(0),
            from: Offset(0),
            below: Offset(9),
            position_end: 1 << 30,
            bytes_max,
            first: FirstBatch::Whole,
        })
    }

    /// Bytes of each partition's slices after a trim.
    fn trimmed(partitions: Vec<Vec<Slice>>, bytes_max: usize) -> Vec<Vec<usize>> {
        let slices = |slices| PartitionSlices { topic: 0, partition: 0, slices, aborted: None };
        let slices = partitions.into_iter().map(slices).collect();
        let mut fetch = FetchReply { response: FetchResponse::default(), slices };
        trim(&mut fetch, bytes_max);
        fetch.slices.iter().map(|one| one.slices.iter().map(slice_bytes).collect()).collect()
    }

    #[test]
    fn an_answer_is_cut_to_whole_batches_and_keeps_its_first() {
        let one = batch().len();
        let partitions = || vec![vec![batches(3)], vec![batches(2)], vec![batches(4)]];
        assert_eq!(trimmed(partitions(), one * 9), [[one * 3], [one * 2], [one * 4]]);
        assert_eq!(trimmed(partitions(), one * 5 - 1), [vec![one * 3], vec![one], vec![]]);
        assert_eq!(trimmed(partitions(), one / 2), [vec![one], vec![], vec![]]);
        assert_eq!(trimmed(partitions(), 0), [vec![one], vec![], vec![]]);
    }

    #[test]
    fn files_are_read_less_far_and_what_stands_behind_one_stays() {
        let one = batch().len();
        let partitions = vec![vec![file(1 << 20), batches(1)], vec![file(1 << 20)], vec![file(9)]];
        assert_eq!(trimmed(partitions, 5000), [vec![5000, one], vec![], vec![]]);
        let partitions = vec![vec![file(4 << 20)], vec![file(4 << 20)]];
        assert_eq!(trimmed(partitions, 8 << 20), [[READ_BYTES_MAX], [READ_BYTES_MAX]]);
        assert_eq!(trimmed(vec![vec![file(100)]], 0), [[0]]);
    }
}
