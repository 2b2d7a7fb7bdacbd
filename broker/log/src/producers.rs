//! What a partition knows of its idempotent and transactional producers: enough to tell a retry from a new batch.
//!
//! Per producer the epoch and the last five batches. The rules are Kafka's (`ProducerAppendInfo`, `ProducerStateEntry`): a batch
//! with the sequence range of a cached one is a duplicate and answered with the offset it got then; otherwise it must follow
//! the last one, wrapping behind `i32::MAX`; a new epoch begins at 0 and forgets the batches of the old one; a producer that
//! is not known may begin anywhere. A smaller epoch is fenced.
//!
//! Not here: who may write to which partition of a transaction, and when a producer id is handed out.
//!
//! Deviation: a producer expires by when it was last heard of here, not by the timestamps inside its batches, so
//! that loading old data does not make the producer that loads it unknown.

use std::collections::BTreeMap;

use strandline_protocol::ids::{Offset, ProducerEpoch, ProducerId};
use strandline_protocol::records::{
    BatchHeader, Codec, ControlType, EndTransactionMarker, HEADER_BYTES, Records, Scratch, open,
};
use strandline_protocol::stored::producer_snapshot::ProducerEntry;

use crate::transactions::{AbortedTransaction, Transactions};

/// Batches remembered a producer. Clients keep at most five requests in flight, so an older retry cannot come.
pub const BATCHES_CACHED: usize = 5;

/// The part of the producers that is forgotten at once when there are too many: one in ten, so that finding the oldest,
/// which looks at all of them, is paid once for many newcomers.
const EVICTED_PART: usize = 10;

/// Who appends, and so how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's produce request: epoch and sequence.
    Client,
    /// A coordinator of this broker, whose records carry no sequences: the epoch only.
    Coordinator,
}

/// What a partition says to a batch with a producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerVerdict {
    /// To be appended.
    New,
    /// Appended before: to be answered like then, once it is committed.
    Duplicate { base_offset: Offset, last_offset: Offset, timestamp_ms: i64 },
    /// Not to be appended.
    Refused(ProducerRefusal),
}

/// Why a batch is not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("sequence {found} does not follow {last}")]
    OutOfOrder { last: i32, found: i32 },
    /// `INVALID_PRODUCER_EPOCH`.
    #[error("producer epoch {found} is below {current}")]
    InvalidEpoch { current: ProducerEpoch, found: ProducerEpoch },
    /// `INVALID_TXN_STATE`: a plain batch while the producer's transaction is open.
    #[error("a batch outside the transaction that is open since offset {since}")]
    TransactionOpen { since: Offset },
    /// `TRANSACTION_COORDINATOR_FENCED`.
    #[error("coordinator epoch {found} is below {current}")]
    CoordinatorFenced { current: i32, found: i32 },
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Abort,
    Commit,
}

/// A transaction marker's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub outcome: Outcome,
    pub coordinator_epoch: i32,
}

/// What a marker's epoch has to be, compared with that of the producer's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerEpoch {
    /// The same or a later one: producers keep their epoch from one transaction to the next.
    AtLeast,
    /// A later one: every end raises the epoch, so a marker of the epoch that has records open is late, and about a
    /// transaction before (KIP-890). Told twice it is no harm.
    Above,
}

/// Bytes that a compressed control batch may unfold to; a marker takes about twenty.
const CONTROL_BYTES_MAX: usize = 64 << 10;

/// Reads the transaction marker of a control batch; `None` if it holds another control record, or none since it was
/// compacted away.
pub fn marker_of(header: &BatchHeader, batch: &[u8]) -> Option<Marker> {
    let mut scratch = Scratch::default();
    let mut records = match header.codec() {
        Some(Codec::None) => Records::new(batch.get(HEADER_BYTES..)?, header.record_count),
        _ => open(batch, CONTROL_BYTES_MAX, &mut scratch).ok()?.1,
    };
    let record = records.next()?.ok()?;
    let outcome = match ControlType::from_key(record.key).ok()?? {
        ControlType::Abort => Outcome::Abort,
        ControlType::Commit => Outcome::Commit,
        _ => return None,
    };
    let marker = EndTransactionMarker::from_value(record.value).ok()?;
    Some(Marker { outcome, coordinator_epoch: marker.coordinator_epoch })
}

