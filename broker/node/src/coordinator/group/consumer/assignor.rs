//! Who is to get what: the server's assignors.
//!
//! `uniform` gives every member as many partitions as the others, give or take one where subscriptions allow it, and
//! lets it keep what it has. `range` gives each member a run of neighbours in every topic, so that topics with as many
//! partitions fall on the same members. Both are functions of what they are handed.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

use super::parts::Parts;

/// Names of the assignors.
pub(crate) const ASSIGNORS: [&str; 2] = ["uniform", "range"];

/// What an assignor is told of a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// Static members are put in order by it, so that they keep their runs.
    pub instance: Option<String>,
    pub topics: BTreeSet<TopicId>,
    /// What the last target gave it.
    pub had: Parts,
}

/// Partitions of each topic that somebody wants.
pub(crate) type Counts = BTreeMap<TopicId, i32>;

/// Assigns every partition that somebody wants to exactly one of those who want it.
pub(crate) fn assign(assignor: &str, wishes: &BTreeMap<String, Wish>, counts: &Counts) -> BTreeMap<String, Parts> {
    if assignor == "range" { range(wishes, counts) } else { uniform(wishes, counts) }
}

fn range(wishes: &BTreeMap<String, Wish>, counts: &Counts) -> BTreeMap<String, Parts> {
    let mut given: BTreeMap<String, Parts> = wishes.keys().map(|member| (member.clone(), Parts::default())).collect();
    let mut order: Vec<(&Wish, &String)> = wishes.iter().map(|(member, wish)| (wish, member)).collect();
    order.sort_by_key(|(wish, member)| (wish.instance.is_none(), wish.instance.clone(), (*member).clone()));
    for (topic, count) in counts {
        let takers: Vec<&String> =
            order.iter().filter(|(wish, _)| wish.topics.contains(topic)).map(|(_, member)| *member).collect();
        let Some(members) = i32::try_from(takers.len()).ok().filter(|members| *members > 0) else { continue };
        let (each, more) = (count / members, count % members);
        let mut next = 0;
        for (place, member) in (0..).zip(takers) {
            let run = each + i32::from(place < more);
            let parts = given.entry(member.clone()).or_default();
            (next..next + run).for_each(|index| parts.insert(*topic, index));
            next += run;
        }
    }
    given
}

fn uniform(wishes: &BTreeMap<String, Wish>, counts: &Counts) -> BTreeMap<String, Parts> {
    let mut spread = Spread::keeping(wishes, counts);
    spread.give_free();
    spread.even_out();
    spread.given
}

/// Partitions on their way to members.
struct Spread<'a> {
    wishes: &'a BTreeMap<String, Wish>,
    given: BTreeMap<String, Parts>,
    free: Vec<(TopicId, i32)>,
    /// Members by how much they have.
    loads: BTreeSet<(usize, String)>,
}

impl<'a> Spread<'a> {
    /// Members keep what they had and still want, up to their fair part.
    fn keeping(wishes: &'a BTreeMap<String, Wish>, counts: &Counts) -> Self {
        let wanted: Vec<(TopicId, i32)> = counts
            .iter()
            .filter(|(topic, _)| wishes.values().any(|wish| wish.topics.contains(topic)))
            .flat_map(|(topic, count)| (0..*count).map(move |index| (*topic, index)))
            .collect();
        let alike = wishes.values().all(|wish| Some(&wish.topics) == wishes.values().next().map(|first| &first.topics));
        let members = wishes.len().max(1);
        let (each, mut more) = (wanted.len() / members, wanted.len() % members);
        let mut taken = Parts::default();
        let mut given = BTreeMap::new();
        for (member, wish) in wishes {
            let exists = |topic: &TopicId, index: i32| counts.get(topic).is_some_and(|count| index < *count);
            let keeps = |(topic, index): &(TopicId, i32)| {
                wish.topics.contains(topic) && exists(topic, *index) && !taken.contains(*topic, *index)
            };
            let mut kept: Vec<(TopicId, i32)> = wish.had.iter().filter(keeps).collect();
            if alike {
                let room = each + usize::from(more > 0);
                more -= usize::from(kept.len() > each && more > 0);
                kept.truncate(room);
            }
            kept.iter().for_each(|(topic, index)| taken.insert(*topic, *index));
            given.insert(member.clone(), kept.into_iter().collect::<Parts>());
        }
        let free = wanted.into_iter().filter(|(topic, index)| !taken.contains(*topic, *index)).collect();
        let loads = given.iter().map(|(member, parts)| (parts.count(), member.clone())).collect();
        Self { wishes, given, free, loads }
    }

