//! A group of the classic protocol as a value: its members agree on a generation by joining, and one of them, the
//! leader, says who gets what.
//!
//! `Empty → Preparing → Completing → Stable`; from `Completing` and `Stable` back to `Preparing` when somebody joins,
//! leaves or falls silent, and from `Preparing` to `Empty` when nobody is left. What a member subscribes to and is
//! assigned are bytes that only clients read, so Connect and others use groups too. All that must outlive the
//! coordinator is one record, written when a generation is assigned and when the group becomes empty.
//! Source: ClassicGroup, GroupMetadataManager.classicGroup*.

mod join;
mod leave;
mod member;
mod rebalance;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::classic_group::{GroupMetadataKey, GroupMetadataValue};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicName};
use strandline_protocol::messages::consumer_protocol::ConsumerProtocolSubscription;
use strandline_protocol::messages::describe_groups::DescribedGroup;
use strandline_protocol::messages::join_group::JoinGroupRequestProtocol;
use strandline_protocol::wire::Message;

pub(crate) use self::join::{MEMBER_ID_REQUIRED_FROM, refusal as join_refusal};
use self::member::Member;
pub(crate) use self::sync::refusal as sync_refusal;
use super::consumer::{ClassicSide, Convert, Member as ConsumerMember};
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::Turn;
use crate::flaws::{self, Flaw};
use crate::image::Image;

/// The protocol type of consumers: only of these is it known what they subscribe to.
pub(crate) const CONSUMER: &str = "consumer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is in it; offsets may be.
    Empty,
    /// Members are to join. `initial` is the first rebalance of an empty group, which waits a while for more to come.
    Preparing {
        initial: Option<Initial>,
    },
    /// Everybody knows the generation; the leader is to assign.
    Completing,
    Stable,
}

/// How long the first rebalance may still be put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial {
    delay_ms: u64,
    remaining_ms: u64,
    /// Somebody came since the delay began.
    newcomer: bool,
}

impl State {
    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing { .. } => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub id: GroupId,
    state: State,
    /// When it came into its state, by the wall clock.
    state_since_ms: i64,
    /// `None` until somebody joins: offsets can be committed without.
    protocol_type: Option<String>,
    protocol: Option<String>,
    generation: i32,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    instances: BTreeMap<String, String>,
    /// Ids that were given out and have not joined yet.
    pending_joins: BTreeSet<String>,
    /// Members that have not asked for their assignment in this generation.
    pending_syncs: BTreeSet<String>,
}

