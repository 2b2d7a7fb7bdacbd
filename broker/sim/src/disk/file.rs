//! One simulated file: what a reader sees, and what of it the device does not hold yet.
//!
//! The unit of doubt is the sector: at a power cut each sector that is not known to be on the device is there or is not,
//! whatever its neighbours do, and never half. So bytes that were durable stay durable although the block around them is
//! written again. The length is in doubt of its own.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// What a device writes as one.
pub const SECTOR_BYTES: usize = 512;
/// Direct IO writes whole blocks of this size.
pub const BLOCK_BYTES: usize = 4096;

type Sector = [u8; SECTOR_BYTES];

/// Bytes to be laid over a file's contents, from a position on.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    pub(super) position: usize,
    pub(super) bytes: Vec<u8>,
    /// The file is at least so long afterwards; zeros fill what was not there.
    pub(super) length: usize,
}

/// Whether what was written is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    OnDevice,
    InDoubt,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    contents: Vec<u8>,
    /// What the device holds in the sectors where that may differ from `contents`.
    doubtful: BTreeMap<usize, Sector>,
    /// How long the file is on the device.
    device_bytes: usize,
    /// Bits that are other ones than were written.
    flipped: Vec<(usize, u8)>,
    /// Where the next append must begin; unknown until the first one of a process.
    pub(super) end: Option<u64>,
}

impl SimFile {
    /// A file that is on the device.
    pub(super) fn durable(contents: Vec<u8>) -> Self {
        let device_bytes = contents.len();
        Self { contents, device_bytes, ..Self::default() }
    }

