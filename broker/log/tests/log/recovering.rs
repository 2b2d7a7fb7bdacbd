//! Opening directories: after a clean close, after a crash at any moment, and with damage.

use strandline_log::config::LogConfig;
use strandline_log::disk::{DiskOp, Durability, FilePath};
use strandline_log::memory::MemoryDisk;
use strandline_log::producers::{Origin, ProducerVerdict};
use strandline_log::recover::{Checkpoints, RecoverError, Shutdown, truncate};
use strandline_log::scan::Stop;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId};
use strandline_protocol::records::{BatchHeader, ControlType};

use crate::support::{Batch, DIRECTORY, NOW_MS, World, marker, small};

fn log_file(base: i64) -> FilePath {
    FilePath::inside(DIRECTORY, &format!("{base:020}.log"))
}

/// Bytes of a batch of two records.
const BATCH_BYTES: usize = 139;

/// One segment with room.
fn roomy() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, ..small() }
}

fn appended(config: LogConfig, batches: usize) -> World {
    let mut world = World::new(config);
    for _ in 0..batches {
        world.append(&Batch::of(2));
    }
    world
}

fn all(batches: i64) -> Vec<i64> {
    (0..batches).map(|batch| batch * 2).collect()
}

#[test]
fn a_clean_log_is_opened_without_a_repair_or_a_scan() {
    let mut world = appended(small(), 40);
    world.close();
    let before = (world.names(), world.ends(), world.log.epochs().clone());
    let report = world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.done, Vec::<String>::new());
    assert_eq!((world.names(), world.ends(), world.log.epochs().clone()), before);
    assert!(report.bytes_scanned < 1_000, "{report:?}");
    assert_eq!(world.log.topic_id(), TopicId([7; 16]));
    assert_eq!(world.offsets(0), all(40));
    world.close();
    assert_eq!(world.done, Vec::<String>::new(), "nothing changed, so nothing is written");
}

#[test]
fn a_clean_log_goes_on_where_it_ended() {
    let mut world = appended(small(), 5);
    world.close();
    world.reopen(world.checkpoints(), Shutdown::Clean);
    for _ in 0..20 {
        world.append(&Batch::of(2));
    }
    assert_eq!(world.offsets(0), all(25));
    world.close();
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.offsets(0), all(25));
}

#[test]
fn padding_is_no_records_and_is_cut_before_the_next_append() {
    let mut world = appended(roomy(), 3);
    world.log.checkpoint();
    world.drain();
    let report = world.crash();
    assert_eq!((report.stop, world.ends()), (Some(Stop::Zeros), (0, 6, 6, 6)));
    assert_eq!(world.done, Vec::<String>::new(), "an idle partition costs no write");
    world.append(&Batch::of(2));
    assert_eq!(world.done, ["truncate .log 417", "append .log at 417, 1"]);
    assert_eq!(world.offsets(0), all(4));
}

#[test]
fn records_behind_the_recovery_point_are_made_durable_before_use() {
    let mut world = appended(roomy(), 3);
    let report = world.crash();
    assert_eq!(report.stop, Some(Stop::Zeros));
    assert_eq!(world.done, ["truncate .log 417"]);
    assert_eq!(world.offsets(0), all(3));
    assert_eq!(world.log.epochs().latest(), Some(LeaderEpoch(3)));
}

#[test]
fn a_torn_append_is_cut_and_what_was_acknowledged_stays() {
    // 33 batches, one block and a bit: the last block is rewritten with its acknowledged prefix.
    for written in 0..64u64 {
        let mut world = appended(roomy(), 33);
        for _ in 0..9 {
            world.take(&Batch::of(2));
        }
        let op = world.log.poll(NOW_MS).expect("an append is wanted");
        assert!(matches!(op, DiskOp::Append { position: 4587, .. }), "{op:?}");
        let first = 4587 / 512;
        world.disk.tear(&op, |sector| written & (1 << (sector - first)) != 0);
        world.crash();
        let offsets = world.offsets(0);
        assert!(offsets.len() >= 33, "sectors {written:b}: {offsets:?}");
        assert_eq!(offsets, all(offsets.len() as i64));
        let end = world.ends().3;
        world.append(&Batch::of(2));
        assert_eq!(world.offsets(end), [end]);
        world.crash();
        assert_eq!(world.offsets(0).last(), Some(&end), "nothing of the torn append comes back");
    }
}

