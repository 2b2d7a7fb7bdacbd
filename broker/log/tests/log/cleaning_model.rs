//! Compaction against a model that remembers everything: random records, tombstones and transactions, rounds, restarts and
//! crashes behind any operation of the disk.
//!
//! Always: the latest decided value of every key is there; what stays is at its offset and as it was written; what a reader once could not find
//! any more never comes back; a tombstone stays until its horizon; batches keep their ends; a reader of committed records sees no aborted
//! one; producers keep their sequences.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::Config;
use proptest::{prop_assert_eq, proptest};
use strandline_log::cleaner::plan::RoundOptions;
use strandline_log::cleaner::round::{Next, Round};
use strandline_log::config::LogConfig;
use strandline_log::memory::MemoryDisk;
use strandline_log::recover::Shutdown;
use strandline_protocol::records::{BatchHeader, BatchOptions, Compression, ControlType};

use crate::cleaning::{OPTIONS, Seen, by, compacting, crash, keyed, records_of};
use crate::support::{World, marker};

#[derive(Clone, Debug)]
enum Act {
    /// Records of one batch: key, and whether it has a value.
    Append {
        records: Vec<(u8, bool)>,
        producer: u8,
        compressed: bool,
    },
    End {
        producer: u8,
        commit: bool,
    },
    Clean {
        map_places: usize,
    },
    /// A round that a crash ends behind so many operations.
    CrashWhileCleaning {
        operations: u8,
    },
    Step,
    Pass {
        ms: i64,
    },
    Roll,
    Checkpoint,
    Restart,
    Kill,
}

fn acts() -> impl Strategy<Value = Act> {
    let records = proptest::collection::vec((0..6u8, proptest::bool::weighted(0.8)), 1..5);
    prop_oneof![
        16 => (records, 0..6u8, any::<bool>())
            .prop_map(|(records, producer, compressed)| Act::Append { records, producer, compressed }),
        4 => (0..2u8, any::<bool>()).prop_map(|(producer, commit)| Act::End { producer, commit }),
        3 => prop_oneof![Just(1_000usize), 8..40usize].prop_map(|map_places| Act::Clean { map_places }),
        2 => (0..40u8).prop_map(|operations| Act::CrashWhileCleaning { operations }),
        4 => Just(Act::Step),
        3 => prop_oneof![0..500i64, Just(2_000), Just(70_000)].prop_map(|ms| Act::Pass { ms }),
        2 => Just(Act::Roll),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Restart),
        1 => Just(Act::Kill),
    ]
}

/// A record that was written.
#[derive(Clone, Debug)]
struct Written {
    seen: Seen,
    /// The producer of the transaction that it belongs to.
    transaction: Option<i64>,
    /// Decided, and for good.
    counts: Option<bool>,
}

struct Model {
    world: World,
    written: BTreeMap<i64, Written>,
    /// Offsets that a reader could not find any more.
    gone: BTreeSet<i64>,
    /// Sequences of producers; 0 and 1 are transactional, 2 and 3 are not, others have none.
    sequences: [i32; 4],
    open: [bool; 2],
}

