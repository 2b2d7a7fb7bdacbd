//! Offsets are committed and read.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId};

use super::Groups;
use super::classic::ClassicGroup;
use super::offsets::{Committed, Place, record};
use crate::coordinator::turn::{Emitted, Transactional, Turn};

/// Who commits.
#[derive(Clone, Debug)]
pub(crate) struct Commit<'a> {
    pub group: &'a GroupId,
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// Negative for somebody who is no member.
    pub generation: i32,
    /// The error for a generation of a group that does not exist.
    pub unknown_group: ErrorCode,
    pub transaction: Option<Transactional>,
}

/// An offset to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub place: Place,
    pub topic_id: TopicId,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Option<String>,
    pub expire_ms: Option<i64>,
}

/// What is known of a partition.
#[derive(Clone, Debug)]
pub(crate) enum Fetched {
    Committed(Committed),
    Nothing,
    /// An open transaction has committed here, and the reader wants to wait for it.
    Undecided,
}

impl Groups {
    /// Whether this commit may be made; makes the group of a simple consumer, which has offsets and no members.
    ///
    /// # Errors
    /// That of the whole request.
    pub(crate) fn begin_commit(&mut self, turn: &mut Turn<'_>, commit: &Commit<'_>) -> Result<(), ErrorCode> {
        let now_ms = turn.now.wall_ms;
        if !self.groups.contains_key(commit.group) {
            if commit.generation >= 0 {
                return Err(commit.unknown_group);
            }
            self.groups.insert(commit.group.clone(), ClassicGroup::new(commit.group.clone(), now_ms));
        }
        let group = self.groups.get(commit.group).ok_or(commit.unknown_group)?;
        if commit.transaction.is_some() {
            return group.check_transactional(commit.member, commit.instance, commit.generation);
        }
        group.check_commit(commit.member, commit.instance, commit.generation)?;
        group.restart_session(turn, commit.member);
        Ok(())
    }

    /// Commits one offset.
    ///
    /// # Errors
    /// OFFSET_METADATA_TOO_LARGE.
    pub(crate) fn commit(&mut self, turn: &mut Turn<'_>, commit: &Commit<'_>, position: Position) -> Result<(), ErrorCode> {
        let metadata = position.metadata.unwrap_or_default();
        if metadata.len() > turn.settings.offset_metadata_bytes_max {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        let committed = Committed {
            offset: position.offset,
            leader_epoch: position.leader_epoch,
            metadata,
            committed_ms: turn.now.wall_ms,
            expire_ms: position.expire_ms,
            topic_id: position.topic_id,
        };
        let record = record(commit.group, &position.place, Some(&committed));
        turn.emitted.push(Emitted { record, transaction: commit.transaction });
        match commit.transaction {
            Some(transaction) => {
                self.offsets.apply_pending(transaction.producer_id, commit.group.clone(), position.place, committed);
            }
            None => self.offsets.apply(commit.group.clone(), position.place, Some(committed)),
        }
        Ok(())
    }

    /// What is committed at a place.
    pub(crate) fn fetch(&self, group: &GroupId, place: &Place, require_stable: bool) -> Fetched {
        if require_stable && self.offsets.is_pending(group, place) {
            return Fetched::Undecided;
        }
        self.offsets.get(group, place).cloned().map_or(Fetched::Nothing, Fetched::Committed)
    }

    /// Every place at which the group has committed.
    pub(crate) fn committed_places(&self, group: &GroupId) -> Vec<Place> {
        self.offsets.of_group(group).map(|(place, _)| place.clone()).collect()
    }
}
