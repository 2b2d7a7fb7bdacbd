//! Offsets are committed and read.

use strandline_log::producers::{Marker, Outcome};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId};

use super::Groups;
use super::classic::ClassicGroup;
use super::offsets::{Committed, Place, record};
use crate::coordinator::turn::{Emitted, Transactional, Turn};
use crate::flaws::{self, Flaw};

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
    /// What clients that do not know member epochs are told of them.
    pub stale: fn(ErrorCode) -> ErrorCode,
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
        if let Some(group) = self.consumer.get(commit.group) {
            return match commit.transaction {
                Some(_) if flaws::is(Flaw::TransactionsUnfenced) => Ok(()),
                // A producer that knows nothing of groups may commit for them (KIP-447).
                Some(_) if commit.generation < 0 && commit.member.is_empty() => Ok(()),
                _ => group.check_commit(commit.member, commit.generation).map_err(|code| (commit.stale)(code)),
            };
        }
        if self.share.contains_key(commit.group) {
            return Err(ErrorCode::GROUP_ID_NOT_FOUND);
        }
        if !self.classic.contains_key(commit.group) {
            if commit.generation >= 0 {
                return Err(commit.unknown_group);
            }
            self.classic.insert(commit.group.clone(), ClassicGroup::new(commit.group.clone(), now_ms));
        }
        let group = self.classic.get(commit.group).ok_or(commit.unknown_group)?;
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
        turn.emitted.push(Emitted::Record { record: Box::new(record.into()), transaction: commit.transaction });
        match commit.transaction {
            Some(transaction) => {
                self.offsets.apply_pending(transaction.producer_id, commit.group.clone(), position.place, committed);
            }
            None => self.offsets.apply(commit.group.clone(), position.place, Some(committed)),
        }
        Ok(())
    }

    /// A transaction that committed offsets here has ended.
    pub(crate) fn end_transaction(&mut self, turn: &mut Turn<'_>, transaction: Transactional, marker: Marker) {
        let commits = marker.outcome == Outcome::Commit || flaws::is(Flaw::AbortCommitsOffsets);
        self.offsets.decide(transaction.producer_id, commits);
        turn.emitted.push(Emitted::Marker { transaction, marker });
    }

    /// Whether a member may read offsets; those who are none may too.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH.
    pub(crate) fn check_fetch(&self, group: &GroupId, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match (self.consumer.get(group), member) {
            (Some(group), Some(member)) if epoch >= 0 => group.check_commit(member, epoch),
            _ => Ok(()),
        }
    }

    /// What is committed at a place.
    pub(crate) fn fetch(&self, group: &GroupId, place: &Place, require_stable: bool) -> Fetched {
        if require_stable && !flaws::is(Flaw::StableNotAwaited) && self.offsets.is_pending(group, place) {
            return Fetched::Undecided;
        }
        self.offsets.get(group, place).cloned().map_or(Fetched::Nothing, Fetched::Committed)
    }

    /// Every place at which the group has committed.
    pub(crate) fn committed_places(&self, group: &GroupId) -> Vec<Place> {
        self.offsets.of_group(group).map(|(place, _)| place.clone()).collect()
    }
}
