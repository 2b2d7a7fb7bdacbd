//! Compaction, step by step as a broker runs it: what stays, what goes, what is never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_log::cleaner::plan::RoundOptions;
use strandline_log::cleaner::round::{CleanError, Finished, Next, Round, Seed};
use strandline_log::config::LogConfig;
use strandline_log::disk::{DiskOp, FilePath};
use strandline_log::memory::MemoryDisk;
use strandline_log::recover::{Checkpoints, RecoverError, Shutdown, truncate};
use strandline_log::slice::FirstBatch;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, Batches, Compression, ControlType, NewRecord, ProducerStamp, Scratch, open,
};

use crate::support::{DIRECTORY, NOW_MS, World, marker, small};

pub(crate) const OPTIONS: RoundOptions =
    RoundOptions { map_bytes_max: 1 << 20, map_load_factor: 0.9, step_bytes: 400, seed: Seed([3, 4]) };

pub(crate) fn compacting() -> LogConfig {
    LogConfig {
        compacts: true,
        expires: false,
        delete_retention_ms: 1_000,
        min_cleanable_ratio: 0.0,
        segment_bytes: 400,
        ..small()
    }
}

/// A batch of records with keys.
pub(crate) fn keyed(records: &[(&str, Option<&str>)], options: BatchOptions, timestamp_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        let record =
            NewRecord { timestamp: timestamp_ms, key: Some(key.as_bytes()), value: value.map(str::as_bytes), headers: &[] };
        builder.append(&record).expect("it fits");
    }
    builder.build(&mut Scratch::default()).expect("it is well formed")
}

pub(crate) fn by(id: i64, base_sequence: i32, transactional: bool) -> BatchOptions {
    let producer = ProducerStamp { id, epoch: 0, base_sequence };
    BatchOptions { producer, transactional, ..BatchOptions::default() }
}

/// A record as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

impl World {
    pub(crate) fn put(&mut self, records: &[(&str, Option<&str>)]) {
        self.append_bytes(keyed(records, BatchOptions::default(), self.now_ms));
    }

    /// The active segment ends, as by time.
    pub(crate) fn roll(&mut self) {
        let older = LogConfig { segment_ms: 0, ..(**self.log.config()).clone() };
        let config = self.log.config().clone();
        self.log.set_config(older.into());
        self.now_ms += 1;
        self.put(&[("rolled", Some("x"))]);
        self.log.set_config(config);
    }

    pub(crate) fn begin(&self) -> Option<Round> {
        let last_stable = self.log.last_stable(self.log.positions().readable_end);
        let cleanable = self.log.cleanable(self.now_ms, last_stable)?;
        Some(self.log.begin_cleaning(self.now_ms, &cleanable, OPTIONS))
    }

    /// Runs a round to its end.
    pub(crate) fn run(&mut self, mut round: Round) -> Result<Finished, CleanError> {
        loop {
            let stepped = round.step(&self.disk)?;
            self.log.write_cleaning(stepped.ops);
            self.drain();
            match stepped.next {
                Next::Step => {}
                Next::SwapIn(replacement) => self.log.swap_in(self.now_ms, replacement).expect("nothing changed meanwhile"),
                Next::End(finished) => {
                    self.log.set_cleaned_below(Some(finished.clean_below));
                    return Ok(finished);
                }
            }
        }
    }

    pub(crate) fn clean(&mut self) -> Finished {
        let round = self.begin().expect("there is something to clean");
        self.run(round).expect("the log is sound")
    }

    /// Old files go.
    pub(crate) fn settle(&mut self) {
        self.now_ms += 60_000;
        self.drain();
    }

    pub(crate) fn headers(&self) -> Vec<BatchHeader> {
        self.stored().iter().map(|batch| BatchHeader::parse(batch).expect("a batch")).collect()
    }

    pub(crate) fn stored(&self) -> Vec<Bytes> {
        let (mut next, mut stored) = (self.log.positions().log_start.0, Vec::new());
        loop {
            let bytes = self.read(next, i64::MAX, 1 << 16, FirstBatch::Whole);
            let before = stored.len();
            let mut begin = 0;
            for batch in Batches::strict(&bytes).map(|batch| batch.expect("whole")) {
                let end = begin + batch.header.size_bytes();
                stored.push(bytes.slice(begin..end));
                (begin, next) = (end, batch.header.next_offset());
            }
            if stored.len() == before {
                return stored;
            }
        }
    }

