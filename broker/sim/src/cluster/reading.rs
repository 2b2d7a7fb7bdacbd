//! What a leader answers to a Fetch, unfolded: records and markers, held against what was asked for.

use std::collections::BTreeSet;

use strandline_log::producers::{Outcome, marker_of};
use strandline_protocol::messages::fetch::{AbortedTransaction, PartitionData};
use strandline_protocol::records::{Batches, Scratch, crc32c, open, position};

use crate::client::payload::{self, ReadRecord};
use crate::core::Core;
use crate::history::{PartitionKey, Seen};
use crate::invariants::Invariant;
use crate::topics::{Topic, Use};

/// Bytes that the records of one batch may unfold to; batches of the simulation are far smaller.
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// Which records a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    Uncommitted = 0,
    Committed = 1,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a Topic,
    pub(super) key: PartitionKey,
    pub(super) position: i64,
    pub(super) isolation: Isolation,
}

impl Wanted<'_> {
    /// Compaction leaves gaps, also at the ends of batches.
    fn has_gaps(&self) -> bool {
        self.topic.used_for == Use::Compacting
    }

    /// Tells what is wrong.
    fn wrong(&self, core: &mut Core, invariant: Invariant, story: &str) {
        core.violate(invariant, format_args!("{} {} from {}: {story}", self.topic.name, self.key, self.position));
    }

    /// Notes a record for the history.
    fn note(&self, core: &mut Core, offset: i64, read: &ReadRecord) {
        let ReadRecord { value, content, timestamp_ms, .. } = *read;
        let judgement = core.history.see(Seen { partition: self.key, offset, value, content, timestamp_ms });
        core.judge(judgement);
        if self.isolation == Isolation::Committed
            && let Err(story) = core.books.transactions.seen(value)
        {
            self.wrong(core, Invariant::AbortedStaysUnseen, &story);
        }
    }
}

/// Unfolds what came, and tells the history and `take` of every record. Answers where the reader stands then.
pub(super) fn unfold(
    core: &mut Core,
    scratch: &mut Scratch,
    wanted: &Wanted<'_>,
    data: PartitionData,
    mut take: impl FnMut(i64, &ReadRecord),
) -> i64 {
    let bytes = data.records.unwrap_or_default().into_bytes();
    let mut aborted = Aborted::new(data.aborted_transactions.unwrap_or_default());
    let mut at = wanted.position;
    let stable = data.last_stable_offset.0;
    let (below, bound) = match wanted.isolation {
        Isolation::Uncommitted => (data.high_watermark.0, Invariant::ReadsBelowHighWatermark),
        Isolation::Committed => (stable, Invariant::StableOnlyRises),
    };
    if stable > data.high_watermark.0 {
        let story = format!("stable to {stable}, committed to {}", data.high_watermark);
        wanted.wrong(core, Invariant::StableOnlyRises, &story);
    }
    for batch in Batches::new(&bytes) {
        let Ok(batch) = batch else {
            core.damage_read = true;
            return at;
        };
        if crc32c(&batch.bytes[position::ATTRIBUTES..]) != batch.header.crc {
            core.damage_read = true;
            return at;
        }
        let (base, next) = (batch.header.base_offset, batch.header.next_offset());
        if next <= at {
            continue;
        }
        if base > at && wanted.has_gaps() {
            at = base;
        }
        if base > at {
            wanted.wrong(core, Invariant::ReadsWithoutGap, &format!("gives {base} for {at}"));
            return at;
        }
        if next > below {
            wanted.wrong(core, bound, &format!("gives up to {next} of {below}"));
            return at;
        }
        let producer = batch.header.producer_id;
        aborted.reach(batch.header.last_offset());
        if batch.header.is_control() {
            if marker_of(&batch.header, batch.bytes).is_some_and(|marker| marker.outcome == Outcome::Abort) {
                aborted.ended(producer);
            }
            let judgement = core.history.see_marker(wanted.key, base);
            core.judge(judgement);
            at = next;
            continue;
        }
        let is_aborted = batch.header.is_transactional() && aborted.open.contains(&producer);
        if wanted.isolation == Isolation::Committed && is_aborted {
            at = next;
            continue;
        }
        let Ok((header, records)) = open(batch.bytes, DECOMPRESSED_BYTES_MAX, scratch) else {
            wanted.wrong(core, Invariant::DamageIsNotServed, "a batch that cannot be opened");
            return at;
        };
        for record in records {
            let Ok(record) = record else {
                wanted.wrong(core, Invariant::DamageIsNotServed, "a record that cannot be read");
                return at;
            };
            let offset = header.base_offset + i64::from(record.offset_delta);
            if offset < at {
                continue;
            }
            if offset > at && wanted.has_gaps() {
                at = offset;
            }
            if offset > at {
                wanted.wrong(core, Invariant::ReadsWithoutGap, &format!("gives {offset} for {at}"));
                return at;
            }
            let Some(read) = payload::read(&header, &record).filter(|read| read.timestamp_kept) else {
                wanted.wrong(core, Invariant::DamageIsNotServed, &format!("{offset} is no record of ours"));
                return at;
            };
            wanted.note(core, offset, &read);
            take(offset, &read);
            at += 1;
        }
        at = next;
    }
    at
}

/// Aborted transactions that an answer names, as clients use them: a producer's records are left out from where its
/// transaction begins up to its marker.
struct Aborted {
    /// By where they begin, the first last.
    ahead: Vec<AbortedTransaction>,
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(mut ahead: Vec<AbortedTransaction>) -> Self {
        ahead.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self { ahead, open: BTreeSet::new() }
    }

    /// Those that begin up to here are open; also in front of a marker, which may be the first thing that is read.
    fn reach(&mut self, last_offset: i64) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset.0 <= last_offset) {
            self.open.insert(next.producer_id.0);
        }
    }

    fn ended(&mut self, producer: i64) {
        self.open.remove(&producer);
    }
}
