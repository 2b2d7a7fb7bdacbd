//! A partition on three brokers whose metadata is written by hand: whole nodes, a network that delivers at once, disks in
//! memory.

mod trio;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::ProducerStamp;

use trio::{Trio, values};

/// Three brokers, and a partition that the first one leads.
fn trio() -> Trio {
    let mut trio = Trio::new(&[]);
    trio.create(&[1, 2, 3], &[1, 2, 3]);
    trio
}

#[test]
fn a_batch_is_acknowledged_when_every_replica_in_sync_has_it_durably() {
    let mut trio = trio();
    trio.hold_disk(3);
    let asked = trio.produce(1, -1, "a");
    trio.pass(600);
    assert_eq!(trio.answer(asked), None, "broker 3 has not written it");
    trio.release_disk(3);
    trio.pass(600);
    assert_eq!(trio.answer(asked), Some(ErrorCode::NONE));
    assert_eq!(trio.read(1), ["a"]);
}

#[test]
fn acks_of_the_leader_alone_waits_for_nobody_else() {
    let mut trio = trio();
    trio.cut(2);
    trio.cut(3);
    let asked = trio.produce(1, 1, "a");
    assert_eq!(trio.answer(asked), Some(ErrorCode::NONE));
    assert_eq!(trio.read(1), Vec::<String>::new(), "it is not committed");
}

#[test]
fn followers_learn_the_high_watermark_one_fetch_later_and_serve_from_there() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.pass(600);
    trio.pass(600);
    for broker in [1, 2, 3] {
        assert_eq!(trio.view(broker).high_watermark, Offset(1), "broker {broker}");
        assert_eq!(trio.read(broker), ["a"], "broker {broker}");
    }
}

#[test]
fn a_follower_out_of_sync_serves_nobody() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.pass(600);
    assert_eq!(trio.read_error(3), ErrorCode::NONE);
    trio.change_isr(&[1, 2]);
    assert_eq!(trio.read_error(2), ErrorCode::NONE);
    assert_eq!(trio.read_error(3), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_new_leader_goes_on_where_the_old_one_stopped() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.cut(1);
    trio.elect(2, &[2, 3]);
    trio.produced(2, "b");
    trio.pass(600);
    assert_eq!(trio.log(2), ["a", "b"]);
    assert_eq!(trio.log(3), ["a", "b"]);
}

#[test]
fn a_deposed_leader_cuts_off_what_nobody_else_has() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.cut(1);
    let lost = trio.produce(1, -1, "never");
    trio.elect_without(2, &[2, 3], &[1]);
    trio.produced(2, "b");
    trio.join(1);
    trio.learn(1);
    trio.pass(600);
    assert_eq!(trio.answer(lost), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    trio.pass(600);
    assert_eq!(trio.log(1), ["a", "b"]);
    assert_eq!(trio.log(1), trio.log(2));
    let epochs = |trio: &Trio, broker| trio.epochs(broker);
    assert_eq!(epochs(&trio, 1), epochs(&trio, 2));
}

#[test]
fn two_fast_elections_do_not_fork_the_log() {
    let mut trio = trio();
    trio.produced(1, "a");
    // 1 writes alone in epoch 0, 2 alone in epoch 1; then 1 leads again and then 3, who has neither.
    trio.cut(1);
    trio.produce(1, 1, "one");
    trio.elect_without(2, &[1, 2, 3], &[1, 3]);
    trio.cut(2);
    trio.produce(2, 1, "two");
    trio.cut(3);
    trio.join(1);
    trio.elect_without(1, &[1, 2, 3], &[2, 3]);
    trio.join(3);
    trio.elect_without(3, &[1, 2, 3], &[2]);
    trio.learn(2);
    trio.join(2);
    trio.learn(1);
    trio.learn(2);
    trio.learn(3);
    for _ in 0..4 {
        trio.pass(600);
    }
    trio.produced(3, "c");
    trio.pass(600);
    assert_eq!(trio.log(1), ["a", "c"]);
    assert_eq!(trio.log(2), ["a", "c"]);
    assert_eq!(trio.epochs(1), trio.epochs(3));
    assert_eq!(trio.epochs(2), trio.epochs(3));
}

