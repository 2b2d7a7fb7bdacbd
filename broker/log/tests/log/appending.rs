//! Appends, group commit, segments, closing.

use std::sync::Arc;

use strandline_log::append::AppendError;
use strandline_log::config::LogConfig;
use strandline_log::disk::{DiskDone, DiskError, DiskOp, Durability, FilePath};
use strandline_log::index;
use strandline_log::log::Log;
use strandline_log::time_index;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId};

use crate::support::{Batch, NOW_MS, World, small};

#[test]
fn a_partition_without_records_has_no_files_and_wants_nothing() {
    let mut world = World::new(small());
    assert_eq!(world.log.poll(NOW_MS), None);
    assert_eq!(world.log.begin_epoch(LeaderEpoch(3)), Ok(Offset(0)));
    assert_eq!(world.log.poll(NOW_MS), None);
    world.close();
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn the_first_append_is_preceded_by_the_topic_id() {
    let mut world = World::new(small());
    let appended = world.append(&Batch::of(3));
    assert_eq!((appended.base_offset, appended.last_offset), (Offset(0), Offset(2)));
    assert_eq!(world.done, ["write partition.metadata", "append .log at 0, 1"]);
    assert_eq!(world.ends(), (0, 3, 3, 3));
}

#[test]
fn what_arrives_while_an_append_is_under_way_rides_in_the_next_one() {
    let mut world = World::new(small());
    world.append(&Batch::default());
    world.take(&Batch::default());
    let first = world.log.poll(NOW_MS).expect("an append is wanted");
    for _ in 0..3 {
        world.take(&Batch::default());
        assert_eq!(world.log.poll(NOW_MS), None, "one operation is in flight");
    }
    assert_eq!(world.ends(), (0, 1, 1, 5));
    let done = world.disk.perform(&first).expect("it is at the end");
    let progress = world.log.on_done(NOW_MS, Ok(done)).expect("it ended well");
    assert_eq!((progress.positions.readable_end, progress.readable_moved), (Offset(2), true));
    let second = world.log.poll(NOW_MS).expect("an append is wanted");
    let DiskOp::Append { parts, .. } = &second else { panic!("{second:?}") };
    assert_eq!(parts.len(), 3);
}

#[test]
fn offset_and_epoch_are_stamped_and_nothing_else_changes() {
    let mut world = World::new(small());
    world.append(&Batch::of(2));
    let sent = Batch::of(2).bytes();
    world.append_bytes(sent.clone());
    let stored = world.read(2, i64::MAX, 1_000, strandline_log::slice::FirstBatch::Whole);
    assert_eq!(stored[..8], 2i64.to_be_bytes());
    assert_eq!(stored[8..12], sent[8..12]);
    assert_eq!(stored[12..16], 3i32.to_be_bytes());
    assert_eq!(stored[16..], sent[16..]);
}

#[test]
fn an_old_epoch_a_cut_batch_and_one_above_the_segment_size_are_refused() {
    let mut world = World::new(small());
    world.append(&Batch::default());
    let mut append = |bytes, epoch| world.log.append(NOW_MS, bytes, LeaderEpoch(epoch));
    let behind = AppendError::EpochBehind { latest: LeaderEpoch(3), found: LeaderEpoch(2) };
    assert_eq!(append(Batch::default().bytes(), 2), Err(behind));
    assert!(matches!(append(Batch::default().bytes().slice(..70), 3), Err(AppendError::Batch(_))));
    let large = Batch { value_bytes: 2_000, ..Batch::default() };
    assert!(matches!(append(large.bytes(), 3), Err(AppendError::LargerThanSegment { bytes_max: 1_000, .. })));
    assert_eq!(world.ends(), (0, 1, 1, 1));
}

#[test]
fn a_batch_that_was_taken_when_segments_were_larger_is_replicated_into_one_of_its_own() {
    let mut world = World::new(small());
    world.append(&Batch::default());
    let large = Batch { value_bytes: 2_000, ..Batch::default() };
    for (base, batch) in [(1, large.clone()), (2, large), (3, Batch::default())] {
        world.log.append_as_is(NOW_MS, batch.stamped(base, 3)).expect("it is taken");
    }
    world.drain();
    assert_eq!(world.log.segments(), 4);
    world.crash();
    assert_eq!((world.log.segments(), world.ends()), (4, (0, 4, 4, 4)));
    assert_eq!(world.offsets(0), [0, 1, 2, 3]);
}

#[test]
fn a_full_segment_is_sealed_before_the_next_one_is_appended_to() {
    let mut world = World::new(small());
    let batch = Batch { value_bytes: 400, ..Batch::default() };
    let bytes = batch.bytes().len();
    world.append(&batch);
    world.append(&batch);
    world.done.clear();
    world.append(&batch);
    assert_eq!(
        world.done,
        [
            format!("seal .log {}", 2 * bytes).as_str(),
            "append 2.log at 0, 1",
            "write .index",
            "write .timeindex",
            "write leader-epoch-checkpoint",
            "write 2.snapshot",
        ]
    );
    assert_eq!(world.log.recovery_point(), Offset(2));
    assert_eq!(world.file("00000000000000000000.log").len(), 2 * bytes);
}

#[test]
fn small_files_of_a_roll_take_turns_with_appends() {
    let mut world = World::new(small());
    let batch = Batch { value_bytes: 400, ..Batch::default() };
    world.append(&batch);
    world.append(&batch);
    world.done.clear();
    world.take(&batch);
    for _ in 0..4 {
        world.step();
        world.take(&Batch { value_bytes: 10, ..batch.clone() });
    }
    let kinds: Vec<&str> = world.done.iter().map(|done| done.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["seal", "append", "write", "append"]);
}

#[test]
fn a_segment_ends_at_a_batch_that_is_too_much_younger_than_its_first() {
    let mut world = World::new(LogConfig { segment_ms: 1_000, ..small() });
    world.append(&Batch::at(NOW_MS));
    world.append(&Batch::at(NOW_MS + 1_000));
    assert_eq!(world.log.segments(), 1);
    world.append(&Batch::at(NOW_MS + 1_001));
    assert_eq!(world.log.segments(), 2);
    world.now_ms += 1_000_000;
    world.append(&Batch::at(NOW_MS + 1_002));
    assert_eq!(world.log.segments(), 2, "the clock does not end a segment that has timestamps");
}

#[test]
fn a_segment_ends_when_its_index_is_full() {
    let config = LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 0, segment_index_bytes: 48, ..small() };
    let mut world = World::new(config);
    for step in 0..20 {
        world.append(&Batch::at(NOW_MS + step));
    }
    // Four entries of 12 bytes fit, one of them is kept for the end, and the first batch of a segment has none.
    assert_eq!(world.log.segments(), 5);
    assert_eq!(world.file("00000000000000000000.timeindex").len(), 36);
    assert_eq!(world.offsets(0), (0..20).collect::<Vec<_>>());
}

