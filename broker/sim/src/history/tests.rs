//! One hand-written bad history for each anomaly: a checker that was never seen to fail is no checker.

use super::*;

const KEY: PartitionKey = PartitionKey { topic: TopicId([1; 16]), partition: 0 };
const OTHER: PartitionKey = PartitionKey { topic: TopicId([1; 16]), partition: 1 };

fn send(history: &mut History, session: u64, invoked_us: u64) -> Value {
    history.send(Send { partition: KEY, session, content: 7, invoked_us, key: None, deletes: false })
}

fn seen(offset: i64, value: Value) -> Seen {
    Seen { partition: KEY, offset, value, content: 7, timestamp_ms: 100 + offset }
}

fn finish(history: &History, log_start: i64, high_watermark: i64) -> Result<(), Anomaly> {
    history.finish(&BTreeMap::from([(KEY, Reach { log_start, high_watermark })]))
}

/// Three records, sent, acknowledged and read in order.
fn good() -> (History, [Value; 3]) {
    let mut history = History::default();
    let values = [0, 1, 2].map(|number| {
        let value = send(&mut history, 1, number * 10);
        history.acknowledge(value, number as i64, number * 10 + 5).unwrap();
        history.see(seen(number as i64, value)).unwrap();
        value
    });
    (history, values)
}

#[test]
fn a_good_history_passes() {
    let (mut history, _) = good();
    let unknown = send(&mut history, 1, 30);
    history.give_up(unknown);
    assert_eq!(finish(&history, 0, 3), Ok(()));
    history.see(seen(3, unknown)).unwrap();
    assert_eq!(finish(&history, 0, 4), Ok(()), "an unknown one may have been written");
}

#[test]
fn a_lost_write_is_found() {
    let (mut history, _) = good();
    let lost = send(&mut history, 1, 30);
    history.acknowledge(lost, 3, 31).unwrap();
    assert!(matches!(finish(&history, 0, 3), Err(Anomaly::Lost { offset: 3, .. })));
    assert_eq!(finish(&history, 4, 4), Ok(()), "what lies below the log start was removed on purpose");
}

#[test]
fn two_values_at_one_offset_are_found() {
    let (mut history, values) = good();
    let other = send(&mut history, 2, 30);
    let conflict = Anomaly::InconsistentOffset { partition: KEY, offset: 1, first: values[1], second: other };
    assert_eq!(history.clone().see(seen(1, other)), Err(conflict.clone()));
    assert_eq!(history.acknowledge(other, 1, 31), Err(conflict));
}

#[test]
fn an_acknowledged_record_never_moves() {
    let (mut history, values) = good();
    let moved = history.see(seen(9, values[1]));
    assert_eq!(moved, Err(Anomaly::ChangedOffset { partition: KEY, value: values[1], acknowledged: 1, found: 9 }));
    let mut history = History::default();
    let value = send(&mut history, 1, 0);
    history.see(seen(4, value)).unwrap();
    assert!(matches!(history.acknowledge(value, 5, 1), Err(Anomaly::ChangedOffset { found: 4, .. })));
}

#[test]
fn a_duplicate_is_found_unless_it_was_asked_for() {
    let mut history = History::default();
    let value = send(&mut history, 1, 0);
    history.see(seen(0, value)).unwrap();
    let duplicate = Anomaly::Duplicate { partition: KEY, value, first: 0, second: 1 };
    assert_eq!(history.clone().see(seen(1, value)), Err(duplicate));
    history.may_repeat(value);
    history.see(seen(1, value)).unwrap();
    assert_eq!(finish(&history, 0, 2), Ok(()));
}

#[test]
fn a_hole_is_found() {
    let (mut history, _) = good();
    assert_eq!(finish(&history, 0, 4), Err(Anomaly::Hole { partition: KEY, offset: 3 }));
    let value = send(&mut history, 2, 40);
    history.see(seen(4, value)).unwrap();
    assert_eq!(finish(&history, 0, 3), Ok(()), "what lies behind the high watermark came later");
    assert_eq!(finish(&history, 0, 5), Err(Anomaly::Hole { partition: KEY, offset: 3 }));
    assert_eq!(finish(&history, 4, 5), Ok(()));
}

#[test]
fn what_was_never_sent_or_sent_elsewhere_is_found() {
    let (mut history, values) = good();
    assert!(matches!(history.see(seen(3, Value(77))), Err(Anomaly::NeverSent { .. })));
    let elsewhere = Seen { partition: OTHER, ..seen(3, values[0]) };
    assert!(matches!(history.see(elsewhere), Err(Anomaly::NeverSent { .. })));
}

#[test]
fn an_altered_record_is_found() {
    let mut history = History::default();
    let value = send(&mut history, 1, 0);
    assert!(matches!(history.see(Seen { content: 8, ..seen(0, value) }), Err(Anomaly::Altered { .. })));
}