    /// What nobody has goes to whoever wants it and has least.
    fn give_free(&mut self) {
        for (topic, index) in std::mem::take(&mut self.free) {
            let taker = self.loads.iter().find(|(_, member)| self.wants(member, topic)).map(|(_, member)| member.clone());
            if let Some(member) = taker {
                self.give(&member, topic, index);
            }
        }
    }

    /// As long as somebody has two more than somebody else who wants one of them, that one moves. Every move makes the
    /// loads more alike, so this ends.
    fn even_out(&mut self) {
        while let Some((from, to, (topic, index))) = self.next_move() {
            self.take(&from, topic, index);
            self.give(&to, topic, index);
        }
    }

    fn next_move(&self) -> Option<(String, String, (TopicId, i32))> {
        let (least, _) = self.loads.first()?;
        for (has, from) in self.loads.iter().rev().take_while(|(has, _)| *has > least + 1) {
            for (low, to) in self.loads.iter().take_while(|(low, _)| low + 1 < *has) {
                debug_assert!(low < has);
                let found = self.given.get(from)?.iter().find(|(topic, _)| self.wants(to, *topic));
                if let Some(place) = found {
                    return Some((from.clone(), to.clone(), place));
                }
            }
        }
        None
    }

    fn wants(&self, member: &str, topic: TopicId) -> bool {
        self.wishes.get(member).is_some_and(|wish| wish.topics.contains(&topic))
    }

    fn give(&mut self, member: &str, topic: TopicId, index: i32) {
        let parts = self.given.entry(member.to_owned()).or_default();
        self.loads.remove(&(parts.count(), member.to_owned()));
        parts.insert(topic, index);
        self.loads.insert((parts.count(), member.to_owned()));
    }

    fn take(&mut self, member: &str, topic: TopicId, index: i32) {
        let parts = self.given.entry(member.to_owned()).or_default();
        self.loads.remove(&(parts.count(), member.to_owned()));
        *parts = parts.without(&[(topic, index)].into_iter().collect());
        self.loads.insert((parts.count(), member.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicId = TopicId([1; 16]);
    const B: TopicId = TopicId([2; 16]);

    fn wish(topics: &[TopicId], had: &[(TopicId, i32)]) -> Wish {
        Wish { instance: None, topics: topics.iter().copied().collect(), had: had.iter().copied().collect() }
    }

    fn wishes(of: &[(&str, Wish)]) -> BTreeMap<String, Wish> {
        of.iter().map(|(member, wish)| ((*member).to_owned(), wish.clone())).collect()
    }

    #[test]
    fn every_partition_goes_to_exactly_one_member_and_loads_differ_by_one() {
        let wishes = wishes(&[("a", wish(&[A, B], &[])), ("b", wish(&[A, B], &[])), ("c", wish(&[A, B], &[]))]);
        let counts = Counts::from([(A, 4), (B, 3)]);
        for assignor in ASSIGNORS {
            let given = assign(assignor, &wishes, &counts);
            let mut all: Vec<_> = given.values().flat_map(Parts::iter).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 7, "{assignor}");
            assert_eq!(given.values().map(Parts::count).sum::<usize>(), 7, "{assignor}");
        }
        let given = assign("uniform", &wishes, &counts);
        assert!(given.values().all(|parts| (2..=3).contains(&parts.count())));
    }

    #[test]
    fn members_keep_what_they_have_when_another_comes() {
        let had: Vec<_> = (0..4).map(|index| (A, index)).collect();
        let wishes = wishes(&[("a", wish(&[A], &had)), ("b", wish(&[A], &[]))]);
        let given = assign("uniform", &wishes, &Counts::from([(A, 4)]));
        assert_eq!(given["a"].iter().collect::<Vec<_>>(), [(A, 0), (A, 1)]);
        assert_eq!(given["b"].iter().collect::<Vec<_>>(), [(A, 2), (A, 3)]);
    }

    #[test]
    fn a_member_that_wants_less_leaves_more_to_the_others() {
        let wishes = wishes(&[("a", wish(&[A], &[])), ("b", wish(&[A, B], &[]))]);
        let given = assign("uniform", &wishes, &Counts::from([(A, 2), (B, 2)]));
        assert_eq!((given["a"].count(), given["b"].count()), (2, 2));
        assert!(given["a"].iter().all(|(topic, _)| topic == A));
    }

    #[test]
    fn a_range_is_a_run_of_neighbours_in_every_topic() {
        let wishes = wishes(&[("a", wish(&[A, B], &[])), ("b", wish(&[A, B], &[]))]);
        let given = assign("range", &wishes, &Counts::from([(A, 3), (B, 3)]));
        assert_eq!(given["a"].iter().collect::<Vec<_>>(), [(A, 0), (A, 1), (B, 0), (B, 1)]);
        assert_eq!(given["b"].iter().collect::<Vec<_>>(), [(A, 2), (B, 2)]);
    }
}
