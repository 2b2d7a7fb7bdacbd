//! How the leader of a classic group shares partitions out: pure.
//!
//! Invariant. Every partition of a topic that somebody subscribes to has one owner, or none in a cooperative round that
//! takes it from another first.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::messages::consumer_protocol::ConsumerProtocolSubscription;

use crate::TopicPartition;

/// An assignor of classic groups, under the name that members of other libraries know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Of each topic a range of partitions to each member, so that the same numbers of two topics meet in one member.
    Range,
    /// As even as can be, and every member keeps what it has as far as that allows; members go on with what they keep.
    CooperativeSticky,
}

/// What a member wishes and has.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) member_id: String,
    instance: Option<String>,
    pub(super) topics: BTreeSet<String>,
    owned: BTreeSet<TopicPartition>,
    /// In which it was given what it has; a later one is to be believed.
    generation: i32,
}

impl Share {
    pub(super) fn new(member_id: &str, instance: Option<&str>, subscription: ConsumerProtocolSubscription) -> Self {
        let owned = subscription.owned_partitions.into_iter().flat_map(|one| {
            let topic = one.topic.0;
            one.partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        Self {
            member_id: member_id.to_owned(),
            instance: instance.map(str::to_owned),
            topics: subscription.topics.into_iter().map(|topic| topic.0).collect(),
            owned: owned.collect(),
            generation: subscription.generation_id,
        }
    }

    /// Static members come first, by the names that they keep.
    fn rank(&self) -> (bool, &str) {
        (self.instance.is_none(), self.instance.as_deref().unwrap_or(&self.member_id))
    }
}

/// What each member is given.
type Assigned = BTreeMap<String, BTreeSet<TopicPartition>>;

impl Assignor {
    /// Its name in JoinGroup.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(super) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Shares out the partitions of topics, given how many each has.
    pub(super) fn assign(self, shares: &[Share], counts: &BTreeMap<String, i32>) -> Assigned {
        let mut ranked: Vec<&Share> = shares.iter().collect();
        ranked.sort_by_key(|share| share.rank());
        match self {
            Self::Range => range(&ranked, counts),
            Self::CooperativeSticky => cooperative_sticky(&ranked, counts),
        }
    }
}

fn range(ranked: &[&Share], counts: &BTreeMap<String, i32>) -> Assigned {
    let mut assigned: Assigned = ranked.iter().map(|share| (share.member_id.clone(), BTreeSet::new())).collect();
    for (topic, count) in counts {
        let takers: Vec<&&Share> = ranked.iter().filter(|share| share.topics.contains(topic)).collect();
        let takers_count = i32::try_from(takers.len()).unwrap_or(i32::MAX).max(1);
        let (each, more) = (count / takers_count, count % takers_count);
        let mut next = 0;
        for (index, share) in (0..).zip(takers) {
            let end = next + each + i32::from(index < more);
            let of = (next..end).map(|partition| (topic.clone(), partition));
            assigned.entry(share.member_id.clone()).or_default().extend(of);
            next = end;
        }
    }
    assigned
}

/// The members by number, with how much each has.
struct Table<'a> {
    ranked: &'a [&'a Share],
    loads: Vec<usize>,
    /// Who has each partition, by number.
    owners: BTreeMap<TopicPartition, usize>,
}

fn cooperative_sticky(ranked: &[&Share], counts: &BTreeMap<String, i32>) -> Assigned {
    let before = believed_owners(ranked, counts);
    let mut table = Table { ranked, loads: vec![0; ranked.len()], owners: BTreeMap::new() };
    for (partition, owner) in &before {
        table.give(partition.clone(), *owner);
    }
    for (topic, count) in counts {
        for partition in (0..*count).map(|number| (topic.clone(), number)) {
            if !table.owners.contains_key(&partition)
                && let Some(least) = table.least_loaded(topic)
            {
                table.give(partition, least);
            }
        }
    }
    while table.move_one_round() {}
    let mut assigned: Assigned = ranked.iter().map(|share| (share.member_id.clone(), BTreeSet::new())).collect();
    for (partition, owner) in table.owners {
        // What another still has is taken from it first, and given in the next round.
        let claimed = |(index, share): (usize, &&Share)| index != owner && share.owned.contains(&partition);
        if !ranked.iter().enumerate().any(claimed) {
            assigned.entry(ranked[owner].member_id.clone()).or_default().insert(partition);
        }
    }
    assigned
}

/// Who has what, as far as it still exists and is subscribed to. Of two who claim a partition the one of the later
/// generation has it; of the same generation neither.
fn believed_owners(ranked: &[&Share], counts: &BTreeMap<String, i32>) -> BTreeMap<TopicPartition, usize> {
    let mut claims: BTreeMap<TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
    for (index, share) in ranked.iter().enumerate() {
        let valid = |(topic, partition): &&TopicPartition| {
            share.topics.contains(topic) && counts.get(topic).is_some_and(|count| partition < count)
        };
        for partition in share.owned.iter().filter(valid) {
            let claim = claims.entry(partition.clone()).or_insert((share.generation, Some(index)));
            if claim.0 < share.generation {
                *claim = (share.generation, Some(index));
            } else if claim.0 == share.generation && claim.1 != Some(index) {
                claim.1 = None;
            }
        }
    }
    claims.into_iter().filter_map(|(partition, (_, owner))| Some((partition, owner?))).collect()
}

