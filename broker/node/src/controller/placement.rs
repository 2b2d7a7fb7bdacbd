//! Where new replicas go: over the racks first, then over the brokers of each, live ones before fenced ones.
//!
//! Racks are dealt in turn, beginning at a random one; each rack deals its brokers in turn, beginning at a random one and
//! one further for every partition. So leaders spread evenly over the brokers, and replicas of one partition share a rack only when
//! there are fewer racks than replicas. A full round shuffles everything, or the same brokers would always follow each other.
//! Source: metadata/.../placement/StripedReplicaPlacer.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;

use super::topics::Refused;
use crate::dice::Dice;
use crate::image::Image;

/// Chooses the replicas of `partitions` new partitions.
///
/// # Errors
/// INVALID_REPLICATION_FACTOR if it is not positive, above the number of brokers, or no broker is alive.
pub(crate) fn place(image: &Image, dice: &mut Dice, factor: i32, partitions: usize) -> Result<Vec<Vec<i32>>, Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    let Some(wanted) = usize::try_from(factor).ok().filter(|factor| *factor > 0) else {
        return refuse(format!("a replication factor is at least 1, not {factor}"));
    };
    let mut racks = Racks::of(image, dice);
    if racks.live == 0 {
        return refuse("all brokers are fenced at present".to_owned());
    }
    if wanted > racks.brokers {
        return refuse(format!("replication factor {factor} needs as many brokers, and {} are registered", racks.brokers));
    }
    Ok((0..partitions).map(|_| racks.deal(dice, wanted)).collect())
}

/// Checks replicas that a client chose for a partition; `factor` is how many its siblings have, if that is to be kept.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT.
pub(crate) fn check_replicas(image: &Image, replicas: &[i32], factor: Option<usize>) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    if replicas.is_empty() {
        return refuse("an assigned partition needs at least one replica".to_owned());
    }
    if let Some(factor) = factor.filter(|factor| *factor != replicas.len()) {
        return refuse(format!("all partitions of a topic have the same number of replicas: {factor}, not {}", replicas.len()));
    }
    for (index, id) in replicas.iter().enumerate() {
        if image.brokers.get(*id).is_none() {
            return refuse(format!("broker {id} is not registered"));
        }
        if replicas[..index].contains(id) {
            return refuse(format!("broker {id} is assigned twice"));
        }
    }
    Ok(())
}

/// Brokers that are dealt in turn.
#[derive(Default)]
struct Hand {
    brokers: Vec<i32>,
    dealt: usize,
    first: usize,
    round: usize,
}

impl Hand {
    /// The next broker of this round, if not all were dealt.
    fn next(&mut self, round: usize) -> Option<i32> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.dealt = 0;
            self.first = (self.first + 1) % self.brokers.len();
        }
        let broker = *self.brokers.get((self.first + self.dealt) % self.brokers.len())?;
        self.dealt += 1;
        (self.dealt <= self.brokers.len()).then_some(broker)
    }
}

#[derive(Default)]
struct Rack {
    live: Hand,
    fenced: Hand,
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<i32> {
        self.live.next(round).or_else(|| self.fenced.next(round))
    }
}

struct Racks {
    racks: Vec<Rack>,
    brokers: usize,
    live: usize,
    round: usize,
    first: usize,
}