#[test]
fn a_bit_flip_behind_the_recovery_point_ends_the_log_there() {
    let mut world = appended(small(), 20);
    let contents = world.file(log_file(0).as_str().rsplit('/').next().unwrap_or_default()).to_vec();
    let mut flipped = contents.clone();
    flipped[2 * BATCH_BYTES + 70] ^= 1;
    world.disk.put(log_file(0), flipped);
    let report = world.reopen(Checkpoints::default(), Shutdown::Unclean);
    assert_eq!((report.stop, report.segments_removed), (Some(Stop::Checksum), 2));
    assert_eq!(world.offsets(0), all(2));
    assert_eq!(world.names().iter().filter(|name| name.ends_with(".log")).count(), 1);
    world.append(&Batch::of(2));
    assert_eq!(world.offsets(0), all(3));
}

#[test]
fn repairs_that_are_interrupted_leave_no_hole() {
    let mut world = appended(small(), 30);
    let mut flipped = world.file("00000000000000000000.log").to_vec();
    flipped[2 * BATCH_BYTES + 70] ^= 1;
    world.disk.put(log_file(0), flipped);
    let recovered = world.try_reopen(Checkpoints::default(), Shutdown::Unclean).expect("it is cut");
    for done in 0..recovered.repairs.len() {
        let mut again = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
        for repair in &recovered.repairs[..done] {
            again.disk.perform(repair).expect("files are there");
        }
        again.reopen(Checkpoints::default(), Shutdown::Unclean);
        assert_eq!(again.offsets(0), all(2), "after {done} repairs");
    }
}

/// Found by the simulator (seed 440): a snapshot of the producers was there and the index of aborted transactions not yet, and the next start
/// took the snapshot's word: who read committed records was given what had been aborted.
#[test]
fn what_was_aborted_is_known_after_repairs_that_were_interrupted() {
    let mut world = World::new(small());
    world.append(&Batch::from_producer(1, 0, 0).in_transaction());
    world.append_bytes(marker(ControlType::Abort, 1, 1, 5));
    for _ in 0..10 {
        world.append(&Batch::of(2));
    }
    // As after a kill in the middle of the roll: of the segment only the records are there.
    for path in world.names() {
        if !path.ends_with(".log") && path.starts_with("0000") {
            world.disk.perform(&DiskOp::Delete { file: FilePath::inside(DIRECTORY, &path) }).expect("it is there");
        }
    }
    let recovered = world.try_reopen(Checkpoints::default(), Shutdown::Unclean).expect("sound");
    assert!(recovered.repairs.len() > 3, "{:?}", recovered.repairs);
    for done in 0..=recovered.repairs.len() {
        let mut again = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
        for repair in &recovered.repairs[..done] {
            again.disk.perform(repair).expect("files are there");
        }
        again.reopen(Checkpoints::default(), Shutdown::Unclean);
        let query = again.log.aborted(Offset(0), Offset(2));
        let aborted = strandline_log::transactions::aborted(&again.disk, &query).expect("readable");
        assert_eq!(aborted.len(), 1, "after {done} repairs");
    }
}

