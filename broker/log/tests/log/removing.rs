//! Retention, deleted records, deleted logs, forgotten producers.

use std::sync::Arc;

use strandline_log::config::LogConfig;
use strandline_log::recover::Shutdown;
use strandline_log::retention::{DeleteError, Expired};
use strandline_protocol::ids::{LeaderEpoch, Offset};

use crate::support::{Batch, NOW_MS, World, small};

/// Twenty batches a second apart, seven a segment.
fn twenty(config: LogConfig) -> World {
    let mut world = World::new(config);
    for second in 0..20 {
        world.append(&Batch { value_bytes: 60, ..Batch::at(NOW_MS + second * 1_000) });
    }
    world.done.clear();
    world
}

fn by_time(retention_ms: i64) -> LogConfig {
    LogConfig { retention_ms, ..small() }
}

#[test]
fn segments_that_are_too_old_go_oldest_first() {
    let mut world = twenty(by_time(10_000));
    let segments = world.log.segments();
    assert_eq!(segments, 3);
    world.now_ms = NOW_MS + 6_000 + 10_000;
    assert_eq!(world.log.expire(world.now_ms, Offset(20)).segments, 0, "not older, just as old");
    world.now_ms += 1;
    assert_eq!(world.log.expire(world.now_ms, Offset(6)).segments, 0, "not replicated yet");
    assert_eq!(world.log.expire(world.now_ms, Offset(20)).segments, 1);
    assert_eq!(world.ends(), (7, 20, 20, 20));
    world.drain();
    assert_eq!(world.done, ["rename .log .log.deleted"]);
    assert_eq!(world.offsets(7), (7..20).collect::<Vec<_>>());
}

#[test]
fn removed_files_wait_for_readers_that_were_sent_to_them() {
    let mut world = twenty(by_time(10_000));
    world.now_ms = NOW_MS + 17_000;
    world.log.expire(world.now_ms, Offset(20));
    world.drain();
    assert_eq!(world.log.next_due(), Some(world.now_ms + 1_000));
    world.now_ms += 999;
    world.drain();
    assert_eq!(world.done.len(), 1);
    world.now_ms += 1;
    world.drain();
    let deleted = ["delete .log.deleted", "delete .index", "delete .timeindex", "delete .txnindex", "delete .snapshot"];
    assert_eq!(world.done[1..], deleted);
    assert_eq!(world.log.next_due(), None);
}

#[test]
fn everything_may_go_and_the_next_offset_stays() {
    let mut world = twenty(by_time(10_000));
    world.now_ms = NOW_MS + 100_000;
    let expired = world.log.expire(world.now_ms, Offset(20));
    assert_eq!(expired.segments, 3);
    assert_eq!(world.ends(), (20, 20, 20, 20));
    world.drain();
    world.now_ms += 10_000;
    world.drain();
    let names = world.names();
    assert!(names.contains(&"00000000000000000020.log".to_owned()), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".log")).count(), 1);
    // Even without the checkpoint of the log start.
    world.reopen(Default::default(), Shutdown::Unclean);
    assert_eq!(world.ends(), (20, 20, 20, 20));
    world.append(&Batch::at(world.now_ms));
    assert_eq!(world.offsets(20), [20]);
    world.crash();
    assert_eq!(world.offsets(20), [20]);
}

#[test]
fn a_timestamp_in_the_future_pins_its_segment_and_all_behind() {
    let mut world = World::new(by_time(1_000));
    world.append(&Batch::at(NOW_MS + 1_000_000_000));
    for _ in 0..20 {
        world.append(&Batch::at(NOW_MS));
    }
    world.now_ms += 1_000_000;
    assert_eq!(world.log.expire(world.now_ms, Offset(21)), Expired::default());
}

#[test]
fn a_log_is_held_above_its_size_by_less_than_a_segment() {
    let mut world = twenty(LogConfig { retention_ms: -1, retention_bytes: 1_000, ..small() });
    let bytes = world.log.bytes();
    let expired = world.log.expire(world.now_ms, Offset(20));
    assert_eq!(expired.segments, 1);
    assert_eq!(world.log.bytes(), bytes - expired.bytes);
    assert!(world.log.bytes() >= 1_000);
    assert_eq!(world.log.expire(world.now_ms, Offset(20)), Expired::default());
}

#[test]
fn without_delete_in_the_policy_only_what_lies_below_the_log_start_goes() {
    let mut world = twenty(LogConfig { expires: false, retention_bytes: 1, ..by_time(1) });
    world.now_ms += 1_000_000;
    assert_eq!(world.log.expire(world.now_ms, Offset(20)), Expired::default());
    assert_eq!(world.log.delete_records(Offset(8), Offset(20)), Ok(Offset(8)));
    assert_eq!(world.log.segments(), 2);
}

#[test]
fn deleted_records_move_the_start_and_take_whole_segments() {
    let mut world = twenty(small());
    let above = DeleteError::AboveHighWatermark { before: Offset(11), high_watermark: Offset(10) };
    assert_eq!(world.log.delete_records(Offset(11), Offset(10)), Err(above));
    assert_eq!(world.log.delete_records(Offset(15), Offset(20)), Ok(Offset(15)));
    assert_eq!(world.log.delete_records(Offset(9), Offset(20)), Ok(Offset(15)), "it never goes back");
    world.drain();
    assert_eq!(world.log.segments(), 1);
    assert_eq!(world.log.epochs().entries().first().map(|entry| entry.start), Some(Offset(15)));
    let checkpoints = world.checkpoints();
    world.reopen(checkpoints, Shutdown::Unclean);
    assert_eq!(world.ends(), (15, 20, 20, 20));
    assert_eq!(world.log.delete_records(Offset(20), Offset(20)), Ok(Offset(20)));
    assert_eq!(world.ends(), (20, 20, 20, 20));
    assert_eq!(world.log.segments(), 1, "the active segment stays");
}