    pub(super) fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Lays bytes over the contents. What becomes of sectors that were in doubt elsewhere does not change.
    pub(super) fn write(&mut self, overlay: &Overlay, held: Held) {
        let end = overlay.position + overlay.bytes.len();
        for sector in overlay.position / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            match held {
                Held::OnDevice => {
                    self.doubtful.remove(&sector);
                }
                Held::InDoubt => self.doubt(sector),
            }
        }
        let length = self.contents.len().max(end).max(overlay.length);
        self.contents.resize(length, 0);
        self.contents[overlay.position..end].copy_from_slice(&overlay.bytes);
        if held == Held::OnDevice {
            self.device_bytes = self.device_bytes.max(length);
        }
    }

    /// Cuts the file, or makes it longer with zeros.
    pub(super) fn set_length(&mut self, bytes: usize, held: Held) {
        if held == Held::InDoubt {
            for sector in bytes / SECTOR_BYTES..self.contents.len().div_ceil(SECTOR_BYTES) {
                self.doubt(sector);
            }
        }
        self.contents.resize(bytes, 0);
        self.flipped.retain(|(byte, _)| *byte < bytes);
        if held == Held::OnDevice {
            self.sync();
        }
    }

    /// Everything in it is on the device now.
    pub(super) fn sync(&mut self) {
        self.doubtful.clear();
        self.device_bytes = self.contents.len();
    }

    /// Some of it is on the device now; which, nobody knows.
    pub(super) fn sync_partly(&mut self, dice: &mut Dice) {
        self.doubtful.retain(|_, _| dice.one_in(2));
    }

    /// Whether every byte is on the device.
    pub(super) fn is_on_device(&self) -> bool {
        self.doubtful.is_empty() && self.device_bytes == self.contents.len()
    }

    /// The power went: what was in doubt is decided.
    pub(super) fn cut_power(&mut self, dice: &mut Dice) {
        self.end = None;
        if self.is_on_device() {
            return;
        }
        let length = self.surviving_length(dice);
        let was_cut = self.contents.len() < length;
        // All survive, none, or each for itself: the extremes find other bugs than the mixture does.
        let survive_percent = [0, 10, 50, 90, 100][dice.index(5)];
        self.contents.resize(self.contents.len().max(length), 0);
        for (sector, old) in std::mem::take(&mut self.doubtful) {
            let start = sector * SECTOR_BYTES;
            if start >= self.contents.len() || (!was_cut && dice.percent(survive_percent)) {
                continue;
            }
            let end = (start + SECTOR_BYTES).min(self.contents.len());
            self.contents[start..end].copy_from_slice(&old[..end - start]);
        }
        self.contents.truncate(length);
        self.device_bytes = length;
    }

    fn surviving_length(&self, dice: &mut Dice) -> usize {
        let (short, long) = (self.device_bytes.min(self.contents.len()), self.device_bytes.max(self.contents.len()));
        match dice.below(4) {
            0 => self.device_bytes,
            1 if self.device_bytes < self.contents.len() => {
                let sectors = (long - short) / SECTOR_BYTES;
                short + SECTOR_BYTES * dice.index(sectors + 1)
            }
            _ => self.contents.len(),
        }
    }

    /// A bit is another one, on the device too.
    pub(super) fn damage(&mut self, byte: usize, bit: u8) {
        self.flip(byte, bit);
        self.flipped.push((byte, bit));
    }

    pub(super) fn has_flips(&self) -> bool {
        !self.flipped.is_empty()
    }

    /// Damage is undone.
    pub(super) fn heal(&mut self) {
        for (byte, bit) in std::mem::take(&mut self.flipped) {
            self.flip(byte, bit);
        }
    }

    /// Changes a bit for good.
    pub(super) fn flip(&mut self, byte: usize, bit: u8) {
        if let Some(found) = self.contents.get_mut(byte) {
            *found ^= 1 << (bit % 8);
        }
    }

    /// Remembers what the device holds in a sector, before it is written.
    fn doubt(&mut self, sector: usize) {
        if self.doubtful.contains_key(&sector) {
            return;
        }
        let mut old = [0; SECTOR_BYTES];
        let start = (sector * SECTOR_BYTES).min(self.contents.len());
        let end = (start + SECTOR_BYTES).min(self.contents.len());
        old[..end - start].copy_from_slice(&self.contents[start..end]);
        self.doubtful.insert(sector, old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(position: usize, byte: u8, bytes: usize) -> Overlay {
        Overlay { position, bytes: vec![byte; bytes], length: 0 }
    }

    #[test]
    fn what_is_on_the_device_survives_every_power_cut() {
        for seed in 0..200 {
            let mut file = SimFile::durable(vec![1; 700]);
            file.write(&overlay(600, 2, 3000), Held::InDoubt);
            file.cut_power(&mut Dice::new(seed));
            let survived = file.contents().len();
            assert!(survived >= 700, "seed {seed}: {survived}");
            assert!(file.contents()[..600].iter().all(|byte| *byte == 1), "seed {seed}");
            assert!(file.is_on_device());
        }
    }

    #[test]
    fn sectors_in_doubt_are_old_or_new_and_both_happen() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..200 {
            let mut file = SimFile::durable(vec![1; 8 * SECTOR_BYTES]);
            file.write(&overlay(0, 2, 8 * SECTOR_BYTES), Held::InDoubt);
            file.cut_power(&mut Dice::new(seed));
            for sector in file.contents().chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: a sector is torn");
                old += usize::from(sector[0] == 1);
                new += usize::from(sector[0] == 2);
            }
        }
        assert!(old > 100 && new > 100, "{old} old, {new} new");
    }

    #[test]
    fn a_cut_in_doubt_happened_wholly_or_not() {
        for seed in 0..50 {
            let mut file = SimFile::durable((0..2000).map(|byte| (byte / 256) as u8).collect());
            let before = file.contents().to_vec();
            file.set_length(700, Held::InDoubt);
            file.cut_power(&mut Dice::new(seed));
            let after = file.contents();
            assert!(after.len() == 700 || after.len() == 2000, "seed {seed}: {}", after.len());
            assert_eq!(after, &before[..after.len()]);
        }
    }

    #[test]
    fn a_durable_write_leaves_other_sectors_in_doubt() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut file = SimFile::default();
            file.write(&overlay(0, 1, SECTOR_BYTES), Held::InDoubt);
            file.write(&overlay(SECTOR_BYTES, 2, SECTOR_BYTES), Held::OnDevice);
            file.cut_power(&mut Dice::new(seed));
            assert_eq!(file.contents()[SECTOR_BYTES..2 * SECTOR_BYTES], [2; SECTOR_BYTES]);
            lost += usize::from(file.contents()[0] == 0);
        }
        assert!(lost > 10, "lost {lost} times");
    }
}
