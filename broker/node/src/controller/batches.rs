//! Batches of the metadata log: a decision is one batch, its records in Kafka's metadata envelope.

use bytes::Bytes;
use strandline_protocol::control::{LeaderChangeMessage, LeaderChangeMessageVoter};
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::records::{BatchBuilder, BatchOptions, ControlType, NewRecord, Scratch, control_batch};
use strandline_protocol::wire::Message;

use crate::quorum::voters::{QuorumRecord, VoterSet};

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

/// What opens an epoch.
pub(super) fn leader_change(leader: i32, voters: &VoterSet, granted_by: &[i32]) -> LeaderChangeMessage {
    let voter = |id: i32| LeaderChangeMessageVoter { voter_id: id.into(), ..LeaderChangeMessageVoter::default() };
    LeaderChangeMessage {
        leader_id: leader.into(),
        voters: voters.ids().map(voter).collect(),
        granting_voters: granted_by.iter().copied().map(voter).collect(),
        ..LeaderChangeMessage::default()
    }
}

/// A batch of control records.
pub(super) fn of_control(
    now_ms: i64,
    base: Offset,
    epoch: LeaderEpoch,
    change: Option<&LeaderChangeMessage>,
    records: &[QuorumRecord],
) -> Bytes {
    let change = change.map(|change| (ControlType::LeaderChange, change.to_bytes(0)));
    let values: Vec<(ControlType, Bytes)> = change.into_iter().chain(records.iter().map(QuorumRecord::encoded)).collect();
    let values: Vec<(ControlType, &[u8])> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
    control_batch(options(base, epoch), now_ms, &values, &mut Scratch::default()).expect(FITS)
}

fn options(base: Offset, epoch: LeaderEpoch) -> BatchOptions {
    BatchOptions { base_offset: base.0, partition_leader_epoch: epoch.0, ..BatchOptions::default() }
}
