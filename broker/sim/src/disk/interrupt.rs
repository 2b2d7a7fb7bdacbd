//! Operations that nobody saw end: the process died or the power went while they were under way, or they failed. Each
//! happened not at all, wholly, or up to one of the steps that the executor takes; what it left is in doubt.

use bytes::Bytes;
use strandline_log::disk::{DiskOp, FilePath, Part};

use super::file::{Held, SECTOR_BYTES, SimFile};
use super::{BLOCK_BYTES, SimDisk, Undo, joined};
use crate::dice::Dice;
use crate::flaw::Flaw;

impl SimDisk {
    /// Carries out as much of an operation as the dice say. A power cut may follow, or not.
    pub fn interrupt(&mut self, op: &DiskOp, dice: &mut Dice) {
        match op {
            DiskOp::Append { file, position, parts, .. } => self.append_partly(file, *position, parts, dice),
            DiskOp::Seal { file, bytes } | DiskOp::Truncate { file, bytes } => self.cut_partly(file, *bytes, dice),
            DiskOp::Sync { file } => {
                if let Some(file) = self.files.get_mut(file) {
                    file.sync_partly(dice);
                }
            }
            DiskOp::Write { file, contents } => self.replace_partly(file, contents, dice),
            DiskOp::Rename { from, to } => {
                if dice.one_in(2) && self.move_all(from, to).is_ok() {
                    self.undo.push(Undo::Name { from: from.clone(), to: to.clone() });
                }
            }
            DiskOp::Delete { file } => self.delete_partly(file, dice),
            DiskOp::DeleteDirectory { directory } => {
                for file in self.inside(directory) {
                    self.delete_partly(&file, dice);
                }
            }
        }
    }

    fn append_partly(&mut self, path: &FilePath, position: u64, parts: &[Part], dice: &mut Dice) {
        if dice.one_in(4) || self.check_append(path, position).is_err() {
            return;
        }
        self.make_directory_of(path);
        if !self.files.contains_key(path) {
            // The name is made durable before anything is written under it.
            self.files.insert(path.clone(), SimFile::durable(Vec::new()));
            if dice.one_in(3) {
                return self.undo.push(Undo::Put { path: path.clone(), before: None });
            }
        }
        let mut overlay = self.staged(path, position, &joined(parts));
        if dice.one_in(3) {
            // The kernel takes a large write in pieces, each of whole blocks.
            let blocks = overlay.bytes.len() / BLOCK_BYTES;
            overlay.bytes.truncate(dice.index(blocks + 1) * BLOCK_BYTES);
        }
        let flaw = self.flaw;
        let file = self.files.entry(path.clone()).or_default();
        file.write(&overlay, Held::InDoubt);
        file.end = None;
        if flaw == Some(Flaw::TornPrefix) {
            damage_before(file, position as usize);
        }
    }

    fn cut_partly(&mut self, path: &FilePath, bytes: u64, dice: &mut Dice) {
        if let Some(file) = self.files.get_mut(path)
            && file.contents().len() as u64 >= bytes
            && dice.one_in(2)
        {
            file.set_length(bytes as usize, Held::InDoubt);
            file.end = None;
        }
    }

    /// A temporary file that is written and synced, then renamed.
    fn replace_partly(&mut self, path: &FilePath, contents: &Bytes, dice: &mut Dice) {
        if dice.one_in(3) {
            return;
        }
        self.make_directory_of(path);
        if dice.one_in(2) {
            let temporary = FilePath::of(path.log_dir(), &format!("{path}.tmp"));
            let half = contents[..dice.index(contents.len() + 1)].to_vec();
            self.undo.push(Undo::Put { path: temporary.clone(), before: None });
            self.files.insert(temporary, SimFile::durable(half));
            return;
        }
        let before = self.files.insert(path.clone(), SimFile::durable(contents.to_vec()));
        self.undo.push(Undo::Put { path: path.clone(), before });
    }

    fn delete_partly(&mut self, path: &FilePath, dice: &mut Dice) {
        if dice.one_in(2)
            && let Some(before) = self.files.remove(path)
        {
            self.undo.push(Undo::Put { path: path.clone(), before: Some(before) });
        }
    }
}

/// Damages what stood in the sector in which an append begins.
fn damage_before(file: &mut SimFile, position: usize) {
    let sector = position - position % SECTOR_BYTES;
    for byte in sector..position {
        file.flip(byte, (byte % 8) as u8);
    }
}