#[test]
fn a_deleted_log_gets_another_name_at_once_and_goes_later() {
    let mut world = twenty(small());
    world.take(&Batch::default());
    world.log.delete(0xabc).expect("the log is open");
    world.drain();
    let name = "orders-0.00000000000000000000000000000abc-delete";
    assert_eq!(world.done, [format!("rename orders-0 {name}").as_str()]);
    assert!(!world.log.is_closed());
    world.now_ms += 1_000;
    world.drain();
    assert_eq!(world.done[1], format!("delete directory {name}"));
    assert!(world.log.is_closed());
    assert_eq!(world.disk.paths().count(), 0);
    assert!(world.log.append(NOW_MS, Batch::default().bytes(), LeaderEpoch(9)).is_err());
}

#[test]
fn a_log_without_files_is_deleted_at_once() {
    let mut world = World::new(small());
    world.log.delete(1).expect("the log is open");
    assert!(world.log.is_closed());
    assert_eq!(world.log.poll(NOW_MS), None);
}

#[test]
fn a_log_that_is_deleted_before_anything_was_written_leaves_no_wish() {
    let mut world = World::new(small());
    world.take(&Batch::default());
    world.log.delete(1).expect("the log is open");
    assert!(world.log.is_closed());
    let mut world = World::new(small());
    world.take(&Batch::default());
    let op = world.log.poll(NOW_MS).expect("the directory is wanted");
    world.log.delete(1).expect("the log is open");
    assert!(!world.log.is_closed(), "the directory is being made");
    let done = world.disk.perform(&op).expect("it makes the directory");
    world.log.on_done(NOW_MS, Ok(done)).expect("it ended well");
    world.drain();
    world.now_ms += 1_000;
    world.drain();
    assert!(world.log.is_closed());
    assert_eq!(world.disk.paths().count(), 0);
}

#[test]
fn silent_producers_are_forgotten_and_too_many_make_room() {
    let config = LogConfig { producer_id_expiration_ms: 1_000, producers_max: 20, retention_ms: -1, ..small() };
    let mut world = World::new(config);
    for id in 0..30 {
        world.now_ms += 1;
        world.append(&Batch::from_producer(id, 0, 0));
    }
    let known: Vec<i64> = world.log.producers().expect("some are known").iter().map(|(id, _)| id.0).collect();
    assert!(known.len() <= 20 && known.last() == Some(&29), "{known:?}");
    world.append(&Batch::from_producer(99, 0, 0).in_transaction());
    world.now_ms += 1_000;
    world.log.expire(world.now_ms, Offset(31));
    let known: Vec<i64> = world.log.producers().expect("one is known").iter().map(|(id, _)| id.0).collect();
    assert_eq!(known, [99], "its transaction is open");
}

#[test]
fn settings_change_while_the_log_is_open() {
    let mut world = twenty(by_time(-1));
    world.now_ms += 1_000_000;
    assert_eq!(world.log.expire(world.now_ms, Offset(20)), Expired::default());
    world.log.set_config(Arc::new(by_time(1_000)));
    assert_eq!(world.log.expire(world.now_ms, Offset(20)).segments, 3);
}

#[test]
fn a_log_can_begin_again_at_another_offset() {
    let mut world = twenty(small());
    world.log.restart_at(world.now_ms, Offset(500));
    assert_eq!(world.ends(), (500, 500, 500, 500));
    world.drain();
    world.append(&Batch::default());
    assert_eq!(world.offsets(500), [500]);
    assert_eq!(world.log.epochs().entries().len(), 1);
    world.reopen(Default::default(), Shutdown::Unclean);
    assert_eq!(world.ends(), (500, 501, 501, 501));
}

#[test]
fn a_log_that_begins_again_leaves_no_file_of_a_segment_that_was_still_empty() {
    for offset in [15, 500] {
        let mut world = twenty(small());
        world.log.end_segment(world.now_ms, 0);
        world.drain();
        world.log.restart_at(world.now_ms, Offset(offset));
        world.drain();
        for _ in 0..20 {
            world.append(&Batch::default());
        }
        world.reopen(Default::default(), Shutdown::Unclean);
        assert_eq!(world.ends(), (offset, offset + 20, offset + 20, offset + 20));
        assert!(world.disk.paths().all(|path| !path.as_str().ends_with("/00000000000000000020.log")), "it is of the old log");
    }
}

#[test]
fn a_log_can_begin_again_below_its_end() {
    let mut world = twenty(small());
    world.log.restart_at(world.now_ms, Offset(15));
    world.drain();
    assert_eq!(world.ends(), (15, 15, 15, 15), "the end of the old segment is nothing of the new log");
    world.append(&Batch::default());
    assert_eq!(world.offsets(15), [15]);
    world.reopen(Default::default(), Shutdown::Unclean);
    assert_eq!(world.ends(), (15, 16, 16, 16));
}
