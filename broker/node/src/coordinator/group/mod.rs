//! The groups of one shard: what `__consumer_offsets` says of them, as a value.

pub(crate) mod classic;
mod committing;
pub(crate) mod consumer;
mod expiry;
mod listing;
pub(crate) mod migration;
pub(crate) mod offsets;
mod removal;
mod replay;
pub(crate) mod share;

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::join_group::JoinGroupRequest;
use strandline_protocol::messages::leave_group::{LeaveGroupResponse, MemberIdentity};
use strandline_protocol::messages::share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strandline_protocol::messages::sync_group::SyncGroupRequest;

use self::classic::ClassicGroup;
use self::consumer::ConsumerGroup;
use self::offsets::Offsets;
use self::share::ShareGroup;
use super::timers::Timer;
use super::turn::Turn;
use crate::io::ConnectionId;
use crate::parked::ParkedId;

pub(crate) use self::committing::{Commit, Fetched, Position};
pub(crate) use self::listing::Filter;

/// Whoever asks a group for something.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub to: ParkedId,
    pub connection: ConnectionId,
    pub api_version: i16,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
}

/// All groups of a shard. A group is of one kind at a time.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    classic: BTreeMap<GroupId, ClassicGroup>,
    consumer: BTreeMap<GroupId, ConsumerGroup>,
    share: BTreeMap<GroupId, ShareGroup>,
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
        if let Some(group) = self.consumer.get_mut(&id).filter(|group| !group.is_empty()) {
            return match group.classic_join(turn, asker, request) {
                Ok(response) => turn.reply(asker.to, response),
                Err((code, member)) => turn.reply_now(asker.to, classic::join_refusal(asker.api_version, &member, code)),
            };
        }
        if !self.classic.contains_key(&id) && !request.member_id.is_empty() {
            return turn.reply_now(asker.to, refuse(ErrorCode::UNKNOWN_MEMBER_ID));
        }
        if self.share.contains_key(&id) {
            return turn.reply_now(asker.to, refuse(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        if self.consumer.contains_key(&id) {
            self.remove_group(turn, &id);
        }
        let now_ms = turn.now.wall_ms;
        let group = self.classic.entry(id.clone()).or_insert_with(|| ClassicGroup::new(id, now_ms));
        group.join(turn, asker, request);
    }

    /// A heartbeat of the consumer protocol. Joining makes the group, also out of a classic one.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, and what [`ConsumerGroup::heartbeat`] says.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        let id = request.group_id.clone();
        if !self.consumer.contains_key(&id) {
            if request.member_epoch != consumer::JOINING || self.share.contains_key(&id) {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            if self.classic.get(&id).is_some_and(|group| !group.is_empty()) {
                self.upgrade(turn, &id)?;
            } else {
                self.remove_group(turn, &id);
                self.consumer.insert(id.clone(), ConsumerGroup::new(id.clone(), turn.now.wall_ms));
            }
        }
        let response = self.consumer.get_mut(&id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?.heartbeat(turn, asker, request);
        self.downgrade_if_classic(turn, &id);
        response
    }

    /// A heartbeat of a share group. Joining makes the group, if no other kind has its name.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, and what [`ShareGroup::heartbeat`] says.
    pub(crate) fn share_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        request: ShareGroupHeartbeatRequest,
    ) -> Result<ShareGroupHeartbeatResponse, ErrorCode> {
        let id = request.group_id.clone();
        if !self.share.contains_key(&id) {
            let is_other = self.classic.contains_key(&id) || self.consumer.contains_key(&id);
            if request.member_epoch != share::JOINING || is_other {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            self.share.insert(id.clone(), ShareGroup::new(id.clone()));
        }
        self.share.get_mut(&id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?.heartbeat(turn, asker, request)
    }

    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: SyncGroupRequest) {
        if let Some(group) = self.consumer.get_mut(&request.group_id) {
            return match group.classic_sync(turn, &request) {
                Ok(response) => turn.reply(asker.to, response),
                Err(code) => turn.reply_now(asker.to, classic::sync_refusal(code)),
            };
        }
        match self.classic.get_mut(&request.group_id) {
            Some(group) => group.sync(turn, asker, request),
            None => turn.reply_now(asker.to, classic::sync_refusal(ErrorCode::UNKNOWN_MEMBER_ID)),
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, request: &HeartbeatRequest) -> ErrorCode {
        self.downgrade_if_classic(turn, &request.group_id);
        if let Some(group) = self.consumer.get_mut(&request.group_id) {
            return group.classic_heartbeat(turn, request).err().unwrap_or(ErrorCode::NONE);
        }
        let group = self.classic.get_mut(&request.group_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        group.and_then(|group| group.heartbeat(turn, request)).err().unwrap_or(ErrorCode::NONE)
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, group: &GroupId, members: Vec<MemberIdentity>) -> LeaveGroupResponse {
        if let Some(consumer) = self.consumer.get_mut(group) {
            let members = consumer.classic_leave(turn, members);
            self.downgrade_if_classic(turn, group);
            return LeaveGroupResponse { members, ..LeaveGroupResponse::default() };
        }
        match self.classic.get_mut(group) {
            Some(group) => LeaveGroupResponse { members: group.leave(turn, members), ..LeaveGroupResponse::default() },
            None => LeaveGroupResponse { error_code: ErrorCode::UNKNOWN_MEMBER_ID, ..LeaveGroupResponse::default() },
        }
    }

    /// A timer of this shard is due.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match timer {
            Timer::ClassicSession { group, member } => {
                if let Some(group) = self.classic.get_mut(&group) {
                    group.on_session_timeout(turn, &member);
                }
            }
            Timer::ClassicJoin { group } => {
                if let Some(group) = self.classic.get_mut(&group) {
                    group.on_join_timeout(turn);
                }
            }
            Timer::ClassicSync { group } => {
                if let Some(group) = self.classic.get_mut(&group) {
                    group.on_sync_timeout(turn);
                }
            }
            Timer::ConsumerSession { group: id, member }
            | Timer::ConsumerRebalance { group: id, member }
            | Timer::ConsumerSync { group: id, member } => {
                if let Some(group) = self.consumer.get_mut(&id) {
                    group.fence(turn, &member);
                    self.downgrade_if_classic(turn, &id);
                }
            }
            Timer::ShareSession { group, member } => {
                if let Some(group) = self.share.get_mut(&group) {
                    group.fence(turn, &member);
                }
            }
            Timer::ExpireOffsets => self.expire_offsets(turn),
            // Of other kinds.
            Timer::AbortTimedOut | Timer::ExpireTransactionalIds | Timer::PruneShareStates => {}
        }
    }

    /// Everything is read: clocks start.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        for group in self.classic.values_mut() {
            group.on_loaded(turn);
        }
        for group in self.consumer.values_mut() {
            group.on_loaded(turn);
        }
        for group in self.share.values_mut() {
            group.on_loaded(turn);
        }
        turn.set_timer(Timer::ExpireOffsets, turn.settings.offsets_retention_check_interval_ms);
    }
}
