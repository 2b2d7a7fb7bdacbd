//! The files of the log directories themselves: checkpoints, the quorum's state, the mark of a clean shutdown.
//!
//! Every write replaces a whole small file. Those of one directory are carried out in the order in which they are given here; what
//! depends on one being on disk says so with [`After`].

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_log::checkpoints::{self, OffsetCheckpoint};
use strandline_log::disk::{DiskOp, FilePath, LogDir};
use strandline_protocol::ids::Offset;

use crate::io::{Effect, Owner};
use crate::parked::ParkedId;

/// What happens once a file is on disk.
#[derive(Debug)]
pub enum After {
    Nothing,
    /// The vote or the epoch is kept: what follows from it may leave.
    Kept,
    /// A reply is true only with these log starts on disk.
    Reply(ParkedId),
    /// The checkpoints do not describe deleted partitions any more: their names may be used again.
    ForgotDeleted,
    /// What a cut of this slot's log makes of it is noted: the cut may begin.
    Cut {
        slot: u32,
    },
    /// What checkpoints have to say of the copy of this slot's log is noted: it may take the log's place.
    Placed {
        slot: u32,
    },
    /// The directory can be written to, although this segment could not be read.
    Proven {
        file: FilePath,
        base_offset: Offset,
    },
    /// The mark of a clean shutdown is there; with the last one the process may end.
    Stop,
}

#[derive(Debug, Default)]
pub struct Directory {
    next: u64,
    under_way: BTreeMap<u64, (LogDir, After)>,
}

impl Directory {
    /// Writes a file.
    pub fn write(&mut self, file: FilePath, contents: Bytes, after: After, outbox: &mut Vec<Effect>) {
        let owner = self.begin(file.log_dir(), after);
        outbox.push(Effect::Disk { owner, op: DiskOp::Write { file, contents } });
    }

    /// Removes a file that nothing needs any more.
    pub fn delete(&mut self, file: FilePath, outbox: &mut Vec<Effect>) {
        let owner = self.begin(file.log_dir(), After::Nothing);
        outbox.push(Effect::Disk { owner, op: DiskOp::Delete { file } });
    }

    fn begin(&mut self, log_dir: LogDir, after: After) -> Owner {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number, (log_dir, after));
        Owner::Directory { log_dir, number }
    }

    /// Writes a checkpoint of offsets.
    pub fn write_offsets(&mut self, file: FilePath, offsets: &[OffsetCheckpoint], after: After, outbox: &mut Vec<Effect>) {
        self.write(file, checkpoints::encode(offsets), after, outbox);
    }

    /// A write ended well.
    pub fn done(&mut self, number: u64) -> After {
        self.under_way.remove(&number).map_or(After::Nothing, |(_, after)| after)
    }

    /// Whether a write is under way that shows whether a directory works.
    pub fn is_proving(&self, log_dir: LogDir) -> bool {
        self.under_way.values().any(|(held, after)| *held == log_dir && matches!(after, After::Proven { .. }))
    }

    /// The directory failed: nothing of what is under way there will end well. Answers with what waits for it.
    pub fn give_up(&mut self, log_dir: LogDir) -> Vec<After> {
        self.under_way.extract_if(.., |_, (held, _)| *held == log_dir).map(|(_, (_, after))| after).collect()
    }

    /// Whether a mark of a clean shutdown is still being written.
    pub fn is_marking(&self) -> bool {
        self.under_way.values().any(|(_, after)| matches!(after, After::Stop))
    }
}