impl Model {
    fn new(allocation_bytes: u64) -> Self {
        let config = LogConfig { segment_bytes: 600, file_delete_delay_ms: 1_000, ..compacting() };
        let world = World::on(MemoryDisk::new(allocation_bytes), config);
        Self { world, written: BTreeMap::new(), gone: BTreeSet::new(), sequences: [0; 4], open: [false; 2] }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { records, producer, compressed } => self.append(records, *producer, *compressed),
            Act::End { producer, commit } => self.end(*producer, *commit),
            Act::Clean { map_places } => {
                if let Some(round) = self.begin(*map_places) {
                    self.run(round, usize::MAX);
                }
            }
            Act::CrashWhileCleaning { operations } => {
                if let Some(round) = self.begin(1_000) {
                    self.run(round, usize::from(*operations));
                    self.crash();
                }
            }
            Act::Step => {
                self.world.step();
            }
            Act::Pass { ms } => {
                self.world.now_ms += ms;
                self.world.drain();
            }
            Act::Roll => {
                let before = self.world.log.positions().log_end.0;
                self.world.roll();
                let seen = Seen { offset: before, key: Some("rolled".to_owned()), value: Some("x".to_owned()) };
                self.written.insert(before, Written { seen, transaction: None, counts: Some(true) });
            }
            Act::Checkpoint => {
                self.world.log.checkpoint();
                self.world.drain();
            }
            Act::Restart => self.restart(),
            Act::Kill => self.crash(),
        }
        let end = self.world.log.positions().readable_end;
        self.world.log.on_high_watermark(end);
    }

    fn append(&mut self, records: &[(u8, bool)], producer: u8, compressed: bool) {
        let base = self.world.log.positions().log_end.0;
        let text = |place: usize, key: u8, has_value: bool| {
            let key = format!("key {key}");
            let value = has_value.then(|| format!("{:>30}", base + place as i64));
            (key, value)
        };
        let records: Vec<(String, Option<String>)> =
            records.iter().enumerate().map(|(place, (key, has_value))| text(place, *key, *has_value)).collect();
        let borrowed: Vec<(&str, Option<&str>)> = records.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let place = usize::from(producer);
        let transactional = producer < 2;
        let stamp = self.sequences.get_mut(place).map(|sequence| {
            *sequence += records.len() as i32;
            by(i64::from(producer), *sequence - records.len() as i32, transactional)
        });
        let compression = if compressed { Compression::Lz4 } else { Compression::None };
        let options = BatchOptions { compression, ..stamp.unwrap_or_default() };
        self.world.append_bytes(keyed(&borrowed, options, self.world.now_ms));
        if transactional {
            self.open[place] = true;
        }
        for (offset, (key, value)) in (base..).zip(records) {
            let seen = Seen { offset, key: Some(key), value };
            let transaction = transactional.then_some(i64::from(producer));
            self.written.insert(offset, Written { seen, transaction, counts: (!transactional).then_some(true) });
        }
    }

    fn end(&mut self, producer: u8, commit: bool) {
        if !std::mem::replace(&mut self.open[usize::from(producer)], false) {
            return;
        }
        let kind = if commit { ControlType::Commit } else { ControlType::Abort };
        self.world.append_bytes(marker(kind, i64::from(producer), 0, 0));
        for written in self.written.values_mut() {
            if written.transaction == Some(i64::from(producer)) && written.counts.is_none() {
                written.counts = Some(commit);
            }
        }
    }

    fn begin(&mut self, map_places: usize) -> Option<Round> {
        self.world.drain();
        let end = self.world.log.positions().readable_end;
        let cleanable = self.world.log.cleanable(self.world.now_ms, self.world.log.last_stable(end))?;
        assert!(cleanable.bound <= self.world.log.last_stable(end));
        let options = RoundOptions { map_bytes_max: map_places * 24, map_load_factor: 1.0, ..OPTIONS };
        Some(self.world.log.begin_cleaning(self.world.now_ms, &cleanable, options))
    }

    /// Runs a round for so many operations of the disk. Between its steps readers see a sound log.
    fn run(&mut self, mut round: Round, mut operations: usize) {
        loop {
            let stepped = round.step(&self.world.disk).expect("the log is sound");
            self.world.log.write_cleaning(stepped.ops);
            loop {
                if operations == 0 {
                    return;
                }
                if self.world.step().is_none() {
                    break;
                }
                operations -= 1;
            }
            match stepped.next {
                Next::Step => {}
                Next::SwapIn(replacement) => {
                    self.world.log.swap_in(self.world.now_ms, replacement).expect("nothing changed meanwhile");
                    self.look();
                }
                Next::End(finished) => {
                    self.world.log.set_cleaned_below(Some(finished.clean_below));
                    return;
                }
            }
        }
    }

    fn crash(&mut self) {
        // What was appended was durable when it was told.
        if !self.world.names().is_empty() {
            crash(&mut self.world);
        }
    }

    fn restart(&mut self) {
        let cleaned_below = self.world.log.cleaned_below();
        self.world.close();
        if self.world.names().is_empty() {
            self.world =
                World { now_ms: self.world.now_ms, ..World::on(self.world.disk.clone(), (**self.world.log.config()).clone()) };
            return;
        }
        let names = self.world.names();
        assert!(names.iter().all(|name| !name.ends_with(".swap")), "closing puts everything in its place: {names:?}");
        self.world.reopen(self.world.checkpoints(), Shutdown::Clean);
        self.world.log.set_cleaned_below(cleaned_below);
    }

    /// Reads the whole log and compares.
    fn look(&mut self) {
        let stored = self.world.stored();
        let headers: Vec<BatchHeader> = stored.iter().map(|batch| BatchHeader::parse(batch).expect("a batch")).collect();
        let mut end = -1;
        for header in &headers {
            assert!(header.base_offset > end, "offsets grow");
            end = header.last_offset();
        }
        let readable_end = self.world.log.positions().readable_end.0;
        assert!(end < readable_end);
        let found: BTreeMap<i64, Seen> = stored.iter().flat_map(records_of).map(|record| (record.offset, record)).collect();
        for (offset, record) in &found {
            assert_eq!(record, &self.written[offset].seen, "a record is as it was written");
            assert!(!self.gone.contains(offset), "{record:?} came back");
        }
        let below = readable_end;
        for (offset, written) in self.written.range(..below) {
            if !found.contains_key(offset) {
                self.gone.insert(*offset);
                assert_ne!(written.counts, None, "nothing undecided goes");
            }
        }
        self.check_latest(&found);
        self.check_committed(&headers, &found);
    }

    /// The latest decided record of every key is there, unless it says that the key is gone.
    fn check_latest(&self, found: &BTreeMap<i64, Seen>) {
        let mut latest: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, written) in self.written.iter().filter(|(_, written)| written.counts == Some(true)) {
            latest.insert(written.seen.key.as_deref().expect("with a key"), *offset);
        }
        for (key, offset) in latest {
            let is_tombstone = self.written[&offset].seen.value.is_none();
            if is_tombstone && !found.contains_key(&offset) {
                // No older value may be left that a reader from the start would take for the latest.
                let older = found
                    .range(..offset)
                    .find(|(at, record)| record.key.as_deref() == Some(key) && self.written[at].counts == Some(true));
                assert_eq!(older, None, "the tombstone of {key} at {offset} is gone");
            } else {
                assert!(found.contains_key(&offset), "the latest record of {key} at {offset} is gone");
            }
        }
    }

    /// What a reader of committed records sees, by the transactions that it is told of and the markers that it meets.
    fn check_committed(&self, headers: &[BatchHeader], found: &BTreeMap<i64, Seen>) {
        let end = self.world.log.positions().readable_end;
        let last_stable = self.world.log.last_stable(end);
        let query = self.world.log.aborted(self.world.log.positions().log_start, last_stable);
        let aborted = strandline_log::transactions::aborted(&self.world.disk, &query).expect("readable");
        let mut ahead: Vec<_> = aborted.iter().map(|aborted| (aborted.first.0, aborted.producer_id.0)).collect();
        ahead.sort_unstable();
        let mut ahead = ahead.into_iter().peekable();
        let mut skipping: BTreeSet<i64> = BTreeSet::new();
        for header in headers.iter().filter(|header| header.last_offset() < last_stable.0) {
            while let Some((_, producer)) = ahead.next_if(|(first, _)| *first <= header.last_offset()) {
                skipping.insert(producer);
            }
            if header.is_control() {
                // An empty marker ends nothing.
                if header.record_count > 0 {
                    skipping.remove(&header.producer_id);
                }
                continue;
            }
            let skipped = header.is_transactional() && skipping.contains(&header.producer_id);
            for (offset, _) in found.range(header.base_offset..=header.last_offset()) {
                assert_eq!(self.written[offset].counts, Some(!skipped), "the record at {offset}");
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, max_shrink_iters: 5_000, ..Config::default() })]

    #[test]
    fn the_latest_value_of_every_key_stays_and_nothing_comes_back(
        padded in any::<bool>(),
        acts in proptest::collection::vec(acts(), 1..120),
    ) {
        let mut model = Model::new(if padded { 4096 } else { 1 });
        for act in &acts {
            model.act(act);
            model.look();
        }
        let sequences = model.sequences;
        model.crash();
        model.look();
        if let Some(producers) = model.world.log.producers() {
            for (id, producer) in producers.iter() {
                prop_assert_eq!(producer.last_sequence() + 1, sequences[id.0 as usize]);
            }
        }
    }
}
