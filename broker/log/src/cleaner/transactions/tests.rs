use strandline_protocol::records::{
    BatchBuilder, BatchOptions, ControlType, EndTransactionMarker, NewRecord, ProducerStamp, Scratch, end_transaction_batch,
    stamp,
};

use super::*;

fn data(producer: i64, offset: i64) -> Vec<u8> {
    let producer = ProducerStamp { id: producer, epoch: 0, base_sequence: 0 };
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional: true, ..BatchOptions::default() });
    builder.append(&NewRecord { timestamp: 1, key: Some(b"k"), value: None, headers: &[] }).expect("it fits");
    placed(builder.build(&mut Scratch::default()).expect("it is well formed").to_vec(), offset)
}

fn marker(kind: ControlType, producer: i64, offset: i64) -> Vec<u8> {
    let producer = ProducerStamp { id: producer, epoch: 0, base_sequence: -1 };
    let marker = EndTransactionMarker { coordinator_epoch: 0 };
    let batch = end_transaction_batch(kind, marker, producer, 1, &mut Scratch::default()).expect("it is well formed");
    placed(batch.to_vec(), offset)
}

fn placed(mut batch: Vec<u8>, offset: i64) -> Vec<u8> {
    stamp(&mut batch, offset, 0);
    batch
}

fn aborted(producer: i64, first: i64, last: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: ProducerId(producer),
        first: Offset(first),
        last: Offset(last),
        last_stable: Offset(last + 1),
    }
}

fn pass(passed: &mut PassedTransactions, batch: &[u8]) -> Fate {
    passed.pass(&BatchHeader::parse(batch).expect("a batch"), batch)
}

#[test]
fn aborted_records_may_go_and_their_marker_stays_for_the_next_reader() {
    let mut passed = PassedTransactions::default();
    passed.tell(vec![aborted(1, 0, 2)]);
    assert_eq!(pass(&mut passed, &data(1, 0)), Fate::MayGo);
    assert_eq!(pass(&mut passed, &data(2, 1)), Fate::Counts);
    assert_eq!(pass(&mut passed, &marker(ControlType::Abort, 1, 2)), Fate::Counts);
    assert_eq!(passed.take_kept(), [aborted(1, 0, 2)]);
    assert_eq!(pass(&mut passed, &data(1, 3)), Fate::Counts, "its next transaction was not aborted");
    assert_eq!(pass(&mut passed, &marker(ControlType::Commit, 2, 4)), Fate::Counts);
}

#[test]
fn a_marker_of_which_nothing_else_is_left_may_go() {
    let mut passed = PassedTransactions::default();
    passed.tell(vec![aborted(1, 0, 2)]);
    assert_eq!(pass(&mut passed, &marker(ControlType::Abort, 1, 2)), Fate::MayGo);
    assert_eq!(pass(&mut passed, &marker(ControlType::Commit, 2, 3)), Fate::MayGo);
    assert_eq!(passed.take_kept(), []);
}

#[test]
fn a_transaction_over_several_segments_may_be_told_for_each() {
    let mut passed = PassedTransactions::default();
    passed.tell(vec![aborted(1, 0, 9)]);
    assert_eq!(pass(&mut passed, &data(1, 0)), Fate::MayGo);
    passed.tell(vec![aborted(1, 0, 9), aborted(1, 12, 14)]);
    assert_eq!(pass(&mut passed, &marker(ControlType::Abort, 1, 9)), Fate::Counts);
    assert_eq!(passed.take_kept(), [aborted(1, 0, 9)]);
    assert_eq!(pass(&mut passed, &data(1, 10)), Fate::Counts);
    assert_eq!(pass(&mut passed, &data(1, 12)), Fate::MayGo);
}
