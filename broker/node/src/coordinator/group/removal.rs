//! Groups and offsets are deleted: by operators, and with the topics that they are of.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicName};

use super::Groups;
use super::classic::{CONSUMER, State};
use super::offsets::{Place, record};
use crate::coordinator::turn::Turn;

impl Groups {
    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>, id: &GroupId) -> Result<(), ErrorCode> {
        let is_empty = match (self.consumer.get(id), self.classic.get(id)) {
            _ if self.share.contains_key(id) => self.share(id)?.is_empty(),
            (Some(group), _) => group.is_empty(),
            (None, Some(group)) => group.state() == State::Empty,
            (None, None) => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
        };
        if !is_empty {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        for place in self.committed_places(id) {
            self.delete_offset(turn, id, &place);
        }
        self.remove_group(turn, id);
        Ok(())
    }

    /// Whether offsets of a group may be deleted.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub(crate) fn check_offset_delete(&self, id: &GroupId) -> Result<(), ErrorCode> {
        if self.consumer.contains_key(id) {
            return Ok(());
        }
        // A share group has no committed offsets.
        let group = self.classic.get(id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let known = group.state() == State::Empty || group.protocol_type() == Some(CONSUMER);
        if known { Ok(()) } else { Err(ErrorCode::NON_EMPTY_GROUP) }
    }

    /// Whether a member of the group uses the topic now.
    pub(crate) fn is_subscribed(&self, id: &GroupId, topic: &TopicName) -> bool {
        self.classic.get(id).is_some_and(|group| group.is_subscribed(topic))
            || self.consumer.get(id).is_some_and(|group| group.is_subscribed(topic))
    }

    /// Deletes one offset, if there is one.
    pub(crate) fn delete_offset(&mut self, turn: &mut Turn<'_>, id: &GroupId, place: &Place) {
        if self.offsets.get(id, place).is_some() || self.offsets.is_pending(id, place) {
            turn.emit(record(id, place, None));
            self.offsets.apply(id.clone(), place.clone(), None);
        }
    }

    /// A topic is gone: offsets into it mean nothing, least of all for another topic of its name.
    pub(crate) fn on_topic_removed(&mut self, turn: &mut Turn<'_>, topic: &TopicName) {
        self.on_topic_of_share_removed(turn, topic);
        for (group, place) in self.offsets.of_topic(topic) {
            self.delete_offset(turn, &group, &place);
        }
    }

    pub(super) fn remove_group(&mut self, turn: &mut Turn<'_>, id: &GroupId) {
        if let Some(group) = self.classic.remove(id) {
            turn.emit(group.tombstone());
        }
        if let Some(group) = self.consumer.remove(id) {
            group.tombstones().into_iter().for_each(|record| turn.emit(record));
        }
        if let Some(group) = self.share.remove(id) {
            group.tombstones().into_iter().for_each(|record| turn.emit(record));
        }
    }
}
