//! What operators see of groups.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset};
use strandline_protocol::messages::consumer_group_describe::DescribedGroup as ConsumerGroupDescribed;
use strandline_protocol::messages::describe_groups::DescribedGroup;
use strandline_protocol::messages::share_group_describe::DescribedGroup as ShareGroupDescribed;

use super::Groups;
use super::classic::CONSUMER;
use super::offsets::Place;
use super::share::SHARE;
use crate::coordinator::standing::GroupSummary;
use crate::coordinator::turn::Turn;
use crate::image::Image;

/// Which groups are listed; empty lists mean all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

impl Filter {
    fn wants(&self, listed: &Listed) -> bool {
        let has =
            |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|word| word.eq_ignore_ascii_case(value));
        has(&self.states, listed.state) && has(&self.types, listed.kind)
    }
}

/// A group as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub group: GroupId,
    pub protocol_type: String,
    pub state: &'static str,
    pub kind: &'static str,
}

impl Groups {
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Listed> {
        let classic = self.classic.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            state: group.state().name(),
            kind: "classic",
        });
        let consumer = self.consumer.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: CONSUMER.to_owned(),
            state: group.state(),
            kind: "consumer",
        });
        let share = self.share.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: SHARE.to_owned(),
            state: group.state(),
            kind: SHARE,
        });
        classic.chain(consumer).chain(share).filter(|listed| filter.wants(listed)).collect()
    }

    /// Every group with what its pages show of it.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = GroupSummary> {
        let classic = self.classic.values().map(|group| (group.id.clone(), group.members_count()));
        let consumer = self.consumer.values().map(|group| (group.id.clone(), group.members_count()));
        let share = self.share.values().map(|group| (group.id.clone(), group.members_count()));
        let listed = self.list(&Filter::default()).into_iter();
        listed.zip(classic.chain(consumer).chain(share)).map(|(listed, (group, members))| GroupSummary {
            group,
            kind: listed.kind,
            protocol_type: listed.protocol_type,
            state: listed.state,
            members,
        })
    }

    /// Everything that is committed.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (&GroupId, &Place, Offset)> {
        self.offsets.iter().map(|(group, place, committed)| (group, place, committed.offset))
    }

    /// Describes a classic group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    pub(crate) fn describe(&self, id: &GroupId) -> Result<DescribedGroup, ErrorCode> {
        self.classic.get(id).map(|group| group.described()).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)
    }

    /// Describes a consumer group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    pub(crate) fn describe_consumer(&self, turn: &Turn<'_>, id: &GroupId) -> Result<ConsumerGroupDescribed, ErrorCode> {
        self.consumer.get(id).map(|group| group.described(turn)).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)
    }

    /// Describes a share group.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    pub(crate) fn describe_share(&self, image: &Image, id: &GroupId) -> Result<ShareGroupDescribed, ErrorCode> {
        self.share(id).map(|group| group.described(image))
    }
}