impl Racks {
    /// Brokers that are shutting down get nothing new.
    fn of(image: &Image, dice: &mut Dice) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut brokers, mut live) = (0, 0);
        for known in image.brokers.iter().filter(|known| !known.in_controlled_shutdown) {
            let rack = by_name.entry(known.rack.as_deref()).or_default();
            let hand = if known.fenced { &mut rack.fenced } else { &mut rack.live };
            hand.brokers.push(known.id);
            brokers += 1;
            live += usize::from(!known.fenced);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for hand in racks.iter_mut().flat_map(|rack| [&mut rack.live, &mut rack.fenced]) {
            hand.first = any_of(dice, hand.brokers.len());
        }
        let first = any_of(dice, racks.len());
        Self { racks, brokers, live, round: 0, first }
    }

    /// The replicas of the next partition; `wanted` is at most the number of brokers, and one of them is live.
    fn deal(&mut self, dice: &mut Dice, wanted: usize) -> Vec<i32> {
        if self.round == self.live && self.live > 1 {
            self.shuffle(dice);
            self.round = 0;
        }
        let count = self.racks.len();
        let start = self.first % count;
        let mut replicas = Vec::with_capacity(wanted);
        let mut leader_rack = start;
        // The preferred leader is live: the first rack that has a live broker gives it.
        for step in 0..count {
            leader_rack = (start + step) % count;
            if let Some(leader) = self.racks[leader_rack].live.next(self.round) {
                replicas.push(leader);
                break;
            }
        }
        let mut rack = start;
        let mut skip = Some(leader_rack);
        while replicas.len() < wanted {
            // The leader's rack sits out once: it has given its first already.
            if skip == Some(rack) {
                skip = None;
            } else if let Some(replica) = self.racks[rack].next(self.round) {
                replicas.push(replica);
            }
            rack = (rack + 1) % count;
        }
        self.round += 1;
        self.first = start + 1;
        replicas
    }

    fn shuffle(&mut self, dice: &mut Dice) {
        shuffle(dice, &mut self.racks);
        for rack in &mut self.racks {
            shuffle(dice, &mut rack.live.brokers);
            shuffle(dice, &mut rack.fenced.brokers);
        }
    }
}

fn any_of(dice: &mut Dice, count: usize) -> usize {
    if count == 0 { 0 } else { dice.below(count) }
}

fn shuffle<T>(dice: &mut Dice, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, dice.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::worlds::World;

    fn placed(world: &World, factor: i32, partitions: usize) -> Vec<Vec<i32>> {
        place(&world.image, &mut Dice::new(7), factor, partitions).expect("enough brokers")
    }

    #[test]
    fn replicas_are_distinct_and_leaders_spread_evenly() {
        let world = World::new(&[1, 2, 3, 4, 5]);
        let replicas = placed(&world, 3, 100);
        for one in &replicas {
            let mut sorted = one.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), 3, "{one:?}");
        }
        for broker in 1..=5 {
            let leads = replicas.iter().filter(|one| one[0] == broker).count();
            assert!((15..=25).contains(&leads), "broker {broker} leads {leads} of 100");
        }
    }

    #[test]
    fn with_as_many_racks_as_replicas_no_two_share_one() {
        let mut world = World::new(&[]);
        for broker in 1..=6 {
            world.broker_in_rack(broker, ["a", "b", "c"][(broker as usize - 1) % 3]);
        }
        for one in placed(&world, 3, 60) {
            let mut racks: Vec<i32> = one.iter().map(|broker| (broker - 1) % 3).collect();
            racks.sort_unstable();
            assert_eq!(racks, [0, 1, 2], "{one:?}");
        }
    }

    #[test]
    fn fenced_brokers_come_last_and_never_lead() {
        let mut world = World::new(&[1, 2, 3]);
        world.fence(2);
        for one in placed(&world, 2, 20) {
            assert!(!one.contains(&2), "{one:?}");
        }
        for one in placed(&world, 3, 20) {
            assert_ne!(one[0], 2, "{one:?}");
        }
    }

    #[test]
    fn too_few_brokers_and_none_alive_are_refused() {
        let mut world = World::new(&[1]);
        let refused = |world: &World, factor| place(&world.image, &mut Dice::new(7), factor, 1).expect_err("refused").code;
        assert_eq!(refused(&world, 2), ErrorCode::INVALID_REPLICATION_FACTOR);
        assert_eq!(refused(&world, 0), ErrorCode::INVALID_REPLICATION_FACTOR);
        world.fence(1);
        assert_eq!(refused(&world, 1), ErrorCode::INVALID_REPLICATION_FACTOR);
    }
}
