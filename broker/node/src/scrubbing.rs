//! Finished segments are read through slowly, so that damage is found before a reader meets it, and while others have what it destroyed.
//!
//! One piece at a time is read by a job, from the disk and not from memory, and its checksums are compared; then it is paid for by waiting, as
//! the rate says. What is damaged goes the way of what a reader found ([`renewal`]): where others are in sync the replica is made anew. A pass
//! goes over all partitions in order and begins once in [`PASS_MS`] at most; where it stands is forgotten when the process ends.

use bytes::Bytes;
use strandline_log::slice::{FileSlice, Slice};
use strandline_protocol::ids::{Offset, TopicId};

use crate::broker::{Broker, JobOwner};
use crate::config::Layers;
use crate::copying::{CopyFault, CopyPiece};
use crate::failing;
use crate::io::{Effect, Job, Now};
use crate::parked::ParkedId;
use crate::replica::renewal;

/// Bytes that are read at a time.
const PIECE_BYTES: u32 = 1 << 20;

/// A pass begins so long after the last one began, or later.
const PASS_MS: u64 = 24 * 60 * 60 * 1000;

/// Where there was nothing to read it is looked again after so long.
const LOOK_MS: u64 = 60_000;

const RATE: &str = "log.scrub.max.bytes.per.second";

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubTotals {
    pub bytes: u64,
    /// Passes that came to their end.
    pub passes: u64,
    pub damaged_segments: u64,
}

/// What is read next, or the first behind it that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    topic: TopicId,
    partition: i32,
    base: Offset,
    position: u64,
}

/// What a job read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScrubRead {
    at: Cursor,
    position_end: u64,
}

#[derive(Debug)]
pub(crate) struct Scrubbing {
    /// 0 reads nothing.
    bytes_per_second: u64,
    next: Cursor,
    is_reading: bool,
    due_ms: u64,
    pass_began_ms: u64,
    /// What the pass has read.
    pass_bytes: u64,
    pub(crate) totals: ScrubTotals,
}

impl Scrubbing {
    pub(crate) fn new(layers: &Layers<'_>) -> Self {
        Self {
            bytes_per_second: rate(layers),
            next: Cursor::default(),
            is_reading: false,
            due_ms: 0,
            pass_began_ms: 0,
            pass_bytes: 0,
            totals: ScrubTotals::default(),
        }
    }

    /// The rate may be another one; it counts at once.
    pub(crate) fn refresh(&mut self, layers: &Layers<'_>) {
        let rate = rate(layers);
        if std::mem::replace(&mut self.bytes_per_second, rate) != rate && self.pass_bytes > 0 {
            self.due_ms = 0;
        }
    }

    /// When [`run`] has something to do.
    pub(crate) fn next_due_ms(&self) -> u64 {
        if self.bytes_per_second == 0 || self.is_reading { u64::MAX } else { self.due_ms }
    }

    fn end_pass(&mut self, now: Now) {
        let next_ms = if self.pass_bytes > 0 { self.pass_began_ms + PASS_MS } else { 0 };
        self.totals.passes += u64::from(self.pass_bytes > 0);
        self.due_ms = next_ms.max(now.monotonic_ms + LOOK_MS);
        (self.next, self.pass_bytes) = (Cursor::default(), 0);
    }
}

fn rate(layers: &Layers<'_>) -> u64 {
    u64::try_from(layers.broker_number(RATE)).unwrap_or(0)
}

/// Reads the next piece, if it is time.
pub(crate) fn run(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if broker.scrubbing.next_due_ms() > now.monotonic_ms {
        return;
    }
    if broker.scrubbing.pass_bytes == 0 {
        broker.scrubbing.pass_began_ms = now.monotonic_ms;
    }
    let Some((at, slice)) = next_piece(broker) else { return broker.scrubbing.end_pass(now) };
    broker.scrubbing.is_reading = true;
    let wanted = ScrubRead { at, position_end: slice.position_end };
    let piece = CopyPiece { slices: vec![Slice::File(slice)] };
    broker.start_job(JobOwner::Scrub(wanted), Job::ReadCopy(piece), outbox);
}

fn next_piece(broker: &Broker) -> Option<(Cursor, FileSlice)> {
    let mut at = broker.scrubbing.next;
    while let Some((key, slot)) = broker.replicas.at_or_behind((at.topic, at.partition)) {
        if key != (at.topic, at.partition) {
            at = Cursor { topic: key.0, partition: key.1, ..Cursor::default() };
        }
        // What is being cut or exchanged is left for the next pass.
        let replica = broker.replicas.get(slot).filter(|replica| replica.truncation.is_none() && !broker.cleaning.holds(slot));
        if let Some(slice) = replica.and_then(|replica| replica.log.finished_from(at.base, at.position, PIECE_BYTES)) {
            let position = if slice.base_offset == at.base { at.position } else { 0 };
            return Some((Cursor { base: slice.base_offset, position, ..at }, slice));
        }
        at = Cursor { topic: at.topic, partition: at.partition.checked_add(1)?, ..Cursor::default() };
    }
    None
}

/// A piece was read. Answers with replies that wait in vain.
pub(crate) fn on_read(
    broker: &mut Broker,
    now: Now,
    wanted: &ScrubRead,
    result: Result<Vec<Bytes>, CopyFault>,
    outbox: &mut Vec<Effect>,
) -> Vec<ParkedId> {
    let scrubbing = &mut broker.scrubbing;
    let bytes = result.as_ref().map_or(0, |pieces| pieces.iter().map(|piece| piece.len() as u64).sum());
    let ScrubRead { at, position_end } = *wanted;
    let behind = at.position + bytes;
    scrubbing.is_reading = false;
    scrubbing.totals.bytes += bytes;
    scrubbing.pass_bytes += bytes.max(1);
    scrubbing.next = match bytes {
        0 => Cursor { base: at.base.next(), position: 0, ..at },
        _ if behind >= position_end => Cursor { base: at.base.next(), position: 0, ..at },
        _ => Cursor { position: behind, ..at },
    };
    scrubbing.due_ms = now.monotonic_ms + bytes * 1000 / scrubbing.bytes_per_second.max(1);
    let file = broker.replicas.slot(at.topic, at.partition).and_then(|slot| broker.replicas.get(slot)).and_then(|replica| {
        let slice = replica.log.finished_from(at.base, at.position, PIECE_BYTES)?;
        (slice.base_offset == at.base).then_some(slice.log)
    });
    // It was removed, or compacted, meanwhile.
    let Some(file) = file else { return Vec::new() };
    match result {
        Ok(_) if bytes > 0 => Vec::new(),
        Err(CopyFault::Disk { .. }) => {
            failing::unreadable(broker, file, at.base, outbox);
            Vec::new()
        }
        // A finished segment is full of batches: where none begins something else was written.
        Ok(_) | Err(CopyFault::Damaged { .. }) => {
            broker.scrubbing.totals.damaged_segments += 1;
            renewal::found_damaged(broker, now, &file, at.base, outbox)
        }
    }
}
