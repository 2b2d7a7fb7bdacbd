//! Which batches belong to aborted transactions.
//!
//! A fetch answers with the aborted transactions that its records touch: producer and first offset each. A transaction
//! reaches from there to the producer's next marker in the log.

use std::collections::BTreeSet;

use strandline_protocol::ids::{Offset, ProducerId};
use strandline_protocol::messages::fetch::AbortedTransaction;
use strandline_protocol::records::BatchHeader;

/// The transactions of one answer, walked in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Aborted {
    /// Those that have not begun yet, by first offset.
    ahead: BTreeSet<(Offset, ProducerId)>,
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    pub(super) fn new(transactions: &[AbortedTransaction]) -> Self {
        let ahead = transactions.iter().map(|one| (one.first_offset, one.producer_id)).collect();
        Self { ahead, open: BTreeSet::new() }
    }

    /// Whether the batch, the next one in the log, is part of an aborted transaction. Markers are no part of any.
    pub(super) fn hides(&mut self, header: &BatchHeader) -> bool {
        let producer = ProducerId(header.producer_id);
        while self.ahead.first().is_some_and(|(first, _)| first.0 <= header.last_offset()) {
            self.open.extend(self.ahead.pop_first().map(|(_, producer)| producer));
        }
        if header.is_control() {
            self.open.remove(&producer);
            return false;
        }
        header.is_transactional() && self.open.contains(&producer)
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, ProducerStamp, Scratch};

    use super::*;

    fn batch(base_offset: i64, producer: i64, transactional: bool, control: bool) -> BatchHeader {
        let producer = ProducerStamp { id: producer, epoch: 0, base_sequence: 0 };
        let options = BatchOptions { base_offset, producer, transactional, control, ..Default::default() };
        let mut builder = BatchBuilder::new(options);
        builder.append(&NewRecord::default()).unwrap();
        BatchHeader::parse(&builder.build(&mut Scratch::default()).unwrap()).unwrap()
    }

    #[test]
    fn a_transaction_is_hidden_from_its_first_offset_to_its_marker() {
        let mut aborted = Aborted::new(&[AbortedTransaction { producer_id: ProducerId(7), first_offset: Offset(2) }]);
        assert!(!aborted.hides(&batch(1, 7, true, false)));
        assert!(aborted.hides(&batch(2, 7, true, false)));
        assert!(!aborted.hides(&batch(3, 8, true, false)));
        assert!(!aborted.hides(&batch(4, -1, false, false)));
        assert!(aborted.hides(&batch(5, 7, true, false)));
        assert!(!aborted.hides(&batch(6, 7, true, true)));
        assert!(!aborted.hides(&batch(7, 7, true, false)));
    }
}
