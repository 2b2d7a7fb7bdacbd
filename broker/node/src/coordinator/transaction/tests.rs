use std::collections::BTreeSet;

use strandline_protocol::ids::{ProducerEpoch, ProducerId};

use super::entry::{Entry, Producer};
use super::status::Status;
use crate::coordinator::transaction::TransactionStateRecord;

fn at(epoch: i16) -> Producer {
    Producer { id: ProducerId(7), epoch: ProducerEpoch(epoch) }
}

#[test]
fn what_is_written_is_read_back() {
    let entry = Entry {
        status: Status::PrepareCommit,
        partitions: BTreeSet::from([("a".into(), 0), ("a".into(), 3), ("b".into(), 1)]),
        started_ms: 5,
        next_id: ProducerId(9),
        previous_id: ProducerId(3),
        client_version: 2,
        ..Entry::new(at(4), 1_000, 10)
    };
    let TransactionStateRecord::TransactionLog(key, value) = entry.record(&"t".into());
    assert_eq!(key.transactional_id.as_str(), "t");
    assert_eq!(Entry::of_record(value.clone().expect("a value")), Some(entry));
    let unknown = strandline_protocol::coordinator::transaction_log::TransactionLogValue {
        transaction_status: 99,
        ..value.expect("a value")
    };
    assert_eq!(Entry::of_record(unknown), None);
}

#[test]
fn the_last_epoch_is_kept_for_the_coordinator() {
    assert!(!Entry::new(at(i16::MAX - 2), 1_000, 10).is_exhausted());
    assert!(Entry::new(at(i16::MAX - 1), 1_000, 10).is_exhausted());
    assert_eq!(Entry::new(at(i16::MAX), 1_000, 10).next_epoch(), ProducerEpoch::MAX);
}
