//! Which records of share groups are done with: a record that was accepted or rejected, and that is known, is given to nobody after.

use std::collections::BTreeMap;

use crate::history::PartitionKey;

/// What became of a record, as far as members were told.
#[derive(Clone, Debug, Default)]
struct Known {
    /// When somebody was told that its word counts, and who.
    over: Option<(u64, String)>,
    /// Somebody said that it is over and does not know whether that counts.
    perhaps: bool,
    deliveries: i16,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    known: BTreeMap<(String, PartitionKey), BTreeMap<i64, Known>>,
    /// Answers with records of a group that never came: those were given out too.
    lost: BTreeMap<String, i16>,
}

/// Records of one partition of a group, and whose they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    pub(crate) group: &'a str,
    pub(crate) member: &'a str,
    pub(crate) key: PartitionKey,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Shared {
    fn of(&mut self, records: &Records<'_>) -> &mut BTreeMap<i64, Known> {
        self.known.entry((records.group.to_owned(), records.key)).or_default()
    }

    /// Records were given out to a question of `asked_us`; by a leader of the past if that is nothing.
    ///
    /// # Errors
    /// One that was over before.
    pub(crate) fn given(&mut self, records: &Records<'_>, deliveries: i16, asked_us: Option<u64>) -> Result<(), String> {
        let known = self.of(records);
        for offset in records.first..=records.last {
            let known = known.entry(offset).or_default();
            known.deliveries = known.deliveries.max(deliveries);
            if let Some((at_us, by)) =
                known.over.as_ref().filter(|(at_us, _)| asked_us.is_some_and(|asked_us| *at_us < asked_us))
            {
                let Records { key, member, .. } = records;
                return Err(format!("{key} {offset} is given to {member}, {by}'s word on it counted at {at_us} us"));
            }
        }
        Ok(())
    }

    /// A member was told that its word on records counts: they are over. Of records that were over before everybody is told so.
    pub(crate) fn over(&mut self, records: &Records<'_>, now_us: u64) {
        let known = self.of(records);
        for offset in records.first..=records.last {
            known.entry(offset).or_default().over.get_or_insert_with(|| (now_us, records.member.to_owned()));
        }
    }

    /// A member does not know whether its word counts.
    pub(crate) fn perhaps(&mut self, records: &Records<'_>) {
        let known = self.of(records);
        for offset in records.first..=records.last {
            known.entry(offset).or_default().perhaps = true;
        }
    }

    /// An answer to a fetch of the group never came.
    pub(crate) fn lost(&mut self, group: &str) {
        *self.lost.entry(group.to_owned()).or_default() += 1;
    }

    /// The first record below `end` of which nobody knows that it is over, and that was not given out often enough to be given up.
    pub(crate) fn left(&self, group: &str, key: PartitionKey, end: i64, deliveries_max: i16) -> Option<i64> {
        let lost = self.lost.get(group).copied().unwrap_or(0);
        let known = self.known.get(&(group.to_owned(), key));
        (0..end).find(|offset| {
            let known = known.and_then(|known| known.get(offset));
            let is_done = known.is_some_and(|known| known.over.is_some() || known.perhaps);
            let given = known.map_or(0, |known| known.deliveries);
            !is_done && given.saturating_add(lost) < deliveries_max
        })
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::TopicId;

    use super::*;

    fn records(member: &str, first: i64, last: i64) -> Records<'_> {
        Records { group: "g", member, key: PartitionKey { topic: TopicId::ZERO, partition: 0 }, first, last }
    }

    #[test]
    fn what_is_over_is_given_to_nobody() {
        let mut shared = Shared::default();
        assert!(shared.given(&records("a", 0, 3), 1, Some(10)).is_ok());
        shared.over(&records("a", 1, 2), 20);
        assert!(shared.given(&records("b", 0, 0), 2, Some(30)).is_ok());
        assert!(shared.given(&records("b", 2, 3), 2, Some(15)).is_ok(), "asked before");
        assert!(shared.given(&records("b", 2, 3), 2, Some(30)).is_err());
        assert_eq!(shared.left("g", records("a", 0, 0).key, 4, 5), Some(0));
        shared.perhaps(&records("b", 0, 0));
        assert_eq!(shared.left("g", records("a", 0, 0).key, 4, 5), Some(3));
        assert_eq!(shared.left("g", records("a", 0, 0).key, 3, 5), None);
    }
}