/// Found by the simulator (seed 402): the batch seemed to end far behind the recovery point, so what followed it was cut.
#[test]
fn a_flipped_last_offset_below_the_recovery_point_cuts_nothing() {
    // Without index entries everything is walked over.
    let mut world = appended(LogConfig { index_interval_bytes: 1 << 20, ..roomy() }, 20);
    world.log.checkpoint();
    world.drain();
    let sound = world.file("00000000000000000000.log").to_vec();
    for bit in 0..32 {
        let mut flipped = sound.clone();
        flipped[2 * BATCH_BYTES + 23 + bit / 8] ^= 0x80 >> (bit % 8);
        world.disk.put(log_file(0), flipped);
        if let Ok(recovered) = world.try_reopen(world.checkpoints(), Shutdown::Unclean) {
            assert_eq!(recovered.log.positions().log_end, Offset(40), "bit {bit}");
        }
    }
    // Of base offsets, which no checksum covers, too.
    for bit in 0..64 {
        let mut flipped = sound.clone();
        flipped[2 * BATCH_BYTES + bit / 8] ^= 0x80 >> (bit % 8);
        world.disk.put(log_file(0), flipped);
        if let Ok(recovered) = world.try_reopen(world.checkpoints(), Shutdown::Unclean) {
            assert_eq!(recovered.log.positions().log_end, Offset(40), "bit {bit} of a base offset");
        }
    }
}

/// Found by the simulator (seed 1128): after a clean shutdown the log went on millions of offsets further on.
#[test]
fn a_flipped_last_offset_of_the_last_batch_is_damage() {
    let mut world = appended(roomy(), 20);
    world.close();
    let mut flipped = world.file("00000000000000000000.log").to_vec();
    flipped[19 * BATCH_BYTES + 24] ^= 0x80;
    world.disk.put(log_file(0), flipped);
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        let refused = world.try_reopen(world.checkpoints(), shutdown);
        assert!(matches!(refused, Err(RecoverError::Damaged { stop: Stop::Checksum, .. })), "{shutdown:?}");
    }
}

#[test]
fn a_recovery_point_inside_a_batch_is_no_damage() {
    // An earlier topic of the same name left it.
    let mut world = appended(LogConfig { index_interval_bytes: 1 << 20, ..roomy() }, 20);
    world.log.checkpoint();
    world.drain();
    let checkpoints = Checkpoints { recovery_point: Offset(7), ..Checkpoints::default() };
    world.reopen(checkpoints, Shutdown::Unclean);
    assert_eq!(world.ends().3, 40);
}

#[test]
fn damage_below_the_recovery_point_is_an_error_and_changes_nothing() {
    let mut world = appended(roomy(), 20);
    world.log.checkpoint();
    world.drain();
    let mut cut = world.file("00000000000000000000.log").to_vec();
    cut[19 * BATCH_BYTES..].fill(0);
    world.disk.put(log_file(0), cut);
    let error = world.try_reopen(world.checkpoints(), Shutdown::Unclean).expect_err("a batch is missing");
    let expected = RecoverError::Damaged {
        file: log_file(0),
        position: 19 * BATCH_BYTES as u64,
        offset: Offset(38),
        recovery_point: Offset(40),
        stop: Stop::Zeros,
    };
    assert_eq!(error, expected);
    let error = world.try_reopen(world.checkpoints(), Shutdown::Clean).expect_err("zeros are no clean end");
    assert!(matches!(error, RecoverError::Damaged { .. }));
}

#[test]
fn a_log_that_ends_before_the_recovery_point_is_damaged() {
    let mut world = appended(roomy(), 20);
    world.close();
    let whole = world.file("00000000000000000000.log").to_vec();
    world.disk.put(log_file(0), whole[..10 * BATCH_BYTES].to_vec());
    let error = world.try_reopen(world.checkpoints(), Shutdown::Unclean).expect_err("half of it is missing");
    assert!(matches!(error, RecoverError::Damaged { stop: Stop::End, .. }), "{error}");
}

