//! What was said of records and not sent yet: without clock or socket.

use std::collections::BTreeMap;
use std::sync::Mutex;

use strandline_protocol::ids::Offset;

use super::session::Place;
use crate::locked::locked;

/// What is said of the records of each partition, with Kafka's numbers.
pub(super) type Said = BTreeMap<Place, BTreeMap<i64, i8>>;

/// Neighbours: what is said of each, or of all if that is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) types: Vec<i8>,
}

#[derive(Debug, Default)]
pub(super) struct Words(Mutex<Said>);

impl Words {
    pub(super) fn say(&self, place: Place, of: impl IntoIterator<Item = (Offset, i8)>) {
        let mut said = locked(&self.0);
        said.entry(place).or_default().extend(of.into_iter().map(|(offset, word)| (offset.0, word)));
    }

    pub(super) fn take(&self) -> Said {
        std::mem::take(&mut locked(&self.0))
    }

    /// Takes what is said of some partitions.
    pub(super) fn take_of(&self, wanted: impl Fn(Place) -> bool) -> Said {
        let mut said = locked(&self.0);
        let (taken, left) = std::mem::take(&mut *said).into_iter().partition(|(place, _)| wanted(*place));
        *said = left;
        taken
    }
}

/// Puts neighbours together.
pub(super) fn runs(said: &BTreeMap<i64, i8>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (offset, word) in said {
        match runs.last_mut().filter(|run| run.last.0.checked_add(1) == Some(*offset)) {
            Some(run) => {
                run.last = Offset(*offset);
                run.types.push(*word);
            }
            None => runs.push(Run { first: Offset(*offset), last: Offset(*offset), types: vec![*word] }),
        }
    }
    for run in &mut runs {
        if run.types.iter().all(|word| *word == run.types[0]) {
            run.types.truncate(1);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::TopicId;

    use super::*;

    #[test]
    fn neighbours_are_said_together() {
        let said = BTreeMap::from([(1, 1), (2, 1), (3, 1), (5, 1), (6, 2)]);
        let run = |first, last, types: &[i8]| Run { first: Offset(first), last: Offset(last), types: types.to_vec() };
        assert_eq!(runs(&said), [run(1, 3, &[1]), run(5, 6, &[1, 2])]);
        assert_eq!(runs(&BTreeMap::new()), []);
    }

    #[test]
    fn words_of_other_partitions_wait() {
        let words = Words::default();
        words.say((TopicId::ZERO, 0), [(Offset(1), 1)]);
        words.say((TopicId::ZERO, 1), [(Offset(7), 2)]);
        assert_eq!(words.take_of(|(_, partition)| partition == 1).len(), 1);
        assert_eq!(words.take(), BTreeMap::from([((TopicId::ZERO, 0), BTreeMap::from([(1, 1)]))]));
    }
}