impl Table<'_> {
    fn give(&mut self, partition: TopicPartition, owner: usize) {
        self.loads[owner] += 1;
        if let Some(former) = self.owners.insert(partition, owner) {
            self.loads[former] -= 1;
        }
    }

    fn least_loaded(&self, topic: &str) -> Option<usize> {
        let takers = (0..self.ranked.len()).filter(|index| self.ranked[*index].topics.contains(topic));
        takers.min_by_key(|index| self.loads[*index])
    }

    /// Moves partitions from members that have at least two more than another who could have them. Every move makes the
    /// shares more even, so there is a last one.
    fn move_one_round(&mut self) -> bool {
        let mut moved = false;
        for (partition, owner) in self.owners.clone() {
            if let Some(least) = self.least_loaded(&partition.0)
                && self.loads[least] + 1 < self.loads[owner]
            {
                self.give(partition, least);
                moved = true;
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(member: &str, topics: &[&str], owned: &[(&str, i32)], generation: i32) -> Share {
        Share {
            member_id: member.to_owned(),
            instance: None,
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            owned: owned.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect(),
            generation,
        }
    }

    fn counts(of: &[(&str, i32)]) -> BTreeMap<String, i32> {
        of.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
    }

    fn numbers(assigned: &Assigned, member: &str) -> Vec<i32> {
        assigned[member].iter().map(|(_, partition)| *partition).collect()
    }

    #[test]
    fn ranges_are_contiguous_and_the_first_members_have_one_more() {
        let shares = [share("b", &["t"], &[], 0), share("a", &["t"], &[], 0), share("c", &["u"], &[], 0)];
        let assigned = Assignor::Range.assign(&shares, &counts(&[("t", 5), ("u", 1)]));
        assert_eq!(numbers(&assigned, "a"), [0, 1, 2]);
        assert_eq!(numbers(&assigned, "b"), [3, 4]);
        assert_eq!(numbers(&assigned, "c"), [0]);
    }

    #[test]
    fn static_members_keep_their_range_under_a_new_member_id() {
        let named =
            |member: &str, instance: &str| Share { instance: Some(instance.to_owned()), ..share(member, &["t"], &[], 0) };
        let before = Assignor::Range.assign(&[named("x", "i1"), named("m", "i2")], &counts(&[("t", 2)]));
        let after = Assignor::Range.assign(&[named("z", "i1"), named("a", "i2")], &counts(&[("t", 2)]));
        assert_eq!(before["x"], after["z"]);
    }

    #[test]
    fn a_newcomer_waits_for_what_it_is_to_have_and_nobody_else_moves() {
        let owned: Vec<(&str, i32)> = (0..4).map(|one| ("t", one)).collect();
        let shares = [share("a", &["t"], &owned, 3), share("b", &["t"], &[], -1)];
        let first = Assignor::CooperativeSticky.assign(&shares, &counts(&[("t", 4)]));
        assert_eq!((first["a"].len(), first["b"].len()), (2, 0));
        let kept: Vec<(&str, i32)> = numbers(&first, "a").into_iter().map(|one| ("t", one)).collect();
        let shares = [share("a", &["t"], &kept, 4), share("b", &["t"], &[], 4)];
        let second = Assignor::CooperativeSticky.assign(&shares, &counts(&[("t", 4)]));
        assert_eq!(second["a"], first["a"]);
        assert_eq!(second["b"].len(), 2);
    }

    #[test]
    fn of_two_claims_the_later_generation_is_believed() {
        let shares = [share("a", &["t"], &[("t", 0)], 2), share("b", &["t"], &[("t", 0), ("t", 1)], 5)];
        let ranked: Vec<&Share> = shares.iter().collect();
        let owners = believed_owners(&ranked, &counts(&[("t", 2)]));
        assert_eq!(owners[&("t".to_owned(), 0)], 1);
        let shares = [share("a", &["t"], &[("t", 0)], 5), share("b", &["t"], &[("t", 0)], 5)];
        let ranked: Vec<&Share> = shares.iter().collect();
        assert!(believed_owners(&ranked, &counts(&[("t", 2)])).is_empty());
    }

    #[test]
    fn shares_are_even_when_subscriptions_differ() {
        let shares =
            [share("a", &["t", "u"], &[], 0), share("b", &["t"], &[], 0), share("c", &["u"], &[("u", 0), ("u", 1)], 1)];
        let assigned = Assignor::CooperativeSticky.assign(&shares, &counts(&[("t", 3), ("u", 3)]));
        assert!(assigned.values().all(|one| one.len() == 2), "{assigned:?}");
        assert!(assigned["c"].contains(&("u".to_owned(), 0)));
    }
}