#[test]
fn missing_and_short_indexes_of_sealed_segments_are_rebuilt() {
    let mut world = appended(small(), 40);
    world.close();
    let names: Vec<String> = world.names();
    let indexes: Vec<&String> = names.iter().filter(|name| name.ends_with("index")).collect();
    let intact: Vec<Vec<u8>> = indexes.iter().map(|name| world.file(name).to_vec()).collect();
    for (damage, shutdown) in (0..3).zip([Shutdown::Clean, Shutdown::Unclean, Shutdown::Clean]) {
        for name in &indexes[..6] {
            let file = FilePath::inside(DIRECTORY, name);
            let contents = world.file(name).to_vec();
            world.disk.perform(&DiskOp::Delete { file: file.clone() }).expect("it is there");
            match damage {
                1 => world.disk.put(file, contents[..contents.len() - 1].to_vec()),
                2 => world.disk.put(file, [contents, vec![0; 240]].concat()),
                _ => {}
            }
        }
        let report = world.reopen(world.checkpoints(), shutdown);
        assert_eq!(report.indexes_rebuilt, 3, "damage {damage}");
        for (name, intact) in indexes.iter().zip(&intact) {
            assert_eq!(world.file(name), intact, "{name}, damage {damage}");
        }
        assert_eq!(world.offsets(0), all(40));
    }
}

#[test]
fn every_crash_between_two_operations_of_a_roll_is_survived() {
    for steps in 0..40 {
        let mut world = World::new(small());
        let mut taken = 0;
        let mut durable = 0;
        for _ in 0..steps {
            world.take(&Batch::of(2));
            taken += 1;
            world.step();
            durable = world.ends().1 / 2;
        }
        let before = world.checkpoints();
        if world.names().is_empty() {
            continue;
        }
        for recovery_point in [Offset(0), before.recovery_point] {
            let mut world = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
            world.reopen(Checkpoints { recovery_point, ..before }, Shutdown::Unclean);
            assert_eq!(world.offsets(0), all(durable), "after {steps} steps, {taken} taken");
            world.append(&Batch::of(2));
            assert_eq!(world.offsets(0), all(durable + 1));
            world.close();
            world.reopen(world.checkpoints(), Shutdown::Clean);
            assert_eq!(world.offsets(0), all(durable + 1));
        }
    }
}

#[test]
fn a_power_cut_takes_only_what_was_not_durable() {
    let mut world = World::on(MemoryDisk::new(1), LogConfig { durability: Durability::Written, ..roomy() });
    for _ in 0..5 {
        world.append(&Batch::of(2));
    }
    world.log.checkpoint();
    world.drain();
    world.append(&Batch::of(2));
    assert_eq!(world.ends(), (0, 10, 12, 12));
    let checkpoints = world.checkpoints();
    world.disk.cut_power();
    world.reopen(Checkpoints { high_watermark: Offset(12), ..checkpoints }, Shutdown::Unclean);
    assert_eq!(world.ends(), (0, 10, 10, 10));
}

#[test]
fn a_retry_is_recognised_after_a_crash_and_after_a_clean_close() {
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        for checkpointed in [false, true] {
            let mut world = World::new(roomy());
            world.append(&Batch::from_producer(9, 1, 0));
            if checkpointed {
                world.log.checkpoint();
                world.drain();
            }
            world.append(&Batch::from_producer(9, 1, 1));
            if shutdown == Shutdown::Clean {
                world.close();
            }
            world.reopen(world.checkpoints(), shutdown);
            let check = |sequence| {
                let header = BatchHeader::parse(&Batch::from_producer(9, 1, sequence).bytes()).expect("a batch");
                world.log.check_producer(&header, Origin::Client)
            };
            let duplicate = ProducerVerdict::Duplicate { base_offset: Offset(1), last_offset: Offset(1), timestamp_ms: NOW_MS };
            assert_eq!(check(1), duplicate, "{shutdown:?}, checkpointed: {checkpointed}");
            assert_eq!(check(2), ProducerVerdict::New);
            assert!(matches!(check(3), ProducerVerdict::Refused(_)));
        }
    }
}

