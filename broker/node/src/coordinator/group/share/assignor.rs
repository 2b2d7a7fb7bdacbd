//! Who reads what in a share group: the assignor `simple`.
//!
//! Every partition has at least one reader, and every member reads something as long as there is anything that it
//! subscribes to: with more members than partitions several share one. Members keep what they have where that leaves the
//! work even. A function of what it is handed. Source: SimpleAssignor.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

use crate::coordinator::group::consumer::parts::Parts;

/// The name of the only assignor.
pub(crate) const SIMPLE: &str = "simple";

/// What the assignor is told of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// What it subscribes to, as far as it can be read.
    pub may: Parts,
    /// What the last target gave it.
    pub had: Parts,
}

type Place = (TopicId, i32);

/// Gives every partition that somebody wants its readers.
pub(super) fn assign(wishes: &BTreeMap<String, Wish>) -> BTreeMap<String, Parts> {
    let mut given: BTreeMap<String, BTreeSet<Place>> = wishes.keys().map(|member| (member.clone(), BTreeSet::new())).collect();
    let mut readers: BTreeMap<Place, usize> = BTreeMap::new();
    for wish in wishes.values() {
        for place in wish.may.iter() {
            readers.entry(place).or_default();
        }
    }
    let wanting = wishes.values().filter(|wish| !wish.may.is_empty()).count().max(1);
    let partitions = readers.len();
    let sharers = wanting.div_ceil(partitions.max(1)).max(1);
    let each = (partitions * sharers).div_ceil(wanting).max(1);
    for (member, wish) in wishes {
        let kept = wish.had.both(&wish.may);
        for place in kept.iter() {
            let has = given.get(member).map_or(0, BTreeSet::len);
            if has < each && readers.get(&place).is_some_and(|count| *count < sharers) {
                give(&mut given, &mut readers, member, place);
            }
        }
    }
    // Partitions without a reader first go to whoever has least.
    let unread: Vec<Place> = readers.iter().filter(|(_, count)| **count == 0).map(|(place, _)| *place).collect();
    for place in unread {
        let takers = wishes.iter().filter(|(_, wish)| wish.may.contains(place.0, place.1)).map(|(member, _)| member);
        if let Some(taker) = takers.min_by_key(|member| given.get(*member).map_or(0, BTreeSet::len)) {
            give(&mut given, &mut readers, taker, place);
        }
    }
    // Members without work read along where fewest do.
    for (member, wish) in wishes {
        if given.get(member).is_some_and(BTreeSet::is_empty)
            && let Some(place) = wish.may.iter().min_by_key(|place| readers.get(place).copied().unwrap_or(0))
        {
            give(&mut given, &mut readers, member, place);
        }
    }
    given.into_iter().map(|(member, places)| (member, places.into_iter().collect())).collect()
}

fn give(given: &mut BTreeMap<String, BTreeSet<Place>>, readers: &mut BTreeMap<Place, usize>, member: &str, place: Place) {
    if let Some(places) = given.get_mut(member)
        && places.insert(place)
    {
        *readers.entry(place).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId([1; 16]);

    fn parts(indexes: std::ops::Range<i32>) -> Parts {
        indexes.map(|index| (TOPIC, index)).collect()
    }

    fn wishes(members: usize, partitions: i32) -> BTreeMap<String, Wish> {
        let wish = Wish { may: parts(0..partitions), had: Parts::default() };
        (0..members).map(|member| (format!("m{member}"), wish.clone())).collect()
    }

    fn check(given: &BTreeMap<String, Parts>, partitions: i32) {
        let counts: Vec<usize> = given.values().map(Parts::count).collect();
        assert!(counts.iter().all(|count| *count > 0), "everybody has work: {counts:?}");
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "the work is even: {counts:?}");
        for index in 0..partitions {
            assert!(given.values().any(|parts| parts.contains(TOPIC, index)), "partition {index} is read");
        }
    }

    #[test]
    fn every_partition_is_read_and_everybody_reads() {
        for (members, partitions) in [(1, 1), (1, 5), (3, 3), (2, 5), (5, 2), (7, 3), (10, 1)] {
            check(&assign(&wishes(members, partitions)), partitions);
        }
    }

    #[test]
    fn a_newcomer_takes_no_more_than_its_share() {
        let before = assign(&wishes(2, 6));
        let mut wishes = wishes(3, 6);
        for (member, parts) in &before {
            wishes.get_mut(member).expect("there").had = parts.clone();
        }
        let after = assign(&wishes);
        check(&after, 6);
        assert!(before.iter().all(|(member, parts)| after[member].without(parts).is_empty()), "nobody gets what is not needed");
    }

    #[test]
    fn who_subscribes_to_nothing_that_exists_gets_nothing() {
        let mut wishes = wishes(2, 2);
        wishes.insert("z".to_owned(), Wish::default());
        let given = assign(&wishes);
        assert!(given["z"].is_empty());
        assert_eq!(given.values().map(Parts::count).sum::<usize>(), 2);
    }
}
