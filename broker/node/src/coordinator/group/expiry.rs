//! Offsets that nobody uses any more go, and groups without members and offsets with them.
//!
//! An offset's time begins when its group became empty; in a group of consumers that has members, when it was committed
//! if they are not subscribed to the topic; without a protocol, as simple consumers commit, when it was committed.
//! Source: OffsetMetadataManager.cleanupExpiredOffsets, ClassicGroup.offsetExpirationCondition.

use strandline_protocol::ids::GroupId;

use super::Groups;
use super::classic::{CONSUMER, ClassicGroup, State};
use super::offsets::{Committed, Place, record};
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::Turn;

impl Groups {
    /// Looks at every committed offset of the shard.
    pub(super) fn expire_offsets(&mut self, turn: &mut Turn<'_>) {
        turn.set_timer(Timer::ExpireOffsets, turn.settings.offsets_retention_check_interval_ms);
        let ids: Vec<GroupId> = self.classic.keys().chain(self.consumer.keys()).cloned().collect();
        for id in ids {
            let over = |committed: &Committed, since_ms: i64| match committed.expire_ms {
                Some(expire_ms) => turn.now.wall_ms >= expire_ms,
                None => turn.now.wall_ms.saturating_sub(since_ms) >= turn.settings.offsets_retention_ms,
            };
            let expired: Vec<Place> = self
                .offsets
                .of_group(&id)
                .filter(|(place, committed)| {
                    self.unused_since(&id, place, committed).is_some_and(|since| over(committed, since))
                })
                .map(|(place, _)| place.clone())
                .filter(|place| !self.offsets.is_pending(&id, place))
                .collect();
            for place in expired {
                turn.emit(record(&id, &place, None));
                self.offsets.apply(id.clone(), place, None);
            }
            if self.has_nobody(&id) && !self.offsets.has_any(&id) {
                self.remove_group(turn, &id);
            }
        }
    }

    /// Since when an offset is of no use to its group; `None` if it is.
    fn unused_since(&self, id: &GroupId, place: &Place, committed: &Committed) -> Option<i64> {
        if let Some(group) = self.consumer.get(id) {
            return match group.is_empty() {
                true => Some(group.empty_since_ms().max(committed.committed_ms)),
                false => (!group.is_subscribed(&place.0)).then_some(committed.committed_ms),
            };
        }
        let group = self.classic.get(id)?;
        match (group.protocol_type(), group.state()) {
            (None, _) => Some(committed.committed_ms),
            (Some(_), State::Empty) => Some(group.state_since_ms().max(committed.committed_ms)),
            (Some(CONSUMER), State::Stable) => {
                let is_used = group.subscriptions().is_none_or(|topics| topics.contains(&place.0));
                (!is_used).then_some(committed.committed_ms)
            }
            (Some(_), _) => None,
        }
    }

    /// Whether the group exists and has no members, nor anybody on the way in.
    fn has_nobody(&self, id: &GroupId) -> bool {
        let classic = |group: &ClassicGroup| group.is_empty() && group.state() == State::Empty;
        self.consumer.get(id).map_or_else(|| self.classic.get(id).is_some_and(classic), |group| group.is_empty())
    }
}
