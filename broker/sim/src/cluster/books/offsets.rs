//! How far groups have committed. Members begin where the group stands, so it never goes back: neither is an offset lost, nor
//! may one be committed by somebody whose generation or epoch is over.

use std::collections::BTreeMap;

use crate::history::PartitionKey;

#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// When something was known to be committed, and the highest offset by then; both rise.
    known: BTreeMap<(String, PartitionKey), Vec<(u64, i64)>>,
}

impl Offsets {
    /// What was known to be committed before a point of time; -1 for nothing.
    pub(crate) fn known_before(&self, group: &str, key: PartitionKey, at_us: u64) -> i64 {
        let Some(known) = self.known.get(&(group.to_owned(), key)) else { return -1 };
        let count = known.partition_point(|(known_us, _)| *known_us < at_us);
        count.checked_sub(1).map_or(-1, |place| known[place].1)
    }

    /// The last thing that was known of every partition of a group.
    pub(crate) fn of_group(&self, group: &str) -> BTreeMap<PartitionKey, i64> {
        let of = self.known.iter().filter(|((known, _), _)| known == group);
        of.filter_map(|((_, key), known)| Some((*key, known.last()?.1))).collect()
    }

    /// Somebody was told, to a question of `asked_us`, that this is committed: by its own commit, or by a look.
    ///
    /// # Errors
    /// What was known before the question and is higher.
    pub(crate) fn told(&mut self, group: &str, key: PartitionKey, asked_us: u64, now_us: u64, offset: i64) -> Result<(), i64> {
        let before = self.known_before(group, key, asked_us);
        if offset < before {
            return Err(before);
        }
        let known = self.known.entry((group.to_owned(), key)).or_default();
        let highest = known.last().map_or(-1, |(_, offset)| *offset);
        if offset > highest {
            known.push((now_us, offset));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::TopicId;

    use super::*;

    #[test]
    fn what_was_told_before_a_question_may_not_be_unknown_to_the_answer() {
        let (mut offsets, key) = (Offsets::default(), PartitionKey { topic: TopicId::ZERO, partition: 0 });
        assert_eq!(offsets.told("g", key, 10, 20, 5), Ok(()));
        assert_eq!(offsets.told("g", key, 15, 25, 3), Ok(()), "asked before the first answer came");
        assert_eq!(offsets.told("g", key, 21, 30, 3), Err(5));
        assert_eq!(offsets.told("g", key, 21, 30, 6), Ok(()));
        assert_eq!(offsets.known_before("g", key, 30), 5);
        assert_eq!(offsets.of_group("g"), BTreeMap::from([(key, 6)]));
        assert_eq!(offsets.known_before("h", key, 30), -1);
    }
}
