//! A log takes the place of another one.

use std::sync::Arc;

use strandline_log::config::LogConfig;
use strandline_log::disk::{Durability, FilePath, Files, LogDir};
use strandline_log::log::Log;
use strandline_log::memory::MemoryDisk;
use strandline_log::recover::{Checkpoints, Recovery, Shutdown, recover};
use strandline_log::slice::FirstBatch;
use strandline_protocol::ids::{LeaderEpoch, Offset, ProducerId, TopicId};
use strandline_protocol::records::ControlType;

use crate::support::{Batch, DIRECTORY, NOW_MS, World, marker, small};

const COPY: &str = "orders-0.00000000000000000000000000000001-future";

/// A copy in another log directory.
fn copy(config: LogConfig) -> World {
    let log = Log::new(FilePath::of(LogDir(1), COPY), TopicId([7; 16]), Arc::new(config));
    World { log, ..World::new(small()) }
}

/// Copies what can be read, as a move does.
fn copy_all(from: &World, to: &mut World) {
    loop {
        let (next, below) = (to.log.positions().log_end, from.log.positions().readable_end);
        if next >= below {
            return;
        }
        let bytes = from.read(next.0, below.0, 1, FirstBatch::Whole);
        to.log.append_as_is(NOW_MS, bytes).expect("taken");
        to.drain();
    }
}

/// Renames the copy's directory and puts it in the log's place, with the log's wishes.
fn exchange(from: &mut World, to: &mut World) {
    to.log.take_name(FilePath::of(LogDir(1), DIRECTORY));
    to.drain();
    to.log.take_over(NOW_MS, &mut from.log);
}

fn begun(from: &World, config: LogConfig) -> World {
    let mut to = copy(config);
    to.log.begin_at(NOW_MS, from.log.positions().log_start);
    to.drain();
    to
}

#[test]
fn what_is_written_while_a_copy_gets_its_name_does_not_make_the_old_directory_again() {
    let mut from = World::new(small());
    from.append(&Batch::of(3));
    let mut to = begun(&from, small());
    copy_all(&from, &mut to);
    to.log.take_name(FilePath::of(LogDir(1), DIRECTORY));
    assert!(!to.log.checkpoint(), "not now");
    let rename = to.log.poll(NOW_MS).expect("it is to be renamed");
    assert!(!to.log.checkpoint(), "nor while that is under way");
    let done = to.disk.perform(&rename);
    to.log.on_done(NOW_MS, done).expect("a good disk");
    assert!(to.log.checkpoint());
    to.drain();
    assert!(to.disk.list(&FilePath::of(LogDir(1), COPY)).is_err(), "the old directory is there again");
}

#[test]
fn what_was_given_and_not_written_is_written_to_the_copy() {
    let mut from = World::new(small());
    for _ in 0..20 {
        from.append(&Batch::of(3));
    }
    let mut to = begun(&from, small());
    copy_all(&from, &mut to);
    // More than a segment of them, in several epochs and by a producer that is new.
    for number in 0..20 {
        from.epoch = LeaderEpoch(3 + number / 10);
        from.take(&Batch { records: 1, ..Batch::from_producer(5, 0, number) });
    }
    exchange(&mut from, &mut to);
    let log_end = from.log.positions().log_end;
    assert_eq!(to.log.positions().log_end, log_end);
    assert_eq!(to.log.positions().readable_end, Offset(60), "nothing counts before it is written");
    assert!(from.log.poll(NOW_MS).is_none(), "the old log writes nothing any more");
    to.drain();
    assert_eq!(to.log.positions().durable_end, log_end);
    assert_eq!(to.offsets(0), (0..20).map(|batch| batch * 3).chain(60..80).collect::<Vec<_>>());
    assert_eq!(to.log.epochs(), from.log.epochs());
    assert_eq!(to.log.producer(ProducerId(5)).expect("known").last_sequence(), 19);
    let reopened = recover(
        &to.disk,
        &Recovery {
            directory: FilePath::of(LogDir(1), DIRECTORY),
            config: Arc::new(small()),
            checkpoints: Checkpoints { recovery_point: to.log.recovery_point(), ..Checkpoints::default() },
            shutdown: Shutdown::Unclean,
            now_ms: NOW_MS,
        },
    )
    .expect("sound");
    assert_eq!(reopened.log.positions().log_end, log_end);
    assert_eq!(reopened.log.epochs().entries(), from.log.epochs().entries());
}

