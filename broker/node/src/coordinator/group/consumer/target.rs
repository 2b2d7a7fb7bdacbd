//! From subscriptions to the target: when it has to be computed, and who is to get what.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

use super::ConsumerGroup;
use super::assignor::{Counts, Wish, assign};
use super::member::Member;
use crate::coordinator::turn::Turn;
use crate::image::Image;

impl ConsumerGroup {
    /// Holds subscriptions against the topics that there are, and raises the group epoch if something changed.
    pub(super) fn refresh(&mut self, turn: &mut Turn<'_>, members_changed: bool) {
        if members_changed || self.seen != turn.image.end {
            self.seen = turn.image.end;
            self.patterns.refresh(self.members.values(), turn.image);
        } else {
            return;
        }
        let hash = hash(&self.counts(turn.image));
        if members_changed || hash != self.metadata_hash {
            self.metadata_hash = hash;
            self.epoch += 1;
            turn.emit(self.epoch_record());
        }
    }

    /// The group epoch that a target may be computed for now: that of the last one, as long as it is too young.
    pub(super) fn due_epoch(&self, turn: &Turn<'_>) -> i32 {
        if self.assignment_wait_ms(turn) > 0 { self.assignment_epoch } else { self.epoch }
    }

    /// How long it is until the next target may be computed.
    pub(super) fn assignment_wait_ms(&self, turn: &Turn<'_>) -> i32 {
        wait_ms(turn.now.wall_ms, self.assigned_ms, turn.consumer_config(&self.id).assignment_interval_ms)
    }

    /// Computes the target if the group epoch has passed it, and it is not too young.
    pub(super) fn retarget(&mut self, turn: &mut Turn<'_>) {
        if self.assignment_epoch >= self.due_epoch(turn) {
            return;
        }
        let counts = self.counts(turn.image);
        let wishes: BTreeMap<String, Wish> =
            self.members.values().map(|member| (member.id.clone(), self.wish(member, turn.image))).collect();
        let given = assign(self.assignor(turn), &wishes, &counts);
        for (member, parts) in given {
            if self.target.get(&member) != Some(&parts) {
                self.target.insert(member.clone(), parts);
                turn.emit(self.target_record(&member));
            }
        }
        self.assignment_epoch = self.epoch;
        self.assigned_ms = turn.now.wall_ms;
        turn.emit(self.assignment_epoch_record());
    }

    /// The assignor that most members ask for, or the first that is configured.
    pub(super) fn assignor(&self, turn: &Turn<'_>) -> &'static str {
        let votes = |name: &str| self.members.values().filter(|member| member.assignor.as_deref() == Some(name)).count();
        let most = turn.settings.consumer_assignors.iter().rev().max_by_key(|name| votes(name));
        most.copied().unwrap_or_default()
    }

    fn wish(&self, member: &Member, image: &Image) -> Wish {
        Wish {
            instance: member.instance.clone(),
            topics: self.topics_of(member, image),
            had: self.target.get(&member.id).cloned().unwrap_or_default(),
        }
    }

    fn topics_of(&self, member: &Member, image: &Image) -> BTreeSet<TopicId> {
        let names = member.subscribed.iter().chain(self.patterns.topics(member));
        names.filter_map(|name| image.topics.id_of(name)).collect()
    }

    /// Partitions of every topic that somebody subscribes to and that exists.
    fn counts(&self, image: &Image) -> Counts {
        let topics = self.members.values().flat_map(|member| self.topics_of(member, image));
        let count = |id: TopicId| {
            let partitions = image.topics.by_id(id)?.partitions.len();
            Some((id, i32::try_from(partitions).ok()?))
        };
        topics.filter_map(count).collect()
    }
}

/// How long it is until a target may be computed that follows one of `assigned_ms` (0: none). A clock that was set back makes
/// nobody wait for longer than the interval.
pub(crate) fn wait_ms(now_ms: i64, assigned_ms: i64, interval_ms: i32) -> i32 {
    let over_ms = assigned_ms.saturating_add(interval_ms.into());
    let left_ms = over_ms.saturating_sub(now_ms).clamp(0, interval_ms.max(0).into());
    if assigned_ms == 0 { 0 } else { i32::try_from(left_ms).unwrap_or(interval_ms) }
}

/// FNV-1a over topic ids and their partitions; 0, which says "not computed" in records, is never the answer for topics.
pub(crate) fn hash(counts: &Counts) -> i64 {
    let bytes = counts.iter().flat_map(|(topic, count)| topic.0.into_iter().chain(count.to_be_bytes()));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    if counts.is_empty() { 0 } else { hash.max(1).cast_signed() }
}