#[test]
fn a_broken_snapshot_is_removed_and_the_one_before_used() {
    let mut world = appended(small(), 0);
    for sequence in 0..20 {
        world.append(&Batch::from_producer(9, 1, sequence));
    }
    let snapshots: Vec<String> = world.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    let newest = snapshots.last().expect("segments were rolled").clone();
    let mut contents = world.file(&newest).to_vec();
    contents[20] ^= 1;
    world.disk.put(FilePath::inside(DIRECTORY, &newest), contents);
    let report = world.crash();
    assert_eq!(report.files_removed, 1);
    let header = BatchHeader::parse(&Batch::from_producer(9, 1, 20).bytes()).expect("a batch");
    assert_eq!(world.log.check_producer(&header, Origin::Client), ProducerVerdict::New);
}

#[test]
fn a_lost_epoch_checkpoint_is_found_again_in_the_batches() {
    let mut world = World::new(small());
    for epoch in 1..30 {
        world.epoch = LeaderEpoch(epoch);
        world.append(&Batch::of(2));
    }
    let epochs = world.log.epochs().clone();
    world.close();
    let file = FilePath::inside(DIRECTORY, "leader-epoch-checkpoint");
    for contents in [None, Some(b"0\n7\n1 0\n".to_vec())] {
        world.disk.perform(&DiskOp::Delete { file: file.clone() }).expect("it is there");
        if let Some(contents) = contents {
            world.disk.put(file.clone(), contents);
        }
        world.reopen(world.checkpoints(), Shutdown::Clean);
        assert_eq!(world.log.epochs(), &epochs);
        world.close();
        assert!(world.names().contains(&"leader-epoch-checkpoint".to_owned()));
    }
}

#[test]
fn an_epoch_that_falls_behind_the_recovery_point_ends_the_log() {
    let mut world = World::new(roomy());
    world.append(&Batch::of(2));
    let mut contents = world.file("00000000000000000000.log")[..BATCH_BYTES].to_vec();
    contents.extend_from_slice(&Batch::of(1).stamped(2, 4));
    contents.extend_from_slice(&Batch::of(1).stamped(3, 3));
    world.disk.put(log_file(0), contents);
    let report = world.crash();
    assert_eq!((report.stop, world.ends().3), (Some(Stop::EpochBack), 3));
}

#[test]
fn leftovers_of_kafka_are_removed() {
    let mut world = appended(small(), 10);
    world.close();
    let names = world.names();
    for leftover in ["00000000000000000000.log.deleted", "00000000000000000099.index", "00000000000000000000.log.cleaned"] {
        world.disk.put(FilePath::inside(DIRECTORY, leftover), vec![1]);
    }
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.names(), names);
    assert_eq!(world.offsets(0), all(10));
}

#[test]
fn an_interrupted_compaction_is_finished_first() {
    let mut world = appended(small(), 20);
    world.close();
    let compacted = Batch::of(2).stamped(0, 3);
    world.disk.put(FilePath::inside(DIRECTORY, "00000000000000000000.log.swap"), compacted.to_vec());
    let bases: Vec<String> = world.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    let error = world.try_reopen(world.checkpoints(), Shutdown::Clean).expect_err("something has to be done first");
    let RecoverError::Unfinished { repairs } = error else { panic!("{error}") };
    for repair in &repairs {
        world.disk.perform(repair).expect("files are there");
    }
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.log.segments(), bases.len());
    assert_eq!(world.offsets(0)[..2], [0, 14], "the first segment is the compacted one");
}

#[test]
fn a_log_start_of_an_earlier_topic_of_the_same_name_does_no_harm() {
    let stale = Checkpoints { log_start: Offset(800), ..Checkpoints::default() };
    for checkpointed in [false, true] {
        let mut world = appended(small(), 10);
        if checkpointed {
            world.log.checkpoint();
            world.drain();
        }
        world.append(&Batch::of(2));
        let report = world.reopen(stale, Shutdown::Unclean);
        assert_eq!((world.ends(), report.segments_removed), ((0, 22, 22, 22), 0));
        assert_eq!(world.offsets(0), all(11));
        world.close();
        world.reopen(stale, Shutdown::Clean);
        assert_eq!(world.offsets(0), all(11));
    }
}

