//! A log on a disk against the simplest thing that could be one: a list of batches.
//!
//! Random appends, single steps of the disk, reads, checkpoints, retention, truncation, clean restarts, kills and torn writes.
//! After every step: what may be read is what was appended, in order; what was said to be durable is there after any crash;
//! nothing is there that was never appended.

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::Config;
use proptest::{prop_assert, prop_assert_eq, proptest};
use strandline_log::config::LogConfig;
use strandline_log::cut;
use strandline_log::disk::DiskOp;
use strandline_log::log::Positions;
use strandline_log::memory::MemoryDisk;
use strandline_log::producers::{Origin, ProducerVerdict};
use strandline_log::recover::{Checkpoints, Shutdown, truncate};
use strandline_log::slice::FirstBatch;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{BatchHeader, Batches};

use crate::support::{Batch, World, small};

#[derive(Clone, Debug)]
enum Act {
    Append {
        records: usize,
        value_bytes: usize,
        producer: u8,
        younger_ms: i64,
    },
    Retry {
        producer: u8,
    },
    Step,
    Drain,
    Read {
        at: u16,
        below: u16,
        bytes_max: u32,
        whole: bool,
    },
    NewEpoch,
    Checkpoint,
    /// The checkpoint files of the log directory are written.
    Persist,
    Expire {
        later_ms: i64,
    },
    DeleteRecords {
        at: u16,
    },
    Truncate {
        at: u16,
    },
    Shed,
    Restart,
    Kill,
    Tear {
        sectors: u64,
    },
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (1..4usize, 0..300usize, 0..4u8, 0..50i64).prop_map(|(records, value_bytes, producer, younger_ms)| {
            Act::Append { records, value_bytes, producer, younger_ms }
        }),
        2 => (0..4u8).prop_map(|producer| Act::Retry { producer }),
        10 => Just(Act::Step),
        4 => Just(Act::Drain),
        6 => (any::<u16>(), any::<u16>(), 1..2_000u32, any::<bool>())
            .prop_map(|(at, below, bytes_max, whole)| Act::Read { at, below, bytes_max, whole }),
        1 => Just(Act::NewEpoch),
        2 => Just(Act::Checkpoint),
        2 => Just(Act::Persist),
        2 => (0..1_000i64).prop_map(|later_ms| Act::Expire { later_ms }),
        1 => any::<u16>().prop_map(|at| Act::DeleteRecords { at }),
        1 => any::<u16>().prop_map(|at| Act::Truncate { at }),
        2 => Just(Act::Shed),
        1 => Just(Act::Restart),
        2 => Just(Act::Kill),
        2 => any::<u64>().prop_map(|sectors| Act::Tear { sectors }),
    ]
}

/// What a batch of the model is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    header: BatchHeader,
    stored: Bytes,
}

struct Model {
    world: World,
    /// Every batch that was appended and not cut off again.
    batches: Vec<Known>,
    /// The checkpoint files.
    persisted: Checkpoints,
    /// Next sequence of each producer.
    sequences: [i32; 4],
    timestamp_ms: i64,
}

impl Model {
    fn new(allocation_bytes: u64) -> Self {
        let config = LogConfig { retention_ms: 500, file_delete_delay_ms: 20, segment_bytes: 1_500, ..small() };
        let world = World::on(MemoryDisk::new(allocation_bytes), config);
        let timestamp_ms = world.now_ms;
        Self { world, batches: Vec::new(), persisted: Checkpoints::default(), sequences: [0; 4], timestamp_ms }
    }