#[test]
fn a_refused_record_that_is_stored_is_found() {
    let mut history = History::default();
    let value = send(&mut history, 1, 0);
    history.refuse(value);
    assert!(matches!(history.see(seen(0, value)), Err(Anomaly::RefusedButStored { .. })));
}

#[test]
fn a_session_out_of_order_is_found() {
    let mut history = History::default();
    let (first, second) = (send(&mut history, 1, 0), send(&mut history, 1, 1));
    history.see(seen(0, second)).unwrap();
    history.see(seen(1, first)).unwrap();
    assert!(matches!(finish(&history, 0, 2), Err(Anomaly::SessionOrder { .. })));
}

#[test]
fn an_order_against_real_time_is_found() {
    let mut history = History::default();
    let first = send(&mut history, 1, 0);
    history.acknowledge(first, 1, 10).unwrap();
    let second = send(&mut history, 2, 11);
    history.acknowledge(second, 0, 20).unwrap();
    history.see(seen(0, second)).unwrap();
    history.see(seen(1, first)).unwrap();
    assert!(matches!(finish(&history, 0, 2), Err(Anomaly::RealTimeOrder { .. })));
}

#[test]
fn sends_that_overlap_may_lie_in_any_order() {
    let mut history = History::default();
    let (first, second) = (send(&mut history, 1, 0), send(&mut history, 2, 5));
    history.acknowledge(first, 1, 10).unwrap();
    history.acknowledge(second, 0, 11).unwrap();
    history.see(seen(0, second)).unwrap();
    history.see(seen(1, first)).unwrap();
    assert_eq!(finish(&history, 0, 2), Ok(()));
}

#[test]
fn a_wrong_lookup_is_found() {
    let check = |target_ms, answer| {
        let (mut history, _) = good();
        history.looked_up(TimeLookup { partition: KEY, target_ms, answer, acknowledged_end: 3 });
        finish(&history, 0, 3)
    };
    assert_eq!(check(101, Some((1, 101))), Ok(()));
    assert_eq!(check(103, None), Ok(()));
    assert!(check(101, Some((2, 102))).is_err(), "there is an earlier one");
    assert!(check(101, None).is_err(), "there is one");
    assert!(check(101, Some((1, 100))).is_err(), "it is not old enough");
    assert!(check(0, Some((0, 99))).is_err(), "the record has another timestamp");
}

#[test]
fn what_the_power_cut_was_allowed_to_take_is_forgiven() {
    let (mut history, _) = good();
    history.forgive_from(KEY, 1);
    assert_eq!(finish(&history, 0, 1), Ok(()));
    let next = send(&mut history, 1, 50);
    history.acknowledge(next, 1, 51).unwrap();
    history.see(seen(1, next)).unwrap();
    assert_eq!(finish(&history, 0, 2), Ok(()));
}

/// Two records of one key, the second of which may be a deletion; at the end these offsets are left.
fn compacted(deletes: bool, left: &[i64]) -> Result<(), Anomaly> {
    let mut history = History::default();
    history.compacts(KEY);
    let mut values = Vec::new();
    for (offset, deletes) in [(0, false), (1, deletes)] {
        let send = Send { partition: KEY, session: 1, content: 7, invoked_us: 0, key: Some(4), deletes };
        let value = history.send(send);
        history.acknowledge(value, offset, 5).unwrap();
        history.see(seen(offset, value)).unwrap();
        values.push(value);
    }
    history.begin_audit();
    for offset in left {
        history.see(seen(*offset, values[*offset as usize])).unwrap();
    }
    finish(&history, 0, 2)
}

#[test]
fn compaction_leaves_the_newest_record_of_a_key() {
    assert_eq!(compacted(false, &[0, 1]), Ok(()));
    assert_eq!(compacted(false, &[1]), Ok(()));
    assert!(matches!(compacted(false, &[0]), Err(Anomaly::LostKey { found: Some(0), .. })));
    assert!(matches!(compacted(false, &[]), Err(Anomaly::LostKey { found: None, .. })));
    assert_eq!(compacted(true, &[]), Ok(()), "a deletion goes after a while");
    assert!(matches!(compacted(true, &[0]), Err(Anomaly::LostKey { .. })), "what was deleted is back");
}

#[test]
fn a_deletion_that_was_never_acknowledged_may_have_taken_a_key() {
    let mut history = History::default();
    history.compacts(KEY);
    let send = |deletes| Send { partition: KEY, session: 1, content: 7, invoked_us: 0, key: Some(4), deletes };
    let first = history.send(send(false));
    history.acknowledge(first, 0, 5).unwrap();
    history.see(seen(0, first)).unwrap();
    history.send(send(true));
    history.begin_audit();
    assert_eq!(finish(&history, 0, 2), Ok(()));
}
