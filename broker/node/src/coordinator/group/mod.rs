//! The groups of one shard: what `__consumer_offsets` says of them, as a value.

pub(crate) mod classic;
mod committing;
mod expiry;
mod listing;
pub(crate) mod offsets;
mod removal;

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_log::producers::Outcome;
use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, ProducerId};
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::join_group::JoinGroupRequest;
use strandline_protocol::messages::leave_group::{LeaveGroupResponse, MemberIdentity};
use strandline_protocol::messages::sync_group::SyncGroupRequest;

use self::classic::ClassicGroup;
use self::offsets::Offsets;
use super::loading::Loaded;
use super::timers::Timer;
use super::turn::Turn;
use crate::parked::ParkedId;

pub(crate) use self::committing::{Commit, Fetched, Position};
pub(crate) use self::listing::Filter;

/// Whoever asks a group for something.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub to: ParkedId,
    pub api_version: i16,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
}

/// All groups of a shard.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupId, ClassicGroup>,
    offsets: Offsets,
}

impl Groups {
    pub(crate) fn join(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest) {
        let bounds = turn.settings.session_timeout_min_ms..=turn.settings.session_timeout_max_ms;
        let refuse = |code| classic::join_refusal(asker.api_version, &request.member_id, code);
        if !bounds.contains(&request.session_timeout_ms) {
            return turn.reply_now(asker.to, refuse(ErrorCode::INVALID_SESSION_TIMEOUT));
        }
        let id = request.group_id.clone();
        if !self.groups.contains_key(&id) && !request.member_id.is_empty() {
            return turn.reply_now(asker.to, refuse(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        let now_ms = turn.now.wall_ms;
        let group = self.groups.entry(id.clone()).or_insert_with(|| ClassicGroup::new(id, now_ms));
        group.join(turn, asker, request);
    }

    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: SyncGroupRequest) {
        match self.groups.get_mut(&request.group_id) {
            Some(group) => group.sync(turn, asker, request),
            None => turn.reply_now(asker.to, classic::sync_refusal(ErrorCode::UNKNOWN_MEMBER_ID)),
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, request: &HeartbeatRequest) -> ErrorCode {
        let group = self.groups.get_mut(&request.group_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        group.and_then(|group| group.heartbeat(turn, request)).err().unwrap_or(ErrorCode::NONE)
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, group: &GroupId, members: Vec<MemberIdentity>) -> LeaveGroupResponse {
        match self.groups.get_mut(group) {
            Some(group) => LeaveGroupResponse { members: group.leave(turn, members), ..LeaveGroupResponse::default() },
            None => LeaveGroupResponse { error_code: ErrorCode::UNKNOWN_MEMBER_ID, ..LeaveGroupResponse::default() },
        }
    }

    /// A timer of this shard is due.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match timer {
            Timer::ClassicSession { group, member } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.on_session_timeout(turn, &member);
                }
            }
            Timer::ClassicJoin { group } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.on_join_timeout(turn);
                }
            }
            Timer::ClassicSync { group } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.on_sync_timeout(turn);
                }
            }
            Timer::ExpireOffsets => self.expire_offsets(turn),
        }
    }

    /// Takes what the log says, in its order.
    pub(crate) fn replay(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Record { record, producer } => self.replay_record(*record, producer),
            Loaded::Marker { producer, outcome } => self.offsets.decide(producer, outcome == Outcome::Commit),
        }
    }

    fn replay_record(&mut self, record: ConsumerOffsetsRecord, producer: Option<ProducerId>) {
        match record {
            ConsumerOffsetsRecord::OffsetCommit(key, value) => {
                let (group, place) = (GroupId::from(key.group), (key.topic.into(), key.partition));
                let committed = value.map(offsets::committed);
                if committed.is_some() {
                    self.groups.entry(group.clone()).or_insert_with(|| ClassicGroup::new(group.clone(), 0));
                }
                match (producer, committed) {
                    (Some(producer), Some(committed)) => self.offsets.apply_pending(producer, group, place, committed),
                    (_, committed) => self.offsets.apply(group, place, committed),
                }
            }
            ConsumerOffsetsRecord::GroupMetadata(key, Some(value)) => {
                let group = GroupId::from(key.group);
                self.groups.insert(group.clone(), ClassicGroup::of_record(group, value));
            }
            ConsumerOffsetsRecord::GroupMetadata(key, None) => {
                self.groups.remove(key.group.as_str());
            }
            // Of kinds of groups that this coordinator does not have; the log keeps them.
            _ => {}
        }
    }

    /// Everything is read: clocks start.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        for group in self.groups.values_mut() {
            group.on_loaded(turn);
        }
        turn.set_timer(Timer::ExpireOffsets, turn.settings.offsets_retention_check_interval_ms);
    }
}