#[test]
fn indexes_hold_an_entry_per_interval_and_the_largest_timestamp() {
    let mut world = World::new(LogConfig { segment_bytes: 100_000, ..small() });
    let batch_bytes = Batch::default().bytes().len() as u32;
    for step in 0..10 {
        world.append(&Batch::at(NOW_MS + step));
    }
    world.append(&Batch::at(NOW_MS - 5));
    world.close();
    let offsets = world.file("00000000000000000000.index");
    let entry = index::entry_at(offsets, Offset(0), 0).expect("there is one");
    assert_eq!((entry.offset, entry.position), (Offset(3), 3 * batch_bytes), "more than 200 bytes lie before it");
    let times = world.file("00000000000000000000.timeindex");
    let last = time_index::entry_at(times, Offset(0), time_index::entries(times) - 1).expect("there is one");
    assert_eq!((last.timestamp_ms, last.offset), (NOW_MS + 9, Offset(9)));
}

#[test]
fn closing_cuts_the_padding_and_leaves_what_kafka_leaves() {
    let mut world = World::new(small());
    world.append(&Batch::default());
    world.close();
    assert_eq!(
        world.names(),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000001.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ]
    );
    assert_eq!(world.file("00000000000000000000.log").len(), Batch::default().bytes().len());
    assert_eq!(world.log.append(NOW_MS, Batch::default().bytes(), LeaderEpoch(3)), Err(AppendError::Closed));
}

#[test]
fn closing_writes_what_was_taken_before() {
    let mut world = World::new(small());
    for _ in 0..30 {
        world.take(&Batch::default());
    }
    world.close();
    assert_eq!(world.ends(), (0, 30, 30, 30));
    assert_eq!(world.log.recovery_point(), Offset(30));
}

#[test]
fn a_checkpoint_moves_the_recovery_point_once_everything_is_written() {
    let mut world = World::new(LogConfig { segment_bytes: 100_000, ..small() });
    world.append(&Batch::of(5));
    assert!(world.log.checkpoint());
    assert_eq!(world.log.recovery_point(), Offset(0));
    world.drain();
    assert_eq!(world.log.recovery_point(), Offset(5));
    assert!(!world.log.checkpoint(), "nothing changed since");
    world.append(&Batch::of(5));
    assert!(world.log.checkpoint());
    world.drain();
    let snapshots: Vec<String> = world.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, ["00000000000000000010.snapshot"], "the one of the checkpoint before is gone");
}

#[test]
fn written_records_are_readable_and_become_durable_at_a_checkpoint() {
    let mut world = World::new(LogConfig { durability: Durability::Written, segment_bytes: 100_000, ..small() });
    world.append(&Batch::of(2));
    assert_eq!(world.ends(), (0, 0, 2, 2));
    world.log.checkpoint();
    world.drain();
    assert_eq!(world.ends(), (0, 2, 2, 2));
    assert_eq!(world.log.recovery_point(), Offset(2));
}