impl ClassicGroup {
    pub(crate) fn new(id: GroupId, now_ms: i64) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since_ms: now_ms,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
        }
    }

    /// The group that a record describes.
    pub(crate) fn of_record(id: GroupId, value: GroupMetadataValue) -> Self {
        let protocol = value.protocol.clone().unwrap_or_default();
        let members: BTreeMap<String, Member> =
            value.members.into_iter().map(|member| (member.member_id.clone(), Member::of_record(member, &protocol))).collect();
        let instances = members.values().filter_map(|member| Some((member.instance.clone()?, member.id.clone()))).collect();
        Self {
            state: if members.is_empty() { State::Empty } else { State::Stable },
            state_since_ms: value.current_state_timestamp,
            protocol_type: Some(value.protocol_type).filter(|kind| !kind.is_empty()),
            protocol: value.protocol,
            generation: value.generation,
            leader: value.leader,
            members,
            instances,
            ..Self::new(id, 0)
        }
    }

    /// The record that describes it.
    pub(crate) fn record(&self) -> ConsumerOffsetsRecord {
        let protocol = self.protocol.clone().unwrap_or_default();
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms,
            members: self.members.values().map(|member| member.recorded(&protocol)).collect(),
        };
        ConsumerOffsetsRecord::GroupMetadata(GroupMetadataKey { group: self.id.to_string() }, Some(value))
    }

    /// The record that says that it is gone.
    pub(crate) fn tombstone(&self) -> ConsumerOffsetsRecord {
        ConsumerOffsetsRecord::GroupMetadata(GroupMetadataKey { group: self.id.to_string() }, None)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn members_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending_joins.is_empty()
    }

    /// Whether members of this group are consumers that use this topic now.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.subscriptions().is_some_and(|topics| topics.contains(topic))
    }

    /// The topics of all members; `None` if that cannot be known.
    pub(crate) fn subscriptions(&self) -> Option<BTreeSet<TopicName>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription(&member.metadata(protocol))?.topics);
        }
        Some(topics)
    }

    /// Starts the clocks of a group that was read from the log.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            self.restart_session(turn, &id);
        }
        if self.members.len() > turn.settings.classic_members_max {
            self.prepare_rebalance(turn);
        }
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// The members as those of a consumer group; `None` if what one of them said or was told cannot be read.
    pub(crate) fn as_consumer_members(&self, image: &Image) -> Option<Vec<ConsumerMember>> {
        let protocol = self.protocol.clone().or_else(|| self.select_protocol())?;
        let member = |member: &Member| {
            let side = ClassicSide { session_timeout_ms: member.session_timeout_ms, protocols: member.protocols.clone() };
            let convert = Convert {
                id: &member.id,
                instance: member.instance.as_deref(),
                client_id: &member.client_id,
                client_host: &member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                side,
                subscribed: &member.metadata(&protocol),
                assignment: &member.assignment,
                generation: self.generation,
            };
            convert.member(image)
        };
        self.members.values().map(member).collect()
    }

    pub(crate) fn described(&self) -> DescribedGroup {
        let assigned = if self.state == State::Stable { self.protocol.as_deref() } else { None };
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state.name().to_owned(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: assigned.unwrap_or_default().to_owned(),
            members: self.members.values().map(|member| member.described(assigned)).collect(),
            ..DescribedGroup::default()
        }
    }

    /// Whether somebody who commits offsets may, by the generation that it believes in. `member` is empty and the
    /// generation negative for those who are not members.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
    pub(crate) fn check_commit(&self, member: &str, instance: Option<&str>, generation: i32) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.check_member(member, instance)?;
            if generation != self.generation && !flaws::is(Flaw::GenerationIgnored) {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else if self.state != State::Empty {
            // A stranger may not commit into a group that has members.
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if self.state == State::Completing { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    /// The same for commits within a transaction, which may come while the group rebalances (KIP-447).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID.
    pub(crate) fn check_transactional(&self, member: &str, instance: Option<&str>, generation: i32) -> Result<(), ErrorCode> {
        if flaws::is(Flaw::TransactionsUnfenced) {
            return Ok(());
        }
        if !member.is_empty() || instance.is_some() {
            self.check_member(member, instance)?;
        }
        if generation >= 0 && generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        Ok(())
    }

    /// Somebody says that it is a member.
    fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            return match self.instances.get(instance) {
                None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if current != member => Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    fn move_to(&mut self, turn: &Turn<'_>, state: State) {
        self.state = state;
        self.state_since_ms = turn.now.wall_ms;
    }

    /// The session of a member begins anew.
    pub(crate) fn restart_session(&self, turn: &mut Turn<'_>, member: &str) {
        if let Some(member) = self.members.get(member) {
            let timeout_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
            turn.set_timer(self.session_timer(&member.id), timeout_ms);
        }
    }

    fn session_timer(&self, member: &str) -> Timer {
        Timer::ClassicSession { group: self.id.clone(), member: member.to_owned() }
    }

    fn join_timer(&self) -> Timer {
        Timer::ClassicJoin { group: self.id.clone() }
    }

    fn sync_timer(&self) -> Timer {
        Timer::ClassicSync { group: self.id.clone() }
    }

    /// The longest time that any member wants for a rebalance.
    fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        u64::try_from(longest.unwrap_or(0)).unwrap_or(0)
    }

    fn awaiting_join(&self) -> usize {
        self.members.values().filter(|member| member.joining.is_some()).count()
    }

    /// Whether somebody who offers these protocols can be a member beside those that are.
    fn supports(&self, protocol_type: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|offered| self.members.values().all(|member| member.supports(&offered.name)))
    }

    /// The protocol that everybody speaks and most prefer.
    fn select_protocol(&self) -> Option<String> {
        let mut members = self.members.values();
        let first = self.leader.as_ref().and_then(|leader| self.members.get(leader)).or_else(|| members.next())?;
        let common: Vec<&str> = first
            .protocols
            .iter()
            .map(|offered| offered.name.as_str())
            .filter(|name| self.members.values().all(|member| member.supports(name)))
            .collect();
        let votes = |name: &&str| {
            let votes_for = |member: &&Member| {
                member
                    .protocols
                    .iter()
                    .find(|offered| common.contains(&offered.name.as_str()))
                    .map(|offered| offered.name.as_str())
                    == Some(*name)
            };
            self.members.values().filter(votes_for).count()
        };
        // Of several with as many votes the one that the leader names first.
        common.iter().rev().max_by_key(|name| votes(name)).map(|name| (*name).to_owned())
    }
}

/// What a consumer subscribes to; `None` if the bytes are none of the consumer protocol.
pub(crate) fn subscription(metadata: &bytes::Bytes) -> Option<ConsumerProtocolSubscription> {
    let (head, body) = metadata.split_first_chunk::<2>()?;
    let version = i16::from_be_bytes(*head).min(ConsumerProtocolSubscription::MESSAGE.versions.last);
    ConsumerProtocolSubscription::from_bytes(metadata.slice(metadata.len() - body.len()..), version).ok()
}
