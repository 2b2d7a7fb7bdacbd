//! What a reply becomes when the records that would make it true are not known to be committed.

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use strandline_protocol::messages::consumer_group_describe;
use strandline_protocol::messages::describe_groups::DescribedGroup;
use strandline_protocol::messages::describe_transactions::TransactionState;
use strandline_protocol::messages::end_txn::EndTxnResponse;
use strandline_protocol::messages::init_producer_id::InitProducerIdResponse;
use strandline_protocol::messages::list_groups::ListGroupsResponse;
use strandline_protocol::messages::list_transactions::ListTransactionsResponse;
use strandline_protocol::messages::share_group_describe;

use super::group::{classic, consumer, share};

/// The same kind of reply with this error everywhere; errors that stand in it already stay.
pub(super) fn failed(response: Response, code: ErrorCode) -> Response {
    match response {
        Response::JoinGroup(joined) if joined.error_code.is_none() => {
            let mut refused = classic::join_refusal(0, &joined.member_id, code);
            refused.member_id = joined.member_id;
            refused.into()
        }
        Response::SyncGroup(synced) if synced.error_code.is_none() => classic::sync_refusal(code).into(),
        Response::LeaveGroup(mut left) => {
            left.error_code = code;
            left.members.clear();
            left.into()
        }
        Response::OffsetCommit(mut committed) => {
            for partition in committed.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                keep_or(&mut partition.error_code, code);
            }
            committed.into()
        }
        Response::OffsetFetch(mut fetched) => {
            fetched.error_code = code;
            for partition in fetched.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = code;
                partition.committed_offset = Offset::NONE;
                partition.committed_leader_epoch = LeaderEpoch::NONE;
            }
            for group in &mut fetched.groups {
                group.error_code = code;
                group.topics.clear();
            }
            fetched.into()
        }
        Response::OffsetDelete(mut deleted) => {
            keep_or(&mut deleted.error_code, code);
            deleted.topics.clear();
            deleted.into()
        }
        Response::DeleteGroups(mut deleted) => {
            deleted.results.iter_mut().for_each(|result| keep_or(&mut result.error_code, code));
            deleted.into()
        }
        Response::DescribeGroups(mut described) => {
            for group in &mut described.groups {
                let group_id = std::mem::take(&mut group.group_id);
                *group = DescribedGroup { error_code: code, group_id, ..DescribedGroup::default() };
            }
            described.into()
        }
        Response::ConsumerGroupHeartbeat(beat) if beat.error_code.is_none() => consumer::refusal(code).into(),
        Response::ConsumerGroupDescribe(mut described) => {
            for group in &mut described.groups {
                let group_id = std::mem::take(&mut group.group_id);
                *group = consumer_group_describe::DescribedGroup { error_code: code, group_id, ..Default::default() };
            }
            described.into()
        }
        Response::ShareGroupHeartbeat(beat) if beat.error_code.is_none() => share::refusal(code).into(),
        Response::ShareGroupDescribe(mut described) => {
            for group in &mut described.groups {
                let group_id = std::mem::take(&mut group.group_id);
                *group = share_group_describe::DescribedGroup { error_code: code, group_id, ..Default::default() };
            }
            described.into()
        }
        Response::InitializeShareGroupState(mut done) => {
            let partitions = done.results.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| keep_or(&mut partition.error_code, code));
            done.into()
        }
        Response::ReadShareGroupState(mut done) => {
            let partitions = done.results.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| keep_or(&mut partition.error_code, code));
            done.into()
        }
        Response::WriteShareGroupState(mut done) => {
            let partitions = done.results.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| keep_or(&mut partition.error_code, code));
            done.into()
        }
        Response::DeleteShareGroupState(mut done) => {
            let partitions = done.results.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| keep_or(&mut partition.error_code, code));
            done.into()
        }
        Response::ReadShareGroupStateSummary(mut done) => {
            let partitions = done.results.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| keep_or(&mut partition.error_code, code));
            done.into()
        }
        Response::AlterShareGroupOffsets(mut done) => {
            keep_or(&mut done.error_code, code);
            done.into()
        }
        Response::DeleteShareGroupOffsets(mut done) => {
            keep_or(&mut done.error_code, code);
            done.into()
        }
        Response::AddPartitionsToTxn(mut added) => {
            let of_brokers = added.results_by_transaction.iter_mut().flat_map(|result| &mut result.topic_results);
            let topics = of_brokers.chain(&mut added.results_by_topic_v3_and_below);
            topics.flat_map(|topic| &mut topic.results_by_partition).for_each(|partition| {
                keep_or(&mut partition.partition_error_code, code);
            });
            added.into()
        }
        Response::AddOffsetsToTxn(mut added) => {
            keep_or(&mut added.error_code, code);
            added.into()
        }
        Response::EndTxn(_) => EndTxnResponse { error_code: code, ..EndTxnResponse::default() }.into(),
        Response::InitProducerId(_) => InitProducerIdResponse {
            error_code: code,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            ..InitProducerIdResponse::default()
        }
        .into(),
        Response::TxnOffsetCommit(mut committed) => {
            for partition in committed.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                keep_or(&mut partition.error_code, code);
            }
            committed.into()
        }
        Response::DescribeTransactions(mut described) => {
            for state in &mut described.transaction_states {
                let transactional_id = std::mem::take(&mut state.transactional_id);
                *state = TransactionState { error_code: code, transactional_id, ..TransactionState::default() };
            }
            described.into()
        }
        Response::ListTransactions(_) => {
            ListTransactionsResponse { error_code: code, ..ListTransactionsResponse::default() }.into()
        }
        Response::ListGroups(_) => ListGroupsResponse { error_code: code, ..ListGroupsResponse::default() }.into(),
        other => other,
    }
}

fn keep_or(error: &mut ErrorCode, code: ErrorCode) {
    if error.is_none() {
        *error = code;
    }
}