    /// Every record, markers left out.
    pub(crate) fn records(&self) -> Vec<Seen> {
        self.stored().iter().flat_map(records_of).collect()
    }

    pub(crate) fn latest(&self) -> BTreeMap<String, String> {
        let mut latest = BTreeMap::new();
        for record in self.records() {
            let key = record.key.expect("with a key");
            match record.value {
                Some(value) => latest.insert(key, value),
                None => latest.remove(&key),
            };
        }
        latest
    }
}

pub(crate) fn records_of(batch: &Bytes) -> Vec<Seen> {
    let mut scratch = Scratch::default();
    let (header, records) = open(batch, 1 << 20, &mut scratch).expect("a sound batch");
    if header.is_control() {
        return Vec::new();
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let seen = records.map(|record| record.expect("a sound record")).map(|record| Seen {
        offset: header.base_offset + i64::from(record.offset_delta),
        key: record.key.map(text),
        value: record.value.map(text),
    });
    seen.collect()
}

fn offsets_of(world: &World) -> Vec<i64> {
    world.records().iter().map(|record| record.offset).collect()
}

#[test]
fn of_every_key_the_latest_record_stays_at_its_offset() {
    let mut world = World::new(compacting());
    for n in 0..30 {
        world.put(&[(["a", "b", "c"][n % 3], Some(&format!("{n:040}")))]);
    }
    let latest = world.latest();
    let end = world.log.positions().log_end;
    let finished = world.clean();
    assert!(finished.bytes_after < finished.bytes_before / 2, "{finished:?}");
    assert_eq!(world.latest(), latest);
    assert_eq!(world.log.positions().log_end, end);
    let below = finished.clean_below.0;
    let clean: Vec<i64> = offsets_of(&world).into_iter().filter(|offset| *offset < below).collect();
    assert_eq!(clean.len(), 3, "{clean:?}");
    assert_eq!(world.begin().map(|_| ()), None, "old files are still there");
    world.settle();
    assert!(world.names().iter().all(|name| !name.ends_with(".swap") && !name.ends_with(".cleaned")), "{:?}", world.names());
    assert_eq!(world.latest(), latest);
    assert_eq!(world.begin().map(|_| ()), None, "nothing is dirty");
    let segments = world.log.segments();
    world.roll();
    world.clean();
    assert!(world.log.segments() < segments, "small segments become one");
    assert_eq!(world.latest().len(), 4);
}

#[test]
fn a_reader_that_was_sent_to_the_old_files_still_finds_them() {
    let mut world = World::new(compacting());
    (0..30).for_each(|n| world.put(&[(["a", "b"][n % 2], Some(&format!("{n:040}")))]));
    world.log.drop_cache();
    let before = world.log.read(Offset(3), Offset::MAX, 1, FirstBatch::Whole).expect("in range");
    let old = world.read(3, i64::MAX, 1, FirstBatch::Whole);
    world.clean();
    let read = strandline_log::cut::answer(&world.disk, &before.slices).expect("the old file");
    assert_eq!(read.concat(), old);
    let after = world.log.read(Offset(3), Offset::MAX, 1, FirstBatch::Whole).expect("in range");
    let new = world.read(3, i64::MAX, 1, FirstBatch::Whole);
    assert_ne!(old, new);
    world.settle();
    let read = strandline_log::cut::answer(&world.disk, &after.slices).expect("the new file under its final name");
    assert_eq!(read.concat(), new);
}

#[test]
fn a_tombstone_stays_until_its_horizon_and_then_goes() {
    let mut world = World::new(compacting());
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.put(&[("a", None)]);
    world.put(&[("c", Some("1"))]);
    world.roll();
    let now_ms = world.now_ms;
    world.clean();
    let horizons: Vec<_> = world.headers().iter().filter_map(BatchHeader::delete_horizon_ms).collect();
    assert_eq!(horizons, [now_ms + 1_000]);
    assert_eq!(offsets_of(&world), [1, 2, 3, 4]);
    let times: Vec<i64> = world.headers().iter().map(|header| header.max_timestamp).collect();
    assert_eq!(times, [NOW_MS, NOW_MS, NOW_MS, now_ms], "its own time is kept");
    world.settle();
    world.roll();
    world.clean();
    assert_eq!(offsets_of(&world)[..2], [1, 3], "the horizon has passed");
    assert!(!world.latest().contains_key("a"));
}

#[test]
fn the_last_batch_of_a_segment_and_of_a_producer_stays_empty() {
    let mut world = World::new(LogConfig { segment_bytes: 1_000, ..compacting() });
    world.append_bytes(keyed(&[("a", Some("1")), ("b", Some("1"))], by(7, 40, false), NOW_MS));
    world.put(&[("x", Some("1"))]);
    world.put(&[("a", Some("2")), ("b", Some("2")), ("x", Some("2"))]);
    world.put(&[("y", Some("1"))]);
    world.roll();
    world.put(&[("y", Some("2"))]);
    world.roll();
    world.clean();
    let headers = world.headers();
    let counts: Vec<(i64, i64, i32)> =
        headers.iter().map(|header| (header.base_offset, header.last_offset(), header.record_count)).collect();
    assert_eq!(counts[0], (0, 1, 0), "the producer's");
    assert_eq!((headers[0].producer_id, headers[0].base_sequence, headers[0].last_sequence()), (7, 40, 41));
    assert_eq!(headers[0].max_timestamp, NOW_MS);
    assert_eq!(counts[1], (3, 5, 3));
    assert!(counts.iter().all(|(base, ..)| *base != 2), "nobody needs this one");
    world.settle();
    world.crash();
    assert_eq!(world.headers(), headers);
    assert_eq!(world.log.producers().map(|producers| producers.entries()[0].last_sequence), Some(41));
}

#[test]
fn aborted_records_go_and_markers_stay_until_nothing_is_left_of_them() {
    let mut world = World::new(compacting());
    world.put(&[("a", Some("1"))]);
    world.append_bytes(keyed(&[("a", Some("aborted"))], by(1, 0, true), NOW_MS));
    world.append_bytes(keyed(&[("b", Some("committed"))], by(2, 0, true), NOW_MS));
    world.append_bytes(marker(ControlType::Abort, 1, 0, 0));
    world.append_bytes(marker(ControlType::Commit, 2, 0, 0));
    world.append_bytes(keyed(&[("z", Some("1"))], by(1, 1, true), NOW_MS));
    world.append_bytes(keyed(&[("z", Some("1"))], by(2, 1, true), NOW_MS));
    world.append_bytes(marker(ControlType::Commit, 1, 0, 0));
    world.append_bytes(marker(ControlType::Commit, 2, 0, 0));
    world.roll();
    let aborted = |world: &World| {
        let query = world.log.aborted(Offset(0), Offset(5));
        strandline_log::transactions::aborted(&world.disk, &query).expect("readable").len()
    };
    assert_eq!(aborted(&world), 1);
    world.clean();
    assert_eq!(offsets_of(&world)[..2], [0, 2], "the aborted value is not the latest");
    let controls = |world: &World| -> Vec<i64> {
        world.headers().iter().filter(|header| header.is_control()).map(|header| header.base_offset).collect()
    };
    assert_eq!(controls(&world), [3, 4, 7, 8]);
    assert_eq!(aborted(&world), 1, "a reader may still meet its marker");
    // A second round finds no batch of the aborted one, and lets its marker go after the horizon.
    world.settle();
    world.roll();
    world.clean();
    assert_eq!(aborted(&world), 0);
    assert_eq!(controls(&world), [3, 4, 7, 8]);
    world.settle();
    world.roll();
    world.clean();
    assert_eq!(controls(&world), [4, 7, 8]);
}

#[test]
fn records_without_a_key_go_and_compression_stays() {
    let mut world = World::new(compacting());
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: Compression::Zstd { level: 3 }, ..BatchOptions::default() });
    for key in [Some(&b"a"[..]), None, Some(b"b")] {
        let record = NewRecord { timestamp: NOW_MS, key, value: Some(b"v"), headers: &[] };
        builder.append(&record).expect("it fits");
    }
    world.append_bytes(builder.build(&mut Scratch::default()).expect("well formed"));
    world.roll();
    world.clean();
    assert_eq!(offsets_of(&world)[..2], [0, 2]);
    let header = world.headers()[0];
    assert_eq!(header.codec(), Some(strandline_protocol::records::Codec::Zstd));
    assert_eq!((header.last_offset_delta, header.record_count, header.max_timestamp), (2, 2, NOW_MS));
}

