//! Who owns partitions of groups, by what the members were told.
//!
//! In a generation of the classic protocol a partition is assigned to one member. In the consumer protocol a member has what it was
//! given until it says that it gave it back, or is told that it is none any more. That somebody else is given the partition
//! meanwhile is right only if the member is out without knowing; so what was given twice is *contested*, and if the member's next
//! heartbeat is still taken for good, the partition had two owners.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::PartitionKey;

#[derive(Clone, Debug)]
struct Hold {
    member: String,
    /// In which epoch it was given last.
    epoch: i32,
    /// When somebody else was given it, and who.
    contested: Option<(u64, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Ownership {
    generations: BTreeMap<(String, i32), BTreeMap<PartitionKey, String>>,
    holds: BTreeMap<(String, PartitionKey), Vec<Hold>>,
}

impl Ownership {
    /// A member learned its part of a generation.
    ///
    /// # Errors
    /// Who has one of these partitions in the same generation.
    pub(crate) fn assigned(
        &mut self,
        group: &str,
        generation: i32,
        member: &str,
        keys: &BTreeSet<PartitionKey>,
    ) -> Result<(), String> {
        let owners = self.generations.entry((group.to_owned(), generation)).or_default();
        for key in keys {
            let owner = owners.entry(*key).or_insert_with(|| member.to_owned());
            if owner != member {
                return Err(format!("{key} of generation {generation} is {owner}'s and {member}'s"));
            }
        }
        Ok(())
    }

    /// A member was given a partition in an epoch. What it is told late, when somebody else was given it in a later epoch, contests
    /// nothing but its own: it may be out without knowing.
    pub(crate) fn given(&mut self, group: &str, member: &str, key: PartitionKey, epoch: i32, now_us: u64) {
        let holds = self.holds.entry((group.to_owned(), key)).or_default();
        let others = || holds.iter().filter(|hold| hold.member != member);
        let later = others().find(|hold| hold.epoch > epoch).map(|hold| (now_us, hold.member.clone()));
        for hold in holds.iter_mut().filter(|hold| hold.member != member && hold.epoch <= epoch) {
            hold.contested.get_or_insert_with(|| (now_us, member.to_owned()));
        }
        match holds.iter_mut().find(|hold| hold.member == member) {
            Some(hold) => hold.epoch = hold.epoch.max(epoch),
            None => holds.push(Hold { member: member.to_owned(), epoch, contested: later }),
        }
    }

    /// A member gives a partition back.
    pub(crate) fn released(&mut self, group: &str, member: &str, key: PartitionKey) {
        if let Some(holds) = self.holds.get_mut(&(group.to_owned(), key)) {
            holds.retain(|hold| hold.member != member);
        }
    }

    /// A member is none any more, and knows it.
    pub(crate) fn gone(&mut self, group: &str, member: &str) {
        for ((of, _), holds) in &mut self.holds {
            if of == group {
                holds.retain(|hold| hold.member != member);
            }
        }
    }

    /// A heartbeat that a member sent at `sent_us` was taken for good.
    ///
    /// # Errors
    /// What it has that somebody else was given before that.
    pub(crate) fn confirmed(&self, group: &str, member: &str, sent_us: u64) -> Result<(), String> {
        for ((_, key), holds) in self.holds.iter().filter(|((of, _), _)| of == group) {
            let hold = holds.iter().find(|hold| hold.member == member);
            if let Some((given_us, other)) = hold.and_then(|hold| hold.contested.as_ref())
                && *given_us < sent_us
                && holds.iter().any(|hold| hold.member == *other)
            {
                return Err(format!("{key} is {member}'s, and was given to {other}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::TopicId;

    use super::*;

    const KEY: PartitionKey = PartitionKey { topic: TopicId::ZERO, partition: 0 };

    #[test]
    fn a_partition_of_a_generation_has_one_owner() {
        let mut ownership = Ownership::default();
        let keys = BTreeSet::from([KEY]);
        assert!(ownership.assigned("g", 1, "a", &keys).is_ok());
        assert!(ownership.assigned("g", 1, "a", &keys).is_ok());
        assert!(ownership.assigned("g", 2, "b", &keys).is_ok());
        assert!(ownership.assigned("g", 1, "b", &keys).is_err());
    }

    #[test]
    fn who_is_taken_for_good_after_its_partition_was_given_away_is_a_second_owner() {
        let mut ownership = Ownership::default();
        ownership.given("g", "a", KEY, 1, 10);
        ownership.given("g", "b", KEY, 2, 20);
        assert!(ownership.confirmed("g", "a", 15).is_ok(), "sent before");
        assert!(ownership.confirmed("g", "a", 25).is_err());
        assert!(ownership.confirmed("g", "b", 25).is_ok(), "a may be out without knowing");
        ownership.released("g", "a", KEY);
        assert!(ownership.confirmed("g", "a", 25).is_ok());
    }

    #[test]
    fn what_is_told_late_makes_no_second_owner_of_who_has_it_since() {
        let mut ownership = Ownership::default();
        ownership.given("g", "b", KEY, 2, 20);
        ownership.given("g", "a", KEY, 1, 21);
        assert!(ownership.confirmed("g", "b", 25).is_ok());
        assert!(ownership.confirmed("g", "a", 25).is_err(), "a is out");
    }
}
