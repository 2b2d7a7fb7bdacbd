//! A snapshot that comes from the leader, because the leader's log begins behind this one's end.
//!
//! States: *asking* and *appending* by turns, *sealing*, *checking* (a job reads all of it and makes its image), *renaming*; then the
//! log begins anew at its end and the image takes the place of the committed one. Until it has its name a start removes the
//! file; from then on a start begins the log anew by itself. So a crash at any point leaves the old log or the new one.
//! The bytes are asked for by the quorum (`quorum/snapshots.rs`), which asks for nothing from the last piece on until this is over.
//!
//! Nothing of a leader is believed unread: what is not a whole snapshot with good checksums and records that make an image is
//! removed, and the leader is asked again later.

use bytes::{Bytes, BytesMut};
use strandline_log::disk::{DiskOp, Durability, Part};
use strandline_protocol::records::PREFIX_BYTES;

use super::{KeptSnapshot, SNAPSHOT_JOB, SnapshotEnds, Writing, part_file};
use crate::broker::Broker;
use crate::image::Image;
use crate::io::{Effect, Job, Now, Owner};
use crate::metadata_log::SnapshotRead;
use crate::quorum::message::{LogEnd, SnapshotNews, SnapshotPlace};
use crate::snapshot::write::SnapshotId;

#[derive(Debug)]
enum Step {
    Asking,
    /// A piece goes to the disk.
    Appending {
        is_last: bool,
    },
    /// As before, and then it is of no use: another leader is followed.
    Abandoned,
    Removing,
    Sealing,
    Checking,
    Renaming(Box<SnapshotRead>),
    /// It has its name; what the log still wants of the disk is done first.
    Installing(Box<SnapshotRead>),
}

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Fetched {
    id: SnapshotId,
    /// On disk.
    bytes: u64,
    /// What came and is not written: a write is never shorter than the beginning of a batch.
    rest: Bytes,
    step: Step,
}

impl Fetched {
    /// Whether an operation of the disk is under way.
    pub(super) fn is_on_disk(&self) -> bool {
        !matches!(self.step, Step::Asking | Step::Checking | Step::Installing(_))
    }

    /// What of the rest and a piece is written now; `None` if the whole is too short for any snapshot.
    fn part(&mut self, piece: &[u8], is_last: bool) -> Option<Part> {
        let mut bytes = BytesMut::with_capacity(self.rest.len() + piece.len());
        bytes.extend_from_slice(&self.rest);
        bytes.extend_from_slice(piece);
        let kept = if is_last { 0 } else { PREFIX_BYTES };
        self.rest = bytes.split_off(bytes.len().checked_sub(kept)?).freeze();
        let bytes = bytes.freeze();
        Some(Part { prefix: *bytes.first_chunk()?, body: bytes.slice(PREFIX_BYTES..) })
    }
}

/// Whether a piece may be asked for, or a fetch may be: nothing else is written just now.
pub(crate) fn is_free(broker: &Broker) -> bool {
    let snapshots = &broker.snapshots;
    match &snapshots.fetched {
        Some(fetched) => matches!(fetched.step, Step::Asking),
        None => broker.controller.quorum.wanted_snapshot().is_none() || matches!(snapshots.writing, Writing::Idle),
    }
}

/// A piece came.
pub(crate) fn on_piece(
    broker: &mut Broker,
    now: Now,
    place: SnapshotPlace,
    piece: &[u8],
    news: SnapshotNews,
    outbox: &mut Vec<Effect>,
) {
    let is_last = news == SnapshotNews::LastPiece;
    let id = SnapshotId { end: place.id.offset, epoch: place.id.epoch };
    if broker.snapshots.given_up {
        return;
    }
    if place.position == 0 && broker.snapshots.fetched.is_none() {
        broker.snapshots.fetched = Some(Fetched { id, bytes: 0, rest: Bytes::new(), step: Step::Asking });
    }
    let follows = |fetched: &&mut Fetched| {
        matches!(fetched.step, Step::Asking) && fetched.id == id && fetched.bytes + fetched.rest.len() as u64 == place.position
    };
    let fetched = broker.snapshots.fetched.as_mut().filter(follows);
    let Some((fetched, part)) = fetched.and_then(|fetched| fetched.part(piece, is_last).map(|part| (fetched, part))) else {
        remove(broker, outbox);
        return broker.controller.quorum.on_discarded(now.monotonic_ms);
    };
    let position = fetched.bytes;
    fetched.bytes += part.bytes() as u64;
    fetched.step = Step::Appending { is_last };
    let op = DiskOp::Append { file: part_file(id), position, parts: vec![part], durability: Durability::Written };
    outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
}

/// What was begun and is not asked for any more goes: the leader of another epoch has another file.
pub(crate) fn follow_up(broker: &mut Broker, outbox: &mut Vec<Effect>) {
    let wanted = broker.controller.quorum.wanted_snapshot().map(|(id, _)| id);
    let Some(fetched) = &mut broker.snapshots.fetched else { return };
    let position = broker.controller.quorum.wanted_snapshot().map_or(0, |(_, position)| position);
    let is_wanted = wanted == Some(LogEnd { epoch: fetched.id.epoch, offset: fetched.id.end }) && position > 0;
    match fetched.step {
        Step::Asking if !is_wanted => remove(broker, outbox),
        Step::Appending { is_last: false } if !is_wanted => fetched.step = Step::Abandoned,
        _ => {}
    }
}