#[test]
fn a_log_without_records_goes_on_from_its_start() {
    let mut world = appended(small(), 10);
    world.log.restart_at(NOW_MS, Offset(20));
    world.drain();
    world.reopen(Checkpoints { log_start: Offset(100), ..Checkpoints::default() }, Shutdown::Unclean);
    assert_eq!(world.ends(), (100, 100, 100, 100));
    world.append(&Batch::of(1));
    assert_eq!(world.offsets(100), [100]);
    world.crash();
    assert_eq!(world.ends(), (100, 101, 101, 101));
}

#[test]
fn a_truncated_log_ends_at_a_batch_and_forgets_what_came_behind() {
    for end in [0, 1, 13, 14, 15, 27, 40, 41] {
        let mut world = World::new(small());
        for batch in 0..20 {
            world.epoch = LeaderEpoch(batch / 5);
            world.append(&Batch { records: 2, ..Batch::from_producer(9, 1, batch * 2) });
        }
        let (log, disk) = (world.log, &mut world.disk);
        let recovered = truncate(disk, log, Offset(end), NOW_MS).expect("the directory is sound");
        for repair in &recovered.repairs {
            disk.perform(repair).expect("files are there");
        }
        world.log = recovered.log;
        let kept = (end / 2).min(20);
        assert_eq!(world.offsets(0), all(kept), "cut at {end}");
        assert!(world.log.recovery_point() <= Offset(kept * 2));
        let latest = world.log.epochs().latest().map(|epoch| i64::from(epoch.0));
        assert_eq!(latest, (kept > 0).then(|| (kept - 1) / 5));
        let header = BatchHeader::parse(&Batch::from_producer(9, 1, kept as i32 * 2).bytes()).expect("a batch");
        assert_eq!(world.log.check_producer(&header, Origin::Client), ProducerVerdict::New);
        world.epoch = LeaderEpoch(7);
        world.append(&Batch { records: 2, ..Batch::from_producer(9, 1, kept as i32 * 2) });
        world.crash();
        assert_eq!(world.offsets(0), all(kept + 1));
    }
}

/// A log of twenty batches of a producer in one segment, checkpointed at its end, and cut back to 30: the repairs and the log's own
/// writes are due.
fn cut_at_30() -> (World, Vec<DiskOp>) {
    let mut world = World::new(LogConfig { index_interval_bytes: 1 << 20, ..roomy() });
    for batch in 0..20 {
        world.append(&Batch { records: 2, ..Batch::from_producer(9, 1, batch * 2) });
    }
    world.log.checkpoint();
    world.drain();
    let recovered = truncate(&world.disk, world.log, Offset(30), NOW_MS).expect("the directory is sound");
    world.log = recovered.log;
    (world, recovered.repairs)
}

fn flipped(world: &World, base: i64, byte: usize, bit: usize) -> Vec<u8> {
    let mut contents = world.file(&format!("{base:020}.log")).to_vec();
    contents[byte + bit / 8] ^= 0x80 >> (bit % 8);
    contents
}

/// Found by the simulator (seed 300): the cut took the snapshots with it, and the next start took a bit that had turned over for a torn tail.
#[test]
fn a_cut_a_bit_that_turned_over_and_a_kill_cost_nothing_that_was_durable() {
    let (world, repairs) = cut_at_30();
    let noted = world.checkpoints();
    assert_eq!(noted.recovery_point, Offset(30));
    for done in 0..20 {
        let mut again = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
        for repair in repairs.iter().take(done) {
            again.disk.perform(repair).expect("files are there");
        }
        for _ in repairs.len()..done {
            again.step();
        }
        let damaged = flipped(&again, 0, 2 * BATCH_BYTES + 70, 0);
        let mut whole = World { log: again.log.clone(), disk: again.disk.clone(), done: Vec::new(), ..again };
        whole.reopen(noted, Shutdown::Unclean);
        let end = whole.ends().3;
        assert!(end == 30 || (done == 0 && end == 40), "after {done} operations: {end}");
        let header =
            BatchHeader::parse(&Batch { records: 2, ..Batch::from_producer(9, 1, end as i32 - 2) }.bytes()).expect("a batch");
        let verdict = whole.log.check_producer(&header, Origin::Client);
        assert!(
            matches!(verdict, ProducerVerdict::Duplicate { last_offset, .. } if last_offset.0 == end - 1),
            "{done}: {verdict:?}"
        );
        again.disk.put(log_file(0), damaged);
        match again.try_reopen(noted, Shutdown::Unclean) {
            Ok(opened) => assert!(opened.log.positions().log_end >= Offset(30), "after {done} operations"),
            Err(error) => assert!(matches!(error, RecoverError::Damaged { stop: Stop::Checksum, .. }), "{error}"),
        }
    }
}

