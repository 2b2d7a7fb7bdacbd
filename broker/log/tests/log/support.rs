//! A log, a disk in memory and a clock, driven by hand.

use std::sync::Arc;

use bytes::Bytes;
use strandline_log::append::Appended;
use strandline_log::config::LogConfig;
use strandline_log::cut;
use strandline_log::disk::{DiskDone, DiskOp, FilePath, Files};
use strandline_log::log::{Log, Progress};
use strandline_log::memory::MemoryDisk;
use strandline_log::recover::{Checkpoints, RecoverError, Recovered, Recovery, Report, Shutdown, recover};
use strandline_log::slice::FirstBatch;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId};
use strandline_protocol::records::{
    BatchBuilder, BatchOptions, Batches, Compression, ControlType, EndTransactionMarker, NewRecord, ProducerStamp, Scratch,
    end_transaction_batch,
};

pub(crate) const DIRECTORY: &str = "orders-0";
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// Small segments, so that little is needed for much to happen.
pub(crate) fn small() -> LogConfig {
    LogConfig { segment_bytes: 1_000, index_interval_bytes: 200, file_delete_delay_ms: 1_000, ..LogConfig::default() }
}

/// What a batch is made of.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) records: usize,
    pub(crate) value_bytes: usize,
    pub(crate) timestamp_ms: i64,
    pub(crate) producer: ProducerStamp,
    pub(crate) transactional: bool,
    pub(crate) compression: Compression,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            records: 1,
            value_bytes: 32,
            timestamp_ms: NOW_MS,
            producer: ProducerStamp::default(),
            transactional: false,
            compression: Compression::None,
        }
    }
}

impl Batch {
    pub(crate) fn of(records: usize) -> Self {
        Self { records, ..Self::default() }
    }

    pub(crate) fn at(timestamp_ms: i64) -> Self {
        Self { timestamp_ms, ..Self::default() }
    }

    pub(crate) fn from_producer(id: i64, epoch: i16, base_sequence: i32) -> Self {
        Self { producer: ProducerStamp { id, epoch, base_sequence }, ..Self::default() }
    }

    pub(crate) fn in_transaction(self) -> Self {
        Self { transactional: true, ..self }
    }

    /// Records are a millisecond apart.
    pub(crate) fn bytes(&self) -> Bytes {
        self.build(BatchOptions::default())
    }

    /// As a leader stamped it.
    pub(crate) fn stamped(&self, base_offset: i64, epoch: i32) -> Bytes {
        self.build(BatchOptions { base_offset, partition_leader_epoch: epoch, ..BatchOptions::default() })
    }

    fn build(&self, options: BatchOptions) -> Bytes {
        let (producer, transactional, compression) = (self.producer, self.transactional, self.compression);
        let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, compression, ..options });
        let value = vec![b'v'; self.value_bytes];
        for record in 0..self.records {
            let timestamp = self.timestamp_ms + record as i64;
            builder.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] }).expect("it fits");
        }
        builder.build(&mut Scratch::default()).expect("it is well formed")
    }
}

pub(crate) fn marker(kind: ControlType, id: i64, epoch: i16, coordinator_epoch: i32) -> Bytes {
    let producer = ProducerStamp { id, epoch, base_sequence: -1 };
    let marker = EndTransactionMarker { coordinator_epoch };
    end_transaction_batch(kind, marker, producer, NOW_MS, &mut Scratch::default()).expect("it is well formed")
}

/// A log on a disk.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) disk: MemoryDisk,
    pub(crate) now_ms: i64,
    pub(crate) epoch: LeaderEpoch,
    /// Every operation that was carried out, by kind and file.
    pub(crate) done: Vec<String>,
}

impl World {
    pub(crate) fn new(config: LogConfig) -> Self {
        Self::on(MemoryDisk::default(), config)
    }

    pub(crate) fn on(disk: MemoryDisk, config: LogConfig) -> Self {
        let log = Log::new(DIRECTORY, TopicId([7; 16]), Arc::new(config));
        Self { log, disk, now_ms: NOW_MS, epoch: LeaderEpoch(3), done: Vec::new() }
    }

    /// Appends without carrying out anything.
    pub(crate) fn take(&mut self, batch: &Batch) -> Appended {
        self.log.append(self.now_ms, batch.bytes(), self.epoch).expect("the log is open")
    }

    /// Appends and carries out everything.
    pub(crate) fn append(&mut self, batch: &Batch) -> Appended {
        let appended = self.take(batch);
        self.drain();
        appended
    }

