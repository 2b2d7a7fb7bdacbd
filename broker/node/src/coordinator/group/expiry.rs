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
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in ids {
            let Some(group) = self.groups.get(&id) else { continue };
            let expired: Vec<Place> = self
                .offsets
                .of_group(&id)
                .filter(|(place, committed)| is_expired(turn, group, place, committed))
                .map(|(place, _)| place.clone())
                .filter(|place| !self.offsets.is_pending(&id, place))
                .collect();
            let forgotten = group.is_empty() && group.state() == State::Empty;
            for place in expired {
                turn.emit(record(&id, &place, None));
                self.offsets.apply(id.clone(), place, None);
            }
            if forgotten && !self.offsets.has_any(&id) {
                self.remove_group(turn, &id);
            }
        }
    }
}

fn is_expired(turn: &Turn<'_>, group: &ClassicGroup, place: &Place, committed: &Committed) -> bool {
    let now_ms = turn.now.wall_ms;
    let over = |since_ms: i64| match committed.expire_ms {
        Some(expire_ms) => now_ms >= expire_ms,
        None => now_ms.saturating_sub(since_ms) >= turn.settings.offsets_retention_ms,
    };
    match (group.protocol_type(), group.state()) {
        (None, _) => over(committed.committed_ms),
        (Some(_), State::Empty) => over(group.state_since_ms().max(committed.committed_ms)),
        (Some(CONSUMER), State::Stable) => !may_be_subscribed(group, place) && over(committed.committed_ms),
        (Some(_), _) => false,
    }
}

fn may_be_subscribed(group: &ClassicGroup, place: &Place) -> bool {
    group.subscriptions().is_none_or(|topics| topics.contains(&place.0))
}