#[test]
fn a_cut_leaves_the_producers_at_its_end_behind() {
    let (mut world, repairs) = cut_at_30();
    for repair in &repairs {
        world.disk.perform(repair).expect("files are there");
    }
    world.drain();
    let snapshots: Vec<String> = world.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, ["00000000000000000030.snapshot"]);
    // What lies below is nothing to this start, damaged or not.
    let damaged = flipped(&world, 0, 2 * BATCH_BYTES + 70, 0);
    world.disk.put(log_file(0), damaged);
    world.crash();
    assert_eq!(world.ends().3, 30);
}

#[test]
fn a_log_is_not_cut_where_producers_cannot_be_told_from_damage() {
    let (world, _) = cut_at_30();
    let mut damaged = World { log: appended(roomy(), 0).log, disk: world.disk.clone(), done: Vec::new(), ..world };
    damaged.log = damaged
        .try_reopen(Checkpoints { recovery_point: Offset(40), ..Checkpoints::default() }, Shutdown::Unclean)
        .expect("whole")
        .log;
    // Twice a header that was sound before: of the producer's sequence, and of the payload.
    for byte in [2 * BATCH_BYTES + 54, 2 * BATCH_BYTES + 70] {
        let contents = flipped(&world, 0, byte, 0);
        damaged.disk.put(log_file(0), contents);
        let refused = truncate(&damaged.disk, damaged.log.clone(), Offset(30), NOW_MS);
        assert!(matches!(refused, Err(RecoverError::Damaged { offset: Offset(4), stop: Stop::Checksum, .. })), "{refused:?}");
    }
}

#[test]
fn a_base_offset_that_turned_over_right_below_a_cut_is_damage() {
    for config in [roomy(), small(), LogConfig { compacts: true, ..roomy() }] {
        let mut world = appended(LogConfig { index_interval_bytes: 1 << 20, ..config.clone() }, 20);
        world.log.checkpoint();
        world.drain();
        // The last batch that stays: small segments hold seven.
        for (batch, segment) in [(14, 14), (12, 7)] {
            let first = if config.segment_bytes > 1_000 { 0 } else { segment };
            let (base, end) = (first * 2, Offset(batch * 2 + 2));
            let sound = world.file(&format!("{base:020}.log")).to_vec();
            for bit in 0..64 {
                let contents = flipped(&world, base, (batch - first) as usize * BATCH_BYTES, bit);
                world.disk.put(log_file(base), contents);
                let refused = truncate(&world.disk, world.log.clone(), end, NOW_MS).map(|cut| cut.log.positions());
                assert!(matches!(refused, Err(RecoverError::Damaged { .. })), "batch {batch}, bit {bit}: {refused:?}");
                world.disk.put(log_file(base), sound.clone());
            }
        }
    }
}

/// No checksum covers base offsets. The log went on far behind its end, without its last records.
#[test]
fn a_base_offset_that_turned_over_in_the_last_batch_is_damage() {
    // Without index entries, and with one for every batch.
    for index_interval_bytes in [1 << 20, 0] {
        let mut world = appended(LogConfig { index_interval_bytes, ..roomy() }, 20);
        world.close();
        for bit in 0..64 {
            let contents = flipped(&world, 0, 19 * BATCH_BYTES, bit);
            let mut again = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
            again.disk.put(log_file(0), contents);
            for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
                let refused = again.try_reopen(world.checkpoints(), shutdown).map(|opened| opened.log.positions());
                assert!(matches!(refused, Err(RecoverError::Damaged { .. })), "{shutdown:?}, bit {bit}: {refused:?}");
            }
        }
    }
}

