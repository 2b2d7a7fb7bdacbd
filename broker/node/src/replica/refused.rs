//! Batches of idempotent producers that were refused for a reason that passes, and are still to come.
//!
//! Clients send several batches ahead. When the first is refused because too few replicas are in sync, or because the lead is
//! just changing, and the next comes when that is over, its sequence leaves a gap. Kafka calls it out of order; librdkafka then begins a new
//! epoch for all its partitions, and whatever waits for its acknowledgement elsewhere is written twice (librdkafka issue 4953). Of a producer
//! that the partition does not know yet Kafka even takes the later batch, and the first can never come. Here later batches are refused like the first until that one comes
//! again, which every client sees to, or until it is given up: for [`AWAITED_MS`], or a new epoch.

use std::collections::BTreeMap;

use strandline_protocol::ids::{ProducerEpoch, ProducerId};
use strandline_protocol::records::BatchHeader;

use crate::io::Now;

/// How long a refused batch is awaited; clients try again within a second.
const AWAITED_MS: u64 = 5_000;

/// Most producers remembered in a partition; what others send out of order is called that.
const PRODUCERS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug)]
struct Awaited {
    epoch: ProducerEpoch,
    sequence: i32,
    until_ms: u64,
}

/// What is still to come in one partition.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    awaited: BTreeMap<ProducerId, Awaited>,
}

impl Refused {
    /// A batch was refused for a reason that passes.
    pub(crate) fn note(&mut self, now: Now, header: &BatchHeader) {
        if !header.has_producer_id() {
            return;
        }
        let id = ProducerId(header.producer_id);
        let epoch = ProducerEpoch(header.producer_epoch);
        let mut sequence = header.base_sequence;
        match self.alive(now, id) {
            Some(known) if known.epoch > epoch => return,
            Some(known) if known.epoch == epoch && is_behind(sequence, known.sequence) => sequence = known.sequence,
            Some(_) => {}
            None if self.awaited.len() >= PRODUCERS_MAX => {
                self.awaited.retain(|_, known| known.until_ms > now.monotonic_ms);
                if self.awaited.len() >= PRODUCERS_MAX {
                    return;
                }
            }
            None => {}
        }
        self.awaited.insert(id, Awaited { epoch, sequence, until_ms: now.monotonic_ms + AWAITED_MS });
    }

    /// Whether one that was refused has to come before this batch.
    pub(crate) fn is_awaited_before(&self, now: Now, header: &BatchHeader) -> bool {
        self.alive(now, ProducerId(header.producer_id)).is_some_and(|known| {
            known.epoch == ProducerEpoch(header.producer_epoch) && is_behind(header.base_sequence, known.sequence)
        })
    }

    /// Records of the producer were taken.
    pub(crate) fn settle(&mut self, header: &BatchHeader) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&ProducerId(header.producer_id));
        }
    }

    fn alive(&self, now: Now, id: ProducerId) -> Option<&Awaited> {
        self.awaited.get(&id).filter(|known| known.until_ms > now.monotonic_ms)
    }
}

/// Whether a sequence comes after another; the one after the largest is 0.
fn is_behind(sequence: i32, other: i32) -> bool {
    let distance = sequence.wrapping_sub(other) & i32::MAX;
    (1..=i32::MAX / 2).contains(&distance)
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, ProducerStamp, Scratch};

    use super::*;

    fn header(id: i64, epoch: i16, base_sequence: i32) -> BatchHeader {
        let producer = ProducerStamp { id, epoch, base_sequence };
        let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
        builder.append(&NewRecord { timestamp: 5, key: None, value: None, headers: &[] }).expect("it fits");
        BatchHeader::parse(&builder.build(&mut Scratch::default()).expect("it is well formed")).expect("a batch")
    }

    fn at(monotonic_ms: u64) -> Now {
        Now { wall_ms: 0, monotonic_ms }
    }

    #[test]
    fn what_comes_after_a_refused_batch_waits_for_it() {
        let mut refused = Refused::default();
        refused.note(at(0), &header(7, 0, 10));
        refused.note(at(0), &header(7, 0, 11));
        assert!(refused.is_awaited_before(at(1), &header(7, 0, 11)));
        assert!(!refused.is_awaited_before(at(1), &header(7, 0, 10)), "it is the one");
        assert!(!refused.is_awaited_before(at(1), &header(7, 1, 11)), "a new epoch begins anew");
        assert!(!refused.is_awaited_before(at(1), &header(8, 0, 11)), "another producer");
        refused.settle(&header(7, 0, 10));
        assert!(!refused.is_awaited_before(at(1), &header(7, 0, 11)));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut refused = Refused::default();
        refused.note(at(0), &header(7, 0, 10));
        assert!(!refused.is_awaited_before(at(AWAITED_MS), &header(7, 0, 11)));
        for id in 0..2 * PRODUCERS_MAX as i64 {
            refused.note(at(AWAITED_MS), &header(id, 0, 10));
        }
        assert_eq!(refused.awaited.len(), PRODUCERS_MAX);
        refused.note(at(2 * AWAITED_MS), &header(-1, 0, 10));
        refused.note(at(2 * AWAITED_MS), &header(i64::MAX, 0, 10));
        assert_eq!(refused.awaited.len(), 1, "those given up make room");
    }

    #[test]
    fn sequences_begin_again_behind_the_largest() {
        assert!(is_behind(0, i32::MAX) && is_behind(5, i32::MAX - 5) && is_behind(6, 5));
        assert!(!is_behind(i32::MAX, 0) && !is_behind(5, 5) && !is_behind(5, 6));
    }
}
