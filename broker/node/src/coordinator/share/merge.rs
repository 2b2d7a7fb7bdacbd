//! State batches put over each other: the later one holds where both speak of an offset.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

/// What became of one record, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub state: i8,
    pub count: i16,
}

/// Runs of neighbours that are alike, by where they begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deliveries(BTreeMap<i64, (i64, Delivery)>);

impl Deliveries {
    /// Says something of neighbours; what was said of them before is forgotten.
    pub(crate) fn put(&mut self, first: Offset, last: Offset, delivery: Delivery) {
        let (first, last) = (first.0, last.0);
        if first < 0 || last < first {
            return;
        }
        self.cut(first);
        if let Some(behind) = last.checked_add(1) {
            self.cut(behind);
        }
        let covered: Vec<i64> = self.0.range(first..=last).map(|(first, _)| *first).collect();
        for first in covered {
            self.0.remove(&first);
        }
        let mut run = (first, last);
        if let Some((before, (end, known))) = self.0.range(..first).next_back()
            && *end == first - 1
            && *known == delivery
        {
            run.0 = *before;
        }
        if let Some((end, known)) = last.checked_add(1).and_then(|behind| self.0.get(&behind)).copied()
            && known == delivery
        {
            self.0.remove(&(last + 1));
            run.1 = end;
        }
        self.0.insert(run.0, (run.1, delivery));
    }

    /// Forgets what lies before `start`.
    pub(crate) fn forget_before(&mut self, start: Offset) {
        self.cut(start.0);
        self.0 = self.0.split_off(&start.0);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Offset, Offset, Delivery)> {
        self.0.iter().map(|(first, (last, delivery))| (Offset(*first), Offset(*last), *delivery))
    }

    /// Makes a run begin at `at`, if one holds it.
    fn cut(&mut self, at: i64) {
        if let Some((_, (last, delivery))) = self.0.range_mut(..at).next_back()
            && *last >= at
        {
            let rest = (std::mem::replace(last, at - 1), *delivery);
            self.0.insert(at, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn delivery(state: i8, count: i16) -> Delivery {
        Delivery { state, count }
    }

    #[test]
    fn the_later_word_holds_and_equal_neighbours_are_one() {
        let mut deliveries = Deliveries::default();
        deliveries.put(Offset(0), Offset(9), delivery(0, 1));
        deliveries.put(Offset(3), Offset(5), delivery(2, 1));
        deliveries.put(Offset(6), Offset(9), delivery(2, 1));
        let runs: Vec<_> = deliveries.iter().collect();
        assert_eq!(runs, [(Offset(0), Offset(2), delivery(0, 1)), (Offset(3), Offset(9), delivery(2, 1))]);
        deliveries.forget_before(Offset(5));
        assert_eq!(deliveries.iter().collect::<Vec<_>>(), [(Offset(5), Offset(9), delivery(2, 1))]);
    }

    #[test]
    fn it_says_of_every_offset_what_a_plain_map_says() {
        for seed in 0..50 {
            let (mut dice, mut deliveries, mut plain) = (Dice::new(seed), Deliveries::default(), BTreeMap::new());
            for _ in 0..60 {
                let first = dice.below(40) as i64;
                let last = first + dice.below(12) as i64;
                let said = delivery(dice.below(3) as i8, dice.below(2) as i16);
                deliveries.put(Offset(first), Offset(last), said);
                plain.extend((first..=last).map(|offset| (offset, said)));
            }
            let all = deliveries.iter().flat_map(|(first, last, said)| (first.0..=last.0).map(move |offset| (offset, said)));
            assert_eq!(all.collect::<BTreeMap<_, _>>(), plain, "seed {seed}");
        }
    }
}
