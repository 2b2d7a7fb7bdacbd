//! Batches one after the other in a slice of a log or of a request.
//!
//! A log segment may end in a batch that was cut or in zero padding, and a fetched slice may end in the middle of a batch: `Batches::new` stops there and says
//! where; `Batches::strict` reports it. Bytes that are neither a batch nor such an end are an error for both, after which the iteration is over.
//! CRCs are not computed here.

use super::header::{BatchError, BatchHeader, magic, peek_size};

/// A batch and where it begins in the slice.
#[derive(Clone, Copy, Debug)]
pub struct BatchAt<'a> {
    pub position: usize,
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Tolerated,
    Reported,
}

/// The iterator over batches.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    tail: Tail,
    ended: bool,
}

impl<'a> Batches<'a> {
    /// Iterates up to a partial batch or zeros, and ends there without an error.
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches { bytes, position: 0, tail: Tail::Tolerated, ended: false }
    }

    /// Iterates over bytes that must be whole batches to the end.
    pub fn strict(bytes: &'a [u8]) -> Batches<'a> {
        Batches { bytes, position: 0, tail: Tail::Reported, ended: false }
    }

    /// How many bytes the batches take that were yielded so far; after the end, where the readable part ends.
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<BatchAt<'a>, BatchError> {
        let rest = &self.bytes[self.position..];
        let header = BatchHeader::parse(rest)?;
        let size = header.size_bytes();
        let bytes = rest.get(..size).ok_or(BatchError::Partial { have: rest.len(), need: size })?;
        let batch = BatchAt { position: self.position, header, bytes };
        self.position += size;
        Ok(batch)
    }

    /// Whether what begins at the position is how a log may end: too little for a batch, or a length of zero, which preallocated space has.
    fn is_tail(&self) -> bool {
        let rest = &self.bytes[self.position..];
        match peek_size(rest) {
            Err(BatchError::Partial { .. } | BatchError::Length { batch_length: 0, .. }) => true,
            Err(_) => false,
            Ok(size) => rest.len() < size && magic(rest).is_none_or(|magic| (0..=2).contains(&magic)),
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchAt<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.position == self.bytes.len() {
            return None;
        }
        let read = self.read();
        self.ended = read.is_err();
        match read {
            Err(_) if self.tail == Tail::Tolerated && self.is_tail() => None,
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("golden/java-lz4.log");

    fn sizes(batches: Batches<'_>) -> Vec<Result<usize, BatchError>> {
        batches.map(|batch| batch.map(|batch| batch.bytes.len())).collect()
    }

    #[test]
    fn whole_batches_are_yielded_with_their_positions() {
        let found: Vec<_> =
            Batches::strict(GOLDEN).map(|batch| batch.map(|batch| (batch.position, batch.header.base_offset))).collect();
        assert_eq!(found, [Ok((0, 0)), Ok((200, 6)), Ok((278, 7)), Ok((478, 13))]);
    }

    #[test]
    fn every_cut_ends_cleanly_or_is_reported() {
        let ends = [0, 200, 278, 478, GOLDEN.len()];
        for length in 0..=GOLDEN.len() {
            let readable = *ends.iter().rfind(|end| **end <= length).unwrap();
            let mut batches = Batches::new(&GOLDEN[..length]);
            assert!(batches.by_ref().all(|batch| batch.is_ok()));
            assert_eq!(batches.position(), readable);
            let reported = Batches::strict(&GOLDEN[..length]).any(|batch| matches!(batch, Err(BatchError::Partial { .. })));
            assert_eq!(reported, readable != length, "{length}");
        }
    }

    #[test]
    fn zeros_behind_the_last_batch_are_an_end() {
        for zeros in 1..200 {
            let mut bytes = GOLDEN.to_vec();
            bytes.resize(GOLDEN.len() + zeros, 0);
            let mut batches = Batches::new(&bytes);
            assert_eq!(batches.by_ref().filter(|batch| batch.is_ok()).count(), 4);
            assert_eq!(batches.position(), GOLDEN.len());
            assert!(sizes(Batches::strict(&bytes)).last().unwrap().is_err());
        }
    }

    #[test]
    fn garbage_is_an_error_for_both_and_ends_the_iteration() {
        let mut bytes = GOLDEN.to_vec();
        bytes[200 + 8] = 0xff;
        for batches in [Batches::new(&bytes), Batches::strict(&bytes)] {
            let found = sizes(batches);
            assert_eq!(found.len(), 2);
            assert!(matches!(found[1], Err(BatchError::Length { .. })));
        }
        bytes[200 + 8] = 0;
        bytes[200 + 16] = 9;
        assert_eq!(sizes(Batches::new(&bytes)), [Ok(200), Err(BatchError::UnknownMagic { magic: 9 })]);
    }
}
