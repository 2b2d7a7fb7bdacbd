//! Where the replicas of a broker go when it is emptied. Pure: from a picture of the cluster to a list of changes.
//!
//! Each replica goes to the broker with the fewest replicas among those that have none of the partition, one in a rack of its
//! own before all others. The new replica takes the place of the old one, so that the preferred leader's place is kept.

use std::collections::{BTreeMap, BTreeSet};

use strandline_client::{BrokerDescription, BrokerId};

use crate::cli::reassign::Change;

/// A partition and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) replicas: Vec<BrokerId>,
}

/// A partition that no other broker can take over: all of them have it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) topic: String,
    pub(super) partition: i32,
}

/// The changes that leave `leaving` without replicas, in order of topic and partition.
///
/// # Errors
/// [`Stuck`] for the first partition that cannot leave.
pub(super) fn emptied(placed: &[Placed], brokers: &[BrokerDescription], leaving: BrokerId) -> Result<Vec<Change>, Stuck> {
    let racks: BTreeMap<BrokerId, Option<&str>> =
        brokers.iter().map(|broker| (broker.id, broker.rack.as_deref())).filter(|(id, _)| *id != leaving).collect();
    let mut kept: BTreeMap<BrokerId, usize> = racks.keys().map(|id| (*id, 0)).collect();
    for replica in placed.iter().flat_map(|one| &one.replicas) {
        if let Some(count) = kept.get_mut(replica) {
            *count += 1;
        }
    }
    let mut changes = Vec::new();
    for Placed { topic, partition, replicas } in placed.iter().filter(|one| one.replicas.contains(&leaving)) {
        let stuck = || Stuck { topic: topic.clone(), partition: *partition };
        let heir = heir(&racks, &kept, replicas).ok_or_else(stuck)?;
        *kept.entry(heir).or_default() += 1;
        let replicas = replicas.iter().map(|id| if *id == leaving { heir } else { *id }).collect();
        changes.push(((topic.clone(), *partition), Some(replicas)));
    }
    Ok(changes)
}

fn heir(racks: &BTreeMap<BrokerId, Option<&str>>, kept: &BTreeMap<BrokerId, usize>, replicas: &[BrokerId]) -> Option<BrokerId> {
    let taken: BTreeSet<&str> = replicas.iter().filter_map(|id| racks.get(id).copied().flatten()).collect();
    let free = racks.iter().filter(|(id, _)| !replicas.contains(id));
    let cost = |id: &BrokerId, rack: &Option<&str>| {
        (rack.is_some_and(|rack| taken.contains(rack)), kept.get(id).copied().unwrap_or(0), *id)
    };
    free.min_by_key(|(id, rack)| cost(id, rack)).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use strandline_client::Address;

    use super::*;

    fn brokers(racks: &[(i32, &str)]) -> Vec<BrokerDescription> {
        let address = || Address { host: "h".into(), port: 1 };
        let broker = |(id, rack): &(i32, &str)| BrokerDescription {
            id: BrokerId(*id),
            address: address(),
            rack: (!rack.is_empty()).then(|| (*rack).to_owned()),
        };
        racks.iter().map(broker).collect()
    }

    fn placed(partition: i32, replicas: &[i32]) -> Placed {
        Placed { topic: "t".to_owned(), partition, replicas: replicas.iter().copied().map(BrokerId).collect() }
    }

    fn planned(placed: &[Placed], racks: &[(i32, &str)], leaving: i32) -> Result<Vec<(i32, Vec<i32>)>, Stuck> {
        let changes = emptied(placed, &brokers(racks), BrokerId(leaving))?;
        let change =
            |((_, partition), replicas): Change| (partition, replicas.into_iter().flatten().map(|id: BrokerId| id.0).collect());
        Ok(changes.into_iter().map(change).collect())
    }

    #[test]
    fn replicas_go_to_whoever_keeps_the_fewest_and_keep_their_place() {
        let racks = [(1, ""), (2, ""), (3, ""), (4, "")];
        let before = [placed(0, &[1, 2]), placed(1, &[2, 1]), placed(2, &[2, 3])];
        assert_eq!(planned(&before, &racks, 1), Ok(vec![(0, vec![4, 2]), (1, vec![2, 3])]));
    }

    #[test]
    fn a_rack_of_its_own_goes_before_few_replicas() {
        let racks = [(1, "a"), (2, "b"), (3, "b"), (4, "c")];
        let before = [placed(0, &[1, 2]), placed(1, &[4]), placed(2, &[4])];
        assert_eq!(planned(&before, &racks, 1), Ok(vec![(0, vec![4, 2])]));
    }

    #[test]
    fn a_partition_that_every_broker_keeps_cannot_leave() {
        let stuck = planned(&[placed(3, &[1, 2])], &[(1, ""), (2, "")], 1);
        assert_eq!(stuck, Err(Stuck { topic: "t".to_owned(), partition: 3 }));
    }
}
