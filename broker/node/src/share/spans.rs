//! What was read of a partition for a share group: batches as spans of offsets, and as bytes to be sent.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_log::cut::answer;
use strandline_log::disk::{DiskError, Files};
use strandline_log::producers::marker_of;
use strandline_log::slice::Slice;
use strandline_log::transactions::{AbortedQuery, AbortedTransaction, aborted};
use strandline_protocol::ids::Offset;
use strandline_protocol::records::BatchHeader;

use super::partition::{Acquired, Span};

/// What is to be read by a job: bytes of files, and which transactions were aborted.
#[derive(Clone, Debug)]
pub struct ShareRead {
    pub(crate) slices: Vec<Slice>,
    pub(crate) aborted: Option<AbortedQuery>,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct SharedBatches {
    pieces: Vec<Bytes>,
    aborted: Vec<AbortedTransaction>,
}

/// Reads.
///
/// # Errors
/// [`DiskError`] if a file cannot be read.
pub fn read(files: &dyn Files, wanted: &ShareRead) -> Result<SharedBatches, DiskError> {
    let pieces = answer(files, &wanted.slices)?;
    let aborted = wanted.aborted.as_ref().map_or(Ok(Vec::new()), |query| aborted(files, query))?;
    Ok(SharedBatches { pieces, aborted })
}

impl ShareRead {
    /// What was read, if all of it is in memory.
    pub(crate) fn at_hand(&self) -> Option<SharedBatches> {
        let piece = |slice: &Slice| match slice {
            Slice::Memory(bytes) => Some(bytes.clone()),
            Slice::File(_) => None,
        };
        let pieces: Option<Vec<Bytes>> = self.slices.iter().map(piece).collect();
        pieces.filter(|_| self.aborted.is_none()).map(|pieces| SharedBatches { pieces, aborted: Vec::new() })
    }
}

impl SharedBatches {
    /// The batches as spans; those of markers and of aborted transactions are not readable.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut aborted: Vec<&AbortedTransaction> = self.aborted.iter().collect();
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first));
        let mut open = BTreeSet::new();
        let mut spans = Vec::new();
        self.each(|header, bytes| {
            while let Some(begun) = aborted.pop_if(|transaction| transaction.first.0 <= header.last_offset()) {
                open.insert(begun.producer_id.0);
            }
            let is_aborted = header.is_transactional() && open.contains(&header.producer_id);
            if header.is_control() && marker_of(header, bytes).is_some() {
                open.remove(&header.producer_id);
            }
            spans.push(Span {
                first: Offset(header.base_offset),
                last: Offset(header.last_offset()),
                is_readable: !header.is_control() && !is_aborted,
            });
        });
        spans
    }

    /// The batches that hold what was acquired, and what lies between them.
    pub(crate) fn bytes_of(&self, acquired: &[Acquired]) -> Vec<Bytes> {
        let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Vec::new() };
        let mut kept = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let (mut start, mut end) = (piece.len(), 0);
            for (header, position) in batches(piece) {
                if header.last_offset() >= first.first.0 && header.base_offset <= last.last.0 {
                    start = start.min(position);
                    end = position + header.size_bytes();
                }
            }
            if start < end {
                kept.push(piece.slice(start..end));
            }
        }
        kept
    }

    fn each(&self, mut act: impl FnMut(&BatchHeader, &[u8])) {
        for piece in &self.pieces {
            for (header, position) in batches(piece) {
                act(&header, &piece[position..position + header.size_bytes()]);
            }
        }
    }
}

/// Whole batches with their places; the log gives nothing else.
fn batches(piece: &Bytes) -> impl Iterator<Item = (BatchHeader, usize)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let header = piece.get(position..).and_then(|rest| BatchHeader::parse(rest).ok())?;
        let place = position;
        position = position.checked_add(header.size_bytes())?;
        (position <= piece.len()).then_some((header, place))
    })
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::ProducerId;
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, ProducerStamp, Scratch};

    use super::*;

    fn batch(base: i64, records: usize, producer: Option<i64>) -> Vec<u8> {
        let stamp = producer.map_or_else(ProducerStamp::default, |id| ProducerStamp { id, epoch: 0, base_sequence: 0 });
        let options = BatchOptions { producer: stamp, transactional: producer.is_some(), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        (0..records).for_each(|_| builder.append(&NewRecord { value: Some(b"v"), ..NewRecord::default() }).unwrap());
        let mut bytes = builder.build(&mut Scratch::default()).unwrap().to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    #[test]
    fn records_of_aborted_transactions_are_not_readable_and_others_are() {
        let pieces = vec![Bytes::from([batch(0, 2, Some(7)), batch(2, 1, None)].concat()), batch(5, 1, Some(8)).into()];
        let aborted =
            AbortedTransaction { producer_id: ProducerId(7), first: Offset(0), last: Offset(4), last_stable: Offset(5) };
        let read = SharedBatches { pieces, aborted: vec![aborted] };
        let spans: Vec<_> = read.spans().iter().map(|span| (span.first.0, span.last.0, span.is_readable)).collect();
        assert_eq!(spans, [(0, 1, false), (2, 2, true), (5, 5, true)]);
    }

    #[test]
    fn only_batches_that_hold_what_was_acquired_are_sent() {
        let (one, two, three) = (batch(0, 2, None), batch(2, 1, None), batch(5, 1, None));
        let pieces = vec![Bytes::from([one, two.clone()].concat()), three.clone().into()];
        let read = SharedBatches { pieces, aborted: Vec::new() };
        let acquired = |first, last| Acquired { first: Offset(first), last: Offset(last), deliveries: 1 };
        assert_eq!(read.bytes_of(&[acquired(2, 2), acquired(5, 5)]), [Bytes::from(two.clone()), Bytes::from(three)]);
        assert_eq!(read.bytes_of(&[acquired(2, 2)]), [Bytes::from(two)]);
        assert!(read.bytes_of(&[]).is_empty());
    }
}
