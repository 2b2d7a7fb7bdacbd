//! The files of the log directory itself: checkpoints, the quorum's state, the mark of a clean shutdown.
//!
//! Every write replaces a whole small file. Writes are carried out in the order in which they are given here; what
//! depends on one being on disk says so with [`After`].

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_log::checkpoints::{self, OffsetCheckpoint};
use strandline_log::disk::{DiskOp, FilePath};

use crate::io::{Effect, Owner};
use crate::parked::ParkedId;

/// What happens once a file is on disk.
#[derive(Debug)]
pub enum After {
    Nothing,
    /// The vote or the epoch is kept: what follows from it may leave.
    Kept,
    /// Replies that were true only with these log starts on disk.
    Reply(Vec<ParkedId>),
    /// Log starts of deleted partitions are forgotten: their names may be used again.
    ForgotLogStarts,
    /// What a cut of this slot's log makes of it is noted: the cut may begin.
    Cut {
        slot: u32,
    },
    /// All is written: the process may end.
    Stop,
}

#[derive(Debug, Default)]
pub struct Directory {
    next: u64,
    under_way: BTreeMap<u64, After>,
}

impl Directory {
    /// Writes a file.
    pub fn write(&mut self, file: FilePath, contents: Bytes, after: After, outbox: &mut Vec<Effect>) {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, after);
        outbox.push(Effect::Disk { owner: Owner::Directory(number), op: DiskOp::Write { file, contents } });
    }

    /// Removes a file that nothing needs any more.
    pub fn delete(&mut self, file: FilePath, outbox: &mut Vec<Effect>) {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, After::Nothing);
        outbox.push(Effect::Disk { owner: Owner::Directory(number), op: DiskOp::Delete { file } });
    }

    /// Writes a checkpoint of offsets.
    pub fn write_offsets(&mut self, name: &str, offsets: &[OffsetCheckpoint], after: After, outbox: &mut Vec<Effect>) {
        self.write(FilePath::top(name), checkpoints::encode(offsets), after, outbox);
    }

    /// A write ended well.
    pub fn done(&mut self, number: u64) -> After {
        self.under_way.remove(&number).unwrap_or(After::Nothing)
    }
}