/// Nothing durable says where the log ended.
#[test]
fn a_base_offset_that_turned_over_behind_the_recovery_point_is_seen_when_the_leader_has_the_log_cut_back() {
    let mut world = appended(roomy(), 20);
    let contents = flipped(&world, 0, 19 * BATCH_BYTES, 40);
    world.disk.put(log_file(0), contents);
    world.crash();
    assert!(world.ends().3 > 1_000_000);
    let refused = truncate(&world.disk, world.log, Offset(40), NOW_MS).map(|cut| cut.log.positions());
    assert!(matches!(refused, Err(RecoverError::Damaged { offset: Offset(38), .. })), "{refused:?}");
}

/// What a cut took was aborted; what came in its place was not.
#[test]
fn aborted_transactions_that_are_cut_off_do_not_come_back() {
    for (end, expected) in [(8, 2), (1, 0)] {
        let mut world = World::new(roomy());
        for round in 0..3 {
            world.append(&Batch::from_producer(1, 2 * round, 0).in_transaction());
            world.append(&Batch::of(2));
            world.append_bytes(marker(ControlType::Abort, 1, 2 * round + 1, 5));
        }
        world.log.checkpoint();
        world.drain();
        let recovered = truncate(&world.disk, world.log, Offset(end), NOW_MS).expect("the directory is sound");
        world.log = recovered.log;
        let (noted, due) = (world.checkpoints(), recovered.repairs.len() + 8);
        for done in 0..=due {
            let mut again = World { log: world.log.clone(), disk: world.disk.clone(), done: Vec::new(), ..world };
            for repair in recovered.repairs.iter().take(done) {
                again.disk.perform(repair).expect("files are there");
            }
            for _ in recovered.repairs.len()..done {
                again.step();
            }
            again.reopen(noted, Shutdown::Unclean);
            let was_cut = again.ends().3 == end;
            // The next leader's records, and a checkpoint behind them.
            again.append(&Batch::of(20));
            again.log.checkpoint();
            again.drain();
            again.crash();
            let query = again.log.aborted(Offset(0), Offset::MAX);
            let aborted = strandline_log::transactions::aborted(&again.disk, &query).expect("readable");
            assert_eq!(aborted.len(), if was_cut { expected } else { 3 }, "cut at {end}, after {done} operations: {aborted:?}");
        }
    }
}

#[test]
fn a_cut_leaves_alone_what_somebody_is_writing_beside_the_log() {
    let mut world = appended(small(), 20);
    let file = FilePath::inside(DIRECTORY, "quorum-state.tmp");
    world.disk.put(file.clone(), b"half a vote".to_vec());
    let recovered = truncate(&world.disk, world.log, Offset(5), NOW_MS).expect("the directory is sound");
    assert!(!recovered.repairs.contains(&DiskOp::Delete { file }));
}

#[test]
fn an_index_that_was_allocated_ahead_is_read_up_to_its_zeros() {
    let mut world = appended(roomy(), 100);
    world.log.checkpoint();
    world.drain();
    for kind in ["index", "timeindex"] {
        let name = format!("{:020}.{kind}", 0);
        let mut contents = world.file(&name).to_vec();
        assert!(!contents.is_empty());
        contents.resize(1 << 20, 0);
        world.disk.put(FilePath::inside(DIRECTORY, &name), contents);
    }
    let report = world.crash();
    assert!(report.bytes_scanned < 20_000, "{report:?}");
    assert_eq!(world.offsets(0), all(100));
    world.append(&Batch::at(NOW_MS + 5));
    world.close();
    world.reopen(world.checkpoints(), Shutdown::Clean);
    assert_eq!(world.offsets(0), (0..101).map(|batch| batch * 2).collect::<Vec<_>>());
}
