//! A log takes the place of another one of the same partition, in another log directory.
//!
//! It is a copy that was given the other's batches as they are, with [`Log::append_as_is`]. What batches do not tell is taken from the other
//! log itself: producers whose records are gone, epochs whose first records are. In the end both are level, and the other's
//! wishes that were not given out go to the copy ([`Log::take_over`]).
//!
//! Not here: when what happens, and the directory of the other log, which is deleted like any other.

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::disk::{DiskOp, Durability, FilePath};
use crate::log::{Log, Positions, Written};
use crate::names::SegmentFile;
use crate::queue::{Step, Then};

impl Log {
    /// Makes the directory of a log that has none, with nothing in it: the log begins at `offset`.
    ///
    /// # Panics
    /// If it has one.
    pub fn begin_at(&mut self, now_ms: i64, offset: Offset) {
        assert!(!self.has_directory, "a log begins once");
        self.has_directory = true;
        self.positions = Positions::at(offset);
        self.written = Written { base: offset, bytes: 0 };
        self.roll(now_ms, offset);
        self.write_partition_metadata();
        self.write_empty_segment(offset);
        self.check_positions();
    }

    /// Takes from `other` what the batches copied so far do not tell, and writes it and all indexes down: a start needs no more than this
    /// directory then.
    pub fn adopt(&mut self, other: &Self) {
        let end = self.positions.log_end;
        self.epochs = other.epochs.clone();
        self.epochs.truncate_from_end(end);
        self.epochs_dirty = true;
        if let Some(producers) = &other.producers {
            self.producers.get_or_insert_default().adopt(producers, end);
        }
        if let Some(active) = &mut self.active {
            active.dirty = true;
        }
        self.checkpoint();
    }

    /// Makes durable what only counts as written.
    pub fn make_durable(&mut self) {
        if self.config.durability == Durability::Written {
            self.sync_active();
        }
    }

    /// Nothing lies between the log's end and `offset`; the next batch comes behind. The log must be idle.
    ///
    /// # Panics
    /// If it is not.
    pub fn leave_gap(&mut self, now_ms: i64, offset: Offset) {
        assert!(self.queue.is_empty(), "a gap is left between operations");
        if offset <= self.positions.log_end {
            return;
        }
        self.roll(now_ms, offset);
        if self.has_directory {
            self.write_empty_segment(offset);
        }
        self.positions = Positions { log_start: self.positions.log_start, ..Positions::at(offset) };
        self.written = Written { base: offset, bytes: 0 };
        self.check_positions();
    }

    /// Gives the log's directory this name: its files are found there once that is done. The log must be idle.
    ///
    /// # Panics
    /// If it is not.
    pub fn take_name(&mut self, directory: FilePath) {
        assert!(self.queue.is_empty(), "a log takes another name between operations");
        if !self.has_directory {
            return self.lie_in(directory);
        }
        let op = DiskOp::Rename { from: self.directory.clone(), to: directory.clone() };
        self.queue.push(Step::Do { op, then: Then::Renamed { directory } }, self.config.durability);
    }

    /// The log's files are found in this directory from now on.
    pub(crate) fn lie_in(&mut self, directory: FilePath) {
        if let Some(active) = &mut self.active {
            active.log = directory.child(&SegmentFile::Log.name(active.base));
        }
        for (_, op) in &mut self.doomed {
            if let DiskOp::Delete { file } = op
                && let Some(name) = file.inside_of(&self.directory)
            {
                *file = directory.child(name);
            }
        }
        self.directory = directory;
    }

    /// Goes on in the place of `other`: with its log start, its epochs and producers, its records in memory, and what it was given and
    /// has not written. The other one is good for nothing but to be deleted then.
    ///
    /// # Panics
    /// If this log does not end where that one has written to, or an operation of that one is under way.
    pub fn take_over(&mut self, now_ms: i64, other: &mut Self) {
        assert!(!other.queue.is_in_flight(), "what is under way cannot be taken over");
        assert_eq!(self.positions.log_end, other.positions.readable_end, "it has all that the other has written");
        for part in other.queue.unwritten() {
            let batch = Bytes::from([&part.prefix[..], &part.body].concat());
            self.place_all(now_ms, &batch).expect("the other log took it");
        }
        assert_eq!(self.positions.log_end, other.positions.log_end, "nothing that was given is lost");
        other.queue.clear();
        if other.positions.log_start > self.positions.log_start {
            // Only a log that takes nothing any more refuses.
            let _ = self.delete_records(other.positions.log_start, other.positions.readable_end);
        }
        self.epochs = other.epochs.clone();
        self.epochs_dirty = true;
        self.producers = other.producers.take();
        std::mem::swap(&mut self.tail, &mut other.tail);
    }
}
