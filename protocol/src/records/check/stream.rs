//! Records read from a stream of decompressed bytes, of which only a window is in memory.
//!
//! The same grammar as `record.rs`, with keys, values and headers passed over. Both readers must take and refuse the same bytes; a test holds them together.
//! Only which of several faults of a record is named may differ, as this one does not see the end of a record that was cut before it gets there.

use super::Refusal;
use crate::records::compression::Inflater;
use crate::records::record::{RECORD_HEADER_BYTES_MIN, RecordError, RecordFault};
use crate::records::varint::{ByteSource, read_varint, read_varlong};

/// The size of the window: large enough for the decoders to work in their own blocks.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// What the checks want to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

/// Reads records from an inflater through a window.
pub(super) struct RecordStream<'a> {
    inflater: Inflater<'a>,
    window: &'a mut [u8],
    start: usize,
    end: usize,
    /// The bytes that the current record may still take; reading the length before it is not bounded.
    left: usize,
    index: u32,
}

impl<'a> RecordStream<'a> {
    pub(super) fn new(inflater: Inflater<'a>, window: &'a mut [u8]) -> RecordStream<'a> {
        RecordStream { inflater, window, start: 0, end: 0, left: usize::MAX, index: 0 }
    }

    pub(super) fn next_record(&mut self) -> Result<Seen, Refusal> {
        self.left = usize::MAX;
        self.left = self.length()?;
        self.next_byte()?;
        let timestamp_delta = read_varlong(self)?;
        let offset_delta = read_varint(self)?;
        let has_key = self.pass_nullable()?;
        self.pass_nullable()?;
        self.pass_headers()?;
        if self.left > 0 {
            return Err(self.fault(RecordFault::LeftInRecord { bytes: self.left }));
        }
        self.index += 1;
        Ok(Seen { timestamp_delta, offset_delta, has_key })
    }

    /// Checks that the stream ends here, and ends well.
    pub(super) fn expect_end(&mut self) -> Result<(), Refusal> {
        if self.start == self.end && !self.fill()? { Ok(()) } else { Err(self.fault(RecordFault::LeftInBatch)) }
    }

    fn pass_headers(&mut self) -> Result<(), Refusal> {
        let count = read_varint(self)?;
        if usize::try_from(count).map_or(true, |count| count > self.left / RECORD_HEADER_BYTES_MIN) {
            return Err(self.fault(RecordFault::HeaderCount { count }));
        }
        for _ in 0..count {
            let length = self.length()?;
            self.pass(length)?;
            self.pass_nullable()?;
        }
        Ok(())
    }

    /// Passes over bytes with a length, and answers whether there are any or the length says null.
    fn pass_nullable(&mut self) -> Result<bool, Refusal> {
        match usize::try_from(read_varint(self)?) {
            Ok(length) => self.pass(length).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        let length = read_varint(self)?;
        usize::try_from(length).map_err(|_| self.fault(RecordFault::NegativeLength { length }))
    }

    fn pass(&mut self, length: usize) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(length).ok_or_else(|| self.fault(RecordFault::Truncated))?;
        let mut wanted = length;
        while wanted > self.end - self.start {
            wanted -= self.end - self.start;
            self.start = self.end;
            if !self.fill()? {
                return Err(self.fault(RecordFault::Truncated));
            }
        }
        self.start += wanted;
        Ok(())
    }

    /// Fills the window, which must be used up; answers whether anything came.
    fn fill(&mut self) -> Result<bool, Refusal> {
        self.end = self.inflater.read_some(self.window).map_err(Refusal::Codec)?;
        self.start = 0;
        Ok(self.end > 0)
    }

    fn fault(&self, fault: RecordFault) -> Refusal {
        Refusal::Record(RecordError { index: self.index, fault })
    }
}

impl ByteSource for RecordStream<'_> {
    type Error = Refusal;

    #[inline]
    fn next_byte(&mut self) -> Result<u8, Refusal> {
        self.left = self.left.checked_sub(1).ok_or_else(|| self.fault(RecordFault::Truncated))?;
        if self.start == self.end && !self.fill()? {
            return Err(self.fault(RecordFault::Truncated));
        }
        let byte = self.window[self.start];
        self.start += 1;
        Ok(byte)
    }

    fn overlong(&self) -> Refusal {
        self.fault(RecordFault::Overlong)
    }
}
