//! What a round knows of transactions while it passes their batches in the order of the log.
//!
//! Records of an aborted transaction go at once. A marker may go only when nothing is left of its transaction below it: otherwise
//! the next reader could not tell how it ended. An aborted transaction stays in the index as long as that.
//!
//! Source: Kafka's `CleanedTransactionMetadata`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use strandline_protocol::ids::{Offset, ProducerId};
use strandline_protocol::records::BatchHeader;

use crate::producers::{Outcome, marker_of};
use crate::transactions::AbortedTransaction;

/// What a batch's transaction says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its records count.
    Counts,
    /// Its records were aborted, or it is a marker of which nothing else is left.
    MayGo,
}

#[derive(Clone, Debug)]
struct Aborted {
    transaction: AbortedTransaction,
    has_batches: bool,
}

/// The transactions that are open where the round stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedTransactions {
    /// Aborted ones that begin further on, by first offset.
    ahead: VecDeque<AbortedTransaction>,
    aborted: BTreeMap<ProducerId, Aborted>,
    committed: BTreeSet<ProducerId>,
    /// Aborted ones whose marker was passed and stays.
    kept: Vec<AbortedTransaction>,
}

impl PassedTransactions {
    /// Tells which transactions of the segments to come were aborted; the same may be told again.
    pub(crate) fn tell(&mut self, mut aborted: Vec<AbortedTransaction>) {
        aborted.extend(self.ahead.drain(..));
        aborted.sort_by_key(|transaction| (transaction.first, transaction.last));
        aborted.dedup();
        self.ahead = aborted.into();
    }

    /// Passes a batch.
    pub(crate) fn pass(&mut self, header: &BatchHeader, batch: &[u8]) -> Fate {
        self.begin_up_to(Offset(header.last_offset()));
        if header.is_control() {
            return self.pass_marker(header, batch);
        }
        let producer = ProducerId(header.producer_id);
        if !header.is_transactional() {
            return Fate::Counts;
        }
        match self.aborted.get_mut(&producer) {
            Some(aborted) => {
                aborted.has_batches = true;
                Fate::MayGo
            }
            None => {
                self.committed.insert(producer);
                Fate::Counts
            }
        }
    }

    /// The aborted transactions that stay in the index of the segment whose end was reached.
    pub(crate) fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }

    fn pass_marker(&mut self, header: &BatchHeader, batch: &[u8]) -> Fate {
        let producer = ProducerId(header.producer_id);
        let Some(marker) = marker_of(header, batch) else {
            // Without a record it was let go already. Any other control record is none of ours.
            return if header.record_count == 0 { Fate::MayGo } else { Fate::Counts };
        };
        match marker.outcome {
            Outcome::Abort => match self.aborted.remove(&producer) {
                Some(aborted) if aborted.has_batches => {
                    self.kept.push(aborted.transaction);
                    Fate::Counts
                }
                _ => Fate::MayGo,
            },
            Outcome::Commit if self.committed.remove(&producer) => Fate::Counts,
            Outcome::Commit => Fate::MayGo,
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(next) = self.ahead.front().copied().filter(|next| next.first <= offset) {
            self.ahead.pop_front();
            self.aborted.entry(next.producer_id).or_insert(Aborted { transaction: next, has_batches: false });
        }
    }
}

#[cfg(test)]
mod tests;
