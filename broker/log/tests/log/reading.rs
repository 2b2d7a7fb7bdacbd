//! Reads: from memory, from files, across segments, and lookups by time.

use bytes::Bytes;
use strandline_log::config::LogConfig;
use strandline_log::cut::{self, Cut};
use strandline_log::lookup::{Target, find};
use strandline_log::memory::MemoryDisk;
use strandline_log::read::ReadError;
use strandline_log::recover::Shutdown;
use strandline_log::slice::{FirstBatch, Slice, Start};
use strandline_log::transactions;
use strandline_protocol::ids::{Offset, ProducerId};
use strandline_protocol::records::{Batches, Compression, ControlType};

use crate::support::{Batch, NOW_MS, World, marker, small};

/// Twenty batches of two records over several segments.
fn twenty() -> World {
    let mut world = World::new(small());
    for step in 0..20 {
        world.append(&Batch { timestamp_ms: NOW_MS + step * 10, ..Batch::of(2) });
    }
    world
}

fn base_offsets(bytes: &Bytes) -> Vec<i64> {
    Batches::strict(bytes).map(|batch| batch.expect("whole batches").header.base_offset).collect()
}

#[test]
fn the_tail_is_read_from_memory_and_the_rest_from_files() {
    let mut world = twenty();
    let read = world.log.read(Offset(0), Offset::MAX, 100, FirstBatch::Whole).expect("in range");
    assert!(matches!(read.slices[..], [Slice::Memory(_)]));
    let all = world.offsets(0);
    assert_eq!(all, (0..40).step_by(2).collect::<Vec<_>>());
    assert!(world.log.cached_bytes() > 0);
    world.log.drop_cache();
    assert_eq!(world.log.cached_bytes(), 0);
    let read = world.log.read(Offset(0), Offset::MAX, 100, FirstBatch::Whole).expect("in range");
    let [Slice::File(slice)] = &read.slices[..] else { panic!("{read:?}") };
    assert!(matches!(slice.start, Start::Index(_)));
    assert_eq!(world.offsets(0), all);
    assert_eq!(world.offsets(7), all[3..], "a read begins with the batch that holds the offset");
}

#[test]
fn a_read_outside_the_log_is_refused_and_one_at_its_end_is_empty() {
    let mut world = twenty();
    world.log.delete_records(Offset(5), Offset(40)).expect("below the high watermark");
    let read = |from| world.log.read(Offset(from), Offset::MAX, 100, FirstBatch::Whole);
    let refused = |offset| ReadError::OutOfRange { offset: Offset(offset), log_start: Offset(5), log_end: Offset(40) };
    assert_eq!(read(4), Err(refused(4)));
    assert_eq!(read(41), Err(refused(41)));
    assert_eq!(read(40).map(|read| read.slices.len()), Ok(0));
    assert_eq!(world.offsets(5)[0], 4, "the log start lies inside a batch, which is given whole");
}

#[test]
fn nothing_that_reaches_the_bound_is_read() {
    let mut world = twenty();
    for cached in [true, false] {
        if !cached {
            world.log.drop_cache();
        }
        for (below, last) in [(0, None), (1, None), (2, Some(0)), (3, Some(0)), (4, Some(2)), (400, Some(2))] {
            let bytes = world.read(0, below, 300, FirstBatch::Whole);
            assert_eq!(base_offsets(&bytes).last().copied(), last, "below {below}, cached: {cached}");
        }
    }
}

#[test]
fn what_is_not_written_is_not_read() {
    let mut world = twenty();
    world.take(&Batch::of(2));
    assert_eq!(world.offsets(38), [38]);
    world.log.drop_cache();
    assert_eq!(world.offsets(38), [38]);
    world.drain();
    assert_eq!(world.offsets(38), [38, 40]);
    assert_eq!(world.offsets(0).len(), 21);
}