#[test]
fn nothing_undecided_young_or_active_is_touched() {
    let mut world = World::new(LogConfig { min_compaction_lag_ms: 100, ..compacting() });
    world.put(&[("a", Some("1"))]);
    assert!(world.begin().is_none(), "the active segment");
    world.roll();
    assert!(world.begin().is_none(), "too young");
    world.now_ms += 101;
    assert!(world.begin().is_some());
    world.append_bytes(keyed(&[("a", Some("2"))], by(1, 0, true), world.now_ms));
    world.roll();
    world.now_ms += 101;
    let bound = |world: &World| {
        let last_stable = world.log.last_stable(world.log.positions().readable_end);
        world.log.cleanable(world.now_ms, last_stable).expect("something").bound
    };
    assert_eq!(bound(&world), Offset(1), "the transaction is open");
    let id = world.log.append(world.now_ms, marker(ControlType::Commit, 1, 0, 0), world.epoch).expect("open");
    world.drain();
    world.log.on_high_watermark(id.last_offset.next());
    assert_eq!(bound(&world), Offset(3));
}

#[test]
fn a_full_map_ends_the_part_that_a_round_covers() {
    let mut world = World::new(compacting());
    for n in 0..60 {
        world.put(&[(&format!("key {n:030}"), Some("v"))]);
    }
    world.put(&[("key 000000000000000000000000000000", Some("later"))]);
    world.roll();
    let cleanable = world.log.cleanable(world.now_ms, Offset::MAX).expect("dirty");
    let round = |bytes| RoundOptions { map_bytes_max: bytes, map_load_factor: 1.0, ..OPTIONS };
    let first = world.log.begin_cleaning(world.now_ms, &cleanable, round(24 * 31));
    let finished = world.run(first).expect("sound");
    assert_eq!(finished.clean_below, Offset(30));
    assert_eq!(offsets_of(&world).len(), 62, "the later value is not known yet");
}

