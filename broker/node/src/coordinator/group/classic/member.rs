//! A member of a classic group.

use bytes::Bytes;
use strandline_protocol::coordinator::classic_group::MemberMetadata;
use strandline_protocol::messages::describe_groups::DescribedGroupMember;
use strandline_protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};

use crate::parked::ParkedId;

/// A JoinGroup that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    pub to: ParkedId,
    pub api_version: i16,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub id: String,
    /// Static members have one (KIP-345).
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    pub assignment: Bytes,
    pub joining: Option<Joining>,
    pub syncing: Option<ParkedId>,
    /// It has not lived through a rebalance yet.
    pub is_new: bool,
}

impl Member {
    pub(crate) fn is_static(&self) -> bool {
        self.instance.is_some()
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered.name == protocol)
    }

    /// What it offers under this protocol; nothing if it does not know it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| offered.name == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    /// A member that waits for others is not expected to send heartbeats. New ones are: their JoinGroup may wait for
    /// long, and nobody would notice that they are gone.
    pub(crate) fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(crate) fn joined(&self, protocol: &str) -> JoinGroupResponseMember {
        JoinGroupResponseMember {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }

    pub(crate) fn described(&self, protocol: Option<&str>) -> DescribedGroupMember {
        DescribedGroupMember {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            member_metadata: protocol.map(|protocol| self.metadata(protocol)).unwrap_or_default(),
            member_assignment: if protocol.is_some() { self.assignment.clone() } else { Bytes::new() },
        }
    }

    pub(crate) fn recorded(&self, protocol: &str) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// The member as a record has it: the protocol of its group is the only one that it is known to speak.
    pub(crate) fn of_record(record: MemberMetadata, protocol: &str) -> Self {
        let rebalance_timeout_ms = if record.rebalance_timeout < 0 { record.session_timeout } else { record.rebalance_timeout };
        Self {
            id: record.member_id,
            instance: record.group_instance_id,
            client_id: record.client_id,
            client_host: record.client_host,
            session_timeout_ms: record.session_timeout,
            rebalance_timeout_ms,
            protocols: vec![JoinGroupRequestProtocol { name: protocol.to_owned(), metadata: record.subscription }],
            assignment: record.assignment,
            joining: None,
            syncing: None,
            is_new: false,
        }
    }
}
