//! From subscriptions to the target: when it has to be computed, and who is to get what.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

use super::ConsumerGroup;
use super::assignor::{ASSIGNORS, Counts, Wish, assign};
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

    /// Computes the target if the group epoch has passed it.
    pub(super) fn retarget(&mut self, turn: &mut Turn<'_>) {
        if self.assignment_epoch >= self.epoch {
            return;
        }
        let counts = self.counts(turn.image);
        let wishes: BTreeMap<String, Wish> =
            self.members.values().map(|member| (member.id.clone(), self.wish(member, turn.image))).collect();
        let given = assign(self.assignor(), &wishes, &counts);
        for (member, parts) in given {
            if self.target.get(&member) != Some(&parts) {
                self.target.insert(member.clone(), parts);
                turn.emit(self.target_record(&member));
            }
        }
        self.assignment_epoch = self.epoch;
        turn.emit(self.assignment_epoch_record(turn.now.wall_ms));
    }

    /// The assignor that most members ask for, or the default.
    pub(super) fn assignor(&self) -> &'static str {
        let votes = |name: &str| self.members.values().filter(|member| member.assignor.as_deref() == Some(name)).count();
        let most = ASSIGNORS.iter().rev().max_by_key(|name| votes(name));
        most.copied().unwrap_or(ASSIGNORS[0])
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

/// FNV-1a over topic ids and their partitions; 0, which says "not computed" in records, is never the answer for topics.
pub(crate) fn hash(counts: &Counts) -> i64 {
    let bytes = counts.iter().flat_map(|(topic, count)| topic.0.into_iter().chain(count.to_be_bytes()));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    if counts.is_empty() { 0 } else { hash.max(1).cast_signed() }
}