#[test]
fn a_map_too_small_for_one_batch_is_an_error() {
    let mut world = World::new(compacting());
    world.put(&[("p", None), ("q", None), ("r", None)]);
    world.roll();
    let cleanable = world.log.cleanable(world.now_ms, Offset::MAX).expect("dirty");
    let round = world.log.begin_cleaning(world.now_ms, &cleanable, RoundOptions { map_bytes_max: 1, ..OPTIONS });
    assert_eq!(world.run(round).map(|_| ()), Err(CleanError::MapTooSmall { offset: Offset(0) }));
}

#[test]
fn damage_stops_the_round_and_nothing_is_swapped_in() {
    let mut world = World::new(compacting());
    (0..20).for_each(|n| world.put(&[(["a", "b"][n % 2], Some(&format!("{n:040}")))]));
    let log = FilePath::inside(DIRECTORY, "00000000000000000000.log");
    let mut bytes = world.disk.contents(&log).expect("it is there").to_vec();
    bytes[100] ^= 1;
    world.disk.put(log.clone(), bytes);
    let round = world.begin().expect("dirty");
    let names = world.names();
    let error = world.run(round).expect_err("the checksum does not hold");
    assert!(matches!(error, CleanError::Corrupt { file, position: 0, .. } if file == log));
    assert_eq!(world.names(), names);
}