#[test]
fn a_first_batch_above_the_size_is_given_only_if_asked_for() {
    let mut world = twenty();
    for cached in [true, false] {
        if !cached {
            world.log.drop_cache();
        }
        assert_eq!(base_offsets(&world.read(2, 100, 10, FirstBatch::Whole)), [2]);
        assert_eq!(base_offsets(&world.read(2, 100, 10, FirstBatch::Fitting)), Vec::<i64>::new());
    }
}

#[test]
fn a_cut_says_how_much_more_it_needs() {
    let mut all = Batch::of(1).stamped(0, 1).to_vec();
    let first = all.len();
    all.extend_from_slice(&Batch { value_bytes: 500, ..Batch::of(1) }.stamped(1, 1));
    let all = Bytes::from(all);
    let cut_at =
        |end: usize, from| cut::cut(&all.slice(..end), Offset(from), Offset::MAX, 50, FirstBatch::Whole).expect("batches only");
    assert_eq!(cut_at(all.len(), 1), Cut::Batches(all.slice(first..)));
    assert_eq!(cut_at(first + 70, 1), Cut::Short { skipped: first, bytes: all.len() - first });
    assert_eq!(cut_at(first + 60, 1), Cut::Short { skipped: first, bytes: 61 });
    assert_eq!(cut_at(first - 1, 1), Cut::Short { skipped: first, bytes: 61 });
    assert_eq!(cut_at(all.len(), 2), Cut::Short { skipped: all.len(), bytes: 61 });
    assert!(cut::cut(&Bytes::from(vec![9; 100]), Offset(0), Offset::MAX, 50, FirstBatch::Whole).is_err());
}

#[test]
fn a_gap_at_the_end_of_a_segment_leads_on_to_the_next() {
    let mut world = World::new(small());
    let large = Batch { value_bytes: 900, ..Batch::of(1) };
    world.log.append_as_is(NOW_MS, large.stamped(0, 1)).expect("offsets grow");
    world.log.append_as_is(NOW_MS, Batch { timestamp_ms: NOW_MS - 1, ..Batch::of(1) }.stamped(5, 1)).expect("offsets grow");
    world.drain();
    world.close();
    // As compaction leaves it: the second segment begins later than the first one ends.
    let names = ["log", "index", "timeindex"].map(|kind| format!("{:020}.{kind}", 1));
    let mut disk = MemoryDisk::default();
    for name in world.names() {
        let target = if names.contains(&name) { name.replace("1.", "5.") } else { name.clone() };
        disk.put(strandline_log::disk::FilePath::inside("orders-0", &target), world.file(&name).to_vec());
    }
    world.disk = disk;
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.log.segments(), 2);
    assert_eq!(world.offsets(1), [5]);
    assert_eq!(world.offsets(0), [0, 5]);
}

fn found(world: &World, target: Target, below: i64) -> Option<(i64, i64)> {
    let lookup = world.log.lookup(target, Offset(below));
    find(&world.disk, &lookup).expect("files are sound").map(|found| (found.timestamp_ms - NOW_MS, found.offset.0))
}

#[test]
fn a_timestamp_is_found_to_the_record() {
    let mut world = twenty();
    for reopened in [false, true] {
        if reopened {
            world.close();
            world.reopen(world.checkpoints(), Shutdown::Clean);
        }
        let at = |timestamp| found(&world, Target::AtOrAfter(NOW_MS + timestamp), 40);
        assert_eq!(at(-100), Some((0, 0)));
        assert_eq!(at(1), Some((1, 1)));
        assert_eq!(at(2), Some((10, 2)));
        assert_eq!(at(191), Some((191, 39)));
        assert_eq!(at(192), None);
        assert_eq!(found(&world, Target::AtOrAfter(NOW_MS + 185), 38), None, "not to be seen yet");
        assert_eq!(found(&world, Target::Maximum, 40), Some((191, 39)));
        assert_eq!(found(&world, Target::Maximum, 39), Some((181, 37)));
        assert_eq!(found(&world, Target::Maximum, 0), None);
    }
}

