//! Bits that flip at rest, among the records below the recovery point of some partition: what a start, a reader or a compaction
//! has to find, and must not take for the end of the log.

use strandline_log::disk::FilePath;
use strandline_log::names::RECOVERY_POINT_CHECKPOINT;
use strandline_protocol::records::{Batches, HEADER_BYTES, position};

use crate::dice::Dice;
use crate::disk::SimDisk;

/// A bit that becomes another one.
pub(crate) struct Flip {
    pub(crate) file: FilePath,
    pub(crate) byte: usize,
    pub(crate) bit: u8,
}

impl Flip {
    /// Chooses one in a partition that `may` be damaged.
    pub(crate) fn choose(dice: &mut Dice, disk: &SimDisk, may: impl Fn(&str, i32) -> bool) -> Option<Self> {
        let points = disk.contents(&FilePath::top(RECOVERY_POINT_CHECKPOINT))?;
        let points = strandline_log::checkpoints::parse(points).ok()?;
        let point = dice.pick(&points).filter(|point| may(&point.topic, point.partition))?;
        let directory = strandline_log::names::partition_directory(&point.topic, point.partition);
        let named = |ending: &'static str| {
            let inside = |path: &&FilePath| {
                path.as_str().strip_prefix(&directory).is_some_and(|rest| rest.starts_with('/') && rest.ends_with(ending))
            };
            disk.paths().filter(inside).collect::<Vec<&FilePath>>()
        };
        // An earlier topic of the same name may have left the recovery point: as recovery does, it is believed up to the
        // newest snapshot.
        let confirmed = named(".snapshot").last().and_then(|path| offset_in(path)).unwrap_or(0);
        let durable = point.offset.0.min(confirmed);
        let logs = named(".log");
        let file = (*dice.pick(&logs)?).clone();
        let contents = disk.contents(&file)?;
        let batches = Batches::new(contents).map_while(Result::ok);
        let below: Vec<(usize, usize)> = batches
            .filter(|batch| batch.header.next_offset() <= durable)
            .map(|batch| (batch.position, batch.bytes.len()))
            .collect();
        let (begin, bytes) = *dice.pick(&below)?;
        let byte = begin + damaged_byte(dice, bytes);
        Some(Self { file, byte, bit: u8::try_from(dice.below(8)).unwrap_or(0) })
    }
}

/// The higher bytes of a base offset, which no checksum covers: no log of a simulation reaches so far.
const HIGH_BYTES: usize = 5;

/// A byte of a batch whose damage a reader can find: the checksum and what it covers, and an offset that cannot be, but not what the broker
/// itself keeps in memory from headers (timestamps, producers, attributes), for that outlives the damage.
fn damaged_byte(dice: &mut Dice, batch_bytes: usize) -> usize {
    match dice.below(9) {
        0 => position::MAGIC + dice.index(position::ATTRIBUTES - position::MAGIC),
        1 => position::LAST_OFFSET_DELTA + dice.index(position::BASE_TIMESTAMP - position::LAST_OFFSET_DELTA),
        8 => dice.index(HIGH_BYTES),
        2 => position::RECORD_COUNT + dice.index(position::RECORDS - position::RECORD_COUNT),
        _ => HEADER_BYTES + dice.index(batch_bytes.saturating_sub(HEADER_BYTES)),
    }
}

/// The offset in the name of a segment's file.
pub(crate) fn offset_in(path: &FilePath) -> Option<i64> {
    let name = path.as_str().rsplit('/').next()?;
    name.split('.').next()?.parse().ok()
}