/// Removes what came so far, if nothing is under way with it. The next one waits for that: it may have the same name.
fn remove(broker: &mut Broker, outbox: &mut Vec<Effect>) {
    if let Some(fetched) = broker.snapshots.fetched.as_mut().filter(|fetched| matches!(fetched.step, Step::Asking)) {
        fetched.step = Step::Removing;
        outbox.push(Effect::Disk { owner: Owner::Snapshot, op: DiskOp::Delete { file: part_file(fetched.id) } });
    }
}

/// An operation on the file ended.
pub(super) fn on_disk(broker: &mut Broker, outbox: &mut Vec<Effect>) {
    let given_up = broker.snapshots.given_up;
    let Some(fetched) = &mut broker.snapshots.fetched else { return };
    let step = std::mem::replace(&mut fetched.step, Step::Asking);
    match step {
        // The process ends; the next start removes the file.
        Step::Appending { .. } | Step::Abandoned | Step::Sealing if given_up => {}
        Step::Appending { is_last: false } => {}
        Step::Abandoned => remove(broker, outbox),
        Step::Removing => broker.snapshots.fetched = None,
        Step::Appending { is_last: true } => {
            fetched.step = Step::Sealing;
            let op = DiskOp::Seal { file: part_file(fetched.id), bytes: fetched.bytes };
            outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
        }
        Step::Sealing => {
            fetched.step = Step::Checking;
            let what = Job::ReadSnapshot { id: fetched.id, file: part_file(fetched.id) };
            outbox.push(Effect::Start { job: SNAPSHOT_JOB, what });
        }
        Step::Renaming(read) => fetched.step = Step::Installing(read),
        Step::Asking | Step::Checking | Step::Installing(_) => {
            unreachable!("an operation ends once, and only while one is under way")
        }
    }
}

/// The job has read it: what it makes, or `None` if it is no good.
pub(crate) fn on_read(broker: &mut Broker, now: Now, read: Option<Box<SnapshotRead>>, outbox: &mut Vec<Effect>) {
    let given_up = broker.snapshots.given_up;
    let Some(fetched) = broker.snapshots.fetched.as_mut().filter(|fetched| matches!(fetched.step, Step::Checking)) else {
        return;
    };
    match read {
        Some(read) if !given_up => {
            fetched.step = Step::Renaming(read);
            let id = fetched.id;
            let op = DiskOp::Rename { from: part_file(id), to: KeptSnapshot { id, ..KeptSnapshot::default() }.file() };
            outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
        }
        _ => {
            fetched.step = Step::Asking;
            remove(broker, outbox);
            broker.controller.quorum.on_discarded(now.monotonic_ms);
        }
    }
}

/// Begins the log anew behind a snapshot that is whole and has its name; older snapshots go. Answers with what is known to be
/// committed now.
pub(crate) fn install(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) -> Option<Image> {
    let (snapshots, controller) = (&mut broker.snapshots, &mut broker.controller);
    // A log that was closed, for the node stops, does not begin again: the next start finds the snapshot.
    let (log, is_there) = (controller.log(), |step: &Step| matches!(step, Step::Installing(_)));
    let is_ready = |fetched: &mut Fetched| is_there(&fetched.step) && log.is_idle() && log.is_open();
    if snapshots.given_up {
        return None;
    }
    let Fetched { id, bytes, step, .. } = snapshots.fetched.take_if(is_ready)?;
    let Step::Installing(read) = step else { return None };
    let SnapshotRead { image, quorum, last_contained_ms } = *read;
    let kept = KeptSnapshot { id, bytes, last_contained_ms };
    let end = LogEnd { epoch: id.epoch, offset: id.end };
    controller.install(now, image.clone(), quorum, SnapshotEnds { oldest: end, newest: end });
    for older in std::mem::replace(&mut snapshots.kept, vec![kept]) {
        if older.id != id {
            broker.directory.delete(older.file(), outbox);
        }
    }
    (snapshots.current, snapshots.held_log_bytes) = (kept, 0);
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched() -> Fetched {
        Fetched { id: SnapshotId::default(), bytes: 0, rest: Bytes::new(), step: Step::Asking }
    }

    #[test]
    fn pieces_of_any_length_come_to_the_same_bytes() {
        let whole: Vec<u8> = (0..=255).collect();
        for (first, second) in [(32, 17), (33, 16), (100, 155), (100, 156)] {
            let mut fetched = fetched();
            let mut file = Vec::new();
            for (from, to) in [(0, first), (first, first + second), (first + second, whole.len())] {
                let is_last = to == whole.len();
                let part = fetched.part(&whole[from..to], is_last).expect("long enough");
                file.extend_from_slice(&part.prefix);
                file.extend_from_slice(&part.body);
                if is_last {
                    break;
                }
            }
            assert!(file == whole, "{first} and {second} bytes");
        }
    }

    #[test]
    fn what_is_too_short_for_a_snapshot_is_no_part() {
        assert!(fetched().part(&[0; 15], true).is_none());
        assert!(fetched().part(&[0; 16], true).is_some());
        assert!(fetched().part(&[0; 31], false).is_none());
    }
}
