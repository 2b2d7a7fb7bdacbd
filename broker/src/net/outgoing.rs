//! Bytes that wait to be written to a socket: small ones gathered in one buffer, large slices from where they lie.
//!
//! Not here: the order of replies (`replies.rs`). Invariant: bytes leave exactly in the order in which they were put.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};

/// Below this, a copy costs less than one more part of a gathered write.
const COPY_BYTES_MAX: usize = 4096;

/// Parts of one write: above it, the kernel's own work for a part dominates.
const PARTS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    /// What stands behind `parts`.
    gathered: BytesMut,
    bytes: usize,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    Everything,
    /// The socket takes nothing more for now.
    Blocked,
}

impl Outgoing {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn put(&mut self, part: Bytes) {
        self.bytes += part.len();
        if part.len() <= COPY_BYTES_MAX {
            self.gathered.extend_from_slice(&part);
            return;
        }
        if !self.gathered.is_empty() {
            self.parts.push_back(self.gathered.split().freeze());
        }
        self.parts.push_back(part);
    }

    /// Writes through `write` until everything is written or it would block.
    ///
    /// # Errors
    /// What `write` says; the connection is of no use any more.
    pub(crate) fn write(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<Wrote> {
        while self.bytes > 0 {
            match self.write_once(&mut write) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Wrote::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Wrote::Everything)
    }

    fn write_once(&self, write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PARTS_MAX];
        let all = self.parts.iter().map(|part| &part[..]).chain([&self.gathered[..]]);
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        write(&slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                return;
            }
            written -= part.len();
            self.parts.pop_front();
        }
        if written == self.gathered.len() {
            self.gathered.clear();
        } else {
            self.gathered.advance(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes_at_a_time() {
        let parts: Vec<Bytes> = [3, 9000, 5, 7, 4096, 4097, 100, 8000, 1]
            .iter()
            .enumerate()
            .map(|(n, &bytes)| Bytes::from(vec![n as u8; bytes]))
            .collect();
        for step in [1, 100, 4096, 100_000] {
            let mut outgoing = Outgoing::default();
            parts.iter().cloned().for_each(|part| outgoing.put(part));
            let mut sent = Vec::new();
            let mut turn = 0;
            while outgoing.bytes() > 0 {
                let wrote = outgoing.write(|slices| {
                    turn += 1;
                    if turn % 3 == 0 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                    let taken = step.min(all.len());
                    sent.extend_from_slice(&all[..taken]);
                    Ok(taken)
                });
                wrote.unwrap();
            }
            assert_eq!(sent, parts.concat());
        }
    }
}
