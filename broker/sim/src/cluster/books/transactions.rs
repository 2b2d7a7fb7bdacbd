//! Transactions as their producers know them, and what readers of committed records were given of them.
//!
//! A transaction is committed or aborted once its producer was told so, or never asked for a commit; else nobody knows, and it is
//! all there or not at all. What a transaction writes stands for a record that it consumed: so the output of a group shows
//! whether it consumed everything up to its committed offsets once.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{PartitionKey, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Committed,
    Aborted,
    /// A commit was asked for, and its answer never came.
    Unknown,
}

#[derive(Clone, Debug)]
struct Written {
    transaction: usize,
    group: String,
    /// The record that it stands for.
    origin: (PartitionKey, i64),
    seen: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    fates: Vec<Fate>,
    written: BTreeMap<Value, Written>,
}

impl Transactions {
    /// A transaction begins; answers with its number.
    pub(crate) fn begin(&mut self) -> usize {
        self.fates.push(Fate::Open);
        self.fates.len() - 1
    }

    /// A value is written in a transaction.
    pub(crate) fn writes(&mut self, transaction: usize, value: Value, group: &str, origin: (PartitionKey, i64)) {
        self.written.insert(value, Written { transaction, group: group.to_owned(), origin, seen: false });
    }

    /// A transaction has ended.
    ///
    /// # Errors
    /// If it is aborted and somebody was given some of it.
    pub(crate) fn end(&mut self, transaction: usize, fate: Fate) -> Result<(), String> {
        self.fates[transaction] = fate;
        let seen = self.written.iter().find(|(_, written)| written.transaction == transaction && written.seen);
        match seen.filter(|_| fate == Fate::Aborted) {
            Some((value, _)) => Err(format!("{value:?} of transaction {transaction}, now aborted, was given")),
            None => Ok(()),
        }
    }

    /// A reader of committed records was given a value.
    ///
    /// # Errors
    /// If its transaction is aborted.
    pub(crate) fn seen(&mut self, value: Value) -> Result<(), String> {
        let Some(written) = self.written.get_mut(&value) else { return Ok(()) };
        written.seen = true;
        if self.fates[written.transaction] == Fate::Aborted {
            return Err(format!("{value:?} of transaction {}, which is aborted", written.transaction));
        }
        Ok(())
    }

    /// Judges the whole: `found` is everything that a reader of committed records finds at the end.
    ///
    /// # Errors
    /// A transaction of which only a part is there, one that is lost, or one that is there although it was aborted.
    pub(crate) fn whole(&self, found: &BTreeSet<Value>) -> Result<(), String> {
        let mut parts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (value, written) in &self.written {
            let (there, all) = parts.entry(written.transaction).or_default();
            *all += 1;
            *there += usize::from(found.contains(value));
            if written.seen && !found.contains(value) {
                return Err(format!("{value:?} of transaction {} was given and is gone", written.transaction));
            }
        }
        for (transaction, (there, all)) in parts {
            let fate = self.fates[transaction];
            let is_right = match fate {
                Fate::Committed => there == all,
                Fate::Aborted => there == 0,
                Fate::Open | Fate::Unknown => there == 0 || there == all,
            };
            if !is_right {
                return Err(format!("of transaction {transaction}, {fate:?}, {there} of {all} records are there"));
            }
        }
        Ok(())
    }

    /// Whether what a group wrote stands for every record below its committed offset, each once, and for no other.
    ///
    /// # Errors
    /// The first record that is missing, or there too often.
    pub(crate) fn exactly_once(
        &self,
        group: &str,
        committed: &BTreeMap<PartitionKey, i64>,
        found: &BTreeSet<Value>,
    ) -> Result<(), String> {
        let mut origins: BTreeMap<(PartitionKey, i64), Value> = BTreeMap::new();
        let of_group = self.written.iter().filter(|(value, written)| written.group == group && found.contains(value));
        for (value, written) in of_group {
            let (key, offset) = written.origin;
            if let Some(other) = origins.insert(written.origin, *value) {
                return Err(format!("{key} {offset} is in the output as {other:?} and {value:?}"));
            }
            if offset >= committed.get(&key).copied().unwrap_or(0) {
                return Err(format!("{key} {offset} is in the output, committed are {committed:?}"));
            }
        }
        for (key, end) in committed {
            if let Some(offset) = (0..*end).find(|offset| !origins.contains_key(&(*key, *offset))) {
                return Err(format!("{key} {offset} is not in the output, committed are {committed:?}"));
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

    fn two_of_one(fate: Fate) -> Transactions {
        let mut transactions = Transactions::default();
        let number = transactions.begin();
        transactions.writes(number, Value(1), "g", (KEY, 0));
        transactions.writes(number, Value(2), "g", (KEY, 1));
        transactions.end(number, fate).expect("nothing was given");
        transactions
    }

    fn found(values: &[u64]) -> BTreeSet<Value> {
        values.iter().map(|value| Value(*value)).collect()
    }

    #[test]
    fn a_transaction_is_there_as_a_whole_or_not_at_all() {
        assert!(two_of_one(Fate::Committed).whole(&found(&[1, 2])).is_ok());
        assert!(two_of_one(Fate::Committed).whole(&found(&[])).is_err());
        assert!(two_of_one(Fate::Aborted).whole(&found(&[])).is_ok());
        assert!(two_of_one(Fate::Aborted).whole(&found(&[1, 2])).is_err());
        assert!(two_of_one(Fate::Unknown).whole(&found(&[1, 2])).is_ok());
        assert!(two_of_one(Fate::Unknown).whole(&found(&[2])).is_err());
    }

    #[test]
    fn readers_of_committed_records_are_not_given_what_is_aborted() {
        assert!(two_of_one(Fate::Committed).seen(Value(1)).is_ok());
        assert!(two_of_one(Fate::Aborted).seen(Value(1)).is_err());
        let mut open = two_of_one(Fate::Open);
        open.seen(Value(1)).expect("it may be committed");
        assert!(open.end(0, Fate::Aborted).is_err());
    }

    #[test]
    fn the_output_stands_for_what_was_consumed_once() {
        let transactions = two_of_one(Fate::Committed);
        let committed = |end| BTreeMap::from([(KEY, end)]);
        assert!(transactions.exactly_once("g", &committed(2), &found(&[1, 2])).is_ok());
        assert!(transactions.exactly_once("g", &committed(3), &found(&[1, 2])).is_err());
        assert!(transactions.exactly_once("g", &committed(1), &found(&[1, 2])).is_err());
        let mut twice = two_of_one(Fate::Committed);
        twice.writes(0, Value(3), "g", (KEY, 1));
        assert!(twice.exactly_once("g", &committed(2), &found(&[1, 2, 3])).is_err());
    }
}