#[test]
fn a_base_offset_that_turned_over_is_not_copied_although_its_batch_has_no_neighbour() {
    for bit in [3, 35] {
        let mut world = World::new(compacting());
        (0..9).for_each(|n| world.put(&[(["a", "b"][n % 2], Some(&format!("{n:040}")))]));
        world.roll();
        world.put(&[("c", Some("alone"))]);
        world.roll();
        world.put(&[("a", Some("new"))]);
        world.roll();
        let log = FilePath::inside(DIRECTORY, "00000000000000000009.log");
        let mut bytes = world.disk.contents(&log).expect("it is there").to_vec();
        bytes[7 - bit / 8] ^= 1 << (bit % 8);
        world.disk.put(log.clone(), bytes);
        let round = world.begin().expect("dirty");
        let error = world.run(round).expect_err("the offset is another segment's");
        assert!(matches!(error, CleanError::Corrupt { file, position: 0, .. } if file == log));
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_and_brings_nothing_back() {
    let mut built = World::new(compacting());
    for n in 0..16 {
        built.put(&[(["a", "b", "c"][n % 3], Some(&format!("{n:040}")))]);
    }
    for crash_at in 0..200 {
        let mut world = World { log: built.log.clone(), now_ms: built.now_ms, ..World::on(built.disk.clone(), compacting()) };
        let latest = world.latest();
        let mut round = world.begin().expect("dirty");
        let mut left = crash_at;
        let mut visible: Option<Vec<Seen>> = None;
        let ended = 'running: loop {
            let stepped = round.step(&world.disk).expect("sound");
            world.log.write_cleaning(stepped.ops);
            while world.step().is_some() {
                if left == 0 {
                    break 'running false;
                }
                left -= 1;
            }
            match stepped.next {
                Next::Step => {}
                Next::SwapIn(replacement) => {
                    world.log.swap_in(world.now_ms, replacement).expect("nothing changed");
                    visible = Some(world.records());
                }
                Next::End(_) => {
                    world.now_ms += 60_000;
                    while world.step().is_some() {
                        if left == 0 {
                            break 'running false;
                        }
                        left -= 1;
                    }
                    break true;
                }
            }
        };
        crash(&mut world);
        assert_eq!(world.latest(), latest, "crash at {crash_at}");
        if let Some(visible) = visible {
            let back: Vec<Seen> = world.records().into_iter().filter(|record| !visible.contains(record)).collect();
            assert_eq!(back, [], "crash at {crash_at}");
        }
        world.roll();
        if let Some(round) = world.begin() {
            world.run(round).expect("sound");
        }
        assert_eq!(world.latest().len(), 4);
        if ended {
            return;
        }
    }
    panic!("the round does not end");
}

/// Of nine records the first is left, and what came behind them. Epochs begin at 0, 2 and 7.
fn with_a_gap() -> World {
    let mut world = World::new(LogConfig { segment_bytes: 2_000, ..compacting() });
    for (epoch, keys) in [(3, "ab"), (5, "bcccd"), (8, "ed")] {
        world.epoch = LeaderEpoch(epoch);
        keys.chars().for_each(|key| world.put(&[(&key.to_string(), Some("1"))]));
    }
    world.roll();
    for key in ["b", "c", "e", "d"] {
        world.put(&[(key, Some("2"))]);
    }
    world.put(&[("f", Some("2"))]);
    world.roll();
    world.clean();
    world.settle();
    world
}

#[test]
fn a_cut_through_a_gap_ends_the_log_at_the_cut_through_every_crash() {
    for end in 1..=10 {
        let mut operations = usize::MAX;
        for crash_at in 0..20 {
            let mut world = with_a_gap();
            let kept: Vec<i64> = offsets_of(&world).into_iter().filter(|offset| *offset < end).collect();
            let recovered = truncate(&world.disk, world.log.clone(), Offset(end), NOW_MS).expect("the directory is sound");
            let checkpoints = Checkpoints { recovery_point: recovered.log.recovery_point(), ..world.checkpoints() };
            operations = operations.min(recovered.repairs.len());
            repair(&mut world.disk, &recovered.repairs[..operations.min(crash_at)]);
            if crash_at < operations {
                world.reopen(checkpoints, Shutdown::Unclean);
                let reached = world.log.positions().log_end.0;
                let whole = offsets_of(&with_a_gap());
                assert!(reached >= end, "cut at {end}, crash at {crash_at}: it ends at {reached}");
                let left: Vec<i64> = whole.into_iter().filter(|offset| *offset < reached).collect();
                assert_eq!(offsets_of(&world), left, "cut at {end}, crash at {crash_at}");
                continue;
            }
            world.log = recovered.log;
            assert_eq!(world.log.positions().log_end, Offset(end));
            let latest = world.log.epochs().epoch_of(Offset(end - 1)).expect("it has records");
            assert_eq!(
                latest,
                LeaderEpoch(if end <= 2 {
                    3
                } else if end <= 7 {
                    5
                } else {
                    8
                }),
                "cut at {end}"
            );
            assert_eq!(offsets_of(&world), kept);
            world.crash();
            assert_eq!((world.log.positions().log_end, offsets_of(&world)), (Offset(end), kept.clone()));
            world.put(&[("after", Some("3"))]);
            world.close();
            world.reopen(world.checkpoints(), Shutdown::Clean);
            assert_eq!(offsets_of(&world), [&kept[..], &[end]].concat());
            break;
        }
    }
}

/// Of every epoch something is left, though newer records have all its keys: a replica that is made from this log knows where they began.
#[test]
fn where_epochs_began_outlives_their_records() {
    let mut world = with_a_gap();
    world.put(&[("a", Some("4"))]);
    world.roll();
    world.clean();
    world.settle();
    let begun: Vec<(i32, i64)> =
        world.headers().iter().map(|header| (header.partition_leader_epoch, header.base_offset)).collect();
    assert!([(3, 0), (5, 2), (8, 7)].iter().all(|epoch| begun.contains(epoch)), "{begun:?}");
    let mut replica = World::new(compacting());
    for batch in world.stored() {
        replica.log.append_as_is(NOW_MS, batch).expect("the log is open");
    }
    assert_eq!(replica.log.epochs(), world.log.epochs());
    let again = world.stored().len();
    world.put(&[("a", Some("5"))]);
    world.roll();
    world.clean();
    world.settle();
    assert!(world.stored().len() <= again + 1, "no more than before of what is gone");
}

/// As made from a leader whose log another cleaner compacted.
#[test]
fn a_cut_before_the_first_record_that_is_left_ends_the_log_there_and_keeps_its_start() {
    let mut world = World::new(compacting());
    world
        .log
        .append_as_is(
            NOW_MS,
            keyed(
                &[("a", Some("1"))],
                BatchOptions { base_offset: 5, partition_leader_epoch: 3, ..BatchOptions::default() },
                NOW_MS,
            ),
        )
        .expect("the log is open");
    world.drain();
    assert_eq!(world.headers()[0].base_offset, 5);
    let recovered = truncate(&world.disk, world.log.clone(), Offset(4), NOW_MS).expect("the directory is sound");
    repair(&mut world.disk, &recovered.repairs);
    world.log = recovered.log;
    assert_eq!(world.ends(), (0, 4, 4, 4));
    world.put(&[("after", Some("3"))]);
    world.crash();
    assert_eq!((world.ends(), offsets_of(&world)), ((0, 5, 5, 5), vec![4]));
}

/// As after `kill -9`; a compaction that was interrupted is finished as a start does it.
pub(crate) fn crash(world: &mut World) {
    let checkpoints = world.checkpoints();
    world.disk.kill();
    for _ in 0..2 {
        match world.try_reopen(checkpoints, Shutdown::Unclean) {
            Err(RecoverError::Unfinished { repairs }) => repair(&mut world.disk, &repairs),
            Err(error) => panic!("{error}"),
            Ok(recovered) => {
                repair(&mut world.disk, &recovered.repairs);
                let cleaned_below = world.log.cleaned_below();
                world.log = recovered.log;
                world.log.set_cleaned_below(cleaned_below);
                return;
            }
        }
    }
    panic!("a compaction is finished once");
}

fn repair(disk: &mut MemoryDisk, repairs: &[DiskOp]) {
    for op in repairs {
        disk.perform(op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    }
}