#[test]
fn with_too_few_in_sync_nothing_is_taken_and_nothing_committed() {
    let mut trio = Trio::new(&[("min.insync.replicas", "2")]);
    trio.create(&[1, 2, 3], &[1]);
    let asked = trio.produce(1, -1, "a");
    assert_eq!(trio.answer(asked), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    let asked = trio.produce(1, 1, "b");
    assert_eq!(trio.answer(asked), Some(ErrorCode::NONE));
    assert_eq!(trio.view(1).high_watermark, Offset(0));
}

#[test]
fn what_was_sent_behind_a_refused_batch_is_taken_after_it() {
    let mut trio = Trio::new(&[("min.insync.replicas", "2")]);
    trio.create(&[1, 2, 3], &[1, 2, 3]);
    let stamp = |base_sequence| ProducerStamp { id: 7, epoch: 0, base_sequence };
    let taken = |trio: &mut Trio, sequence, value| {
        let asked = trio.produce_as(stamp(sequence), 1, -1, value);
        trio.pass(600);
        trio.answer(asked)
    };
    // First a producer that the partition does not know, then the same when it does.
    for (first, second, values) in [(0, 1, ["a", "b"]), (2, 3, ["c", "d"])] {
        trio.change_isr(&[1]);
        assert_eq!(taken(&mut trio, first, values[0]), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        trio.change_isr(&[1, 2, 3]);
        assert_eq!(taken(&mut trio, second, values[1]), Some(ErrorCode::NOT_ENOUGH_REPLICAS), "the one before is to come");
        assert_eq!(taken(&mut trio, first, values[0]), Some(ErrorCode::NONE));
        assert_eq!(taken(&mut trio, second, values[1]), Some(ErrorCode::NONE));
    }
    assert_eq!(taken(&mut trio, 9, "gap"), Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER), "nothing was refused");
    assert_eq!(trio.log(1), ["a", "b", "c", "d"]);
}

#[test]
fn whoever_writes_to_a_log_that_failed_hears_of_that_and_not_of_an_order() {
    let mut trio = trio();
    trio.hold_disk(1);
    let stamp = |base_sequence| ProducerStamp { id: 7, epoch: 0, base_sequence };
    trio.produce_as(stamp(0), 1, -1, "a");
    trio.fail_disk(1);
    for sequence in 1..4 {
        let asked = trio.produce_as(stamp(sequence), 1, -1, "b");
        assert_eq!(trio.answer(asked), Some(ErrorCode::KAFKA_STORAGE_ERROR), "{sequence}");
    }
}

#[test]
fn what_comes_behind_a_batch_that_came_before_the_lead_waits_for_it() {
    let mut trio = trio();
    let stamp = |base_sequence| ProducerStamp { id: 7, epoch: 0, base_sequence };
    let early = trio.produce_as(stamp(0), 2, -1, "a");
    assert_eq!(trio.answer(early), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    trio.elect(2, &[1, 2, 3]);
    let ahead = trio.produce_as(stamp(1), 2, -1, "b");
    assert_eq!(trio.answer(ahead), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
    for (sequence, value) in [(0, "a"), (1, "b")] {
        trio.produce_as(stamp(sequence), 2, -1, value);
        trio.pass(600);
    }
    assert_eq!(trio.log(2), ["a", "b"]);
}

#[test]
fn a_set_that_became_too_small_meanwhile_is_told() {
    let mut trio = Trio::new(&[("min.insync.replicas", "2")]);
    trio.create(&[1, 2, 3], &[1, 2, 3]);
    trio.hold_disk(2);
    trio.hold_disk(3);
    let asked = trio.produce(1, -1, "a");
    trio.change_isr(&[1]);
    trio.release_disk(2);
    trio.release_disk(3);
    trio.pass(600);
    assert_eq!(trio.answer(asked), None, "the high watermark waits for the set to grow");
    trio.pass(60_000);
    assert_eq!(trio.answer(asked), Some(ErrorCode::REQUEST_TIMED_OUT));
}

#[test]
fn a_follower_that_falls_silent_is_proposed_to_leave_and_the_rest_goes_on() {
    let mut trio = trio();
    trio.play_controller();
    trio.produced(1, "a");
    trio.cut(3);
    let asked = trio.produce(1, -1, "b");
    for _ in 0..50 {
        trio.pass(1_000);
    }
    assert_eq!(proposed(&trio), Some(vec![1, 2]));
    assert_eq!(trio.proposals().len(), 1, "one is under way at a time");
    assert_eq!(trio.view(1).high_watermark, Offset(1), "until it is committed the follower counts");
    trio.commit_proposal(1);
    assert_eq!(trio.view(1).high_watermark, Offset(2));
    assert_eq!(trio.answer(asked), Some(ErrorCode::REQUEST_TIMED_OUT), "its time was over before");
    // And back again.
    trio.join(3);
    for _ in 0..3 {
        trio.pass(600);
    }
    assert_eq!(proposed(&trio), Some(vec![1, 2, 3]));
}

/// Whom the oldest proposal names.
fn proposed(trio: &Trio) -> Option<Vec<i32>> {
    let proposals = trio.proposals();
    let partition = &proposals.first()?.topics[0].partitions[0];
    Some(partition.new_isr_with_epochs.iter().map(|state| state.broker_id.0).collect())
}

#[test]
fn a_follower_of_an_idle_partition_joins_when_its_broker_is_let_in() {
    let mut trio = Trio::new(&[]);
    trio.play_controller();
    trio.fence(3);
    trio.create(&[1, 2, 3], &[1, 2]);
    trio.pass(600);
    assert_eq!(proposed(&trio), None, "it fetched while it was fenced, and has nothing more to ask");
    trio.let_in(3);
    assert_eq!(proposed(&trio), Some(vec![1, 2, 3]));
}

#[test]
fn a_refused_follower_of_an_idle_partition_is_proposed_again_later() {
    let mut trio = Trio::new(&[]);
    trio.play_controller();
    trio.create(&[1, 2, 3], &[1, 2]);
    trio.pass(600);
    assert_eq!(proposed(&trio), Some(vec![1, 2, 3]));
    trio.refuse_proposal(ErrorCode::INELIGIBLE_REPLICA);
    assert_eq!(proposed(&trio), None);
    trio.pass(600);
    assert_eq!(proposed(&trio), Some(vec![1, 2, 3]));
}

#[test]
fn a_follower_below_the_leaders_log_start_begins_again_there() {
    let mut trio = Trio::new(&[]);
    trio.cut(3);
    trio.create(&[1, 2, 3], &[1, 2]);
    for value in ["a", "b", "c"] {
        trio.produced(1, value);
    }
    trio.delete_records(1, 2);
    trio.join(3);
    for _ in 0..3 {
        trio.pass(600);
    }
    assert_eq!(trio.view(3).positions.log_start, Offset(2));
    assert_eq!(trio.log(3), ["c"]);
}

#[test]
fn a_follower_takes_over_the_leaders_log_start() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.produced(1, "b");
    trio.delete_records(1, 1);
    trio.produced(1, "c");
    trio.pass(600);
    trio.pass(600);
    assert_eq!(trio.view(2).positions.log_start, Offset(1));
}

#[test]
fn whoever_asks_a_follower_to_write_is_told_who_leads() {
    let mut trio = trio();
    let asked = trio.produce(2, -1, "a");
    assert_eq!(trio.answer(asked), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!(trio.hint(), Some((1, LeaderEpoch(0), "host-1".to_owned())));
}

#[test]
fn a_member_of_a_share_group_is_told_who_leads_by_the_listener_that_it_uses() {
    let mut trio = trio();
    for (listener, host) in [("PLAINTEXT", "host-1"), ("OUTSIDE", "outside-1")] {
        assert_eq!(trio.share_hint(2, listener), (ErrorCode::NOT_LEADER_OR_FOLLOWER, 1, host.to_owned()));
    }
}

#[test]
fn a_replica_that_was_reassigned_away_gives_up_its_files() {
    let mut trio = trio();
    trio.produced(1, "a");
    trio.reassign(&[1, 2], &[1, 2]);
    trio.pass(120_000);
    trio.pass(600);
    assert!(trio.files(3).is_empty(), "{:?}", trio.files(3));
    trio.produced(1, "b");
}

#[test]
fn a_fetch_of_a_replica_is_taken_from_registered_brokers_at_their_listener_only() {
    let mut trio = trio();
    assert_eq!(trio.fetch_as(7, 1), ErrorCode::BROKER_ID_NOT_REGISTERED);
    assert_eq!(trio.fetch_as(2, 0), ErrorCode::STALE_BROKER_EPOCH);
    assert_eq!(trio.fetch_at_client_listener(2), ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
}

#[test]
fn everything_replicates_without_the_sync_too() {
    let mut trio = Trio::new(&[("durability", "replicated")]);
    trio.create(&[1, 2, 3], &[1, 2, 3]);
    trio.produced(1, "a");
    trio.pass(600);
    assert_eq!(values(&trio.log(3)), "a");
}
