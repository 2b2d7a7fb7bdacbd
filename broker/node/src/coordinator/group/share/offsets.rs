//! What operators do to a share group: set where it begins, forget topics, delete it. What the share coordinator has to do for
//! that is asked of it by whoever calls; here stands what the group's own records say before and after.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId, TopicName};

use super::ShareGroup;
use crate::coordinator::group::Groups;
use crate::coordinator::group::consumer::parts::Parts;
use crate::coordinator::turn::Turn;

impl Groups {
    /// A share group that must exist.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND.
    pub(crate) fn share(&self, id: &GroupId) -> Result<&ShareGroup, ErrorCode> {
        self.share.get(id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)
    }

    /// States of these partitions are to begin anew, at offsets that an operator chose. Makes the group if no group has
    /// its name. Answers with the epoch of the states.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub(crate) fn begin_alter(&mut self, turn: &mut Turn<'_>, id: &GroupId, parts: &Parts) -> Result<i32, ErrorCode> {
        if self.has_other_than_share(id) {
            return Err(ErrorCode::GROUP_ID_NOT_FOUND);
        }
        let group = self.share.entry(id.clone()).or_insert_with(|| ShareGroup::new(id.clone()));
        group.check_empty()?;
        group.raise(turn);
        for (topic, partitions) in parts.lists() {
            let Some(known) = turn.image.topics.by_id(topic) else { continue };
            let new = Parts::of([(topic, partitions)]).without(group.topics.initialized());
            group.topics.begin(topic, &known.name, &new);
        }
        turn.emit(group.topics.record(id));
        Ok(group.epoch)
    }

    /// The share coordinator has begun these states, or could not.
    pub(crate) fn on_states_begun(&mut self, turn: &mut Turn<'_>, id: &GroupId, begun: &Parts, failed: &Parts) {
        if let Some(group) = self.share.get_mut(id) {
            group.on_begun(turn, begun, failed);
        }
    }

    /// States of a topic are to go. Answers with the partitions that have one.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP; UNKNOWN_TOPIC_OR_PARTITION if the group has nothing of the topic.
    pub(crate) fn begin_forget(&mut self, turn: &mut Turn<'_>, id: &GroupId, topic: TopicId) -> Result<Parts, ErrorCode> {
        let group = self.share.get_mut(id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        group.check_empty()?;
        let parts: Parts = group.topics.all().iter().filter(|(id, _)| *id == topic).collect();
        if parts.is_empty() {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        group.topics.delete(topic);
        turn.emit(group.topics.record(id));
        Ok(parts)
    }

    /// The share coordinator has forgotten a topic.
    pub(crate) fn on_states_gone(&mut self, turn: &mut Turn<'_>, id: &GroupId, topic: TopicId) {
        if let Some(group) = self.share.get_mut(id)
            && group.topics.deleting().any(|deleting| deleting == topic)
        {
            group.topics.deleted(topic);
            turn.emit(group.topics.record(id));
        }
    }

    /// What of a share group the share coordinator has to forget before the group can be deleted.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub(crate) fn states_to_delete(&self, id: &GroupId) -> Result<Parts, ErrorCode> {
        let group = self.share(id)?;
        group.check_empty()?;
        Ok(group.topics.all())
    }

    /// A topic is gone: so are the states of its partitions.
    pub(crate) fn on_topic_of_share_removed(&mut self, turn: &mut Turn<'_>, topic: &TopicName) {
        for (id, group) in &mut self.share {
            let all = group.topics.all();
            let gone: Parts = all.iter().filter(|(id, _)| group.topics.name(*id) == Some(topic)).collect();
            // Another topic of the name may have been made meanwhile.
            let gone: Parts = gone.iter().filter(|(id, _)| turn.image.topics.by_id(*id).is_none()).collect();
            if gone.is_empty() {
                continue;
            }
            // The share coordinator sees for itself that the topic is gone.
            gone.lists().for_each(|(topic, _)| group.topics.deleted(topic));
            turn.emit(group.topics.record(id));
        }
    }

    fn has_other_than_share(&self, id: &GroupId) -> bool {
        self.classic.contains_key(id) || self.consumer.contains_key(id)
    }
}