    fn positions(&self) -> Positions {
        self.world.log.positions()
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Append { records, value_bytes, producer, younger_ms } => {
                self.timestamp_ms += younger_ms;
                let mut batch = Batch { records, value_bytes, timestamp_ms: self.timestamp_ms, ..Batch::default() };
                if producer < 3 {
                    batch.producer =
                        Batch::from_producer(i64::from(producer), 0, self.sequences[usize::from(producer)]).producer;
                    self.sequences[usize::from(producer)] += records as i32;
                }
                self.append(&batch);
            }
            Act::Retry { producer } => self.retry(producer),
            Act::Step => {
                self.world.step();
            }
            Act::Drain => self.world.drain(),
            Act::Read { at, below, bytes_max, whole } => self.read(at, below, bytes_max, whole),
            Act::NewEpoch => self.world.epoch = LeaderEpoch(self.world.epoch.0 + 1),
            Act::Checkpoint => {
                self.world.log.checkpoint();
            }
            Act::Persist => self.persisted = self.world.checkpoints(),
            Act::Expire { later_ms } => {
                self.world.now_ms = self.world.now_ms.max(self.timestamp_ms) + later_ms;
                self.world.log.expire(self.world.now_ms, self.positions().readable_end);
            }
            Act::DeleteRecords { at } => {
                let end = self.positions().readable_end;
                let before = Offset(i64::from(at) % (end.0 + 1));
                let log_start = self.world.log.delete_records(before, end).expect("not above the high watermark");
                self.persisted.log_start = log_start;
            }
            Act::Truncate { at } => self.truncate(at),
            Act::Shed => {
                self.world.log.shed(700);
            }
            Act::Restart => self.restart(),
            Act::Kill => self.crash(),
            Act::Tear { sectors } => {
                if let Some(op) = self.world.log.poll(self.world.now_ms) {
                    if matches!(op, DiskOp::Append { .. }) {
                        self.world.disk.tear(&op, |sector| sectors & (1 << (sector % 64)) != 0);
                    }
                    self.crash();
                }
            }
        }
    }

    fn append(&mut self, batch: &Batch) {
        let bytes = batch.bytes();
        let header = BatchHeader::parse(&bytes).expect("a batch");
        assert_eq!(self.world.log.check_producer(&header, Origin::Client), ProducerVerdict::New);
        let appended = self.world.take(batch);
        let stored = batch.stamped(appended.base_offset.0, self.world.epoch.0);
        let header = BatchHeader::parse(&stored).expect("a batch");
        assert_eq!(header.last_offset(), appended.last_offset.0);
        self.batches.push(Known { header, stored });
    }

    /// The last batch of a producer comes again: it is known, unless the log lost it, and then it is wanted.
    fn retry(&mut self, producer: u8) {
        let last = self.batches.iter().rev().find(|batch| batch.header.producer_id == i64::from(producer));
        if let Some(Known { header, .. }) = last {
            let verdict = self.world.log.check_producer(header, Origin::Client);
            let (base_offset, last_offset) = (Offset(header.base_offset), Offset(header.last_offset()));
            let duplicate = ProducerVerdict::Duplicate { base_offset, last_offset, timestamp_ms: header.max_timestamp };
            // Retention may have taken the batch and, after a restart, what was known of it.
            let gone = last_offset < self.positions().log_start;
            assert!(verdict == duplicate || gone, "{verdict:?} for {header:?}");
        }
    }

    fn read(&self, at: u16, below: u16, bytes_max: u32, whole: bool) {
        let Positions { log_start, readable_end, .. } = self.positions();
        let from = log_start.0 + i64::from(at) % (readable_end.0 - log_start.0 + 1);
        let below = i64::from(below) % (readable_end.0 + 2);
        let first = if whole { FirstBatch::Whole } else { FirstBatch::Fitting };
        let bytes = self.world.read(from, below, bytes_max, first);
        let visible = self.batches.iter().filter(|batch| {
            let last = batch.header.last_offset();
            last >= from && last < below && last < readable_end.0
        });
        let expected: Vec<u8> = visible.flat_map(|batch| batch.stored.to_vec()).collect();
        assert!(expected.starts_with(&bytes), "from {from} below {below}");
        let size = Batches::strict(&expected).next().map_or(0, |batch| batch.expect("a batch").bytes.len());
        if whole || size <= bytes_max as usize {
            assert!(bytes.len() >= size, "the first batch is given, from {from} below {below}");
        }
        assert!(bytes.len() <= size.max(bytes_max as usize));
    }

    fn truncate(&mut self, at: u16) {
        self.world.drain();
        let Positions { log_start, log_end, .. } = self.positions();
        let end = Offset(log_start.0 + i64::from(at) % (log_end.0 - log_start.0 + 1));
        if !self.world.log.has_files() {
            return;
        }
        let log = self.world.log.clone();
        let recovered = truncate(&self.world.disk, log, end, self.world.now_ms).expect("the directory is sound");
        // First the checkpoints are taken back, then the log is cut.
        self.persisted.recovery_point = self.persisted.recovery_point.min(recovered.log.recovery_point());
        self.persisted.log_start = self.persisted.log_start.min(recovered.log.positions().log_start);
        for repair in &recovered.repairs {
            self.world.disk.perform(repair).expect("files are there");
        }
        self.world.log = recovered.log;
        assert!(self.positions().log_end <= end);
        self.batches.retain(|batch| batch.header.last_offset() < end.0);
        self.after_loss();
    }

    fn restart(&mut self) {
        let log_start = self.positions().log_start;
        self.world.close();
        if self.world.names().is_empty() {
            let config = (**self.world.log.config()).clone();
            let disk = self.world.disk.clone();
            self.world = World { now_ms: self.world.now_ms, epoch: self.world.epoch, ..World::on(disk, config) };
            return;
        }
        self.persisted = self.world.checkpoints();
        self.world.reopen(self.persisted, Shutdown::Clean);
        assert_eq!(self.positions().log_start, log_start);
        assert_eq!(
            self.positions().log_end.0,
            self.batches.last().map_or(0, |batch| batch.header.next_offset()).max(log_start.0)
        );
    }

    fn crash(&mut self) {
        let Positions { durable_end, log_end, .. } = self.positions();
        if self.world.names().is_empty() {
            let config = (**self.world.log.config()).clone();
            let disk = self.world.disk.clone();
            self.world = World { now_ms: self.world.now_ms, epoch: self.world.epoch, ..World::on(disk, config) };
            self.batches.clear();
            self.sequences = [0; 4];
            return;
        }
        self.world.reopen(self.persisted, Shutdown::Unclean);
        let end = self.positions().log_end;
        assert!(end >= durable_end, "{end} is below what was durable, {durable_end}");
        assert!(end <= log_end, "{end} is above what was appended, {log_end}");
        self.batches.retain(|batch| batch.header.last_offset() < end.0);
        self.after_loss();
    }

    /// Producers go on behind their last batch that is there.
    fn after_loss(&mut self) {
        for (producer, sequence) in self.sequences.iter_mut().enumerate() {
            let last = self.batches.iter().rev().find(|batch| batch.header.producer_id == producer as i64);
            *sequence = last.map_or(0, |batch| batch.header.last_sequence() + 1);
        }
    }

    /// Everything that may be read is what was appended, read from files and as it comes.
    fn compare(&self) {
        let Positions { log_start, readable_end, .. } = self.positions();
        let visible = self.batches.iter().filter(|batch| batch.header.last_offset() >= log_start.0);
        let visible: Vec<&Known> = visible.filter(|batch| batch.header.last_offset() < readable_end.0).collect();
        let mut next = log_start;
        for batch in visible {
            let read = self.world.log.read(next, Offset::MAX, 1, FirstBatch::Whole).expect("in range");
            let pieces = cut::answer(&self.world.disk, &read.slices).expect("files are sound");
            assert_eq!(pieces, std::slice::from_ref(&batch.stored), "from {next}");
            next = Offset(batch.header.next_offset());
        }
        assert_eq!(next, readable_end);
        let epochs: Vec<(i32, i64)> =
            self.world.log.epochs().entries().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
        let mut expected: Vec<(i32, i64)> = Vec::new();
        for batch in &self.batches {
            let (epoch, base) = (batch.header.partition_leader_epoch, batch.header.base_offset);
            if expected.last().is_none_or(|(last, _)| *last < epoch) {
                expected.push((epoch, base));
            }
        }
        let alive = expected.partition_point(|(_, start)| *start <= log_start.0).saturating_sub(1);
        let alive: Vec<(i32, i64)> =
            expected[alive..].iter().map(|(epoch, start)| (*epoch, (*start).max(log_start.0))).collect();
        if log_start < self.positions().log_end {
            // Older ones may be missing: a crash can bring back segments below a log start that nobody was told.
            let known = &alive[alive.len() - epochs.len()..];
            assert_eq!(epochs.first().map(|(epoch, _)| epoch), known.first().map(|(epoch, _)| epoch));
            assert_eq!(epochs[1..], known[1..]);
        }
    }
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 20_000, ..Config::default() })]

    #[test]
    fn a_log_is_a_list_of_batches_whatever_happens(
        padded in any::<bool>(),
        acts in proptest::collection::vec(acts(), 1..120),
    ) {
        let mut model = Model::new(if padded { 4096 } else { 1 });
        for act in &acts {
            model.act(act);
            let positions = model.positions();
            prop_assert!(positions.log_start <= positions.durable_end);
            prop_assert!(model.world.log.recovery_point() <= positions.durable_end);
        }
        model.compare();
        model.world.drain();
        model.compare();
        model.restart();
        model.compare();
        prop_assert_eq!(model.world.log.is_idle(), true);
    }
}
