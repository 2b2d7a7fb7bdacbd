//! Batches of the metadata log: a decision is one batch, its records in Kafka's metadata envelope.

use bytes::Bytes;
use strandline_protocol::control::{LeaderChangeMessage, LeaderChangeMessageVoter};
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::records::{BatchBuilder, BatchOptions, ControlType, NewRecord, Scratch, control_batch};
use strandline_protocol::wire::Message;

const FITS: &str = "a decision is far below what a batch can hold";

/// The records of one decision.
pub(super) fn of_records(now_ms: i64, base: Offset, epoch: LeaderEpoch, records: &[MetadataRecord]) -> Bytes {
    let mut batch = BatchBuilder::new(options(base, epoch));
    for record in records {
        let value = record.encode(record.spec().versions.last);
        batch.append(&NewRecord { timestamp: now_ms, key: None, value: Some(&value), headers: &[] }).expect(FITS);
    }
    batch.build(&mut Scratch::default()).expect(FITS)
}

/// The control batch that opens an epoch.
pub(super) fn leader_change(
    now_ms: i64,
    base: Offset,
    epoch: LeaderEpoch,
    leader: i32,
    voters: &[i32],
    granted_by: &[i32],
) -> Bytes {
    let voter = |id: &i32| LeaderChangeMessageVoter { voter_id: (*id).into(), ..LeaderChangeMessageVoter::default() };
    let message = LeaderChangeMessage {
        leader_id: leader.into(),
        voters: voters.iter().map(voter).collect(),
        granting_voters: granted_by.iter().map(voter).collect(),
        ..LeaderChangeMessage::default()
    };
    let value = message.to_bytes(0);
    control_batch(options(base, epoch), now_ms, &[(ControlType::LeaderChange, &value)], &mut Scratch::default()).expect(FITS)
}

fn options(base: Offset, epoch: LeaderEpoch) -> BatchOptions {
    BatchOptions { base_offset: base.0, partition_leader_epoch: epoch.0, ..BatchOptions::default() }
}
