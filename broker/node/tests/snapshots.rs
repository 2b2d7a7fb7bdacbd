//! Snapshots of the metadata log on a single broker: made, followed, started from, and what goes because of them.

mod harness;

use harness::{Disk, TestBroker};
use strandline_log::disk::{DiskOp, FilePath, Files};
use strandline_log::epochs::LeaderEpochs;
use strandline_node::metadata_log::{LoadError, load};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};

const DIRECTORY: &str = "__cluster_metadata-0";
const TOPICS: usize = 6;

/// A snapshot at every tick that finds something new, and nothing kept behind the newest.
const OFTEN: &[(&str, &str)] =
    &[("metadata.log.max.record.bytes.between.snapshots", "1"), ("metadata.max.retention.bytes", "1")];
const KEEPING: &[(&str, &str)] = &[("metadata.log.max.record.bytes.between.snapshots", "1")];

fn topic(index: usize) -> String {
    format!("topic-{index}")
}

/// Creates topics one after the other, time passing between them; answers with how many were acknowledged.
fn create_topics(broker: &mut TestBroker) -> usize {
    for index in 0..TOPICS {
        let config = CreatableTopicConfig { name: "retention.ms".to_owned(), value: Some(format!("{}", 1000 + index)) };
        let topic = CreatableTopic {
            name: TopicName::from(topic(index)),
            num_partitions: 3,
            replication_factor: -1,
            configs: vec![config],
            ..Default::default()
        };
        let sequence = broker.send(7, CreateTopicsRequest { topics: vec![topic], ..Default::default() });
        let Some(Response::CreateTopics(response)) = broker.reply(sequence) else { return index };
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE);
        broker.pass(1000);
    }
    TOPICS
}

