//! Groups change their protocol with their members in them (KIP-848).
//!
//! *Upgrade*: the first member of the consumer protocol that joins a classic group of consumers makes it a consumer group;
//! those that were there go on as classic members within. *Downgrade*: when the last member of the consumer protocol is
//! gone, the others are a classic group again, and rebalance. `group.consumer.migration.policy` says which is allowed.

use strandline_protocol::coordinator::classic_group::{GroupMetadataValue, MemberMetadata};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;

use super::Groups;
use super::classic::{CONSUMER, ClassicGroup};
use super::consumer::ConsumerGroup;
use crate::coordinator::turn::Turn;

/// Which changes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MigrationPolicy {
    Disabled,
    Upgrade,
    Downgrade,
    Bidirectional,
}

impl MigrationPolicy {
    /// The values of the key, which are all that it can have.
    pub(crate) const NAMES: &'static [&'static str] = &["disabled", "upgrade", "downgrade", "bidirectional"];

    pub(crate) fn of(name: &str) -> Self {
        match name {
            "disabled" => Self::Disabled,
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            _ => Self::Bidirectional,
        }
    }

    fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

impl Groups {
    /// A classic group with members becomes a consumer group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND if it may not, or if it is none of consumers.
    pub(super) fn upgrade(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> Result<(), ErrorCode> {
        let group = self.classic.get_mut(id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let may = turn.settings.migration_policy.allows_upgrade()
            && group.protocol_type() == Some(CONSUMER)
            && group.members_count() <= turn.settings.consumer_members_max;
        let members = if may { group.as_consumer_members(turn.image) } else { None };
        let members = members.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let generation = group.generation();
        group.dismiss(turn);
        self.remove_group(turn, id);
        let upgraded = ConsumerGroup::of_classic(turn, id.clone(), generation, members);
        self.consumer.insert(id.clone(), upgraded);
        Ok(())
    }

    /// A consumer group whose members all speak the classic protocol becomes a classic group, if it may.
    pub(super) fn downgrade_if_classic(&mut self, turn: &mut Turn<'_>, id: &GroupId) {
        let Some(group) = self.consumer.get_mut(id) else { return };
        let may =
            turn.settings.migration_policy.allows_downgrade() && group.members_count() <= turn.settings.classic_members_max;
        let Some(value) = group.as_classic(turn).filter(|_| may) else { return };
        group.remove_all(turn);
        self.remove_group(turn, id);
        let mut downgraded = ClassicGroup::of_record(id.clone(), value);
        turn.emit(downgraded.record());
        downgraded.on_loaded(turn);
        downgraded.prepare_rebalance(turn);
        self.classic.insert(id.clone(), downgraded);
    }
}

/// A classic group that is `Stable` in this generation; nobody leads it before its members have joined again.
pub(super) fn stable(generation: i32, protocol: String, members: Vec<MemberMetadata>, now_ms: i64) -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: CONSUMER.to_owned(),
        generation,
        protocol: Some(protocol),
        leader: members.first().map(|member| member.member_id.clone()),
        current_state_timestamp: now_ms,
        members,
    }
}