/// Found by the simulator: the log believed that a durable append makes durable what was only written before it.
#[test]
fn records_written_before_durability_was_asked_for_are_made_durable_by_a_sync() {
    let written = LogConfig { durability: Durability::Written, segment_bytes: 100_000, ..small() };
    let mut world = World::new(written.clone());
    world.append(&Batch::of(2));
    world.take(&Batch::of(1));
    world.log.set_config(Arc::new(LogConfig { durability: Durability::Durable, ..written.clone() }));
    world.take(&Batch::of(1));
    world.step().expect("the append of before");
    assert_eq!(world.ends(), (0, 0, 3, 4), "it was only written, whatever the settings say now");
    world.step().expect("the sync");
    assert_eq!(world.ends(), (0, 3, 3, 4));
    world.log.set_config(Arc::new(written));
    world.drain();
    assert_eq!(world.ends(), (0, 3, 4, 4));
}

#[test]
fn what_was_durably_appended_is_durable_although_the_settings_changed_meanwhile() {
    let durable = LogConfig { segment_bytes: 100_000, ..small() };
    let mut world = World::new(durable.clone());
    world.take(&Batch::of(1));
    world.step().expect("the directory's file");
    let op = world.log.poll(NOW_MS).expect("the append");
    world.log.set_config(Arc::new(LogConfig { durability: Durability::Written, ..durable }));
    let done = world.disk.perform(&op).expect("the disk is sound");
    world.log.on_done(NOW_MS, Ok(done)).expect("it ended well");
    assert_eq!(world.ends(), (0, 1, 1, 1));
}

#[test]
fn a_failed_operation_ends_the_log() {
    let mut world = World::new(small());
    world.take(&Batch::default());
    world.log.poll(NOW_MS).expect("something is wanted");
    let error = DiskError::Full { file: FilePath::top("x") };
    assert_eq!(world.log.on_done(NOW_MS, Err(error.clone())), Err(error));
    assert!(world.log.has_failed());
    assert_eq!(world.log.poll(NOW_MS), None);
    assert_eq!(world.log.append(NOW_MS, Batch::default().bytes(), LeaderEpoch(3)), Err(AppendError::Closed));
    assert_eq!(world.log.close(), Err(AppendError::Closed));
}

#[test]
fn given_offsets_are_kept_and_never_go_back() {
    let mut world = World::new(small());
    let mut bytes = Batch::of(2).stamped(10, 1).to_vec();
    bytes.extend_from_slice(&Batch::of(1).stamped(20, 2));
    world.log.append_as_is(NOW_MS, bytes.into()).expect("offsets grow");
    world.drain();
    assert_eq!(world.offsets(0), [10, 20]);
    assert_eq!(world.log.epochs().latest(), Some(LeaderEpoch(2)));
    let mut append = |base, epoch| world.log.append_as_is(NOW_MS, Batch::of(1).stamped(base, epoch));
    assert_eq!(append(20, 2), Err(AppendError::OffsetBehind { log_end: Offset(21), found: Offset(20) }));
    assert_eq!(append(21, 1), Err(AppendError::EpochBehind { latest: LeaderEpoch(2), found: LeaderEpoch(1) }));
    assert_eq!(world.ends(), (0, 21, 21, 21));
}

#[test]
fn offsets_out_of_reach_of_a_segment_begin_a_new_one() {
    let mut world = World::new(small());
    let far = i64::from(i32::MAX) + 100;
    for base in [0, 5, far, far + i64::from(i32::MAX) + 1] {
        world.log.append_as_is(NOW_MS, Batch::of(1).stamped(base, 1)).expect("offsets grow");
    }
    world.drain();
    assert_eq!(world.log.segments(), 3);
    assert_eq!(world.offsets(0), [0, 5, far, far + i64::from(i32::MAX) + 1]);
    let report = world.crash();
    assert_eq!(report.segments_removed, 0);
    assert_eq!(world.offsets(0), [0, 5, far, far + i64::from(i32::MAX) + 1]);
}

#[test]
fn a_segment_jitter_differs_by_partition_and_stays_below_its_bound() {
    let config = Arc::new(LogConfig { segment_ms: 10_000, segment_jitter_ms: 5_000, ..LogConfig::default() });
    let rolled_after = |directory: &str| {
        let mut log = Log::new(directory, TopicId([1; 16]), config.clone());
        let mut append = |time_ms| log.append(NOW_MS, Batch::at(time_ms).bytes(), LeaderEpoch(0)).expect("open");
        append(0);
        let mut append_again = |time_ms| {
            log.append(NOW_MS, Batch::at(time_ms).bytes(), LeaderEpoch(0)).expect("open");
            log.segments()
        };
        (5_000..=10_001).find(|time_ms| append_again(*time_ms) == 2)
    };
    let (one, other) = (rolled_after("a-0"), rolled_after("a-1"));
    assert!(one.is_some() && other.is_some());
    assert_ne!(one, other);
}

#[test]
fn an_idle_log_is_small() {
    assert!(size_of::<Log>() <= 600, "{} bytes", size_of::<Log>());
}

#[test]
fn an_append_that_brings_other_bytes_back_is_a_bug() {
    let mut world = World::new(small());
    world.append(&Batch::default());
    world.take(&Batch::default());
    world.log.poll(NOW_MS).expect("an append is wanted");
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.log.on_done(NOW_MS, Ok(DiskDone::Appended(bytes::Bytes::from_static(b"short"))))
    }));
    assert!(outcome.is_err());
}
