//! One file an API: decode is done, the handler asks the owner of what it needs and answers.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod allocate_producer_ids;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod alter_share_group_offsets;
pub(crate) mod api_versions;
pub(crate) mod assign_replicas_to_dirs;
pub(crate) mod broker_heartbeat;
pub(crate) mod broker_registration;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod controller_registration;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_share_group_offsets;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_share_group_offsets;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod fetch;
pub(crate) mod fetch_snapshot;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod metadata_fetch;
mod named;
pub(crate) mod not_controller;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod quorum;
pub(crate) mod raft_voters;
pub(crate) mod share_acknowledge;
pub(crate) mod share_fetch;
pub(crate) mod share_group_describe;
pub(crate) mod share_group_heartbeat;
pub(crate) mod share_group_state;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;
pub(crate) mod unregister_broker;
pub(crate) mod update_features;
pub(crate) mod write_txn_markers;

use strandline_protocol::api::Response;

use crate::io::{CloseReason, Effect, Reply, RequestContext};

/// What a handler says.
#[derive(Debug)]
pub enum Answer {
    /// The reply, now.
    Reply(Reply),
    /// Nothing is ever sent (acks = 0).
    Silence,
    /// The reply is parked; whoever completes it sends it.
    Parked,
    /// The connection is closed instead.
    Close,
}

impl Answer {
    /// A reply that is known at once.
    pub fn now(response: impl Into<Response>) -> Self {
        Self::Reply(Reply::Body(Box::new(response.into())))
    }

    /// Puts what is to be done into the outbox.
    pub(crate) fn send(self, context: &RequestContext, outbox: &mut Vec<Effect>) {
        let (connection, sequence) = (context.connection, context.sequence);
        match self {
            Self::Reply(reply) => outbox.push(Effect::Reply { connection, sequence, reply }),
            Self::Silence => outbox.push(Effect::Reply { connection, sequence, reply: Reply::Silence }),
            Self::Close => {
                outbox.push(Effect::Close { connection, sequence, reason: CloseReason::UnacknowledgedProduceFailed });
            }
            Self::Parked => {}
        }
    }
}