/// A batch of a producer, placed in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CachedBatch {
    last_sequence: i32,
    /// Records but one: both offsets and sequences span it.
    delta: i32,
    last_offset: Offset,
    timestamp_ms: i64,
}

impl CachedBatch {
    const NONE: Self = Self { last_sequence: -1, delta: 0, last_offset: Offset::NONE, timestamp_ms: -1 };

    fn first_sequence(&self) -> i32 {
        // Sequences wrap from i32::MAX to 0.
        match self.last_sequence.checked_sub(self.delta) {
            Some(first) if first >= 0 => first,
            _ => i32::MAX - (self.delta - self.last_sequence) + 1,
        }
    }

    fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0.saturating_sub(i64::from(self.delta)))
    }
}

/// One producer.
#[derive(Clone, Debug)]
pub struct Producer {
    epoch: ProducerEpoch,
    coordinator_epoch: i32,
    /// Where its open transaction began; `Offset::NONE` without one.
    transaction_first: Offset,
    /// Of its last batch or marker.
    timestamp_ms: i64,
    last_heard_ms: i64,
    /// The first `cached` are used, oldest first.
    batches: [CachedBatch; BATCHES_CACHED],
    cached: u8,
}

impl Producer {
    fn unknown(now_ms: i64) -> Self {
        Self {
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            transaction_first: Offset::NONE,
            timestamp_ms: -1,
            last_heard_ms: now_ms,
            batches: [CachedBatch::NONE; BATCHES_CACHED],
            cached: 0,
        }
    }

    /// The current epoch.
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// Epoch of the coordinator that wrote its last marker; -1 without one.
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// The last sequence number; -1 if none is known in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(-1, |batch| batch.last_sequence)
    }

    /// The largest timestamp of its last batch, or that of its last marker.
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Where its open transaction began.
    pub fn transaction_first(&self) -> Option<Offset> {
        (self.transaction_first != Offset::NONE).then_some(self.transaction_first)
    }

    fn last_batch(&self) -> Option<&CachedBatch> {
        self.batches[..usize::from(self.cached)].last()
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.cached = 0;
        }
    }

    fn remember(&mut self, batch: CachedBatch) {
        let used = usize::from(self.cached);
        if used == BATCHES_CACHED {
            self.batches.copy_within(1.., 0);
            self.batches[BATCHES_CACHED - 1] = batch;
        } else {
            self.batches[used] = batch;
            self.cached += 1;
        }
    }

    fn duplicate_of(&self, first_sequence: i32, last_sequence: i32) -> Option<&CachedBatch> {
        let known = &self.batches[..usize::from(self.cached)];
        known.iter().find(|batch| batch.first_sequence() == first_sequence && batch.last_sequence == last_sequence)
    }

    fn entry(&self, producer_id: ProducerId) -> ProducerEntry {
        let last = self.last_batch().copied().unwrap_or(CachedBatch::NONE);
        ProducerEntry {
            producer_id,
            epoch: self.epoch,
            last_sequence: last.last_sequence,
            last_offset: last.last_offset,
            offset_delta: last.delta,
            timestamp: self.timestamp_ms,
            coordinator_epoch: self.coordinator_epoch,
            current_txn_first_offset: self.transaction_first,
        }
    }

    fn from_entry(entry: &ProducerEntry, now_ms: i64) -> Self {
        let mut producer = Self::unknown(now_ms);
        producer.epoch = entry.epoch;
        producer.coordinator_epoch = entry.coordinator_epoch;
        producer.timestamp_ms = entry.timestamp;
        if entry.current_txn_first_offset.0 >= 0 {
            producer.transaction_first = entry.current_txn_first_offset;
        }
        if entry.last_offset.0 >= 0 {
            producer.remember(CachedBatch {
                last_sequence: entry.last_sequence,
                delta: entry.offset_delta,
                last_offset: entry.last_offset,
                timestamp_ms: entry.timestamp,
            });
        }
        producer
    }
}

/// The producers of one log and their transactions.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    known: BTreeMap<ProducerId, Producer>,
    transactions: Transactions,
}