#[test]
fn readers_of_the_end_find_their_records_in_memory() {
    let mut from = World::new(small());
    from.append(&Batch::of(3));
    let mut to = begun(&from, small());
    copy_all(&from, &mut to);
    to.log.drop_cache();
    let cached = from.log.cached_bytes();
    exchange(&mut from, &mut to);
    assert_eq!((to.log.cached_bytes(), from.log.cached_bytes()), (cached, 0));
    to.append(&Batch::of(2));
    assert_eq!(to.offsets(0), [0, 3]);
}

#[test]
fn producers_whose_records_are_gone_are_adopted_and_open_transactions_are_not() {
    let mut from = World::new(small());
    from.append(&Batch::from_producer(5, 2, 7));
    from.append(&Batch::from_producer(6, 0, 0).in_transaction());
    from.append_bytes(marker(ControlType::Abort, 6, 0, 1));
    from.append(&Batch::from_producer(8, 0, 0).in_transaction());
    let end = from.log.positions().log_end;
    from.log.delete_records(end, end).expect("deleted");
    from.append(&Batch::of(1));
    let mut to = begun(&from, small());
    copy_all(&from, &mut to);
    to.log.adopt(&from.log);
    to.drain();
    let known = |world: &World, id| world.log.producer(ProducerId(id)).map(|producer| producer.last_sequence());
    assert_eq!([5, 6, 8].map(|id| known(&to, id)), [Some(7), Some(0), None]);
    assert_eq!(to.log.recovery_point(), to.log.positions().log_end, "all of it is written down");
    exchange(&mut from, &mut to);
    assert_eq!([5, 6, 8].map(|id| known(&to, id)), [Some(7), Some(0), Some(0)]);
    to.log.on_high_watermark(end);
    assert_eq!(to.log.first_unstable(), Some(Offset(3)));
}

#[test]
fn a_log_that_begins_inside_a_batch_is_copied_from_that_batch_on() {
    let mut from = World::new(small());
    from.append(&Batch::of(4));
    from.append(&Batch::of(4));
    from.log.delete_records(Offset(6), Offset(8)).expect("deleted");
    let mut to = begun(&from, small());
    copy_all(&from, &mut to);
    assert_eq!(to.ends(), (6, 8, 8, 8));
    assert_eq!(to.offsets(6), [4]);
    exchange(&mut from, &mut to);
    let names: Vec<String> =
        to.disk.list(&FilePath::of(LogDir(1), DIRECTORY)).expect("there").into_iter().map(|entry| entry.name).collect();
    assert!(names.contains(&"00000000000000000004.log".to_owned()) && !names.contains(&"00000000000000000006.log".to_owned()));
    // A batch that ends before the log begins is still no part of it.
    let mut other = begun(&from, small());
    assert!(other.log.append_as_is(NOW_MS, Batch::of(2).stamped(3, 3)).is_err());
    other.log.append_as_is(NOW_MS, Batch::of(4).stamped(4, 3)).expect("it holds the start");
    assert!(other.log.append_as_is(NOW_MS, Batch::of(4).stamped(6, 3)).is_err(), "only the first one reaches back");
}

#[test]
fn a_gap_at_the_end_of_a_log_is_a_gap_at_the_end_of_its_copy() {
    let mut to = copy(small());
    to.log.begin_at(NOW_MS, Offset(0));
    to.drain();
    to.log.append_as_is(NOW_MS, Batch::of(2).stamped(0, 3)).expect("taken");
    to.drain();
    to.log.leave_gap(NOW_MS, Offset(50));
    to.drain();
    assert_eq!(to.ends(), (0, 50, 50, 50));
    to.log.append_as_is(NOW_MS, Batch::of(1).stamped(50, 3)).expect("taken");
    to.drain();
    assert_eq!(to.offsets(0), [0, 50]);
}

#[test]
fn what_was_only_written_is_made_durable() {
    let config = || LogConfig { durability: Durability::Written, ..small() };
    let mut from = World::new(config());
    from.append(&Batch::of(3));
    let mut to = begun(&from, config());
    copy_all(&from, &mut to);
    assert_eq!(to.log.positions().durable_end, Offset(0));
    to.log.make_durable();
    to.drain();
    assert_eq!(to.log.positions().durable_end, Offset(3));
}

#[test]
fn a_copy_without_records_and_files_takes_a_name_without_an_operation() {
    let mut from = World::new(small());
    let mut to = copy(small());
    to.disk = MemoryDisk::default();
    exchange(&mut from, &mut to);
    assert!(to.done.is_empty());
    to.append(&Batch::of(1));
    assert_eq!(to.offsets(0), [0]);
}