    pub(crate) fn append_bytes(&mut self, bytes: Bytes) -> Appended {
        let appended = self.log.append(self.now_ms, bytes, self.epoch).expect("the log is open");
        self.drain();
        appended
    }

    /// Carries out one operation.
    pub(crate) fn step(&mut self) -> Option<Progress> {
        let op = self.log.poll(self.now_ms)?;
        let done = self.perform(&op);
        Some(self.log.on_done(self.now_ms, Ok(done)).expect("the operation ended well"))
    }

    fn perform(&mut self, op: &DiskOp) -> DiskDone {
        self.done.push(describe(op));
        self.disk.perform(op).unwrap_or_else(|error| panic!("{op:?}: {error}"))
    }

    /// Carries out all there is.
    pub(crate) fn drain(&mut self) {
        while self.step().is_some() {}
    }

    pub(crate) fn close(&mut self) {
        self.log.close().expect("the log is open");
        self.drain();
        assert!(self.log.is_closed(), "closing ends");
    }

    pub(crate) fn checkpoints(&self) -> Checkpoints {
        Checkpoints {
            recovery_point: self.log.recovery_point(),
            log_start: self.log.positions().log_start,
            high_watermark: self.log.positions().readable_end,
        }
    }

    pub(crate) fn try_reopen(&self, checkpoints: Checkpoints, shutdown: Shutdown) -> Result<Recovered, RecoverError> {
        let recovery = Recovery {
            directory: DIRECTORY.into(),
            config: self.log.config().clone(),
            checkpoints,
            shutdown,
            now_ms: self.now_ms,
        };
        recover(&self.disk, &recovery)
    }

    /// Opens the directory again and carries the repairs out.
    pub(crate) fn reopen(&mut self, checkpoints: Checkpoints, shutdown: Shutdown) -> Report {
        self.disk.kill();
        let recovered = self.try_reopen(checkpoints, shutdown).expect("the directory is sound");
        self.done.clear();
        for repair in &recovered.repairs {
            self.perform(repair);
        }
        self.log = recovered.log;
        recovered.report
    }

    /// As after `kill -9`, with the recovery point that was written last.
    pub(crate) fn crash(&mut self) -> Report {
        let checkpoints = self.checkpoints();
        self.reopen(checkpoints, Shutdown::Unclean)
    }

    /// Reads, from files too.
    pub(crate) fn read(&self, from: i64, below: i64, bytes_max: u32, first: FirstBatch) -> Bytes {
        let read = self.log.read(Offset(from), Offset(below), bytes_max, first).expect("the offset is in range");
        Bytes::from(cut::answer(&self.disk, &read.slices).expect("files are sound").concat())
    }

    /// Base offsets of all batches from `from` on, read by and by.
    pub(crate) fn offsets(&self, from: i64) -> Vec<i64> {
        let mut next = from;
        let mut offsets = Vec::new();
        loop {
            let bytes = self.read(next, i64::MAX, 1, FirstBatch::Whole);
            let batches: Vec<_> = Batches::strict(&bytes).map(|batch| batch.expect("whole batches").header).collect();
            let Some(last) = batches.last() else {
                return offsets;
            };
            next = last.next_offset();
            offsets.extend(batches.iter().map(|header| header.base_offset));
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.disk.list(&FilePath::top(DIRECTORY)).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    pub(crate) fn file(&self, name: &str) -> &[u8] {
        self.disk.contents(&FilePath::inside(DIRECTORY, name)).unwrap_or_else(|| panic!("{name} is missing"))
    }

    pub(crate) fn ends(&self) -> (i64, i64, i64, i64) {
        let positions = self.log.positions();
        (positions.log_start.0, positions.durable_end.0, positions.readable_end.0, positions.log_end.0)
    }
}

pub(crate) fn describe(op: &DiskOp) -> String {
    let name = |file: &FilePath| file.as_str().rsplit('/').next().unwrap_or_default().trim_start_matches('0').to_owned();
    match op {
        DiskOp::Append { file, position, parts, .. } => format!("append {} at {position}, {}", name(file), parts.len()),
        DiskOp::Seal { file, bytes } => format!("seal {} {bytes}", name(file)),
        DiskOp::Truncate { file, bytes } => format!("truncate {} {bytes}", name(file)),
        DiskOp::Sync { file } => format!("sync {}", name(file)),
        DiskOp::Write { file, .. } => format!("write {}", name(file)),
        DiskOp::Rename { from, to } => format!("rename {} {}", name(from), name(to)),
        DiskOp::Delete { file } => format!("delete {}", name(file)),
        DiskOp::DeleteDirectory { directory } => format!("delete directory {directory}"),
    }
}
