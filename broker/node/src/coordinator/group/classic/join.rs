//! JoinGroup: somebody wants to be in the next generation.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};

use super::member::{Joining, Member};
use super::{ClassicGroup, State};
use crate::coordinator::group::Asker;
use crate::coordinator::turn::Turn;

/// From this version on a newcomer is given its id first and joins with it (KIP-394), so that a lost answer leaves no
/// member behind that nobody is.
pub(crate) const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on a static leader can be told that the assignment stands (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// A JoinGroup of a new member waits this long at most. Source: GroupCoordinatorConfig.
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

impl ClassicGroup {
    /// Somebody joins; the answer comes when the generation is agreed upon.
    pub(crate) fn join(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest) {
        if !self.has_room_for(turn, &request.member_id) {
            self.forget(turn, &request.member_id);
            return refuse(turn, asker, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if request.member_id.is_empty() {
            self.join_newcomer(turn, asker, request)
        } else {
            self.join_known(turn, asker, request)
        }
    }

    fn has_room_for(&self, turn: &Turn<'_>, member: &str) -> bool {
        let most = turn.settings.classic_members_max;
        match self.state {
            State::Empty => true,
            State::Preparing { .. } => {
                let waits = self.members.get(member).is_some_and(|member| member.joining.is_some());
                waits || self.awaiting_join() < most
            }
            State::Completing | State::Stable => self.members.contains_key(member) || self.members.len() < most,
        }
    }

    fn join_newcomer(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest) {
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(turn, asker, "", ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let instance = request.group_instance_id.clone();
        let prefix = instance.as_deref().unwrap_or(&asker.client_id);
        let id = format!("{prefix}-{}", turn.dice.hyphenated());
        match instance {
            Some(instance) => match self.instances.get(&instance).cloned() {
                Some(known) => self.replace_static(turn, asker, request, &known, id),
                None => self.add(turn, asker, request, id),
            },
            None if asker.api_version >= MEMBER_ID_REQUIRED_FROM => {
                let timeout_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
                turn.set_timer(self.session_timer(&id), timeout_ms);
                self.pending_joins.insert(id.clone());
                refuse(turn, asker, &id, ErrorCode::MEMBER_ID_REQUIRED);
            }
            None => self.add(turn, asker, request, id),
        }
    }

    fn join_known(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest) {
        let id = request.member_id.clone();
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(turn, asker, &id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.pending_joins.contains(&id) {
            return match request.group_instance_id {
                // Only members without an instance id are given an id before they join.
                Some(_) => refuse(turn, asker, &id, ErrorCode::UNKNOWN_MEMBER_ID),
                None => self.add(turn, asker, request, id),
            };
        }
        if let Err(code) = self.check_member(&id, request.group_instance_id.as_deref()) {
            return refuse(turn, asker, &id, code);
        }
        let same = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let leads = self.leader.as_deref() == Some(id.as_str());
        match self.state {
            State::Completing if same => {
                let response = self.joined(&id, leads);
                turn.reply(asker.to, response);
            }
            State::Stable if same && !leads => {
                let response = self.joined(&id, false);
                turn.reply(asker.to, response);
            }
            State::Empty => refuse(turn, asker, &id, ErrorCode::UNKNOWN_MEMBER_ID),
            State::Preparing { .. } | State::Completing | State::Stable => {
                self.update(turn, asker, &id, &request);
                self.rebalance_or_complete(turn);
            }
        }
    }

    /// A new member comes in.
    fn add(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest, id: String) {
        let rebalance_timeout_ms = rebalance_timeout_ms(&request);
        let member = Member {
            id: id.clone(),
            instance: request.group_instance_id,
            client_id: asker.client_id.to_string(),
            client_host: asker.client_host.to_string(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: bytes::Bytes::new(),
            joining: Some(Joining { to: asker.to, api_version: asker.api_version }),
            syncing: None,
            is_new: true,
        };
        if let State::Preparing { initial: Some(initial) } = &mut self.state {
            initial.newcomer = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.pending_joins.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        turn.set_timer(self.session_timer(&id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.members.insert(id, member);
        self.rebalance_or_complete(turn);
    }

    /// What a member says of itself when it joins again.
    fn update(&mut self, turn: &mut Turn<'_>, asker: &Asker, id: &str, request: &JoinGroupRequest) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = request.protocols.clone();
        member.rebalance_timeout_ms = rebalance_timeout_ms(request);
        member.session_timeout_ms = request.session_timeout_ms;
        let before = member.joining.replace(Joining { to: asker.to, api_version: asker.api_version });
        if let Some(before) = before {
            turn.reply_now(before.to, refusal(before.api_version, id, ErrorCode::REBALANCE_IN_PROGRESS));
        }
    }

    /// A static member comes back under a new id, for the old one was that of an earlier process.
    fn replace_static(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: JoinGroupRequest, known: &str, id: String) {
        let led_by = self.leader.clone().unwrap_or_default();
        self.rename_static(turn, known, &id);
        self.update(turn, asker, &id, &request);
        self.restart_session(turn, &id);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                // Nothing changes for the others; that the id is another one must outlive the coordinator.
                turn.emit(self.record());
                let leads = self.leader.as_deref() == Some(id.as_str());
                let knows_to_skip = asker.api_version >= SKIP_ASSIGNMENT_FROM;
                let mut response = self.joined(&id, leads && knows_to_skip);
                response.skip_assignment = leads && knows_to_skip;
                if !knows_to_skip {
                    // An old client that is told that it leads would assign anew: it is told the id that led before.
                    response.leader = led_by;
                }
                if let Some(member) = self.members.get_mut(&id) {
                    member.joining = None;
                }
                turn.reply(asker.to, response);
            }
            State::Completing => self.prepare_rebalance(turn),
            State::Empty | State::Preparing { .. } | State::Stable => self.rebalance_or_complete(turn),
        }
    }

    fn rename_static(&mut self, turn: &mut Turn<'_>, known: &str, id: &str) {
        let Some(mut member) = self.members.remove(known) else { return };
        turn.cancel_timer(self.session_timer(known));
        if let Some(joining) = member.joining.take() {
            turn.reply_now(joining.to, refusal(joining.api_version, known, ErrorCode::FENCED_INSTANCE_ID));
        }
        if let Some(syncing) = member.syncing.take() {
            turn.reply_now(syncing, super::sync::refusal(ErrorCode::FENCED_INSTANCE_ID));
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.to_owned());
        }
        if self.leader.as_deref() == Some(known) {
            self.leader = Some(id.to_owned());
        }
        if self.pending_syncs.remove(known) {
            self.pending_syncs.insert(id.to_owned());
        }
        member.id = id.to_owned();
        self.members.insert(id.to_owned(), member);
    }

    /// The answer to a member of the current generation; the leader sees who the others are.
    pub(super) fn joined(&self, id: &str, sees_members: bool) -> JoinGroupResponse {
        let protocol = self.protocol.clone().unwrap_or_default();
        let members =
            if sees_members { self.members.values().map(|member| member.joined(&protocol)).collect() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(protocol),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            members,
            ..JoinGroupResponse::default()
        }
    }
}

/// Version 0 knows one timeout for both.
fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    if request.rebalance_timeout_ms < 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms }
}

fn refuse(turn: &mut Turn<'_>, asker: &Asker, member: &str, code: ErrorCode) {
    turn.reply_now(asker.to, refusal(asker.api_version, member, code));
}

/// A refusal; before version 7 the protocol's name cannot be null.
pub(crate) fn refusal(api_version: i16, member: &str, error_code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code,
        generation_id: -1,
        protocol_name: (api_version < 7).then(String::new),
        member_id: member.to_owned(),
        ..JoinGroupResponse::default()
    }
}