#[test]
fn the_largest_timestamp_is_that_of_the_first_record_that_has_it() {
    let mut world = World::new(small());
    for timestamp in [10, 50, 20, 50, 30, 49] {
        world.append(&Batch { compression: Compression::Lz4, ..Batch::at(NOW_MS + timestamp) });
        for _ in 0..3 {
            world.append(&Batch::at(NOW_MS));
        }
    }
    assert!(world.log.segments() > 1);
    assert_eq!(found(&world, Target::Maximum, i64::MAX), Some((50, 4)));
    world.log.delete_records(Offset(5), Offset(24)).expect("below the high watermark");
    assert_eq!(found(&world, Target::Maximum, i64::MAX), Some((50, 12)));
    assert_eq!(found(&world, Target::AtOrAfter(NOW_MS), i64::MAX), Some((0, 5)));
}

#[test]
fn transactions_hold_the_last_stable_offset_back_until_they_end() {
    let mut world = World::new(small());
    world.append(&Batch::of(2));
    world.append(&Batch::from_producer(1, 0, 0).in_transaction());
    world.append(&Batch::from_producer(2, 0, 0).in_transaction());
    assert_eq!(world.log.last_stable(Offset(4)), Offset(2));
    world.append_bytes(marker(ControlType::Abort, 1, 0, 5));
    assert_eq!(world.log.last_stable(Offset(4)), Offset(2), "the marker is not below the high watermark yet");
    assert_eq!(world.log.last_stable(Offset(5)), Offset(3));
    world.log.on_high_watermark(Offset(5));
    assert_eq!(world.log.last_stable(Offset(5)), Offset(3));
    world.append_bytes(marker(ControlType::Commit, 2, 0, 5));
    world.log.on_high_watermark(Offset(6));
    assert_eq!(world.log.last_stable(Offset(6)), Offset(6));
    let aborted = |world: &World| {
        let query = world.log.aborted(Offset(0), Offset(6));
        let aborted = transactions::aborted(&world.disk, &query).expect("files are sound");
        aborted.iter().map(|entry| (entry.producer_id, entry.first.0, entry.last.0, entry.last_stable.0)).collect::<Vec<_>>()
    };
    let expected = [(ProducerId(1), 2, 4, 3)];
    assert_eq!(aborted(&world), expected);
    world.crash();
    assert_eq!(aborted(&world), expected, "found again by the scan");
    for _ in 0..10 {
        world.append(&Batch::of(2));
    }
    assert!(world.log.segments() > 1);
    assert_eq!(aborted(&world), expected);
    world.close();
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(aborted(&world), expected, "from the index file");
}

#[test]
fn a_large_first_batch_behind_many_small_ones_is_found_in_a_file() {
    let mut world = World::new(LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 1 << 20, ..small() });
    for _ in 0..1_000 {
        world.append(&Batch::default());
    }
    let large = world.append(&Batch { value_bytes: 200_000, ..Batch::default() });
    world.log.drop_cache();
    assert_eq!(world.offsets(large.base_offset.0), [1_000]);
    assert_eq!(
        world.read(1_000, i64::MAX, 1, FirstBatch::Whole).len(),
        Batch { value_bytes: 200_000, ..Batch::default() }.bytes().len()
    );
}

#[test]
fn a_first_batch_that_does_not_fit_is_never_skipped_for_one_of_the_next_segment() {
    let mut world = World::new(small());
    let large = Batch { value_bytes: 600, ..Batch::default() };
    let medium = Batch { value_bytes: 250, ..Batch::default() };
    for batch in [&Batch::default(), &large, &medium, &Batch::default()] {
        world.append(batch);
    }
    assert_eq!(world.log.segments(), 2);
    world.close();
    world.reopen(world.checkpoints(), Shutdown::Clean);
    // All have the same timestamp, so its time index does not tell where the first segment ends.
    assert!(world.log.read(Offset(1), Offset(4), 400, FirstBatch::Whole).expect("in range").slices.len() > 1);
    assert!(world.read(1, 4, 400, FirstBatch::Fitting).is_empty());
    assert_eq!(world.offsets(0), [0, 1, 2, 3]);
}