impl Producers {
    /// Takes over what a snapshot holds.
    pub fn load(entries: &[ProducerEntry], now_ms: i64) -> Self {
        let mut producers = Self::default();
        for entry in entries {
            let producer = Producer::from_entry(entry, now_ms);
            if let Some(first) = producer.transaction_first() {
                producers.transactions.begin(entry.producer_id, first);
            }
            producers.known.insert(entry.producer_id, producer);
        }
        producers
    }

    /// What a snapshot of this moment holds, by producer id.
    pub fn entries(&self) -> Vec<ProducerEntry> {
        self.known.iter().map(|(producer_id, producer)| producer.entry(*producer_id)).collect()
    }

    /// The producers with their state, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.known.iter().map(|(producer_id, producer)| (*producer_id, producer))
    }

    /// One producer, if it is known.
    pub fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.known.get(&id)
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The undecided transactions.
    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// Forgets completed transactions whose markers lie below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.transactions.on_high_watermark(high_watermark);
    }

    /// Judges a data batch before it is appended.
    pub fn check(&self, header: &BatchHeader, origin: Origin) -> ProducerVerdict {
        if !header.has_producer_id() {
            return ProducerVerdict::New;
        }
        let Some(producer) = self.known.get(&ProducerId(header.producer_id)) else {
            return ProducerVerdict::New;
        };
        let first = header.base_sequence;
        if origin == Origin::Client
            && ProducerEpoch(header.producer_epoch) == producer.epoch
            && let Some(batch) = producer.duplicate_of(first, header.last_sequence())
        {
            return ProducerVerdict::Duplicate {
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset,
                timestamp_ms: batch.timestamp_ms,
            };
        }
        match refusal(producer, header, origin) {
            Some(refusal) => ProducerVerdict::Refused(refusal),
            None => ProducerVerdict::New,
        }
    }

    /// Judges a transaction marker before it is appended.
    ///
    /// # Errors
    /// [`ProducerRefusal::InvalidEpoch`] and [`ProducerRefusal::CoordinatorFenced`].
    pub fn check_marker(&self, header: &BatchHeader, marker: Marker, rule: MarkerEpoch) -> Result<(), ProducerRefusal> {
        let Some(producer) = self.known.get(&ProducerId(header.producer_id)) else {
            return Ok(());
        };
        let found = ProducerEpoch(header.producer_epoch);
        check_epoch(producer, found)?;
        if rule == MarkerEpoch::Above && found == producer.epoch && producer.transaction_first().is_some() {
            return Err(ProducerRefusal::InvalidEpoch { current: producer.epoch, found });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            let (current, found) = (producer.coordinator_epoch, marker.coordinator_epoch);
            return Err(ProducerRefusal::CoordinatorFenced { current, found });
        }
        Ok(())
    }

    /// Notes a data batch that lies in the log from `base_offset` to `last_offset`.
    pub fn note_batch(&mut self, header: &BatchHeader, base_offset: Offset, last_offset: Offset, now_ms: i64) {
        if !header.has_producer_id() {
            return;
        }
        let producer = self.known.entry(ProducerId(header.producer_id)).or_insert_with(|| Producer::unknown(now_ms));
        producer.enter_epoch(ProducerEpoch(header.producer_epoch));
        producer.last_heard_ms = now_ms;
        producer.timestamp_ms = header.max_timestamp;
        producer.remember(CachedBatch {
            last_sequence: header.last_sequence(),
            delta: header.last_offset_delta,
            last_offset,
            timestamp_ms: header.max_timestamp,
        });
        if header.is_transactional() && producer.transaction_first == Offset::NONE {
            producer.transaction_first = base_offset;
            self.transactions.begin(ProducerId(header.producer_id), base_offset);
        }
    }

    /// Notes a transaction marker at `offset`. Answers with the transaction if it had records here and was aborted.
    pub fn note_marker(
        &mut self,
        header: &BatchHeader,
        marker: Marker,
        offset: Offset,
        now_ms: i64,
    ) -> Option<AbortedTransaction> {
        let producer = self.known.entry(ProducerId(header.producer_id)).or_insert_with(|| Producer::unknown(now_ms));
        producer.enter_epoch(ProducerEpoch(header.producer_epoch));
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.timestamp_ms = header.max_timestamp;
        producer.last_heard_ms = now_ms;
        let first = std::mem::replace(&mut producer.transaction_first, Offset::NONE);
        if first == Offset::NONE {
            return None;
        }
        let last_stable = self.transactions.complete(first, offset);
        let aborted = AbortedTransaction { producer_id: ProducerId(header.producer_id), first, last: offset, last_stable };
        (marker.outcome == Outcome::Abort).then_some(aborted)
    }

    /// Takes over producers that are not known here and did nothing at or behind `end`: their records are gone.
    pub(crate) fn adopt(&mut self, others: &Self, end: Offset) {
        for (id, producer) in &others.known {
            let is_older = producer.last_batch().is_none_or(|batch| batch.last_offset < end);
            if is_older && producer.transaction_first == Offset::NONE {
                self.known.entry(*id).or_insert_with(|| producer.clone());
            }
        }
    }

    /// Forgets producers that were silent for `expiration_ms` and have no open transaction.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        let silent = |producer: &Producer| now_ms.saturating_sub(producer.last_heard_ms) >= expiration_ms;
        self.known.retain(|_, producer| producer.transaction_first != Offset::NONE || !silent(producer));
    }

    /// Makes room when more than `producers_max` are known: those that were silent longest and have no open
    /// transaction go, some at once.
    pub fn keep_within(&mut self, producers_max: usize) {
        if self.known.len() <= producers_max {
            return;
        }
        let idle = self.known.iter().filter(|(_, producer)| producer.transaction_first == Offset::NONE);
        let mut oldest: Vec<(i64, ProducerId)> = idle.map(|(id, producer)| (producer.last_heard_ms, *id)).collect();
        oldest.sort_unstable();
        let surplus = self.known.len() - producers_max + producers_max / EVICTED_PART;
        // The newcomer stays, even if all others have open transactions.
        oldest.truncate(surplus.min(oldest.len().saturating_sub(1)));
        for (_, producer_id) in oldest {
            self.known.remove(&producer_id);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.known.clear();
        self.transactions.clear();
    }
}