fn expect_topics(broker: &mut TestBroker, count: usize, context: &str) {
    for index in 0..count {
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: topic(index),
            configuration_keys: Some(vec!["retention.ms".to_owned()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let Response::DescribeConfigs(response) = broker.call(4, request) else { panic!("another response") };
        assert_eq!(response.results[0].error_code, ErrorCode::NONE, "{context}: {}", topic(index));
        assert_eq!(response.results[0].configs[0].value, Some(format!("{}", 1000 + index)), "{context}");
    }
}

fn files(disk: &Disk, ending: &str) -> Vec<String> {
    let entries = disk.list(&FilePath::top(DIRECTORY)).expect("the directory is there");
    entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(ending)).collect()
}

#[test]
fn a_snapshot_and_the_log_behind_it_give_the_image_of_the_whole_log() {
    let image = |configs| {
        let mut broker = TestBroker::on(Disk::default(), configs);
        create_topics(&mut broker);
        let broker = broker.restart();
        load(&broker.disk, 0).expect("loads").image
    };
    let whole = image(&[]);
    assert!(image(KEEPING) == whole);
    assert!(image(OFTEN) == whole);
}

#[test]
fn the_log_goes_up_to_the_newest_snapshot_but_one_and_the_older_snapshots_go() {
    let mut broker = TestBroker::on(Disk::default(), OFTEN);
    create_topics(&mut broker);
    assert_eq!(files(&broker.disk, ".checkpoint").len(), 1, "{:?}", files(&broker.disk, ""));
    assert_eq!(files(&broker.disk, ".part"), [""; 0]);
    assert!(!files(&broker.disk, ".log").contains(&"00000000000000000000.log".to_owned()));
    broker.pass(61_000);
    broker.pass(1000);
    assert_eq!(files(&broker.disk, ".deleted"), [""; 0]);
    let mut broker = broker.kill();
    expect_topics(&mut broker, TOPICS, "after a kill");
    let loaded = load(&broker.disk, 0).expect("loads");
    assert!(loaded.log.positions().log_start > Offset::ZERO);
}

#[test]
fn a_crash_between_any_two_operations_of_the_disk_loses_nothing() {
    for fuse in 1.. {
        let mut broker = TestBroker::on(Disk::default(), OFTEN);
        broker.fuse = Some(fuse);
        let acknowledged = create_topics(&mut broker);
        let was_whole = !broker.is_dead();
        let mut broker = broker.kill();
        expect_topics(&mut broker, acknowledged, &format!("fuse {fuse}"));
        assert_eq!(files(&broker.disk, ".part"), [""; 0]);
        broker.pass(1000);
        assert_eq!(broker.create_topic("another", 2, &[]).error_code, ErrorCode::NONE);
        broker.pass(1000);
        let mut broker = broker.restart();
        expect_topics(&mut broker, acknowledged, &format!("fuse {fuse}, once more"));
        if was_whole {
            assert!(fuse > 30, "{fuse} operations are too few for what was done");
            return;
        }
    }
}

#[test]
fn the_default_bounds_leave_a_small_log_alone() {
    let mut broker = TestBroker::new();
    create_topics(&mut broker);
    assert_eq!(files(&broker.disk, ".checkpoint"), [""; 0]);
    broker.pass(3_600_000);
    assert_eq!(files(&broker.disk, ".checkpoint").len(), 1, "an hour has passed");
    broker.pass(3_600_000);
    assert_eq!(files(&broker.disk, ".checkpoint").len(), 1, "nothing was committed meanwhile");
    let mut broker = broker.kill();
    expect_topics(&mut broker, TOPICS, "after a kill");
}

#[test]
fn a_start_that_finds_a_long_log_makes_a_snapshot_soon() {
    let mut broker = TestBroker::new();
    let created = broker.create_topic("wide", 9000, &[]);
    assert_eq!(created.error_code, ErrorCode::NONE);
    let mut broker = broker.kill();
    assert_eq!(files(&broker.disk, ".checkpoint"), [""; 0]);
    broker.pass(1000);
    assert_eq!(files(&broker.disk, ".checkpoint").len(), 1);
    let mut broker = broker.kill();
    broker.pass(1000);
    assert_eq!(files(&broker.disk, ".checkpoint").len(), 1, "the log behind it is short");
}

#[test]
fn a_log_that_does_not_reach_back_to_a_snapshot_is_refused() {
    let mut broker = TestBroker::on(Disk::default(), OFTEN);
    create_topics(&mut broker);
    let mut disk = broker.disk;
    for name in files(&disk, ".checkpoint") {
        disk.0.perform(&DiskOp::Delete { file: FilePath::inside(DIRECTORY, &name) }).expect("deleted");
    }
    assert!(matches!(load(&disk, 0), Err(LoadError::NoSnapshot { .. })));
}

/// The files do not say that the log begins within a segment: of its records below nobody knows the epoch any more.
#[test]
fn a_log_that_was_cut_within_a_segment_begins_where_its_epochs_are_known() {
    let mut broker = TestBroker::on(Disk::default(), KEEPING);
    create_topics(&mut broker);
    let mut disk = broker.restart().disk;
    let inside = |name: &str| FilePath::inside(DIRECTORY, name);
    let snapshots = files(&disk, ".checkpoint");
    let (older, newest) = (&snapshots[0], &snapshots[snapshots.len() - 1]);
    let cut = Offset(5);
    let between = format!("{:020}{}", cut.0, &older[20..]);
    assert!(*older > between, "{older} ends behind the cut");
    for name in snapshots.iter().filter(|name| *name != newest) {
        disk.0.put(inside(&between), disk.0.contents(&inside(name)).expect("listed").to_vec());
        disk.0.perform(&DiskOp::Delete { file: inside(name) }).expect("deleted");
    }
    let below = format!("{:020}{}", 2, &older[20..]);
    disk.0.put(inside(&below), disk.0.contents(&inside(newest)).expect("listed").to_vec());
    let epochs = inside("leader-epoch-checkpoint");
    let mut known = LeaderEpochs::parse(disk.0.contents(&epochs).expect("it is there")).expect("whole");
    assert!(known.truncate_from_start(cut));
    disk.0.put(epochs, known.encode().to_vec());
    let loaded = load(&disk, 0).expect("loads");
    assert_eq!(loaded.log.positions().log_start, cut);
    assert_eq!(loaded.snapshots.kept[0].id.end, cut, "what lies before the log is in its oldest snapshot");
    assert!(loaded.repairs.contains(&DiskOp::Delete { file: inside(&below) }));
    expect_topics(&mut TestBroker::on(disk, KEEPING), TOPICS, "from the log that was cut");
}

#[test]
fn a_snapshot_that_is_damaged_or_short_is_refused() {
    let mut broker = TestBroker::on(Disk::default(), KEEPING);
    create_topics(&mut broker);
    let mut disk = broker.disk;
    let newest = files(&disk, ".checkpoint").pop().expect("there is one");
    let file = FilePath::inside(DIRECTORY, &newest);
    let whole = disk.0.contents(&file).expect("it is there").to_vec();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    disk.0.put(file.clone(), flipped);
    assert!(matches!(load(&disk, 0), Err(LoadError::Checksum { .. })));
    disk.0.put(file.clone(), whole[..whole.len() - 10].to_vec());
    assert!(matches!(load(&disk, 0), Err(LoadError::SnapshotTorn { .. })));
    disk.0.put(file, whole);
    assert!(load(&disk, 0).is_ok());
}

#[test]
fn a_snapshot_without_its_log_or_ahead_of_it_begins_the_log_anew() {
    let mut broker = TestBroker::on(Disk::default(), KEEPING);
    create_topics(&mut broker);
    let image = load(&broker.disk, 0).expect("loads").image;
    let mut bare = Disk::default();
    let mut behind = Disk::default();
    for path in broker.disk.0.paths() {
        let contents = broker.disk.0.contents(path).expect("listed").to_vec();
        let inside = path.as_str().strip_prefix(DIRECTORY);
        if inside.is_none_or(|name| name.ends_with(".checkpoint") || name.ends_with("quorum-state")) {
            bare.0.put(path.clone(), contents.clone());
        }
        if inside.is_none_or(|name| name.ends_with(".checkpoint") || name.contains("/00000000000000000000.")) {
            behind.0.put(path.clone(), contents);
        }
    }
    for disk in [bare, behind] {
        let loaded = load(&disk, 0).expect("a snapshot is enough");
        assert_eq!(loaded.log.positions().log_start, loaded.image.end);
        assert_eq!(loaded.log.positions().log_end, loaded.image.end);
        assert!(loaded.image.topics == image.topics);
        let mut broker = TestBroker::on(disk, KEEPING);
        expect_topics(&mut broker, TOPICS, "from the snapshot alone");
        let mut broker = broker.kill();
        expect_topics(&mut broker, TOPICS, "and again");
    }
}