fn check_epoch(producer: &Producer, found: ProducerEpoch) -> Result<(), ProducerRefusal> {
    if found < producer.epoch {
        return Err(ProducerRefusal::InvalidEpoch { current: producer.epoch, found });
    }
    Ok(())
}

fn refusal(producer: &Producer, header: &BatchHeader, origin: Origin) -> Option<ProducerRefusal> {
    if let Err(refusal) = check_epoch(producer, ProducerEpoch(header.producer_epoch)) {
        return Some(refusal);
    }
    if origin == Origin::Client && !follows(producer, header) {
        let last = producer.last_sequence();
        return Some(ProducerRefusal::OutOfOrder { last, found: header.base_sequence });
    }
    match producer.transaction_first() {
        Some(since) if !header.is_transactional() => Some(ProducerRefusal::TransactionOpen { since }),
        _ => None,
    }
}

fn follows(producer: &Producer, header: &BatchHeader) -> bool {
    let found = header.base_sequence;
    if ProducerEpoch(header.producer_epoch) != producer.epoch {
        return found == 0 || producer.epoch == ProducerEpoch::NONE;
    }
    match producer.last_sequence() {
        i32::MAX => found == 0,
        last => found == last + 1,
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, ProducerStamp, end_transaction_batch};

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    /// A header of `records` records.
    fn header(id: i64, epoch: i16, base_sequence: i32, records: usize, transactional: bool) -> BatchHeader {
        let producer = ProducerStamp { id, epoch, base_sequence };
        let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
        for _ in 0..records {
            builder.append(&NewRecord { timestamp: 5, key: None, value: None, headers: &[] }).expect("it fits");
        }
        let batch = builder.build(&mut Scratch::default()).expect("it is well formed");
        BatchHeader::parse(&batch).expect("a batch")
    }

    /// Ten batches of two records, epoch 1, sequences 0 to 19, offsets from 100 on.
    fn ten() -> Producers {
        let mut producers = Producers::default();
        for batch in 0..10 {
            let base = Offset(100 + 2 * i64::from(batch));
            producers.note_batch(&header(7, 1, batch * 2, 2, false), base, base.next(), 0);
        }
        producers
    }

    fn check(producers: &Producers, epoch: i16, sequence: i32, records: usize) -> ProducerVerdict {
        producers.check(&header(7, epoch, sequence, records, false), Origin::Client)
    }

    fn out_of_order(last: i32, found: i32) -> ProducerVerdict {
        ProducerVerdict::Refused(ProducerRefusal::OutOfOrder { last, found })
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_older_ones_are_out_of_order() {
        let producers = ten();
        for batch in 0..10 {
            let expected = if batch < 5 {
                out_of_order(19, batch * 2)
            } else {
                let base_offset = Offset(100 + 2 * i64::from(batch));
                ProducerVerdict::Duplicate { base_offset, last_offset: base_offset.next(), timestamp_ms: 5 }
            };
            assert_eq!(check(&producers, 1, batch * 2, 2), expected);
        }
    }

    #[test]
    fn a_batch_must_follow_the_last_one_and_match_a_retry_exactly() {
        let producers = ten();
        assert_eq!(check(&producers, 1, 20, 3), ProducerVerdict::New);
        assert_eq!(check(&producers, 1, 21, 3), out_of_order(19, 21));
        assert_eq!(check(&producers, 1, 18, 1), out_of_order(19, 18), "half a batch is no retry");
        assert_eq!(check(&producers, 1, 0, 1), out_of_order(19, 0));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        assert_eq!(check(&Producers::default(), 4, 1_234, 1), ProducerVerdict::New);
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_forgets_the_batches_of_the_old_one() {
        let mut producers = ten();
        assert_eq!(check(&producers, 2, 20, 1), out_of_order(19, 20));
        assert_eq!(check(&producers, 2, 0, 1), ProducerVerdict::New);
        producers.note_batch(&header(7, 2, 0, 1, false), Offset(120), Offset(120), 0);
        let behind = ProducerRefusal::InvalidEpoch { current: ProducerEpoch(2), found: ProducerEpoch(1) };
        assert_eq!(check(&producers, 1, 18, 2), ProducerVerdict::Refused(behind));
        assert_eq!(check(&producers, 2, 18, 2), out_of_order(0, 18), "sequences of the old epoch are no retries");
    }

    #[test]
    fn sequences_wrap_behind_the_largest() {
        let mut producers = Producers::default();
        producers.note_batch(&header(7, 0, i32::MAX - 1, 2, false), Offset(0), Offset(1), 0);
        assert_eq!(check(&producers, 0, 0, 1), ProducerVerdict::New);
        producers.note_batch(&header(7, 0, 0, 1, false), Offset(2), Offset(2), 0);
        let mut across = Producers::default();
        across.note_batch(&header(7, 0, i32::MAX, 3, false), Offset(0), Offset(2), 0);
        let duplicate = ProducerVerdict::Duplicate { base_offset: Offset(0), last_offset: Offset(2), timestamp_ms: 5 };
        assert_eq!(check(&across, 0, i32::MAX, 3), duplicate);
        assert_eq!(check(&across, 0, 2, 1), ProducerVerdict::New);
    }

    #[test]
    fn a_coordinator_is_checked_by_its_epoch_only() {
        let producers = ten();
        let coordinator = |epoch| producers.check(&header(7, epoch, 0, 1, false), Origin::Coordinator);
        assert_eq!(coordinator(1), ProducerVerdict::New);
        assert!(matches!(coordinator(0), ProducerVerdict::Refused(ProducerRefusal::InvalidEpoch { .. })));
    }

    #[test]
    fn a_plain_batch_does_not_fit_into_an_open_transaction() {
        let mut producers = Producers::default();
        producers.note_batch(&header(7, 0, 0, 1, true), Offset(50), Offset(50), 0);
        let open = ProducerRefusal::TransactionOpen { since: Offset(50) };
        assert_eq!(check(&producers, 0, 1, 1), ProducerVerdict::Refused(open));
        assert_eq!(producers.check(&header(7, 0, 1, 1, true), Origin::Client), ProducerVerdict::New);
    }

    fn marker(kind: ControlType, epoch: i16, coordinator_epoch: i32) -> (BatchHeader, Marker) {
        let producer = ProducerStamp { id: 7, epoch, base_sequence: -1 };
        let content = EndTransactionMarker { coordinator_epoch };
        let batch = end_transaction_batch(kind, content, producer, 9, &mut Scratch::default()).expect("it is well formed");
        let header = BatchHeader::parse(&batch).expect("a batch");
        (header, marker_of(&header, &batch).expect("it is a marker"))
    }

    #[test]
    fn a_marker_ends_the_transaction_and_fences_older_coordinators() {
        let mut producers = Producers::default();
        producers.note_batch(&header(7, 0, 0, 1, true), Offset(50), Offset(50), 0);
        let (abort, content) = marker(ControlType::Abort, 0, 3);
        assert_eq!(content, Marker { outcome: Outcome::Abort, coordinator_epoch: 3 });
        assert_eq!(producers.check_marker(&abort, content, MarkerEpoch::AtLeast), Ok(()));
        let aborted = producers.note_marker(&abort, content, Offset(51), 0).expect("it had records");
        assert_eq!((aborted.first, aborted.last, aborted.last_stable), (Offset(50), Offset(51), Offset(52)));
        let (old, content) = marker(ControlType::Commit, 0, 2);
        let fenced = ProducerRefusal::CoordinatorFenced { current: 3, found: 2 };
        assert_eq!(producers.check_marker(&old, content, MarkerEpoch::AtLeast), Err(fenced));
        let (empty, content) = marker(ControlType::Abort, 1, 3);
        assert_eq!(producers.note_marker(&empty, content, Offset(52), 0), None, "nothing was open");
        assert_eq!(check(&producers, 1, 0, 1), ProducerVerdict::New, "the marker's epoch begins at zero");
    }

    #[test]
    fn a_late_marker_of_the_epoch_that_has_records_open_is_refused_where_every_end_raises_the_epoch() {
        let mut producers = Producers::default();
        producers.note_batch(&header(7, 4, 0, 1, true), Offset(50), Offset(50), 0);
        let (late, content) = marker(ControlType::Commit, 4, 3);
        let refused = ProducerRefusal::InvalidEpoch { current: ProducerEpoch(4), found: ProducerEpoch(4) };
        assert_eq!(producers.check_marker(&late, content, MarkerEpoch::Above), Err(refused));
        assert_eq!(producers.check_marker(&late, content, MarkerEpoch::AtLeast), Ok(()));
        let (end, content) = marker(ControlType::Commit, 5, 3);
        assert_eq!(producers.check_marker(&end, content, MarkerEpoch::Above), Ok(()));
        producers.note_marker(&end, content, Offset(51), 0);
        assert_eq!(producers.check_marker(&end, content, MarkerEpoch::Above), Ok(()), "told twice");
    }

    #[test]
    fn a_snapshot_keeps_the_last_batch_and_the_open_transaction() {
        let mut producers = ten();
        producers.note_batch(&header(8, 0, 0, 1, true), Offset(200), Offset(200), 0);
        let loaded = Producers::load(&producers.entries(), DAY_MS);
        assert_eq!(loaded.entries(), producers.entries());
        assert_eq!(loaded.transactions().first_unstable(), Some(Offset(200)));
        assert!(matches!(check(&loaded, 1, 18, 2), ProducerVerdict::Duplicate { .. }));
        assert_eq!(check(&loaded, 1, 16, 2), out_of_order(19, 16));
        assert_eq!(check(&loaded, 1, 20, 1), ProducerVerdict::New);
    }

    #[test]
    fn a_producer_expires_by_when_it_was_heard_of_not_by_its_timestamps() {
        let mut producers = Producers::default();
        producers.note_batch(&header(7, 0, 0, 1, false), Offset(0), Offset(0), 10 * DAY_MS);
        producers.expire(11 * DAY_MS - 1, DAY_MS);
        assert_eq!(producers.count(), 1);
        producers.expire(11 * DAY_MS, DAY_MS);
        assert_eq!(producers.count(), 0);
    }
}
